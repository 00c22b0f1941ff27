"""Which attacks there are, how each is run, and what its output says."""

import dataclasses
import os
import re
import sys

from attacks.under_load import BUFFERING, SKIPPED

SECONDS_MAX = 1800
NOTHING_BROKEN = "lost=0 duplicated=0 reordered=0"


@dataclasses.dataclass(frozen=True)
class Verdict:
    line: str
    is_broken: bool


@dataclasses.dataclass(frozen=True)
class Attack:
    """One row of the plan; `short` and `full` are how much: kills, seconds or seeds. None: not in the short form."""

    name: str
    short: int | None
    full: int
    needs_gateway = False
    is_swift_test = False

    def amount(self, is_short):
        return self.short if is_short else self.full

    def environment(self, seed, is_short):
        return {**os.environ, "PYTHONPATH": "Scripts"}


@dataclasses.dataclass(frozen=True)
class UnderLoad(Attack):
    """A program that prints its counts as the last line, and `skipped: reason` with status 77."""

    words: tuple = ()
    settings: tuple = ()
    needs_gateway = True

    def command(self, binary, seed, is_short):
        amount = ("--kills" if "Scripts/crash-test" in self.words else "--seconds", self.amount(is_short))
        settings = [word for setting in self.settings for word in ("--set", setting)]
        return [*self.words, "--binary", binary, "--seed", seed, *amount, *settings]

    def read(self, status, output):
        last = output.strip().splitlines()[-1:] or ["no output"]
        if status == SKIPPED:
            return Verdict(last[0], False)
        # A run that broke nothing, but could not end, is broken as well.
        is_broken = status != 0 or NOTHING_BROKEN not in last[0] or not re.search(r"\backed=[1-9]", last[0])
        return Verdict(last[0] if status == 0 else f"{last[0]}  FAILED with status {status}", is_broken)


@dataclasses.dataclass(frozen=True)
class SwiftTest(Attack):
    """A suite that prints its counts as `key=value`, in lower case, on lines that begin with `says`."""

    suite: str = ""
    says: str = ""
    is_swift_test = True

    def command(self, binary, seed, is_short):
        return ["swift", "test", "--skip-build", "--filter", self.suite]

    def environment(self, seed, is_short):
        return {
            **super().environment(seed, is_short),
            "POSTRIDER_TEST_SEED": str(seed),
            "POSTRIDER_TEST_SEEDS": str(self.amount(is_short)),
        }

    def read(self, status, output):
        ran = re.findall(r"Test run with (\d+) test", output)
        if status == 0 and (not ran or ran[-1] == "0"):
            return Verdict(f"skipped: there is no test {self.suite}", False)
        if status != 0:
            return Verdict(f"FAILED with status {status}", True)
        counts = {}
        for line in output.splitlines():
            if line.startswith(self.says):
                for name, number in re.findall(r"\b([a-z_]+)=(\d+)", line):
                    counts[name] = counts.get(name, 0) + int(number)
        told = " ".join(f"{name}={number}" for name, number in counts.items())
        if not any(counts.values()):
            return Verdict("FAILED: it says of nothing that it did it", True)
        return Verdict(f"tests={ran[-1]} {told} {NOTHING_BROKEN}", False)


@dataclasses.dataclass(frozen=True)
class Fuzz(Attack):
    """libFuzzer on the codec model's damage; it needs a build of its own."""

    def command(self, binary, seed, is_short):
        return ["Scripts/fuzz-journal", "--seconds", self.amount(is_short), "--seed", seed]

    def read(self, status, output):
        last = output.strip().splitlines()[-1:] or ["no output"]
        if status == SKIPPED:
            return Verdict(last[0], False)
        is_broken = status != 0 or NOTHING_BROKEN not in last[0] or not re.search(r"\binputs=[1-9]", last[0])
        return Verdict(last[0] if status == 0 else f"{last[0]}  FAILED with status {status}", is_broken)


MODULE = (sys.executable, "-m")
PRIVATE_MOUNTS = ("unshare", "--mount", "--propagation", "private")
INTERVAL = (BUFFERING,)

ATTACKS = (
    SwiftTest("codec", 1, 1, suite="CodecModel", says="codec model"),
    SwiftTest("simulation", 2_000, 4_000, suite="Simulation", says="simulation"),
    Fuzz("fuzz", None, 40),
    UnderLoad("signals", 8, 18, words=("Scripts/crash-test", "--freeze")),
    UnderLoad("interval", 6, 15, words=("Scripts/crash-test", "--freeze"), settings=INTERVAL),
    UnderLoad("keys", 3, 15, words=("Scripts/crash-test", "--retry", "key")),
    UnderLoad("sequences", 3, 15, words=("Scripts/crash-test", "--retry", "sequence", "--freeze")),
    UnderLoad("syscalls", 30, 90, words=(*MODULE, "attacks.syscalls")),
    UnderLoad("filesystem", 10, 40, words=(*PRIVATE_MOUNTS, *MODULE, "attacks.filesystem")),
    UnderLoad("buffered", 8, 25, words=(*PRIVATE_MOUNTS, *MODULE, "attacks.filesystem"), settings=INTERVAL),
)
