"""Compares what clients were told with what the broker holds. Pure: from ledger and log to counts."""

import collections
import dataclasses
import enum

DETAILS_MAX = 20
# spool.sync_interval, and time for a sync on a busy disk.
BUFFERED_SECONDS = 2.0


class Answer(enum.Enum):
    """What a producer knows of a request."""

    ACCEPTED = "accepted"  # 2xx: its records are in the log, once
    BUFFERED = "buffered"  # the same, but a power failure within a moment may take them
    UNKNOWN = "unknown"  # no answer, or one that says so: none of its records, or all of them once
    NOT_ACCEPTED = "not_accepted"  # refused: none of its records


PROMISES = (Answer.ACCEPTED, Answer.BUFFERED)


@dataclasses.dataclass
class Sent:
    """One record that a producer sent; `request` is the same for the records of one call."""

    producer: int
    sequence: int
    topic: str
    content: bytes
    request: int
    answer: Answer = Answer.UNKNOWN
    # When it was answered, as `time.monotonic()`.
    answered_at: float = 0.0


@dataclasses.dataclass(frozen=True)
class Logged:
    """One record of the broker's log."""

    topic: str
    partition: int
    offset: int
    content: bytes


@dataclasses.dataclass
class Consumed:
    """What consumers did and were told. A lane is (consumer, topic, partition)."""

    # Records handed out under fire: {consumer: count}. The reader of the end is not among them.
    polled: dict = dataclasses.field(default_factory=dict)
    # {lane: offsets for which an acknowledgement was sent}, answered or not
    acknowledged: dict = dataclasses.field(default_factory=dict)
    # {lane: the greatest committed offset that a 200 to an acknowledgement told}
    answered: dict = dataclasses.field(default_factory=dict)
    # What a consumer that is new at the end was handed out, from earliest: {Logged}
    read: set = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class Result:
    acked: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    committed_unacked: int = 0
    # Not on the last line, but without them the run proves nothing about consumers.
    polled: int = 0
    # Answered `buffered`, and taken by a power failure as it may.
    buffered_lost: int = 0
    commits: int = 0
    # What was still under way at the end, in words.
    unsettled: list = dataclasses.field(default_factory=list)
    details: list = dataclasses.field(default_factory=list)

    def add(self, count, what):
        """Counts one violation; the first few are kept in words."""
        setattr(self, count, getattr(self, count) + 1)
        if getattr(self, count) <= DETAILS_MAX:
            self.details.append(f"{count}: {what}")

    @property
    def faults(self):
        return self.lost + self.duplicated + self.reordered + self.committed_unacked

    @property
    def is_idle(self):
        """Nothing was accepted, handed out or committed: nothing can have been broken."""
        return not (self.acked and self.polled and self.commits)

    @property
    def passed(self):
        return not (self.faults or self.is_idle or self.unsettled)

    def counts(self):
        return (
            f"acked={self.acked} lost={self.lost} duplicated={self.duplicated} "
            f"reordered={self.reordered} committed_unacked={self.committed_unacked}"
        )

    def line(self, kills):
        return f"kills={kills} {self.counts()}"


def check(sent, log, committed, consumed, power_losses=()):
    """Counts every broken promise.

    power_losses: when the power went, as `time.monotonic()`: what was answered `buffered` within BUFFERED_SECONDS of it
    may be lost. Nothing else may, and SIGKILL is no power failure.

    sent: Sent, each with a content of its own. log: Logged. committed: {(consumer, topic, partition): offset, the
    next to read}. consumed: Consumed.

    `lost` counts records that were accepted and are not in the log, records that are in the log and are not handed
    out, and acknowledgements that were answered and are gone: the committed offset is lower than was told.
    """
    result = Result()
    by_content = {(record.topic, record.content): record for record in sent}
    log = sorted(log, key=lambda record: (record.topic, record.partition, record.offset))
    found = collections.Counter((record.topic, record.content) for record in log)

    result.acked = sum(record.answer in PROMISES for record in sent)
    check_contents(sent, log, by_content, found, result, power_losses)
    check_order(log, by_content, result)
    check_commits(log, committed, consumed.acknowledged, result)
    check_answered(committed, consumed.answered, result)
    check_read(log, consumed.read, result)
    result.polled = sum(consumed.polled.values())
    # A committed offset of 0 is where a consumer begins.
    result.commits = sum(end > 0 and consumed.polled.get(lane[0], 0) > 0 for lane, end in committed.items())
    return result


def check_contents(sent, log, by_content, found, result, power_losses):
    # A request is atomic: where one of its records is, all are.
    present = {record.request for record in sent if found[record.topic, record.content]}
    for record in sent:
        if found[record.topic, record.content]:
            continue
        if record.answer in PROMISES and not may_be_lost(record, power_losses):
            result.add("lost", f"{describe(record)} was accepted and is not in the log")
            continue
        result.buffered_lost += record.answer is Answer.BUFFERED
        if record.answer is not Answer.NOT_ACCEPTED and record.request in present:
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


def may_be_lost(record, power_losses):
    # On both sides: a client notes an answer a little after it came.
    return record.answer is Answer.BUFFERED and any(
        abs(lost_at - record.answered_at) < BUFFERED_SECONDS for lost_at in power_losses
    )


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


def check_answered(committed, answered, result):
    for lane, told in answered.items():
        consumer, topic, partition = lane
        end = committed.get(lane)
        if end is None or end < told:
            kept = "none" if end is None else end
            result.add("lost", f"{consumer} was told {told} is committed in {topic}/{partition}; {kept} is")


def check_read(log, read, result):
    """Each record of the log is handed out at least once, where it is and as it is; and nothing else is."""
    for record in log:
        if record not in read:
            result.add("lost", f"{place(record)} is in the log and was not handed out to a new consumer")
    for record in sorted(read - set(log), key=lambda record: (record.topic, record.partition, record.offset)):
        result.add("duplicated", f"{place(record)} was handed out with what the log does not hold there")


def describe(record):
    return f"record {record.sequence} of producer {record.producer} ({record.topic})"


def place(record):
    return f"{record.topic}/{record.partition}@{record.offset}"
