"""Runs on a node: ask cluster DNS for the API server's name until it answers, for two minutes at most."""

import socket
import struct
import sys
import time

SERVER = sys.argv[1] if len(sys.argv) > 1 else "10.96.0.10"
NAME = "kubernetes.default.svc.cluster.local"

question = (
    b"".join(bytes([len(label)]) + label.encode() for label in NAME.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
)
packet = struct.pack(">HHHHHH", 4711, 0x0100, 1, 0, 0, 0) + question
until = time.monotonic() + 120
while time.monotonic() < until:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        try:
            client.sendto(packet, (SERVER, 53))
            answer = client.recv(512)
        except OSError:
            time.sleep(0.1)
            continue
    identity, flags, _, answers = struct.unpack(">HHHH", answer[:8])
    if identity == 4711 and flags & 0x8000 and not flags & 0x000F and answers:
        print(socket.inet_ntoa(answer[-4:]))
        sys.exit(0)
    time.sleep(0.1)
sys.exit(f"{SERVER} did not answer for {NAME}")
