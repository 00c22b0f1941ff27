import CoreMetrics
import Primitives
public import Records

/// Records of one lane whose settlement somebody waits for: those from `first` to `last` that are of the lane.
public struct AwaitedRecords: Hashable, Sendable {
    public var lane: Int
    public var first: LSN
    public var last: LSN

    public init(lane: Int, first: LSN, last: LSN) {
        self.lane = lane
        self.first = first
        self.last = last
    }
}

/// What somebody who waits is told.
public enum OutcomeNews: Hashable, Sendable {
    /// This record is dead; others may still be waited for. It need not be one of the awaited, only of the same lane
    /// and between their first and last.
    case dead(LSN)
    /// Each of the awaited records is delivered or dead. Told once, the last news.
    case settled
}

/// One wait for outcomes. Any thread.
public struct OutcomeWait: Sendable {
    fileprivate let id: UInt64
    private let cancelled: @Sendable (UInt64) -> Void

    init(id: UInt64, cancelled: @escaping @Sendable (UInt64) -> Void) {
        self.id = id
        self.cancelled = cancelled
    }

    /// Nothing is told any more, but for what is being told right now.
    public func cancel() { cancelled(id) }
}

/// Who waits until records are settled. A value behind the spool's lock of outcomes: it returns whom to tell what,
/// which is done after the lock is released.
///
/// A lane settles its records in LSN order, so a wait needs no list of records: it is over when each of its lanes has
/// passed its last one.
struct OutcomeWaits {
    struct Call {
        let told: @Sendable (OutcomeNews) -> Void
        let news: OutcomeNews
    }

    private struct Wait {
        let told: @Sendable (OutcomeNews) -> Void
        let records: [AwaitedRecords]
        /// Lanes that have not passed the last record yet.
        var lanesLeft: Int
    }

    private struct End {
        let records: AwaitedRecords
        let id: UInt64
    }

    private let countMax: Int
    private var waits: [UInt64: Wait] = [:]
    /// For each lane, by last record.
    private var ends: [[End]]
    /// For each lane, the last LSN that was delivered or dead.
    private var through: [LSN]
    private var nextID: UInt64 = 1

    init(countMax: Int, delivered: [LSN]) {
        self.countMax = countMax
        through = delivered
        ends = delivered.map { _ in [] }
    }

    var count: Int { waits.count }

    func isAwaited(lane: Int) -> Bool { !ends[lane].isEmpty }

    enum Added {
        /// At the limit.
        case refused
        /// Nothing is left to wait for.
        case settled
        case waits(UInt64)
    }

    mutating func add(_ records: [AwaitedRecords], _ told: @escaping @Sendable (OutcomeNews) -> Void) -> Added {
        let left = records.filter { $0.last > through[$0.lane] }
        if left.isEmpty { return .settled }
        guard waits.count < countMax else { return .refused }
        let id = nextID
        nextID += 1
        waits[id] = Wait(told: told, records: left, lanesLeft: left.count)
        for one in left {
            ends[one.lane].insert(End(records: one, id: id), at: position(behind: one.last, lane: one.lane))
        }
        return .waits(id)
    }

    mutating func remove(_ id: UInt64) {
        guard let wait = waits.removeValue(forKey: id) else { return }
        for one in wait.records { ends[one.lane].removeAll { $0.id == id } }
    }

    /// The lane has settled everything up to `lsn`. - Returns: whom to tell.
    mutating func passed(_ lsn: LSN, lane: Int) -> [Call] {
        guard lsn > through[lane] else { return [] }
        through[lane] = lsn
        if ends[lane].isEmpty { return [] }
        let over = position(behind: lsn, lane: lane)
        var calls: [Call] = []
        for end in ends[lane][..<over] {
            waits[end.id]?.lanesLeft -= 1
            if waits[end.id]?.lanesLeft == 0, let wait = waits.removeValue(forKey: end.id) {
                calls.append(Call(told: wait.told, news: .settled))
            }
        }
        ends[lane].removeFirst(over)
        return calls
    }

    func died(_ lsn: LSN, lane: Int) -> [Call] {
        ends[lane].compactMap { end in
            guard end.records.first <= lsn, lsn <= end.records.last, let wait = waits[end.id] else { return nil }
            return Call(told: wait.told, news: .dead(lsn))
        }
    }

    /// Of the first end whose last record is beyond `lsn`.
    private func position(behind lsn: LSN, lane: Int) -> Int {
        var (low, high) = (0, ends[lane].count)
        while low < high {
            let middle = (low + high) / 2
            if ends[lane][middle].records.last <= lsn { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
