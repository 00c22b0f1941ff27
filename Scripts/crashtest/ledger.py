"""What clients did and were told. Written by many threads."""

import collections
import itertools
import threading
import time

from crashtest.checker import PROMISES, Consumed, Sent


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
        self._is_deaf = False

    def power_goes(self):
        """From now on nobody hears an answer, as if client and gateway had lost power together. Returns when, as
        `time.monotonic()`."""
        with self._lock:
            self._is_deaf = True
            return time.monotonic()

    def power_returns(self):
        with self._lock:
            self._is_deaf = False

    def sending(self, producer, topic, contents):
        """Before the request goes out. contents: [(sequence, bytes)]. Returns what to settle."""
        with self._lock:
            request = next(self._requests)
            records = [Sent(producer, sequence, topic, content, request) for sequence, content in contents]
            self._sent.extend(records)
            return records

    def settle(self, records, answer, receipts=()):
        with self._lock:
            if self._is_deaf:
                return
            now = time.monotonic()
            for record in records:
                record.answer = answer
                record.answered_at = now
            if answer in PROMISES and receipts:
                # In one lane, so when the last of a topic is delivered all before it are.
                self._receipts[records[0].producer, records[0].topic] = receipts[-1]

    def acknowledging(self, consumer, records):
        """Before the acknowledgement goes out: whether or not it arrives, a commit may follow."""
        with self._lock:
            for record in records:
                self._acknowledged[consumer, record["topic"], record["partition"]].add(record["offset"])

    def answered(self, consumer, committed):
        """committed: of a 200 to an acknowledgement. Clients share a consumer and answers overtake: the greatest."""
        with self._lock:
            for told in [] if self._is_deaf else committed:
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
