"""A stand-in for VirtualBox's VBoxManage: it answers as Vagrant's driver expects, and writes down each call.

Its machines are containers that Docker runs, so that Vagrant gets in by SSH and finds the cards and folders that it
asked for. What VirtualBox itself does with a call (drivers, disks, the guest's kernel) is not shown by it.

``STANDIN`` names the folder of its state, ``STANDIN_IMAGE`` the image of its machines, ``STANDIN_LAB`` the start of the
names that Docker knows things by. An unknown call ends with an error, as a wrong one does.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway.lab.container import capabilities, this_host

VERSION = "7.0.26r168464"
# Where a machine finds the folders of its host, by their names.
FOLDERS = "/media/host"
# How a machine mounts one, in the place of the kernel's file system; the options are kept to be looked at.
MOUNT = f"""\
#!/bin/sh
set -eu
printf '%s\\n' "$*" >> /var/log/mount.vboxsf
exec mount --bind "{FOLDERS}/$1" "$2"
"""


class CallError(Exception):
    """A call that VBoxManage refuses; the text is what it says."""


def found(text: str) -> CallError:
    return CallError(f"Could not find a registered machine named '{text}'\nDetails: code VBOX_E_OBJECT_NOT_FOUND")


class VBoxManage:
    """The calls, on the state of one folder."""

    def __init__(self, folder: Path, state: dict[str, Any]) -> None:
        self.folder = folder
        self.state = state
        self.lab = os.environ["STANDIN_LAB"]

    def call(self, words: list[str]) -> str:
        """Carry out a call and give what it prints."""
        if words == ["--version"]:
            return VERSION
        if len(words) > 1 and words[0] == "list":
            return self.list(words[1])
        verbs: dict[str, Callable[..., str]] = {
            "showvminfo": self.showvminfo,
            "guestproperty": self.guestproperty,
            "import": self.imported,
            "clonevm": self.clonevm,
            "snapshot": self.snapshot,
            "modifyvm": self.modifyvm,
            "sharedfolder": self.sharedfolder,
            "setextradata": self.setextradata,
            "hostonlyif": self.hostonlyif,
            "dhcpserver": self.dhcpserver,
            "startvm": self.startvm,
            "controlvm": self.controlvm,
            "discardstate": self.discardstate,
            "unregistervm": self.unregistervm,
        }
        if not words or words[0] not in verbs:
            raise CallError(f"Invalid command '{' '.join(words[:1])}'")
        return verbs[words[0]](*words[1:])

    # --- what there is

    def list(self, what: str) -> str:
        blocks: list[str] = []
        if what in ("vms", "runningvms"):
            return "\n".join(
                f'"{vm["name"]}" {{{identity}}}'
                for identity, vm in self.state["vms"].items()
                if what == "vms" or self.power(vm) == "running"
            )
        if what == "hostonlyifs":
            for name, card in self.state["cards"].items():
                told = {
                    "Name": name,
                    "DHCP": "Disabled",
                    "IPAddress": card.get("ip", ""),
                    "NetworkMask": card.get("mask", ""),
                    "IPV6Address": "",
                    "IPV6NetworkMaskPrefixLength": "0",
                    "HardwareAddress": "0a:00:27:00:00:00",
                    "MediumType": "Ethernet",
                    "Wireless": "No",
                    "Status": "Up",
                    "VBoxNetworkName": f"HostInterfaceNetworking-{name}",
                }
                blocks.append("\n".join(f"{key + ':':<17}{value}" for key, value in told.items()))
        elif what == "systemproperties":
            blocks.append(f"API version:                     7_0\nDefault machine folder:          {self.machines}")
        elif what not in ("bridgedifs", "dhcpservers", "hdds"):
            raise CallError(f"Unknown list '{what}'")
        return "\n\n".join(blocks)

    @property
    def machines(self) -> Path:
        folder = self.folder / "VirtualBox VMs"
        folder.mkdir(exist_ok=True)
        return folder

    def machine(self, text: str) -> dict[str, Any]:
        machines: dict[str, dict[str, Any]] = self.state["vms"]
        for identity, vm in machines.items():
            if text in (identity, vm["name"]):
                return vm
        raise found(text)

    def power(self, vm: dict[str, Any]) -> str:
        """What the container does, in VirtualBox's words."""
        if not vm.get("container"):
            return "poweroff"
        done = docker("inspect", "--format", "{{.State.Status}}", vm["container"], check=False)
        return "running" if done.strip() == "running" else "saved" if vm.get("saved") else "poweroff"

    def showvminfo(self, text: str, *_words: str) -> str:
        vm = self.machine(text)
        lines = [f'name="{vm["name"]}"', f"memory={vm['memory']}", f"cpus={vm['cpus']}", f'VMState="{self.power(vm)}"']
        rules = 0
        for slot, card in sorted(vm["cards"].items()):
            lines.append(f'nic{slot}="{card["kind"]}"')
            lines.append(f'macaddress{slot}="080027{int(slot):06X}"')
            if card.get("network"):
                lines.append(f'hostonlyadapter{slot}="{card["network"]}"')
            for rule in card.get("rules", []):
                lines.append(f'Forwarding({rules})="{rule}"')
                rules += 1
        lines += [
            f'SharedFolderNameMachineMapping{number}="{name}"\nSharedFolderPathMachineMapping{number}="{path}"'
            for number, (name, path) in enumerate(vm["folders"].items(), 1)
        ]
        return "\n".join(lines)

    def guestproperty(self, *_words: str) -> str:
        return "No value set!"

    # --- how a machine comes to be

    def imported(self, *words: str) -> str:
        ovf = next(word for word in words if word.endswith(".ovf"))
        text = Path(ovf).read_text(encoding="utf-8")
        name = re.findall(r"<Name>(.+?)</Name>", text)[0]
        disk = re.findall(r'ovf:href="(.+?)"', text)[0]
        if not Path(ovf).with_name(disk).is_file():
            raise CallError(f"Could not find the disk {disk} of {ovf}")
        if "-n" in words or "--dry-run" in words:
            return (
                f'Virtual system 0:\n 0: Suggested OS type: "Debian_64"\n 1: Suggested VM name "{name}"\n'
                f' 4: Suggested VM settings file name "{self.machines}/{name}/{name}.vbox"\n'
                f" 12: Hard disk image: source image={disk}, target path={disk}, controller=10;port=0\n"
            )
        given = words[words.index("--vmname") + 1]
        self.register(given, {"1": {"kind": "nat"}}, 1024, 2)
        return f"0%...10%...100%\nSuccessfully imported the appliance.\nVM name {given}"

    def register(self, name: str, cards: dict[str, Any], memory: int, cpus: int) -> None:
        self.state["vms"][str(uuid.uuid4())] = {
            "name": name,
            "cards": cards,
            "memory": memory,
            "cpus": cpus,
            "folders": {},
            "snapshots": [],
        }

    def clonevm(self, text: str, *words: str) -> str:
        master = self.machine(text)
        if words[words.index("--snapshot") + 1] not in master["snapshots"]:
            raise found("the snapshot")
        name = words[words.index("--name") + 1]
        cards = json.loads(json.dumps(master["cards"]))
        self.register(name, cards, master["memory"], master["cpus"])
        return f'Machine has been successfully cloned as "{name}"'

    def snapshot(self, text: str, verb: str, *words: str) -> str:
        vm = self.machine(text)
        if verb == "take":
            vm["snapshots"].append(words[0])
        elif verb == "delete":
            vm["snapshots"].remove(words[0])
        elif verb == "list":
            if not vm["snapshots"]:
                raise CallError("This machine does not have any snapshots")
            return "\n".join(f'SnapshotName="{name}"' for name in vm["snapshots"])
        else:
            raise CallError(f"Invalid snapshot command '{verb}'")
        return ""

    def modifyvm(self, text: str, *words: str) -> str:
        vm, left = self.machine(text), list(words)
        if self.power(vm) != "poweroff":
            raise CallError(f"The machine '{vm['name']}' is already locked for a session (or being unlocked)")
        while left:
            option, value = left.pop(0), left.pop(0)
            numbered = re.fullmatch(r"--(\D+)(\d+)", option)
            card = vm["cards"].setdefault(numbered[2], {"kind": "none"}) if numbered else {}
            match numbered[1] if numbered else option:
                case "--name":
                    if any(other["name"] == value for other in self.state["vms"].values() if other is not vm):
                        raise CallError("VERR_ALREADY_EXISTS")
                    vm["name"] = value
                case "--memory" | "--cpus":
                    vm[option.removeprefix("--")] = int(value)
                case "nic":
                    card["kind"] = value
                case "hostonlyadapter":
                    if value not in self.state["cards"]:
                        raise CallError(f"The host network interface with the given name could not be found: {value}")
                    card["network"] = value
                case "natpf" if value == "delete":
                    name = left.pop(0)
                    card["rules"] = [rule for rule in card["rules"] if not rule.startswith(f"{name},")]
                case "natpf":
                    card.setdefault("rules", []).append(value)
                case "macaddress" | "cableconnected" | "natdnsproxy" | "natdnshostresolver" | "nictype" | "--rtcuseutc":
                    pass
                case _:
                    raise CallError(f"Unknown option: {option}")
        return ""

    def sharedfolder(self, verb: str, text: str, *words: str) -> str:
        vm = self.machine(text)
        name = words[words.index("--name") + 1]
        if verb == "add":
            vm["folders"][name] = words[words.index("--hostpath") + 1]
        else:
            vm["folders"].pop(name, None)
        return ""

    def setextradata(self, *_words: str) -> str:
        return ""

    # --- the network of the host

    def hostonlyif(self, verb: str, *words: str) -> str:
        cards = self.state["cards"]
        if verb == "create":
            taken = {link["ifname"] for link in json.loads(run("ip", "-json", "link"))}
            name = next(name for number in range(100) if (name := f"vboxnet{number}") not in taken | set(cards))
            cards[name] = {}
            return f"Interface '{name}' was successfully created"
        name = words[0]
        if name not in cards:
            raise CallError(f"The host network interface named '{name}' could not be found")
        if verb == "remove":
            if cards[name]:
                docker("network", "rm", f"{self.lab}-{name}")
            del cards[name]
        elif words[1] == "--ip":
            cards[name] = {"ip": words[2], "mask": words[4]}
            subnet = ipaddress.IPv4Interface(f"{words[2]}/{words[4]}").network
            bridge = f"com.docker.network.bridge.name={name}"
            docker(
                *("network", "create", f"--subnet={subnet}", f"--gateway={words[2]}", "-o", bridge),
                f"{self.lab}-{name}",
            )
        return ""

    def dhcpserver(self, *_words: str) -> str:
        raise CallError("DHCP server does not exist")

    # --- power

    def startvm(self, text: str, *_words: str) -> str:
        vm = self.machine(text)
        power = self.power(vm)
        if power == "running":
            raise CallError(f"The machine '{vm['name']}' is already locked by a session")
        vm["saved"] = False
        self.boot(vm)
        return f'Waiting for VM "{vm["name"]}" to power on...\nVM "{vm["name"]}" has been successfully started.'

    def boot(self, vm: dict[str, Any]) -> None:
        """Start the container that is the machine; it is made at the first start, with the folders and the cards."""
        if not vm.get("container"):
            helper = self.folder / "mount.vboxsf"
            helper.write_text(MOUNT)
            helper.chmod(0o755)
            host = this_host()
            arguments = [f"--cap-add={name}" for name in capabilities(host.bounding, host.server)]
            for rule in vm["cards"]["1"].get("rules", []):
                _, protocol, address, port, _, guest = rule.split(",")
                arguments.append(f"--publish={address or '127.0.0.1'}:{port}:{guest}/{protocol}")
            arguments += [f"--volume={path}:{FOLDERS}/{name}" for name, path in vm["folders"].items()]
            docker(
                *("create", f"--name={vm['name']}", f"--hostname={vm['name']}", *arguments, *CONTAINER),
                f"--volume={helper}:/usr/sbin/mount.vboxsf:ro",
                os.environ["STANDIN_IMAGE"],
            )
            vm["container"] = vm["name"]
            for _, card in sorted(vm["cards"].items()):
                if card.get("network"):
                    docker("network", "connect", f"{self.lab}-{card['network']}", vm["name"])
        docker("start", vm["container"])
        # As in the box: it gives a card the address that Vagrant writes down for it.
        script = "until systemctl is-system-running --wait | grep -qE 'running|degraded'; do sleep 0.2; done; "
        script += "systemctl enable --now systemd-networkd.service"
        docker("exec", vm["container"], "timeout", "120", "sh", "-c", script)

    def controlvm(self, text: str, verb: str, *_words: str) -> str:
        vm = self.machine(text)
        if self.power(vm) == "poweroff":
            raise CallError(f"Machine '{vm['name']}' is not currently running.")
        match verb:
            case "poweroff":
                docker("kill", vm["container"])
            case "savestate":
                # A machine that is saved holds no port of its host.
                docker("kill", vm["container"])
                vm["saved"] = True
            case _:
                raise CallError(f"Invalid parameter '{verb}'")
        return ""

    def discardstate(self, text: str) -> str:
        self.machine(text)["saved"] = False
        return ""

    def unregistervm(self, text: str, *_words: str) -> str:
        vm = self.machine(text)
        if self.power(vm) != "poweroff":
            raise CallError(f"Cannot unregister the machine '{vm['name']}' while it is locked")
        if vm.get("container"):
            docker("rm", "--force", "--volumes", vm["container"])
        self.state["vms"] = {identity: other for identity, other in self.state["vms"].items() if other is not vm}
        return ""


