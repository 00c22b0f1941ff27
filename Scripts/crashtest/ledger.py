"""What clients did and were told. Written by many threads."""

import collections
import enum
import itertools
import threading
import time

from crashtest.checker import PROMISES, Consumed, Sent


class _Power(enum.Enum):
    ON = enum.auto()
    GOING = enum.auto()
    GONE = enum.auto()


class Ledger:
    def __init__(self):
        self._lock = threading.Lock()
        self._sent = []
        self._acknowledged = collections.defaultdict(set)
        self._receipts = {}
        self._requests = itertools.count()
        self._polled = collections.Counter()
        self._answered = {}
        self._read = set()
        self._power = _Power.ON
        # Requests up to here were sent while the disk was there, at least in part.
        self._last_with_power = 0

    def power_goes(self):
        """From now on nobody hears an answer, as if client and gateway had lost power together. Returns when, as
        `time.monotonic()`."""
        with self._lock:
            self._power = _Power.GOING
            return time.monotonic()

    def power_is_gone(self):
        """No sync that begins from now on succeeds. What is sent from here on cannot be stored, so an answer that
        promises it counts: a gateway that believes a failed sync is caught. (Not so of acknowledgements: what they
        are told may have been committed before.)"""
        with self._lock:
            self._power = _Power.GONE
            self._last_with_power = next(self._requests)

    def power_returns(self):
        with self._lock:
            self._power = _Power.ON

    def sending(self, producer, topic, contents):
        """Before the request goes out. contents: [(sequence, bytes)]. Returns what to settle."""
        with self._lock:
            request = next(self._requests)
            records = [Sent(producer, sequence, topic, content, request) for sequence, content in contents]
            self._sent.extend(records)
            return records

    def settle(self, records, answer, receipts=()):
        with self._lock:
            if not self._is_heard(records):
                return
            now = time.monotonic()
            for record in records:
                record.answer = answer
                record.answered_at = now
            if answer in PROMISES and receipts:
                # In one lane, so when the last of a topic is delivered all before it are.
                self._receipts[records[0].producer, records[0].topic] = receipts[-1]

    def _is_heard(self, records):
        match self._power:
            case _Power.ON:
                return True
            case _Power.GOING:
                return False
            case _Power.GONE:
                return records[0].request > self._last_with_power

    def acknowledging(self, consumer, records):
        """Before the acknowledgement goes out: whether or not it arrives, a commit may follow."""
        with self._lock:
            for record in records:
                self._acknowledged[consumer, record["topic"], record["partition"]].add(record["offset"])

    def answered(self, consumer, committed):
        """committed: of a 200 to an acknowledgement. Clients share a consumer and answers overtake: the greatest."""
        with self._lock:
            for told in committed if self._power is _Power.ON else []:
                lane = (consumer, told["topic"], told["partition"])
                self._answered[lane] = max(self._answered.get(lane, 0), told["offset"])

    def took(self, consumer, count):
        with self._lock:
            self._polled[consumer] += count

    def read(self, records):
        """By the consumer that reads everything at the end."""
        with self._lock:
            self._read.update(records)

    def sent(self):
        with self._lock:
            return list(self._sent)

    def consumed(self):
        with self._lock:
            return Consumed(
                polled=dict(self._polled),
                acknowledged={lane: set(offsets) for lane, offsets in self._acknowledged.items()},
                answered=dict(self._answered),
                read=set(self._read),
            )

    def last_receipts(self):
        with self._lock:
            return sorted(set(self._receipts.values()))
