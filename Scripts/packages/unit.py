"""What a systemd unit says, as far as the test of the package does it without systemd."""

import pathlib
import shlex
import subprocess


class Unit:
    def __init__(self, text: str):
        self.values: dict[str, list[str]] = {}
        for line in text.splitlines():
            name, equals, value = line.partition("=")
            if equals and not line.startswith(("#", ";")):
                self.values.setdefault(name.strip(), []).append(value.strip())

    def one(self, name: str) -> str:
        """The value that counts: the last."""
        return self.values[name][-1]

    def number(self, name: str) -> int:
        return int(self.one(name))

    def command(self) -> list[str]:
        return shlex.split(self.one("ExecStart"))


def allowed_calls(names: list[str]) -> set[str]:
    """System calls that SystemCallFilter= lets through, with its groups spread out."""
    text = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], check=True, capture_output=True, text=True
    ).stdout
    return spread(names, groups(text))


def groups(text: str) -> dict[str, list[str]]:
    """text: what `systemd-analyze syscall-filter` prints."""
    found: dict[str, list[str]] = {}
    members: list[str] = []
    for line in text.splitlines():
        word = line.strip()
        if line.startswith("@"):
            members = found.setdefault(word, [])
        elif line.startswith(" ") and word and not word.startswith("#"):
            members.append(word)
    return found


def spread(names: list[str], groups: dict[str, list[str]]) -> set[str]:
    calls: set[str] = set()
    for name in names:
        if name.startswith("@"):
            calls |= spread(groups[name], groups)
        else:
            calls.add(name)
    return calls


def used_calls(summary: str) -> set[str]:
    """summary: the table of `strace -c`."""
    calls = set()
    for line in summary.splitlines():
        words = line.split()
        if len(words) >= 5 and words[0].replace(".", "").isdigit() and words[-1] != "total":
            calls.add(words[-1])
    return calls


def read(path: pathlib.Path) -> Unit:
    return Unit(path.read_text())
