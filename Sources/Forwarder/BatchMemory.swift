/// Who of the lanes holds how many bytes of records: `forwarder.memory_max`, which they share. A pure value.
///
/// A part of it (`total / reservedPart`) is set aside in equal shares, one for each lane, so that no lane ever waits
/// for another: each may hold its share at any time. The rest is lent to who asks first, but to nobody more than an
/// equal part among those that hold anything, so that lanes that came late catch up within a hand-over or two. A single
/// record larger than what was granted is held all the same (`LaneReader.next` returns at least one).
struct BatchMemory {
    static let reservedPart = 8

    private let total: Int
    /// Each lane's own.
    let share: Int
    private var held: [Int]

    /// - Parameters:
    ///   - bytesMax: over all lanes.
    ///   - factor: how many times a record is in memory while it is handed over.
    init(bytesMax: Int, lanes: Int, factor: Int) {
        total = max(1, bytesMax / max(1, factor))
        share = max(1, total / Self.reservedPart / max(1, lanes))
        held = Array(repeating: 0, count: lanes)
    }

    /// Bytes of records in memory, without the factor.
    var heldBytes: Int { held.reduce(0, +) }

    /// How many bytes the lane may take now; at least its share if it wants so much. They count as held until `hold`
    /// says what was taken.
    mutating func grant(_ wanted: Int, to lane: Int) -> Int {
        held[lane] = 0
        // What the others hold, or may take of their shares at any time.
        let others = held.indices.reduce(0) { $0 + ($1 == lane ? 0 : max(held[$1], share)) }
        let holders = 1 + held.count { $0 > 0 }
        held[lane] = min(wanted, max(share, min(total - others, total / holders)))
        return held[lane]
    }

    mutating func hold(_ bytes: Int, by lane: Int) { held[lane] = bytes }
}
