"""What clients saw: every answer by call, status and code, and what was wrong with the refusals themselves."""

import collections
import dataclasses
import json
import re
import threading

# These tell the client when to come again (docs/API.md, Errors).
RETRIED_LATER = (429, 503, 507)
RETRY_AFTER_SECONDS = range(1, 301)
FAULTS_MAX = 10
# Shorter ones are left out of the lines for people.
SHOWN_SECONDS_MIN = 0.5
NO_ANSWER = "no answer"
CALLS = (
    ("produce", re.compile(r"POST /v1/topics/[^/]+(/records)?$")),
    ("poll", re.compile(r"POST /v1/consumers/[^/]+/poll$")),
    ("ack", re.compile(r"POST /v1/consumers/[^/]+/acks$")),
)


@dataclasses.dataclass(frozen=True, order=True)
class Kind:
    """Answers that are one line. code: of a problem; empty for others."""

    call: str
    status: int
    code: str = ""


@dataclasses.dataclass
class Answers:
    count: int = 0
    longest_seconds: float = 0.0
    retry_after: set = dataclasses.field(default_factory=set)


class Witness:
    """Told by many threads. What it saw is kept by phase of the scene, in the order of phases."""

    def __init__(self):
        self._lock = threading.Lock()
        self._phases = {}
        self._now = None
        self._faults = []

    def phase(self, name):
        """What is seen from now on is of this phase."""
        with self._lock:
            self._now = self._phases.setdefault(name, collections.defaultdict(Answers))

    def saw(self, method, path, response, body, seconds):
        """response: http.client.HTTPResponse; None: there was no answer."""
        status = response.status if response is not None else 0
        problem = problem_of(body) if status >= 400 else {}
        kind = Kind(call_of(method, path), status, str(problem.get("code", "")))
        later = response.getheader("Retry-After") if response is not None else None
        with self._lock:
            if self._now is None:
                return
            answers = self._now[kind]
            answers.count += 1
            answers.longest_seconds = max(answers.longest_seconds, seconds)
            if later is not None and later.isdecimal():
                answers.retry_after.add(int(later))
            fault = fault_of(kind, problem, later)
            if fault and fault not in self._faults and len(self._faults) < FAULTS_MAX:
                self._faults.append(fault)

    def faults(self):
        """Refusals that did not say what they have to say."""
        with self._lock:
            return list(self._faults)

    def count(self, phase, call=None, status=None, code=None):
        """Answers of a phase; None: whichever."""
        with self._lock:
            return sum(
                answers.count for kind, answers in self._phases.get(phase, {}).items()
                if call in (None, kind.call) and status in (None, kind.status) and code in (None, kind.code)
            )

    def accepted(self, phase):
        return self.count(phase, "produce", 202) + self.count(phase, "produce", 200)

    def refused(self, phase):
        """Requests to produce that got an answer, and were not accepted. (One that is in flight is asked again.)"""
        with self._lock:
            return sum(
                answers.count for kind, answers in self._phases.get(phase, {}).items()
                if kind.call == "produce" and kind.status >= 400 and not kind.code.endswith("_in_flight")
            )

    def phases(self):
        with self._lock:
            return list(self._phases)

    def lines(self):
        """For people: a line for each phase and call."""
        with self._lock:
            lines = []
            for phase, seen in self._phases.items():
                for call in sorted({kind.call for kind in seen}):
                    told = [text(kind, seen[kind]) for kind in sorted(seen) if kind.call == call]
                    lines.append(f"{phase}: {call} {', '.join(told)}")
            return lines


def call_of(method, path):
    target = f"{method} {path.split('?')[0]}"
    return next((name for name, pattern in CALLS if pattern.match(target)), target)


def problem_of(body):
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def fault_of(kind, problem, retry_after):
    """What a refusal lacks; None: nothing."""
    name = f"{kind.call} {kind.status} {kind.code}".strip()
    if kind.status in RETRIED_LATER and problem.get("retryable") is not False:
        if retry_after is None or not retry_after.isdecimal() or int(retry_after) not in RETRY_AFTER_SECONDS:
            return f"{name}: Retry-After is {retry_after}"
    if kind.call == "produce" and kind.status >= 400 and problem.get("outcome") not in ("not_accepted", "unknown"):
        return f"{name}: the outcome is {problem.get('outcome')}"
    return None


def text(kind, answers):
    name = f"{kind.status} {kind.code}".strip() if kind.status else NO_ANSWER
    more = []
    if answers.retry_after:
        least, most = min(answers.retry_after), max(answers.retry_after)
        more.append(f"Retry-After {least}" if least == most else f"Retry-After {least} to {most}")
    if answers.longest_seconds >= SHOWN_SECONDS_MIN:
        more.append(f"up to {answers.longest_seconds:.1f} s")
    return f"{name} × {answers.count:,}" + (f" ({', '.join(more)})" if more else "")
