"""Where the package is installed: a copy of this machine that is thrown away, or the machine itself.

The copy is an overlay over / in namespaces of its own (mounts, processes, network): what is installed there, and what
listens there, nobody else sees.
"""

import ctypes
import fcntl
import os
import pathlib
import resource
import shutil
import signal
import socket
import struct
import subprocess
import time

from packages.contents import Failed
from packages.unit import Unit

NAMESPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private"]
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

COMMAND_SECONDS_MAX = 120
START_SECONDS_MAX = 30

# <linux/prctl.h>, <linux/sockios.h>, <net/if.h>
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

# Everything but the state directory read-only, nobody's home, temporary files of its own: as the unit says.
SANDBOX = """
set -e
root=$1; shift
mount --bind "$root/var/lib/postrider" "$root/var/lib/postrider"
mount -o remount,bind,ro "$root"
for folder in tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"; done
for folder in home root; do mount -t tmpfs -o mode=0755,ro tmpfs "$root/$folder"; done
exec chroot "$root" "$@"
"""


def can_be_copied() -> bool:
    """Whether namespaces and overlays are to be had: as root, on most machines."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    script = "mount -t tmpfs tmpfs /tmp && mkdir /tmp/upper /tmp/work /tmp/root && "
    script += "mount -t overlay overlay -o lowerdir=/,upperdir=/tmp/upper,workdir=/tmp/work /tmp/root"
    return subprocess.run([*NAMESPACES, "bash", "-c", script], capture_output=True).returncode == 0


def copy(folder: pathlib.Path) -> "Machine":
    """In NAMESPACES. folder: an empty one, for what changes; it goes with the test."""
    if not _overlay(folder):
        # No overlay stands on another one, as in a container: then what changes is in memory.
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        if not _overlay(folder):
            raise Failed("there is no overlay to be had")
    root = folder / "root"
    subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
    subprocess.run(["mount", "--rbind", "/dev", root / "dev"], check=True)
    for name in ("tmp", "run"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / name], check=True)
    # As its package does it where nobody wants it: man-db indexes all pages again after each installation.
    (root / "var/lib/man-db/auto-update").unlink(missing_ok=True)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    return Machine(root)


def _overlay(folder: pathlib.Path) -> bool:
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    options = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
    command = ["mount", "-t", "overlay", "overlay", "-o", options, folder / "root"]
    return subprocess.run(command, capture_output=True).returncode == 0


class Machine:
    """root: its /, as it is seen from here."""

    def __init__(self, root: pathlib.Path):
        self.root = root

    def path(self, name: str) -> pathlib.Path:
        return self.root / name.lstrip("/")

    def run(self, command: list[str], given: bytes = b"", codes=(0,)) -> str:
        """Returns what it wrote to both outputs."""
        done = subprocess.run(
            ["chroot", str(self.root), *command],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS_MAX,
            env={**ENVIRONMENT, "DEBIAN_FRONTEND": "noninteractive"},
        )
        text = done.stdout.decode(errors="replace")
        if done.returncode not in codes:
            raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{text}")
        return text

    def start(self, unit: Unit, log: pathlib.Path, calls: str | None = None) -> "Service":
        """calls: a file on this machine that gets a table of the system calls, where strace is to be had."""
        account = [f"--reuid={unit.one('User')}", f"--regid={unit.one('Group')}", "--init-groups"]
        rights = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        traced = ["strace", "-f", "-c", "-qq", "-o", calls] if calls else []
        command = ["setpriv", *account, *rights, "--", *traced, *unit.command()]

        def limit() -> None:
            os.umask(int(unit.one("UMask"), 8))
            files = open_files(unit)
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if unit.one("MemoryDenyWriteExecute") == "yes":
                # Linux 6.3; without it this is not tested.
                ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)

        with open(log, "ab") as output:
            process = subprocess.Popen(
                ["unshare", "--mount", "--propagation=private", "sh", "-c", SANDBOX, "sh", str(self.root), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=ENVIRONMENT,
                preexec_fn=limit,
            )
        return Service(process, log, is_traced=calls is not None)


def open_files(unit: Unit) -> int:
    """What the unit says, or as much of it as this test may give (in a container it may not raise its own limit)."""
    return min(unit.number("LimitNOFILE"), resource.getrlimit(resource.RLIMIT_NOFILE)[1])


class Service:
    """A process of the unit."""

    def __init__(self, process: subprocess.Popen, log: pathlib.Path, is_traced: bool):
        self._process, self._log, self._is_traced = process, log, is_traced

    @property
    def pid(self) -> int:
        """Of the program itself, not of who traces it."""
        first = self._process.pid
        if not self._is_traced:
            return first
        children = pathlib.Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return int(children[0]) if children else first

    def wait_until_ready(self, is_ready) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not is_ready():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                raise Failed(f"the service does not start (exit code {code})\n{self._log.read_text()}")
            time.sleep(0.05)

    def stop(self, seconds: int) -> None:
        """SIGTERM, and it has to end well within the time that the unit gives it."""
        os.kill(self.pid, signal.SIGTERM)
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"still there {seconds} s after SIGTERM\n{self._log.read_text()}") from None
        if code != 0:
            raise Failed(f"exit code {code} after SIGTERM\n{self._log.read_text()}")

    def abandon(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
