import Records

/// How old a lane's oldest undelivered record is, within bounded memory: marks that say when the records from an LSN on
/// were accepted. A pure value; times are milliseconds of one clock, whichever.
///
/// The answer is never too small, and too great by `spacing` at most. Where marks are full, only those stay that are
/// twice as far apart, so `spacing` is at most a 16th of the time that they span. It shrinks again as they go.
struct LaneAges {
    static let marksMax = 64
    private static let spacingMinMs: Int64 = 100

    private struct Mark {
        var from: LSN
        var atMs: Int64
    }

    /// In order of LSN and of time.
    private var marks: [Mark] = []
    private var spacingMs = Self.spacingMinMs

    /// When the oldest record was accepted, or up to `spacing` before; nil: there is none.
    var oldestMs: Int64? { marks.first?.atMs }

    /// Records from `lsn` on were accepted at that time; greater ones than any before.
    mutating func add(_ lsn: LSN, atMs: Int64) {
        if let last = marks.last, atMs - last.atMs < spacingMs { return }
        while marks.count >= Self.marksMax { thin() }
        marks.append(Mark(from: lsn, atMs: atMs))
    }

    private mutating func thin() {
        spacingMs *= 2
        var kept: [Mark] = []
        for mark in marks where kept.last.map({ mark.atMs - $0.atMs >= spacingMs }) ?? true { kept.append(mark) }
        marks = kept
    }

    /// Nothing below `lsn` is undelivered any more.
    mutating func settle(below lsn: LSN) {
        // The last mark at or below stands for what lies at `lsn`.
        let next = marks.firstIndex { $0.from > lsn } ?? marks.count
        if next > 1 { marks.removeFirst(next - 1) }
        if marks.count < Self.marksMax / 4 { spacingMs = max(Self.spacingMinMs, spacingMs / 2) }
    }

    mutating func removeAll() { self = LaneAges() }
}
