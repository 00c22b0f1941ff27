import Primitives
package import Records

/// The journal's identity and history. Written at creation and at each start, synced before the new epoch is used.
///
/// Payload: UUID (16 bytes), lane count (4), number of epochs (4), the epochs in rising order, each with its process's
/// nonce (12), number of quarantined ranges (4), each as first LSN and end LSN (16).
struct Meta: Equatable {
    static let kind = SlotFile.Kind(name: "META", magic: 0x0A1A_4154_454D_5250, slotBytes: 65536)  // "PRMETA\x1A\n"
    /// Older starts than these many are forgotten: a checkpoint of theirs would count as unknown history.
    static let epochsMax = 2048
    static let quarantinedMax = 1024
    /// The year 2100: a clock past it is wrong, and the epochs up to the greatest number would be used up for good.
    static let wallSecondsMax: UInt32 = 4_102_444_800

    /// An epoch, and the number that the process drew which took it: a copy of the spool that starts in the same second
    /// takes the same epoch, and is another history.
    struct Epoch: Equatable {
        var number: UInt32
        var nonce: UInt64
    }

    var spool: SpoolID
    var lanes: Int
    /// Rising; the last is the newest.
    var epochs: [Epoch]
    var quarantined: [Range<LSN>]

    init(spool: SpoolID, lanes: Int, epochs: [Epoch] = [], quarantined: [Range<LSN>] = []) {
        self.spool = spool
        self.lanes = lanes
        self.epochs = epochs
        self.quarantined = quarantined
    }

    mutating func append(_ epoch: Epoch) {
        precondition(epochs.last.map { $0.number < epoch.number } ?? true)
        epochs.append(epoch)
        if epochs.count > Self.epochsMax { epochs.removeFirst(epochs.count - Self.epochsMax) }
    }

    /// Whether the journal ever ran under an epoch. Of those before the oldest that is kept nobody can tell any more:
    /// they count as known.
    func isKnown(epoch: UInt32) -> Bool {
        if epochs.count == Self.epochsMax, let oldest = epochs.first, epoch < oldest.number { return true }
        // They rise.
        var (low, high) = (0, epochs.count)
        while low < high {
            let middle = (low + high) / 2
            if epochs[middle].number < epoch { low = middle + 1 } else { high = middle }
        }
        return low < epochs.count && epochs[low].number == epoch
    }

    /// An operator accepted the loss of all of it.
    ///
    /// - Parameter released: nothing below is needed, so nothing below has to be quarantined.
    func isQuarantined(_ range: Range<LSN>, released: LSN = .zero) -> Bool {
        quarantined.contains {
            $0.lowerBound <= range.lowerBound && max($0.upperBound, released) >= range.upperBound
        }
    }

    /// Adds ranges, joined with those that they touch. Where there is no room, the oldest ones that nobody needs any
    /// more go.
    ///
    /// - Returns: false, and nothing is changed, when there would be more than `quarantinedMax`.
    mutating func quarantine(_ ranges: [Range<LSN>], released: LSN) -> Bool {
        var joined = joinedRanges(quarantined + ranges)
        while joined.count > Self.quarantinedMax, let first = joined.first, first.upperBound <= released {
            joined.removeFirst()
        }
        guard joined.count <= Self.quarantinedMax else { return false }
        quarantined = joined
        return true
    }

    func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 64 + 12 * epochs.count)
        writer.integer(spool.high)
        writer.integer(spool.low)
        writer.integer(UInt32(lanes))
        writer.integer(UInt32(epochs.count))
        for epoch in epochs {
            writer.integer(epoch.number)
            writer.integer(epoch.nonce)
        }
        writer.integer(UInt32(quarantined.count))
        for range in quarantined {
            writer.integer(range.lowerBound.rawValue)
            writer.integer(range.upperBound.rawValue)
        }
        return writer.bytes
    }

    init(decoding payload: ByteSlice) throws(MalformedBytes) {
        var reader = ByteReader(payload)
        spool = SpoolID(high: try reader.integer(), low: try reader.integer())
        lanes = Int(try reader.integer(UInt32.self))
        let epochCount = Int(try reader.integer(UInt32.self))
        guard epochCount <= Self.epochsMax, (1...64).contains(lanes) else { throw MalformedBytes("META fields") }
        epochs = []
        for _ in 0..<epochCount { epochs.append(Epoch(number: try reader.integer(), nonce: try reader.integer())) }
        let rangeCount = Int(try reader.integer(UInt32.self))
        guard rangeCount <= Self.quarantinedMax else { throw MalformedBytes("META fields") }
        quarantined = []
        for _ in 0..<rangeCount {
            let first = LSN(rawValue: try reader.integer())
            let end = LSN(rawValue: try reader.integer())
            guard first < end else { throw MalformedBytes("quarantined range") }
            quarantined.append(first..<end)
        }
        guard reader.remaining == 0, zip(epochs, epochs.dropFirst()).allSatisfy({ $0.number < $1.number }) else {
            throw MalformedBytes("META fields")
        }
    }
}

/// The same LSNs in as few ranges as possible, rising.
package func joinedRanges(_ ranges: [Range<LSN>]) -> [Range<LSN>] {
    var joined: [Range<LSN>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
        if let last = joined.last, range.lowerBound <= last.upperBound {
            joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
        } else {
            joined.append(range)
        }
    }
    return joined
}

/// How far things are, synced about once a second while they move.
///
/// Payload: `durable_lsn` (8), `verified_lsn` (8), `released_lsn` (8), length of the owner's bytes (4), those bytes.
struct Checkpoint: Equatable {
    static let kind = SlotFile.Kind(
        name: "CHECKPOINT", magic: 0x0A1A_5054_4B43_5250, slotBytes: 8192)  // "PRCKTP\x1A\n"

    /// Every record below was synced.
    var durable = LSN.zero
    /// Every frame below was written and synced, or read and found good, by an earlier process: the next start does
    /// not read its body again.
    var verified = LSN.zero
    /// No lane needs anything below.
    var released = LSN.zero
    /// The spool's lane cursors.
    var owner: [UInt8] = []

    init() {}

    func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 28 + owner.count)
        writer.integer(durable.rawValue)
        writer.integer(verified.rawValue)
        writer.integer(released.rawValue)
        writer.integer(UInt32(owner.count))
        writer.bytes.append(contentsOf: owner)
        return writer.bytes
    }

    init(decoding payload: ByteSlice) throws(MalformedBytes) {
        var reader = ByteReader(payload)
        durable = LSN(rawValue: try reader.integer())
        verified = LSN(rawValue: try reader.integer())
        released = LSN(rawValue: try reader.integer())
        owner = Array(try reader.slice(Int(try reader.integer(UInt32.self))))
        guard reader.remaining == 0 else { throw MalformedBytes("CHECKPOINT length") }
    }
}
