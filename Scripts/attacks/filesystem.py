"""A real file system crashes under a running gateway: ext4 in an image is shut down without writing anything back.

    unshare --mount --propagation private python3 -m attacks.filesystem --binary PATH --seed N --seconds S

EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (Linux, fs/ext4/ioctl.c) takes everything that was not synced, the
file system's own journal included, as a power failure does. Then it is unmounted, its journal is replayed by mounting
it again, and the gateway starts on what is there. Exit status 77: no loop devices, or no rights, here.
"""

import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

from attacks import under_load
from crashtest import gateway

# _IOR('X', 125, __u32)
EXT4_IOC_SHUTDOWN = 2 << 30 | 4 << 16 | ord("X") << 8 | 125
GOING_NOLOGFLUSH = 2
IMAGE_BYTES = 1 << 30
LIFE_SECONDS = (0.5, 3.0)
# What the gateway may take to notice.
LAST_SECONDS = 0.3
CRASHES_MAX = 100_000


class Disk:
    """ext4 in a file, mounted at a directory."""

    def __init__(self, directory, image_bytes=IMAGE_BYTES):
        self._image = directory / "image"
        self._image_bytes = image_bytes
        self.path = directory / "disk"

    def make(self):
        self.path.mkdir()
        with open(self._image, "wb") as image:
            image.truncate(self._image_bytes)
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", self._image)
        self.mount()

    def mount(self):
        _run("mount", "-o", "loop", self._image, self.path)

    def crash(self):
        """From here on nothing reaches the image, and every call fails."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", GOING_NOLOGFLUSH))
        finally:
            os.close(descriptor)

    def unmount(self):
        _run("umount", self.path)

    def check(self):
        """What the file system says of itself, while it is not mounted. Its journal was replayed by the last mount."""
        _run("e2fsck", "-f", "-n", self._image)


def _run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{command[0]}: status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")


def is_allowed():
    """Tries all of it on a small scale. Returns why not."""
    for tool in ("mkfs.ext4", "mount", "umount", "e2fsck"):
        if shutil.which(tool) is None:
            return f"there is no {tool}"
    with tempfile.TemporaryDirectory(dir=under_load.ROOT / ".build") as directory:
        disk = Disk(pathlib.Path(directory))
        try:
            disk.make()
        except OSError as refused:
            return str(refused)
        try:
            disk.crash()
        except OSError as refused:
            return f"EXT4_IOC_SHUTDOWN: {refused}"
        finally:
            disk.unmount()
    return None


def crash_again_and_again(disk, seconds, server, load, chance):
    deadline = time.monotonic() + seconds
    counts = {"crashes": 0, "ended_itself": 0}
    lost = []
    while time.monotonic() < deadline and counts["crashes"] < CRASHES_MAX:
        server.start()
        status = server.live(chance.uniform(*LIFE_SECONDS))
        if status is not None:
            raise gateway.Failed(f"ended by itself with status {status}\n{server.log_tail()}")
        # What was asked for before counts for nothing when it is answered after: a real power failure takes the process
        # and its answers with it, while here a sync that is under way when the journal of ext4 is aborted may return
        # 0 for what is gone. A sync that begins once the call has returned cannot.
        lost.append(load.book.power_goes())
        disk.crash()
        load.book.power_is_gone()
        server.live(LAST_SECONDS)
        status = server.end()
        load.book.power_returns()
        under_load.check_status(status, server)
        counts["ended_itself"] += status > 0
        disk.unmount()
        disk.mount()
        counts["crashes"] += 1
        load.check()
        under_load.say(f"crash {counts['crashes']}: the gateway ended with {status}")
    return counts, lost


def main():
    options = under_load.parser(__doc__).parse_args()
    (under_load.ROOT / ".build").mkdir(exist_ok=True)
    reason = is_allowed()
    if reason:
        print(f"skipped: {reason}", flush=True)
        return under_load.SKIPPED
    disks = []

    def make_server(directory, arguments):
        disk = Disk(directory)
        disk.make()
        disks.append(disk)
        return under_load.Victim(options.binary, disk.path / "data", directory / "gateway.log", arguments)

    def attack(server, load, chance):
        return crash_again_and_again(disks[0], options.seconds, server, load, chance)

    def tear_down():
        for disk in disks:
            disk.unmount()
            disk.check()

    settled = under_load.FORGOTTEN if under_load.BUFFERING in options.settings else ()
    return under_load.run(options, "filesystem", make_server, attack, settled, tear_down)


if __name__ == "__main__":
    sys.exit(main())
