"""A package's life on a machine: installed, run, installed again, removed, purged. Each step says what has to hold."""

import http.client
import pathlib
import shutil
import stat

from packages import unit
from packages.contents import STATE_DIRECTORY, Failed
from packages.machine import Machine, open_files

PROGRAM = "/usr/bin/postrider"
SETTINGS = "/etc/postrider/postrider.yaml"
UNIT = "/usr/lib/systemd/system/postrider.service"
SPOOL = f"{STATE_DIRECTORY}/data/spool"
# That of the defaults.
PORT = 8080

# (What dpkg syncs is not what is tested.)
INSTALL = ["dpkg", "--force-unsafe-io", "--install"]

# Of 10 (worst); what `systemd-analyze security` calls safe enough is below 5, and OK below 2.
EXPOSURE_MAX = 2.0


def check(holds: object, what: str) -> None:
    if not holds:
        raise Failed(what)


class Lifecycle:
    def __init__(self, machine: Machine, package: pathlib.Path, folder: pathlib.Path):
        """package: seen from here; folder: for the service's log."""
        self.machine, self.log = machine, folder / "log"
        self.package = "/tmp/postrider.deb"
        shutil.copy(package, machine.path(self.package))
        self.notes: list[str] = []

    def run(self) -> None:
        """Throws Failed at the first thing that does not hold."""
        try:
            self._all()
        finally:
            self.machine.path(self.package).unlink()

    def _all(self) -> None:
        machine = self.machine
        check(not machine.path(STATE_DIRECTORY).exists(), f"there is a {STATE_DIRECTORY} already")
        check(not machine.path(PROGRAM).exists(), "postrider is installed already")
        said = machine.run([*INSTALL, self.package])
        check("systemctl enable --now postrider" in said, f"the installation does not say how to go on: {said}")
        self._is_as_meant()
        self._unit_is_good()
        self._serves(traced=True)
        settings = machine.path(SETTINGS)
        settings.write_text(settings.read_text() + "# Changed by the administrator.\n")
        machine.run([*INSTALL, self.package])
        check("administrator" in settings.read_text(), "installing again lost a change of the settings")
        self._stays_when_removed()
        machine.run([*INSTALL, self.package])
        self._serves(traced=False)
        self._stays_when_purged()
        self._leaves_nothing_when_it_held_nothing()

    def _is_as_meant(self) -> None:
        machine = self.machine
        check(machine.run(["dpkg", "--verify", "postrider"]) == "", "files differ from those of the package")
        account = machine.run(["getent", "passwd", "postrider"]).strip().split(":")
        check(int(account[2]) < 1000, f"{account}: no account of the system")
        check(account[5] == STATE_DIRECTORY and account[6] == "/usr/sbin/nologin", f"account: {account}")
        for path, owner, mode in [
            (STATE_DIRECTORY, ("postrider", "postrider"), 0o750),
            (SETTINGS, ("root", "postrider"), 0o640),
            (PROGRAM, ("root", "root"), 0o755),
        ]:
            self._has_mode(path, owner, mode)
        check(not list(machine.path(STATE_DIRECTORY).iterdir()), "an installation starts nothing")
        links = machine.path("/etc/systemd/system/multi-user.target.wants/postrider.service")
        check(not links.is_symlink(), "an installation enables nothing")
        account = ["setpriv", "--reuid=postrider", "--regid=postrider", "--clear-groups", "--"]
        said = machine.run([*account, PROGRAM, "config", "check", "--config", SETTINGS])
        for line in (f"data_dir={STATE_DIRECTORY}/data", "log.format=json"):
            check(line in said, f"config check does not say {line}: {said}")
        machine.run(["bash", "-n", "/usr/share/bash-completion/completions/postrider"])
        if machine.path("/usr/bin/man").exists():
            check("POSTRIDER(1)" in machine.run(["man", "postrider"]), "there is no manual page")

    def _has_mode(self, path: str, owner: tuple[str, str], mode: int) -> None:
        found = self.machine.path(path).stat()
        ids = self.machine.run(["stat", "-c", "%U %G", path]).split()
        check(tuple(ids) == owner, f"{path} belongs to {ids}")
        check(stat.S_IMODE(found.st_mode) == mode, f"{path} has mode {stat.S_IMODE(found.st_mode):o}")

    def _unit_is_good(self) -> None:
        if not self.machine.path("/usr/bin/systemd-analyze").exists():
            self.notes.append("the unit was not looked at, there is no systemd-analyze here")
            return
        said = self.machine.run(["systemd-analyze", "verify", "--man=no", UNIT])
        check("postrider" not in said, f"systemd-analyze verify: {said}")
        said = self.machine.run(
            ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={EXPOSURE_MAX * 10:.0f}", UNIT]
        )
        self.notes.append(said.strip().splitlines()[-1].strip())

    def _serves(self, traced: bool) -> None:
        """Started as the unit says: takes a record and gives it, then stops."""
        machine = self.machine
        settings = unit.read(machine.path(UNIT))
        calls = None
        if traced and shutil.which("strace") and shutil.which("systemd-analyze"):
            calls = f"{STATE_DIRECTORY}/calls"
        service = machine.start(settings, self.log, calls)
        try:
            service.wait_until_ready(is_ready)
            self._process_is_as_the_unit_says(service.pid, settings)
            if traced:
                machine.run([PROGRAM, "produce", "orders", "--wait", "20"], given=b"hello\n")
            # The second time by a consumer of its own: it finds what was there before the package was removed.
            name = "first" if traced else "second"
            said = machine.run([PROGRAM, "consume", "orders", "--consumer", name, "--format", "value", "--wait", "1"])
            check("hello" in said.splitlines(), f"consumed: {said}")
            machine.run([PROGRAM, "status", "--json"])
            service.stop(settings.number("TimeoutStopSec"))
        finally:
            service.abandon()
        if calls:
            used = unit.used_calls(machine.path(calls).read_text())
            machine.path(calls).unlink()
            refused = used - unit.allowed_calls(settings.one("SystemCallFilter").split())
            check("pwrite64" in used, f"strace saw {used}")
            check(not refused, f"SystemCallFilter= refuses {refused}")
            self.notes.append(f"{len(used)} system calls, all of them allowed")
        elif traced:
            self.notes.append("system calls were not held against the unit, there is no strace or systemd-analyze here")

    def _process_is_as_the_unit_says(self, pid: int, settings: unit.Unit) -> None:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        account = self.machine.run(["id", "-u", "postrider"]).strip()
        none = "0" * 16
        for line in (f"Uid:\t{account}\t", "NoNewPrivs:\t1\n", f"CapBnd:\t{none}\n", f"CapEff:\t{none}\n"):
            check(line in status, f"no {line!r} in {status}")
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        check(f"Max open files            {open_files(settings)} " in limits, limits)
        check(self.machine.path(SPOOL).is_dir(), f"there is no {SPOOL}")

    def _stays_when_removed(self) -> None:
        before = tree(self.machine.path(STATE_DIRECTORY))
        check(any(name.endswith(".seg") for name in before), f"no segment in {before}")
        self.machine.run(["dpkg", "--remove", "postrider"])
        check(not self.machine.path(PROGRAM).exists(), "the program is still there")
        check(self.machine.path(SETTINGS).exists(), "removing took the settings")
        check(tree(self.machine.path(STATE_DIRECTORY)) == before, "removing changed the data")

    def _stays_when_purged(self) -> None:
        before = tree(self.machine.path(STATE_DIRECTORY))
        said = self.machine.run(["dpkg", "--purge", "postrider"])
        check(f"{STATE_DIRECTORY} is left" in said, f"a purge does not say what it leaves: {said}")
        check(tree(self.machine.path(STATE_DIRECTORY)) == before, "a purge changed the data")
        check(not self.machine.path("/etc/postrider").exists(), "a purge leaves settings")
        self._has_mode(STATE_DIRECTORY, ("postrider", "postrider"), 0o750)

    def _leaves_nothing_when_it_held_nothing(self) -> None:
        shutil.rmtree(self.machine.path(STATE_DIRECTORY))
        self.machine.run([*INSTALL, self.package])
        # An administrator may remove the settings, too: an upgrade leaves it at that.
        self.machine.path(SETTINGS).unlink()
        self.machine.run([*INSTALL, self.package])
        check(not self.machine.path(SETTINGS).exists(), "installing again brought removed settings back")
        self.machine.run(["dpkg", "--purge", "postrider"])
        check(not self.machine.path(STATE_DIRECTORY).exists(), "a purge leaves an empty directory")


def is_ready() -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def tree(folder: pathlib.Path) -> dict[str, int]:
    """Each file with its length."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
