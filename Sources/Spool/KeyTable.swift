import Records

/// An accepted request with a key. 48 bytes, of which there may be millions: the layout is part of the limit's meaning.
struct KeyEntry: Equatable {
    var scope: Digest
    var payload: Digest
    var first: LSN
    var count: UInt32
    /// Time of acceptance: seconds since 1970 of the clock for requests.
    var seconds: UInt32

    /// One past its last LSN.
    var end: LSN { LSN(rawValue: first.rawValue + UInt64(count)) }
}

/// The keys in order of acceptance, the oldest to go first, and a hash table of their places: linear probing over 4
/// bytes a slot, with a seed of the process's own, so that nobody can choose keys that all probe the same slots.
/// A value behind a lock; not for two threads.
struct KeyTable {
    /// Where an entry stands: counts up, modulo 2³¹.
    typealias Position = UInt32

    private static let positionMask: UInt32 = 0x7FFF_FFFF
    /// Of a slot in use; its other bits are a position.
    private static let used: UInt32 = 0x8000_0000
    /// So that removing the oldest moves few bytes, and growing none.
    static let chunkEntries = 4096

    private var chunks: [[KeyEntry]] = []
    /// Position of the first entry of the first chunk.
    private var base: Position = 0
    /// Entries of the first chunk that are gone.
    private var gone = 0
    private(set) var count = 0

    /// Empty before the first entry: whoever has no keys needs no memory for them.
    private var slots: [UInt32] = []
    private var slotsUsed = 0
    private var bits: UInt64 = 0
    private let capacity: Int
    private let seed: UInt64
    private let multiplier: UInt64

    /// - Parameter capacity: entries for which the table need not grow.
    init(capacity: Int, seed: UInt64 = .random(in: .min ... .max), multiplier: UInt64 = .random(in: .min ... .max)) {
        self.capacity = capacity
        self.seed = seed
        self.multiplier = multiplier | 1
    }

    /// The newest entry of the scope.
    func find(_ scope: Digest) -> KeyEntry? {
        guard !slots.isEmpty else { return nil }
        let slot = slots[place(of: scope)]
        return slot == 0 ? nil : entry(at: slot & Self.positionMask)
    }

    /// - Precondition: not older than the last.
    mutating func append(_ entry: KeyEntry) {
        if slots.isEmpty { rebuild(bits: Self.bits(for: capacity)) }
        if 4 * (slotsUsed + 1) > 3 * slots.count { rebuild(bits: bits + 1) }
        if chunks.last.map({ $0.count == Self.chunkEntries }) ?? true {
            chunks.append([])
            chunks[chunks.count - 1].reserveCapacity(Self.chunkEntries)
        }
        chunks[chunks.count - 1].append(entry)
        let position = (base &+ UInt32(gone + count)) & Self.positionMask
        count += 1
        set(position, for: entry.scope)
    }

    /// The oldest.
    var first: KeyEntry? { count == 0 ? nil : chunks[0][gone] }

    /// The newest.
    var last: KeyEntry? { count == 0 ? nil : self[count - 1] }

    /// The entries with at least `number` older ones before them that lie below `end`, in pieces that share the table's
    /// memory.
    func pieces(from number: Int, below end: LSN) -> [ArraySlice<KeyEntry>] {
        guard number < count else { return [] }
        var pieces: [ArraySlice<KeyEntry>] = []
        var start = (gone + number) % Self.chunkEntries
        for chunk in chunks[((gone + number) / Self.chunkEntries)...] {
            var piece = chunk[start...]
            // Only the newest can lie past the end.
            while let last = piece.last, last.end > end { piece.removeLast() }
            if !piece.isEmpty { pieces.append(piece) }
            start = 0
        }
        return pieces
    }

    /// Takes the oldest away. - Precondition: there is one.
    mutating func removeFirst() {
        let scope = chunks[0][gone].scope
        let position = (base &+ UInt32(gone)) & Self.positionMask
        // A later entry of the same scope has the slot.
        let place = place(of: scope)
        if slots[place] == position | Self.used { clear(place) }
        gone += 1
        count -= 1
        if gone == chunks[0].count {
            base = (base &+ UInt32(gone)) & Self.positionMask
            gone = 0
            chunks.removeFirst()
        }
    }

    /// The entry with `number` older ones before it. - Precondition: `number < count`.
    subscript(number: Int) -> KeyEntry {
        let index = gone + number
        return chunks[index / Self.chunkEntries][index % Self.chunkEntries]
    }

    // MARK: - Slots

    private static func bits(for entries: Int) -> UInt64 {
        var bits: UInt64 = 4
        while 3 * (1 << bits) < 4 * entries { bits += 1 }
        return bits
    }

    private func entry(at position: Position) -> KeyEntry {
        let index = Int((position &- base) & Self.positionMask)
        return chunks[index / Self.chunkEntries][index % Self.chunkEntries]
    }

    private func home(of scope: Digest) -> Int {
        // The digest is as good as random; the seed makes it so for whoever could choose digests.
        Int(((scope.low ^ seed) &* multiplier) >> (64 - bits))
    }

    /// The scope's slot, or the empty one where it would go.
    private func place(of scope: Digest) -> Int {
        let mask = slots.count - 1
        var place = home(of: scope)
        while slots[place] != 0, entry(at: slots[place] & Self.positionMask).scope != scope {
            place = (place + 1) & mask
        }
        return place
    }

    private mutating func set(_ position: Position, for scope: Digest) {
        let place = place(of: scope)
        if slots[place] == 0 { slotsUsed += 1 }
        slots[place] = position | Self.used
    }

    /// Empties a slot, and moves up what only stood behind it for lack of room (Knuth, volume 3, 6.4, algorithm R).
    private mutating func clear(_ place: Int) {
        let mask = slots.count - 1
        var hole = place
        var next = (hole + 1) & mask
        while slots[next] != 0 {
            let home = home(of: entry(at: slots[next] & Self.positionMask).scope)
            // Whether the hole lies between its home and where it stands.
            if (next &- home) & mask >= (next &- hole) & mask {
                slots[hole] = slots[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        slots[hole] = 0
        slotsUsed -= 1
    }

    /// Only at a start can there be more than the capacity, when the limit was lowered.
    private mutating func rebuild(bits: UInt64) {
        self.bits = bits
        slots = [UInt32](repeating: 0, count: 1 << bits)
        slotsUsed = 0
        for number in 0..<count {
            set((base &+ UInt32(gone + number)) & Self.positionMask, for: self[number].scope)
        }
    }
}
