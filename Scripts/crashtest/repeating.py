"""Producers that repeat a request until they know its answer, as docs/CLIENTS.md tells clients to."""

import collections
import dataclasses
import http.client
import json
import time

from crashtest import clients
from crashtest.checker import Answer

# By what a repetition is known: an Idempotency-Key; a producer's sequence; nothing, which must be noticed.
KEY, SEQUENCE, PLAIN = "key", "sequence", "plain"
NAMES = (KEY, SEQUENCE, PLAIN)
# Of the tries: the connection is closed before the answer is read.
ANSWERS_LOST = 0.1
# Of these: at once. The next try may find the first one in flight.
LOST_AT_ONCE = 0.5
LOST_SECONDS_MAX = 0.02
# Of the requests: one that was answered comes again, as from a client that forgot it.
ANSWERED_AGAIN = 0.1
# A producer's last 64 numbers keep their answers.
REMEMBERED = 60
PAUSE_SECONDS = 0.05
# Once the test is over, for the request that is under way.
LAST_TRIES_SECONDS_MAX = 60
REPLAYED = "Idempotent-Replayed"


@dataclasses.dataclass(frozen=True)
class Request:
    path: str
    body: bytes
    headers: dict


@dataclasses.dataclass(frozen=True)
class Told:
    status: int
    body: bytes
    is_replay: bool

    @property
    def code(self):
        try:
            return json.loads(self.body).get("code")
        except (ValueError, AttributeError):
            return None


class RepeatingProducer(clients.Producer):
    """Repeats each request, whatever happens, until it is accepted: so all of them are. Loses answers on purpose."""

    def __init__(self, gateway, ledger, seed, number, topics, name):
        super().__init__(gateway, ledger, seed, number, topics)
        self._by = name
        self._accepted = 0
        self._answered = collections.deque(maxlen=REMEMBERED)
        # Tries after the first one of each request; answers that said `Idempotent-Replayed`.
        self.repeats = 0
        self.replays = 0

    def step(self):
        if self._answered and self.random.random() < ANSWERED_AGAIN:
            self._ask_again(*self.random.choice(self._answered))
        else:
            super().step()

    def _deliver(self, records, path, body, content_type):
        request = Request(path, body, {"Content-Type": content_type, **self._names()})
        told = self._until_accepted(request)
        answer = json.loads(told.body)
        is_buffered = answer.get("durability") == "buffered"
        self.ledger.settle(records, Answer.BUFFERED if is_buffered else Answer.ACCEPTED, answer["receipts"])
        self._accepted += 1
        if self._by != PLAIN:
            self._answered.append((request, answer["receipts"]))

    def _names(self):
        if self._by == KEY:
            return {"Idempotency-Key": f'"{self.random.getrandbits(128):032x}"'}
        if self._by == SEQUENCE:
            return {"Postrider-Producer": self.name, "Postrider-Sequence": str(self._accepted + 1)}
        return {}

    def _until_accepted(self, request):
        deadline = None
        tries = 0
        while True:
            if deadline is None and self.stopping.is_set():
                deadline = time.monotonic() + LAST_TRIES_SECONDS_MAX
            if deadline is not None and time.monotonic() > deadline:
                raise AssertionError(f"not answered within {LAST_TRIES_SECONDS_MAX} s: {request.path}")
            if not self.gateway.up.wait(0.1):
                continue
            told = self._try(request)
            tries += 1
            self.repeats += tries > 1
            if told is not None and self._is_answer(told, may_be_replay=tries > 1):
                return told

    def _is_answer(self, told, may_be_replay):
        """False: to be repeated."""
        if 200 <= told.status < 300:
            if told.is_replay and not may_be_replay:
                raise AssertionError("a request that was never sent before is answered as a repetition")
            self.replays += told.is_replay
            return True
        if told.status == 409 and told.code in ("idempotency_in_flight", "sequence_in_flight"):
            time.sleep(PAUSE_SECONDS)
            return False
        self.refusals.append(f"{told.status} {told.body[:200]!r}")
        if told.status < 500 and told.status not in (408, 429):
            raise AssertionError(f"a good request was refused: {told.status} {told.body[:500]!r}")
        # Also where it says `not_accepted`: that is of this try, and not of those before.
        time.sleep(PAUSE_SECONDS)
        return False

    def _ask_again(self, request, receipts):
        told = self._tell(request)
        if told is None or told.status >= 500 or told.status == 429:
            return
        if not told.is_replay or json.loads(told.body).get("receipts") != receipts:
            raise AssertionError(f"answered with {receipts}, and now with {told}")
        self.replays += 1

    def _try(self, request):
        """None: no answer."""
        if self.random.random() < ANSWERS_LOST:
            self._lose(request)
            return None
        told = self._tell(request)
        if told is None:
            self.refusals.append("no answer")
        return told

    def _lose(self, request):
        try:
            self._connected().request("POST", request.path, request.body, request.headers)
            if self.random.random() >= LOST_AT_ONCE:
                time.sleep(self.random.uniform(0, LOST_SECONDS_MAX))
        except (OSError, http.client.HTTPException):
            pass
        self._close()

    def _tell(self, request):
        answer = self.exchange("POST", request.path, request.body, request.headers)
        if answer is None:
            return None
        response, body = answer
        return Told(response.status, body, response.getheader(REPLAYED) == "true")