# What makes a container a machine, beside its capabilities: see slipway.lab.container.
CONTAINER = (
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=label=disable",
    "--cgroupns=private",
    "--stop-signal=SIGRTMIN+3",
    "--tmpfs=/run",
    "--tmpfs=/tmp:exec",
)


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise CallError(f"{' '.join(command[:3])}: {done.stderr.strip()}")
    return done.stdout


def docker(*words: str, check: bool = True) -> str:
    return run("docker", *words, check=check)


@contextmanager
def kept(folder: Path) -> Iterator[dict[str, Any]]:
    """The state, which no other call reads or writes meanwhile."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = folder / "state.json"
        state = json.loads(file.read_text()) if file.exists() else {"vms": {}, "cards": {}}
        try:
            yield state
        finally:
            file.write_text(json.dumps(state, indent=1))


def main(words: list[str]) -> int:
    folder = Path(os.environ["STANDIN"])
    with kept(folder) as state:
        try:
            said = VBoxManage(folder, state).call(words)
        except CallError as error:
            print(f"VBoxManage: error: {error}", file=sys.stderr)
            said, status = "", 1
        else:
            status = 0
        with (folder / "calls.jsonl").open("a") as calls:
            calls.write(json.dumps({"words": words, "status": status}) + "\n")
    if said:
        print(said)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
