"""The mutations: each takes away one rule that the promises rest on, as text substitutions in the sources.

An old text stands exactly once in its file, so that a mutation which the code has grown away from is noticed
(`test_mutations.py`) instead of changing nothing. Old texts are short for the same reason.
"""

import dataclasses

JOURNAL = ("JournalTests", "SpoolTests")
LANES = ("SpoolTests", "ForwarderTests")
REPETITIONS = ("SpoolTests", "SimulationTests")


@dataclasses.dataclass(frozen=True)
class Edit:
    file: str
    old: str
    new: str


@dataclasses.dataclass(frozen=True)
class Mutation:
    name: str
    edits: tuple
    # Test targets, in the order in which they run.
    suites: tuple


class OutOfDate(Exception):
    """A substitution does not match the sources any more."""


def apply(tree, mutation):
    """Changes the sources under `tree`; returns the texts before, by path, for `restore`."""
    before = {}
    after = {}
    for edit in mutation.edits:
        path = tree / edit.file
        if path not in before:
            if not path.is_file():
                raise OutOfDate(f"mutation {mutation.name} is out of date: there is no {edit.file}")
            before[path] = after[path] = path.read_text(encoding="utf-8")
        count = after[path].count(edit.old)
        if count != 1:
            raise OutOfDate(
                f"mutation {mutation.name} is out of date: its text stands {count} times in {edit.file}, not once:\n"
                f"{edit.old}")
        after[path] = after[path].replace(edit.old, edit.new)
    for path, text in after.items():
        path.write_text(text, encoding="utf-8")
    return before


def restore(before):
    for path, text in before.items():
        path.write_text(text, encoding="utf-8")


COMMIT_LOOP = "Sources/Journal/CommitLoop.swift"
SEGMENT_WRITER = "Sources/Journal/SegmentWriter.swift"
RECOVERY = "Sources/Journal/Recovery.swift"
LANE = "Sources/Forwarder/Lane.swift"

