public import Primitives

/// Kafka's murmur2 with the Java client's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
public func murmur2(_ bytes: ByteSlice) -> UInt32 {
    bytes.withUnsafeBytes { raw in
        let m: UInt32 = 0x5bd1_e995
        var h: UInt32 = 0x9747_b28c ^ UInt32(truncatingIfNeeded: raw.count)
        let words = raw.count / 4
        for word in 0..<words {
            var k = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: word * 4, as: UInt32.self))
            k = k &* m
            k ^= k >> 24
            h = (h &* m) ^ (k &* m)
        }
        let tail = words * 4
        let left = raw.count - tail
        if left >= 3 { h ^= UInt32(raw[tail + 2]) << 16 }
        if left >= 2 { h ^= UInt32(raw[tail + 1]) << 8 }
        if left >= 1 { h = (h ^ UInt32(raw[tail])) &* m }
        h ^= h >> 13
        h = h &* m
        return h ^ (h >> 15)
    }
}

/// Chooses the partition of each record: explicit, else murmur2 of the key as the Java client does, else round robin
/// that stays on a partition for a run of records (KIP-480's stickiness; the run is counted, not timed, so that a
/// replay chooses the same). A value: its owner keeps one for each topic.
public struct Partitioner: Sendable {
    /// Records without a key that go to one partition before the next is taken.
    public static let stickyRecords = 64

    private var sent = 0

    public init(startingAt sent: Int = 0) { self.sent = sent }

    /// - Precondition: `count` > 0.
    public mutating func partition(key: ByteSlice?, explicit: Int32?, count: Int32) -> Int32 {
        if let explicit { return explicit }
        if let key { return Int32(murmur2(key) & 0x7FFF_FFFF) % count }
        defer { sent &+= 1 }
        return Int32((sent / Self.stickyRecords) % Int(count))
    }
}

/// The lane of a topic: fixed for the life of a spool, so the function must never change.
public func lane(of topic: TopicName, lanes: Int) -> UInt8 {
    // FNV-1a, 64 bits.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in topic.text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return UInt8((hash ^ hash >> 32) % UInt64(lanes))
}
