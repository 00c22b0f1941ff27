"""What clients did and were told. Written by many threads."""

import collections
import itertools
import threading

from crashtest.checker import Answer, Sent


class Ledger:
    def __init__(self):
        self._lock = threading.Lock()
        self._sent = []
        self._acknowledged = collections.defaultdict(set)
        self._receipts = {}
        self._requests = itertools.count()
        self.polled = 0

    def sending(self, producer, topic, contents):
        """Before the request goes out. contents: [(sequence, bytes)]. Returns what to settle."""
        with self._lock:
            request = next(self._requests)
            records = [Sent(producer, sequence, topic, content, request) for sequence, content in contents]
            self._sent.extend(records)
            return records

    def settle(self, records, answer, receipts=()):
        with self._lock:
            for record in records:
                record.answer = answer
            if answer is Answer.ACCEPTED and receipts:
                # In one lane, so when the last of a topic is delivered all before it are.
                self._receipts[records[0].producer, records[0].topic] = receipts[-1]

    def acknowledging(self, consumer, records):
        """Before the acknowledgement goes out: whether or not it arrives, a commit may follow."""
        with self._lock:
            for record in records:
                self._acknowledged[consumer, record["topic"], record["partition"]].add(record["offset"])

    def took(self, count):
        with self._lock:
            self.polled += count

    def sent(self):
        with self._lock:
            return list(self._sent)

    def acknowledged(self):
        with self._lock:
            return {lane: set(offsets) for lane, offsets in self._acknowledged.items()}

    def last_receipts(self):
        with self._lock:
            return sorted(set(self._receipts.values()))
