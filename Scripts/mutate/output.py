"""What a run of Swift Testing says while it goes on."""

import dataclasses
import re
import signal

ISSUE = re.compile(r"^\S+ Test (?P<test>.+?) recorded an issue\b(?P<rest>.*)")
STARTED = re.compile(r"^\S+ Test (?P<test>.+) started\.$")
ENDED = re.compile(r"^\S+ Test (?P<test>.+?)(?: with \d+ test cases?)? (?:passed|failed|skipped)\b")
RAN = re.compile(r"^\S+ Test run with (?P<tests>\d+) tests?\b.* passed after")
PLACE = re.compile(r"\bat (?P<place>[\w+]+\.swift:\d+):\d+: ")
FATAL = re.compile(r"Fatal error|Precondition failed|Assertion failed")
# Not the name of a test: "Test run started.", "Test case passing 1 argument … started."
NO_TEST = re.compile(r"^(?:run\b|case passing\b)")
NAMED_MAX = 3


@dataclasses.dataclass
class Output:
    """Takes the lines one by one."""

    # The first test that failed, with its place; None as long as there is none.
    failure: str = None
    # Tests of the whole run, from its last line; 0 until then or when the run did not pass.
    passed: int = 0
    # The line with which the process said why it ended itself.
    fatal: str = None
    running: list = dataclasses.field(default_factory=list)

    def take(self, line):
        line = line.rstrip("\n")
        if match := ISSUE.match(line):
            if self.failure is None:
                place = PLACE.search(match["rest"])
                self.failure = match["test"] + (f" ({place['place']})" if place else "")
        elif match := RAN.match(line):
            self.passed = int(match["tests"])
        elif match := STARTED.match(line):
            if not NO_TEST.match(match["test"]):
                self.running.append(match["test"])
        elif match := ENDED.match(line):
            if match["test"] in self.running:
                self.running.remove(match["test"])
        elif self.fatal is None and FATAL.search(line):
            self.fatal = line.strip()

    def verdict(self, status, timed_out):
        """What caught the mutation, or None when everything passed.

        status: of the process, as subprocess gives it; of no meaning after a failure, when the run is stopped.
        """
        if self.failure is not None:
            return self.failure
        during = ", ".join(self.running[:NAMED_MAX]) or "no test"
        if timed_out:
            return f"the time limit, during {during}"
        if status < 0:
            reason = f": {self.fatal}" if self.fatal else ""
            return f"a crash ({signal.Signals(-status).name}), during {during}{reason}"
        if status > 0:
            return f"exit status {status}, during {during}"
        if self.passed == 0:
            raise NothingRan("no test ran")
        return None


class NothingRan(Exception):
    """A pattern that matches nothing would let every mutation survive."""
