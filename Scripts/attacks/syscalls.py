"""Real system calls of a running gateway fail, or kill it, at the Nth call of a thread: strace injects them.

    python3 -m attacks.syscalls --binary PATH --seed N --seconds S [--set KEY=VALUE]...

Each life of the gateway meets one fault at one N and ends by it, or by SIGKILL; its clients never notice but by their
answers. The last start has no faults, and everything is compared. Exit status 77: ptrace is not allowed here.
"""

import contextlib
import dataclasses
import itertools
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from attacks import under_load
from crashtest import gateway

# By what the journal and SQLite use them for; the N of a thread goes up to the number, and on once around.
CALLS = {
    "fdatasync": 60,
    "pwrite64": 80,
    "openat": 40,
    "rename": 8,
    "fallocate": 8,
    "unlink": 8,
    "fsync": 8,
}
FAULTS = ("error=EIO", "error=ENOSPC", "signal=KILL")
LIFE_SECONDS = (0.3, 1.0)
# Of each pair a few lives, so that the N of all pairs grow together.
ROUNDS_MAX = 1000


@dataclasses.dataclass(frozen=True)
class Fault:
    call: str
    what: str
    number: int

    @property
    def kills(self):
        return self.what.startswith("signal")

    @property
    def expression(self):
        return f"inject={self.call}:{self.what}:when={self.number}"


def sweep():
    """Every pair of call and fault again and again, with a greater N each time: 1, 2, 3, 5, 8 … up to the call's."""
    numbers = [1, 2, 3, 5, 8, 13, 21, 34, 55]
    for turn in range(ROUNDS_MAX):
        for call, what in itertools.product(CALLS, FAULTS):
            some = [number for number in numbers if number <= CALLS[call]] + [CALLS[call]]
            yield Fault(call, what, some[turn % len(some)])


class Traced(under_load.Victim):
    """Under strace while `fault` is set."""

    fault = None
    trace = None

    def command(self):
        served = super().command()
        if self.fault is None:
            return served
        # With it only the calls concerned stop for strace; but strace 6.1 then has signals for the first call only.
        filtered = [] if self.fault.kills else ["--seccomp-bpf"]
        return [
            "strace", "-f", *filtered, "-q", "-o", str(self.trace), "-e", f"trace={self.fault.call}",
            "-e", "signal=none", "-e", self.fault.expression, "--", *served,
        ]

    def kill_traced(self):
        """The gateway, not strace: strace then ends as it did. Nothing is left behind when this returns."""
        self.up.clear()
        pid = self._process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            for child in children.read().split():
                subprocess.run(["kill", "-KILL", child], check=False, stderr=subprocess.DEVNULL)
        return self._process.wait(gateway.STOP_SECONDS_MAX)


def hits(trace, fault, status):
    """How often the fault was met, as strace wrote it; a signal is told by the death alone."""
    if fault.kills:
        return int(status is not None and status < 0)
    return len(re.findall(r"\(INJECTED\)", trace))


def is_allowed():
    if shutil.which("strace") is None:
        return "there is no strace"
    with tempfile.NamedTemporaryFile() as trace:
        tried = subprocess.run(
            ["strace", "-f", "--seccomp-bpf", "-o", trace.name, "-e", "inject=fsync:error=EIO", "true"],
            capture_output=True, text=True, check=False,
        )
    return None if tried.returncode == 0 else f"strace cannot trace here: {tried.stderr.strip()[-200:]}"


@contextlib.contextmanager
def attached(pid, expression, trace):
    """What the expression says befalls the calls of a process that runs already, and of all its threads, meanwhile.
    Raises OSError where that is not allowed. trace: a file for strace, which ends when the process does."""
    call = expression.split("=")[1].split(":")[0]
    command = ["strace", "-f", "-o", trace, "-e", f"trace={call}", "-e", "signal=none", "-e", expression, "-p", pid]
    strace = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        # It says so of each thread, once all of them are its own.
        said = strace.stderr.readline().decode(errors="replace")
        if "attached" not in said or strace.poll() is not None:
            raise OSError(f"strace cannot attach here: {said.strip()}")
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.communicate()


def inject_again_and_again(seconds, server, load, chance):
    met = {(call, what): 0 for call in CALLS for what in FAULTS}
    deadline = time.monotonic() + seconds
    lives = 0
    for fault in sweep():
        if time.monotonic() > deadline:
            break
        lives += 1
        server.fault = fault
        server.start()
        status = server.live(chance.uniform(*LIFE_SECONDS))
        if status is None:
            server.kill_traced()
        under_load.check_status(status, server)
        found = hits(server.trace.read_text(errors="replace"), fault, status)
        met[fault.call, fault.what] += found
        under_load.say(f"{fault.expression}: met {found} times, ended with {status}")
        load.check()
    server.fault = None
    never = [f"{call}:{what}" for (call, what), found in met.items() if not found]
    if never and lives >= len(met):
        raise gateway.Failed(f"never met: {', '.join(never)}")
    counts = {"lives": lives, "faults": sum(met.values())}
    for name, what in (("eio", "error=EIO"), ("enospc", "error=ENOSPC"), ("kill", "signal=KILL")):
        counts[name] = sum(found for (_, met_what), found in met.items() if met_what == what)
    if not all(counts.values()):
        raise gateway.Failed(f"a kind of fault was never met: {counts}")
    return counts, ()


def main():
    options = under_load.parser(__doc__).parse_args()
    reason = is_allowed()
    if reason:
        print(f"skipped: {reason}", flush=True)
        return under_load.SKIPPED

    def make_server(directory, arguments):
        server = Traced(options.binary, directory / "data", directory / "gateway.log", arguments)
        server.trace = directory / "strace.out"
        return server

    def attack(server, load, chance):
        return inject_again_and_again(options.seconds, server, load, chance)

    return under_load.run(options, "syscalls", make_server, attack)


if __name__ == "__main__":
    sys.exit(main())