MUTATIONS = (
    Mutation(
        "answer before the sync",
        (
            Edit(
                COMMIT_LOOP,
                "            guard sync(deciding: group, first: first) else { return }\n"
                "            answer(first: first, synced: true)\n",
                "            answer(first: first, synced: true)\n"
                "            guard sync(deciding: group, first: first) else { return }\n"),
        ),
        JOURNAL),
    Mutation(
        "no directory sync: a segment's name",
        (Edit(SEGMENT_WRITER, "        try fileSystem.syncDirectory(directory)\n", ""),),
        JOURNAL),
    Mutation(
        "no directory sync: a decision's name",
        (Edit("Sources/Journal/SlotFile.swift", "        try fileSystem.syncDirectory(directory)\n", ""),),
        JOURNAL),
    Mutation(
        "no directory sync: a parked file's name",
        (
            Edit(
                "Sources/Spool/Parker.swift",
                "            if piece != nil { try files.fileSystem.syncDirectory(files.directory) }\n", ""),
        ),
        ("SpoolTests",)),
    Mutation(
        "no CRC check: a frame's body",
        (
            Edit(
                "Sources/Journal/Segment.swift",
                ", Format.checksum(body, seed: self.header.salt) == header.bodyChecksum", ""),
        ),
        JOURNAL),
    Mutation(
        "no CRC check: a frame's header",
        (Edit("Sources/Journal/Format.swift", "Format.checksum(covered, seed: segment.salt) == checksum",
              "!covered.isEmpty"),),
        JOURNAL),
    Mutation(
        "checkpoint before the hand-over is durable: the broker's",
        (
            Edit(
                LANE, "        let deliveries = try handOver(tried, through: last)\n",
                "        try handOver([], through: last)\n"
                "        let deliveries = try handOver(tried, through: last)\n"),
        ),
        ("ForwarderTests",)),
    Mutation(
        "checkpoint before the hand-over is durable: the spool's",
        (
            Edit(
                LANE, "        let deliveries = try handOver(tried, through: last)\n",
                "        spool.advance(lane: index, delivered: last, scanned: LSN(rawValue: last.rawValue + 1))\n"
                "        let deliveries = try handOver(tried, through: last)\n"),
        ),
        ("ForwarderTests",)),
    Mutation(
        "tail appended after recovery",
        (
            Edit(
                SEGMENT_WRITER,
                "case .some(let last): (last.base, max(end, last.end), last.lastChecksum)\n            }\n",
                "case .some(let last): (last.base, max(end, last.end), last.lastChecksum)\n            }\n"
                "        do throws(FileSystemError) {\n"
                "            guard let previous, !previous.isEmpty else { return }\n"
                "            active = Active(file: try fileSystem.open(previous.path, .readWrite), info: previous)\n"
                "            self.next = end\n"
                "        } catch {}\n"),
            Edit(
                "Sources/Journal/Journal.swift", "            let info = try writer.start(spare: nil)\n",
                "            if writer.active != nil {\n"
                "                shared.index.withLock { $0.hasActive = true }\n"
                "                return\n"
                "            }\n"
                "            let info = try writer.start(spare: nil)\n"),
        ),
        JOURNAL),
    Mutation(
        "unproven tail not re-written",
        (Edit(RECOVERY, "            try file.writeAll(bytes, at: start)\n", ""),),
        JOURNAL),
    Mutation(
        "unproven tail not synced",
        (
            Edit(
                RECOVERY, "            try file.truncate(last.usedBytes)\n            try file.syncData()\n",
                "            try file.truncate(last.usedBytes)\n"),
        ),
        JOURNAL),
    Mutation(
        "retry after a failed sync",
        (
            Edit(
                SEGMENT_WRITER, "        try active.file.syncData()\n        durable = next\n",
                "        do throws(FileSystemError) { try active.file.syncData() }\n"
                "        catch { try active.file.syncData() }\n"
                "        durable = next\n"),
        ),
        JOURNAL),
    Mutation(
        "forward an unsynced LSN",
        (
            Edit(COMMIT_LOOP, "first: LSN = .zero) -> Bool {\n", "first: LSN = .zero) -> Bool {\n        publish()\n"),
            Edit(COMMIT_LOOP, "        let durable = writer.durable\n", "        let durable = writer.next\n"),
        ),
        JOURNAL),
    Mutation(
        "durable_lsn written too high: in a frame",
        (Edit(SEGMENT_WRITER, "durable: durable, previousChecksum", "durable: next, previousChecksum"),),
        JOURNAL),
    Mutation(
        "durable_lsn written too high: in CHECKPOINT",
        (
            Edit(
                "Sources/Journal/Keeper.swift", "let durable = shared.index.withLock { $0.durable }",
                "let durable = shared.index.withLock { max($0.durable, $0.written) }"),
        ),
        JOURNAL),
    Mutation(
        "what was kept before a commit that did not happen is not void",
        (Edit(LANE, "        try voidOutcomes(beyond: certain, goingOnAfter: from)\n", "        _ = certain\n"),),
        ("ForwarderTests",)),
    Mutation(
        "an adopted lane keeps what a fenced hand-over was told",
        (Edit(LANE, "            certain = spool.delivered(lane: index)\n", "            certain = from\n"),),
        ("ForwarderTests",)),
    Mutation(
        "rows that end too early are taken for all there are",
        (
            Edit(
                "Sources/Outcomes/OutcomeRows.swift", "if lsn <= max(lane.last, lane.forgotten, lane.missing) {",
                "if lsn <= max(lane.last, lane.forgotten, lane.missing) || true {"),
        ),
        ("OutcomesTests",)),
    Mutation(
        "a receipt tells a place before the broker was asked",
        (
            Edit(
                "Sources/Spool/Receipts.swift", "delivered.indices.contains(lane) && last <= delivered[lane]",
                "delivered.indices.contains(lane) || last <= delivered[lane]"),
        ),
        ("ForwarderTests",)),
    Mutation(
        "no checksum of kept outcomes",
        (
            Edit(
                "Sources/Outcomes/PackedDeliveries.swift",
                "guard packed.littleEndian(at: body.endIndex, as: UInt32.self) == checksum(of: body) else {",
                "guard packed.littleEndian(at: body.endIndex, as: UInt32.self) != checksum(of: body) || true else {"),
        ),
        ("OutcomesTests",)),
    Mutation(
        "what the log of a SQLite file holds is not written once more",
        (Edit("Sources/Store/Connection.swift", "        try connection.proveLog()\n", ""),), ("StoreTests",)),
    Mutation(
        "segment deleted at delivered of one lane only",
        (
            Edit(
                "Sources/Spool/LaneCursors.swift", "lanes.map { $0.hasWork ? $0.scanned : durable }.min()",
                "lanes.map { $0.delivered }.max()"),
        ),
        LANES),
    Mutation(
        "a copy's checkpoint counts as one of ours because it took the same epoch",
        (
            Edit(
                "Sources/Spool/Spool.swift", "journal.isKnown(epoch: epoch, nonce: nonce)",
                "journal.isKnown(epoch: epoch)"),
        ),
        ("ForwarderTests",)),
    Mutation(
        "a segment goes though the store lacks a request of it",
        (
            Edit(
                "Sources/Spool/Spool.swift", "min(state.cursors.released(durable: state.durable), mark.covered)",
                "state.cursors.released(durable: state.durable)"),
        ),
        REPETITIONS),
    Mutation(
        "a claim is free again though the outcome of its request is unknown",
        (
            Edit(
                "Sources/Spool/Spool.swift", "                completion(.failure(SpoolRefusal(failure)))\n",
                "                handed?.settle(nil)\n                completion(.failure(SpoolRefusal(failure)))\n"),
        ),
        REPETITIONS),
    Mutation(
        "a start does not look for requests in the journal",
        (Edit("Sources/Spool/RequestRecovery.swift", "        try replay()\n", ""),),
        REPETITIONS),
    Mutation(
        "a copy's checkpoint counts as one of ours because its process does",
        (
            Edit(
                "Sources/Forwarder/OpeningDecision.swift",
                "(previous.lsn.epoch <= previous.epoch || isKnown(previous.lsn.epoch, previous.nonce))", "true"),
        ),
        ("ForwarderTests",)),
    Mutation(
        "produce keeps its progress after a request was sent",
        (Edit(
            "Sources/Client/ProduceRun.swift",
            "progress.sentMs = clock.wallMilliseconds()\n            try save()",
            "progress.sentMs = clock.wallMilliseconds()"),),
        ("ClientTests",)),
    Mutation(
        "consume acknowledges before it writes",
        (Edit(
            "Sources/Client/ConsumeRun.swift",
            "            var bytes: [UInt8] = []\n            for record in records {",
            "            acknowledge(token, records.count)\n            var bytes: [UInt8] = []\n"
            "            for record in records {"),),
        ("ClientTests",)),
    Mutation(
        "consume does not extend a command's lease",
        (Edit(
            "Sources/Client/ConsumeRun.swift",
            '                extend(token, to: lease, "offset \\(record.offset)")\n',
            ""),),
        ("ClientTests",)),
    Mutation(
        "consume does not extend the leases of what a slow reader still has to take",
        (Edit("Sources/Client/ConsumeRun.swift", '{ extend(token, to: lease, "what is written") }', "{}"),),
        ("ClientTests",)),
    Mutation(
        "produce keeps its place although the input ended with nothing left to send",
        (Edit(
            "Sources/Client/ProduceRun.swift",
            "if summary.isComplete || summary.requests > 0 { try save() }",
            "if summary.requests > 0 { try save() }"),),
        ("ClientTests",)),
    Mutation(
        "produce passes over the beginning of any input",
        (Edit(
            "Sources/Client/ProduceRun.swift",
            "guard input.digest == progress.digest else {",
            "guard input.digest == input.digest else {"),),
        ("ClientTests",)),
    Mutation(
        "produce sends the unfinished line of a stopped input",
        (Edit("Sources/Client/InputLines.swift", "if isStopped { return nil }", "if isStopped { isAtEnd = true }"),),
        ("ClientTests",)),
)
