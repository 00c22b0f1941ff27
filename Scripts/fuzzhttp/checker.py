"""Compares what clients were told with what is there at the end. Pure: from reports and measurements to a verdict."""

import collections
import dataclasses

from fuzzhttp import content

MEMORY_GROWTH_BYTES_MAX = 64 << 20
DETAILS_MAX = 20


@dataclasses.dataclass
class Level:
    """What the gateway holds while nobody is connected."""

    memory_bytes: int = 0
    # How often each file is open.
    descriptors: collections.Counter = dataclasses.field(default_factory=collections.Counter)


@dataclasses.dataclass
class Result:
    requests: int = 0
    acked: int = 0
    lost: int = 0
    duplicated: int = 0
    # Refused, and there all the same.
    resurrected: int = 0
    memory_growth: int = 0
    descriptors_growth: int = 0
    details: list = dataclasses.field(default_factory=list)
    faults: list = dataclasses.field(default_factory=list)

    def add(self, count, number, what):
        setattr(self, count, getattr(self, count) + number)
        if len(self.details) < DETAILS_MAX:
            self.details.append(f"{count}: {what}")

    @property
    def passed(self):
        broken = self.lost or self.duplicated or self.resurrected or self.faults
        # Nothing accepted, nothing lost: that proves nothing.
        return bool(self.acked) and not broken

    def line(self):
        return (
            f"requests={self.requests} acked={self.acked} lost={self.lost} duplicated={self.duplicated} "
            f"resurrected={self.resurrected} memory_growth_mib={self.memory_growth / (1 << 20):.1f} "
            f"descriptors_growth={self.descriptors_growth} faults={len(self.faults)}"
        )


def check(report, read, logged, warm, after, requests_min):
    """Counts what is broken.

    report: of all workers. read: the bytes of each record that a new consumer was handed out. logged: how many records
    the broker's file has in the topics that are kept. warm, after: Level, before and after. requests_min: fewer prove
    too little.
    """
    result = Result(requests=report.requests, acked=len(report.acked), faults=list(report.faults))
    found = collections.Counter(content.unwrapped(value) for value in read)
    for item in report.acked:
        if found[item] == 0:
            result.add("lost", 1, f"{item[:80]!r} was accepted and is not handed out")
    if report.receipts > logged:
        missing = report.receipts - logged
        result.add("lost", missing, f"{report.receipts} receipts were given out, and {logged} records are in the log")
    if len(read) < logged:
        result.add("lost", logged - len(read), f"{logged} records are in the log, and {len(read)} are handed out")
    for item in report.acked | report.unknown:
        if found[item] > 1:
            result.add("duplicated", found[item] - 1, f"{item[:80]!r} is there {found[item]} times")
    for item in report.refused:
        if found[item] > 0:
            result.add("resurrected", 1, f"{item[:80]!r} was refused and is handed out")
    result.memory_growth = after.memory_bytes - warm.memory_bytes
    result.descriptors_growth = after.descriptors.total() - warm.descriptors.total()
    if result.memory_growth > MEMORY_GROWTH_BYTES_MAX:
        result.faults.append(f"memory grew from {warm.memory_bytes} to {after.memory_bytes} bytes")
    if result.descriptors_growth > 0:
        more = dict(after.descriptors - warm.descriptors)
        result.faults.append(f"descriptors grew by {result.descriptors_growth}, these are more: {more}")
    if report.requests < requests_min:
        result.faults.append(f"only {report.requests} requests were sent; {requests_min} were to be")
    return result
