import Records

/// Who waits for records of which partition, from which offset on. A pure value.
struct WatchTable {
    private struct Place {
        /// Where the stream of the partition was told to begin, or has come to; nil while it is not read.
        var position: Int64?
        var watches: [UInt64: Int64] = [:]
    }

    private let limit: Int
    private var places: [TopicPartition: Place] = [:]
    private var placeOf: [UInt64: TopicPartition] = [:]

    init(limit: Int) { self.limit = limit }

    var count: Int { placeOf.count }

    /// What the stream of a partition has to do.
    enum Reading: Equatable {
        case asItIs
        /// From there on.
        case begin(Int64)
        case end
    }

    /// - Returns: false when there are too many.
    mutating func add(_ watch: UInt64, at place: TopicPartition, from offset: Int64) -> Bool {
        guard placeOf.count < limit else { return false }
        placeOf[watch] = place
        places[place, default: Place()].watches[watch] = offset
        return true
    }

    /// - Returns: whether it was there.
    mutating func remove(_ watch: UInt64) -> Bool {
        guard let place = placeOf.removeValue(forKey: watch) else { return false }
        places[place]?.watches[watch] = nil
        return true
    }

    /// Decides about one partition after its watches changed; what it says is taken as done.
    mutating func settle(_ place: TopicPartition) -> Reading {
        guard var found = places[place] else { return .asItIs }
        guard let first = found.watches.values.min() else {
            places[place] = nil
            return found.position == nil ? .asItIs : .end
        }
        // A stream that stands at or before the first of them will meet what they wait for.
        if let position = found.position, position <= first { return .asItIs }
        found.position = first
        places[place] = found
        return .begin(first)
    }

    /// There is a record at `offset`. - Returns: who waited for it.
    mutating func found(_ place: TopicPartition, at offset: Int64) -> [UInt64] {
        guard let found = places[place] else { return [] }
        places[place]?.position = offset + 1
        return take(place, found.watches.filter { $0.value <= offset }.map(\.key))
    }

    /// The partition cannot be read. - Returns: everybody who waited there.
    mutating func failed(_ place: TopicPartition) -> [UInt64] {
        take(place, places[place].map { Array($0.watches.keys) } ?? [])
    }

    private mutating func take(_ place: TopicPartition, _ watches: [UInt64]) -> [UInt64] {
        for watch in watches { _ = remove(watch) }
        return watches.sorted()
    }

    mutating func removeAll() -> [UInt64] {
        defer {
            places = [:]
            placeOf = [:]
        }
        return placeOf.keys.sorted()
    }
}
