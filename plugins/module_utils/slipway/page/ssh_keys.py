"""SSH keys as people have them: lines of authorized_keys, and files of private keys."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_TYPES = r"(ssh-(ed25519|rsa|dss)|ecdsa-sha2-nistp\d+|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
_OPTION = r'([A-Za-z0-9-]+)(?:="(?:[^"\\]|\\.)*")?'
_LINE = re.compile(
    rf"\s*(?:(?P<options>{_OPTION}(?:,{_OPTION})*)\s+)?(?P<key>{_TYPES}\s+[A-Za-z0-9+/]+={{0,3}})(\s.*)?\s*"
)
_LOOKS_LIKE_ONE = re.compile(rf"(?:^|\s){_TYPES}\s")
# Those that sshd knows (AUTHORIZED_KEYS FILE FORMAT of its manual); of a key with another one it takes no notice.
_KNOWN = re.compile(
    "agent-forwarding|cert-authority|command|environment|expiry-time|from|no-agent-forwarding|no-port-forwarding|no-pty"
    "|no-touch-required|no-user-rc|no-x11-forwarding|permitlisten|permitopen|port-forwarding|principals|pty|restrict"
    "|tunnel|user-rc|verify-required|x11-forwarding",
    re.IGNORECASE,
)
# What is wrong with a key or its file: the id of the rule, and the rule in words.
Wrong = tuple[str, str]
_CUT_OFF: Wrong = ("ssh-key-damaged", "is cut off or changed: a public key is its type and one word of base64")
_PUBLIC = "PUBLIC KEY"
_PRIVATE = "PRIVATE KEY"
_PUTTY = "PuTTY-User-Key-File"
# Bytes of a file that are looked at; keys are much smaller.
_MOST = 65536


def is_line(text: str) -> bool:
    """Tell whether ``text`` has the form of a line of authorized_keys, and is no name of a file."""
    return bool(_LINE.fullmatch(text))


def line_problem(text: str) -> Wrong | None:
    """Say why sshd would not take ``text`` as a line of authorized_keys; None: it would, or it may name a file."""
    if _PRIVATE in text:
        return "ssh-key-private", "is a private key; only its public half is registered"
    found = _LINE.fullmatch(text)
    if not found:
        return (
            _CUT_OFF
            if _LOOKS_LIKE_ONE.search(text) or (text.startswith(("ssh-", "ecdsa-", "sk-")) and " " in text)
            else None
        )
    for name in re.findall(rf"(?:^|,){_OPTION}", found["options"] or ""):
        if not _KNOWN.fullmatch(name):
            return "ssh-key-option", f"has the option {name}, which sshd does not know"
    return _key_problem(found["key"])


def _key_problem(key: str) -> Wrong | None:
    # Only pages with keys of their own wait for it.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    if key.startswith("ssh-dss"):
        return "ssh-key-dsa", "is a DSA key, which sshd takes no longer"
    try:
        load_ssh_public_key(key.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        return _CUT_OFF
    return None


def public_file_problem(path: Path) -> Wrong | None:
    """Say why the file at ``path`` cannot be registered, whose every line is a public key; None: it can."""
    content = _content(path)
    if not isinstance(content, str):
        reason = content.strerror or "not a text"
        return "ssh-key-unreadable", f"is neither a public key nor a file that can be read ({reason})"
    if _PRIVATE in content or content.startswith(_PUTTY):
        return "ssh-key-private", "is the file of a private key; only its public half is registered"
    lines = [line for line in content.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or not all(map(is_line, lines)):
        return "no-ssh-key", "is a file with no public key in it"
    for line in lines:
        if problem := line_problem(line):
            return problem[0], f"is a file of which a line {problem[1]}"
    return None


def private_file_problem(path: Path) -> tuple[str, str, str] | None:
    """Say why ssh would not log in with the file at ``path``: the rule's id, the rule, what would work; None: it would.

    Nothing of the file is told.
    """
    key = "key: ~/.ssh/id_ed25519"
    content = _content(path)
    if not isinstance(content, str) and content.errno is not None:
        return "ssh-key-unreadable", f"no such file, or not to be read: {path}", f'{key}, or key: ""'
    if not isinstance(content, str):
        return "no-ssh-key", "is no file of a private key", key
    if content.startswith(_PUTTY):
        typed = f"puttygen {path.name} -O private-openssh -o {path.stem}"
        return "ssh-key-putty", "is a key in PuTTY's form, which ssh cannot read", f"what this makes of it: {typed}"
    if is_line(content.strip().partition("\n")[0]) or (_PUBLIC in content.upper() and _PRIVATE not in content):
        private = f"key: {path.with_suffix('')}" if path.suffix == ".pub" else key
        return "ssh-key-public", "is the public half of a key; ssh logs in with the private one", private
    if _PRIVATE not in content:
        return "no-ssh-key", "is no file of a private key", key
    status = path.stat()
    if status.st_uid == os.getuid() and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        what = f"may be read by others (mode {mode:04o}), and ssh takes no such key"
        return "ssh-key-mode", what, f"it after: chmod 600 {path}"
    return None


def _content(path: Path) -> str | OSError:
    """Read a text; an error without a number where it is none."""
    try:
        # Of a name that is too long even this cannot be asked.
        if path.exists() and not path.is_file() and not path.is_dir():
            return OSError()  # a pipe, of which the end would be waited for
        with path.open("rb") as file:
            return file.read(_MOST).decode("utf-8")
    except OSError as exc:
        return exc
    except ValueError:
        return OSError()
