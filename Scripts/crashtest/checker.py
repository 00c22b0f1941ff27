"""Compares what clients were told with what the broker holds. Pure: from ledger and log to counts."""

import collections
import dataclasses
import enum

DETAILS_MAX = 20


class Answer(enum.Enum):
    """What a producer knows of a request."""

    ACCEPTED = "accepted"  # 2xx: its records are in the log, once
    UNKNOWN = "unknown"  # no answer, or one that says so: none of its records, or all of them once
    NOT_ACCEPTED = "not_accepted"  # refused: none of its records


@dataclasses.dataclass
class Sent:
    """One record that a producer sent; `request` is the same for the records of one call."""

    producer: int
    sequence: int
    topic: str
    content: bytes
    request: int
    answer: Answer = Answer.UNKNOWN


@dataclasses.dataclass(frozen=True)
class Logged:
    """One record of the broker's log."""

    topic: str
    partition: int
    offset: int
    content: bytes


@dataclasses.dataclass
class Result:
    acked: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    committed_unacked: int = 0
    details: list = dataclasses.field(default_factory=list)

    def add(self, count, what):
        """Counts one violation; the first few are kept in words."""
        setattr(self, count, getattr(self, count) + 1)
        if getattr(self, count) <= DETAILS_MAX:
            self.details.append(f"{count}: {what}")

    @property
    def passed(self):
        return self.acked > 0 and not (self.lost or self.duplicated or self.reordered or self.committed_unacked)

    def line(self, kills):
        return (
            f"kills={kills} acked={self.acked} lost={self.lost} duplicated={self.duplicated} "
            f"reordered={self.reordered} committed_unacked={self.committed_unacked}"
        )


def check(sent, log, committed, acknowledged):
    """Counts every broken promise.

    sent: Sent, each with a content of its own. log: Logged. committed: {(consumer, topic, partition): offset, the
    next to read}. acknowledged: {(consumer, topic, partition): offsets for which an acknowledgement was sent}.
    """
    result = Result()
    by_content = {(record.topic, record.content): record for record in sent}
    log = sorted(log, key=lambda record: (record.topic, record.partition, record.offset))
    found = collections.Counter((record.topic, record.content) for record in log)

    result.acked = sum(record.answer is Answer.ACCEPTED for record in sent)
    check_contents(sent, log, by_content, found, result)
    check_order(log, by_content, result)
    check_commits(log, committed, acknowledged, result)
    return result


def check_contents(sent, log, by_content, found, result):
    # A request is atomic: where one of its records is, all are.
    present = {record.request for record in sent if found[record.topic, record.content]}
    for record in sent:
        if found[record.topic, record.content]:
            continue
        if record.answer is Answer.ACCEPTED:
            result.add("lost", f"{describe(record)} was accepted and is not in the log")
        elif record.answer is Answer.UNKNOWN and record.request in present:
            result.add("lost", f"{describe(record)} is missing from a request that is in the log in part")
    seen = collections.Counter()
    for record in log:
        identity = (record.topic, record.content)
        seen[identity] += 1
        origin = by_content.get(identity)
        if origin is None:
            result.add("duplicated", f"{place(record)} holds what nobody sent")
        elif origin.answer is Answer.NOT_ACCEPTED:
            result.add("duplicated", f"{place(record)} holds {describe(origin)}, which was refused")
        elif seen[identity] > 1:
            result.add("duplicated", f"{place(record)} holds {describe(origin)} again")


def check_order(log, by_content, result):
    highest = {}
    seen = set()
    for record in log:
        origin = by_content.get((record.topic, record.content))
        if origin is None or (record.topic, record.content) in seen:
            continue
        seen.add((record.topic, record.content))
        lane = (origin.producer, record.topic, record.partition)
        if origin.sequence < highest.get(lane, -1):
            result.add("reordered", f"{place(record)} holds {describe(origin)} behind {highest[lane]}")
        highest[lane] = max(highest.get(lane, -1), origin.sequence)


def check_commits(log, committed, acknowledged, result):
    offsets = collections.defaultdict(list)
    for record in log:
        offsets[record.topic, record.partition].append(record.offset)
    for (consumer, topic, partition), end in committed.items():
        sent = acknowledged.get((consumer, topic, partition), frozenset())
        for offset in offsets[topic, partition]:
            if offset < end and offset not in sent:
                result.add(
                    "committed_unacked",
                    f"{consumer} has {end} committed in {topic}/{partition}; {offset} was never acknowledged",
                )


def describe(record):
    return f"record {record.sequence} of producer {record.producer} ({record.topic})"


def place(record):
    return f"{record.topic}/{record.partition}@{record.offset}"
