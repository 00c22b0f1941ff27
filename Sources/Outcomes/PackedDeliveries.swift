import CChecksum
import Primitives
import Records

/// Where the records of one hand-over are, as a row keeps it: complete in itself, whatever becomes of a topic, and with
/// a checksum, so that a damaged row is never taken for an answer. Mostly four bytes a record.
///
/// Little-endian: form (1 byte, 1), first and last LSN (8 each), records (4), timestamp of the first (8); number of
/// topics (varint) and each name (16-bit length and UTF-8); number of places (varint), each with the topic's index, the
/// partition (varints) and the offset of its first record (zigzag); then for each record, in LSN order: how many LSNs
/// lie between it and the one before (varint), the index of its place (varint), its offset and timestamp, as
/// differences to the place's last offset + 1 and the last record's timestamp (zigzag). Last, the CRC32C (4) of all of
/// that, seeded with `seed`. A record that was passed without being delivered has a row of no records, topics and
/// places.
enum PackedDeliveries {
    private static let form: UInt8 = 1
    private static let checksumBytes = 4
    /// Bytes of anything else are no row.
    private static let seed: UInt32 = 0x5052_6f63

    /// A topic's partition among those of the row.
    private struct Place {
        var partition: TopicPartition
        /// Of its next record, if there is no gap.
        var offset: Int64
    }

    /// - Parameter deliveries: not empty, in LSN order.
    static func pack(_ deliveries: [Delivery]) -> ByteSlice {
        precondition(!deliveries.isEmpty, "a hand-over without records has no row")
        var topics: [TopicName] = []
        var topicIndices: [TopicName: Int] = [:]
        var places: [Place] = []
        var placeTopics: [Int] = []
        var indices: [PlaceKey: Int] = [:]
        var topic = 0
        let placed = deliveries.map { delivery in
            // Records come in runs of one topic.
            if topics.isEmpty || topics[topic] != delivery.partition.topic {
                topic = topicIndices[delivery.partition.topic] ?? topics.count
                if topic == topics.count {
                    topics.append(delivery.partition.topic)
                    topicIndices[delivery.partition.topic] = topic
                }
            }
            let key = PlaceKey(topic: topic, partition: delivery.partition.partition)
            if let known = indices[key] { return known }
            indices[key] = places.count
            places.append(Place(partition: delivery.partition, offset: delivery.offset))
            placeTopics.append(topic)
            return places.count - 1
        }
        var writer = ByteWriter(capacity: 64 + 6 * deliveries.count)
        head(
            of: deliveries.count, deliveries[0].lsn...deliveries[deliveries.count - 1].lsn,
            timestampMs: deliveries[0].timestampMs, to: &writer)
        writer.varint(UInt64(topics.count))
        for topic in topics { writer.string(topic.text) }
        writer.varint(UInt64(places.count))
        for (place, topic) in zip(places, placeTopics) {
            writer.varint(UInt64(topic))
            writer.varint(UInt64(UInt32(bitPattern: place.partition.partition)))
            writer.zigzag(place.offset)
        }
        var (next, timestampMs) = (deliveries[0].lsn.rawValue, deliveries[0].timestampMs)
        for (delivery, place) in zip(deliveries, placed) {
            precondition(delivery.lsn.rawValue >= next, "deliveries out of order")
            writer.varint(delivery.lsn.rawValue - next)
            writer.varint(UInt64(place))
            writer.zigzag(delivery.offset &- places[place].offset)
            writer.zigzag(delivery.timestampMs &- timestampMs)
            next = delivery.lsn.rawValue + 1
            places[place].offset = delivery.offset &+ 1
            timestampMs = delivery.timestampMs
        }
        writer.integer(checksum(of: writer.bytes[...]))
        return writer.bytes[...]
    }

    /// A row that has nothing.
    static func pack(passing lsn: LSN) -> ByteSlice {
        var writer = ByteWriter(capacity: 64)
        head(of: 0, lsn...lsn, timestampMs: 0, to: &writer)
        writer.varint(0)
        writer.varint(0)
        writer.integer(checksum(of: writer.bytes[...]))
        return writer.bytes[...]
    }

    private static func head(
        of count: Int, _ range: ClosedRange<LSN>, timestampMs: Int64, to writer: inout ByteWriter
    ) {
        writer.integer(form)
        writer.integer(range.lowerBound.rawValue)
        writer.integer(range.upperBound.rawValue)
        writer.integer(UInt32(count))
        writer.integer(timestampMs)
    }

    private struct PlaceKey: Hashable {
        var topic: Int
        var partition: Int32
    }

    /// Where the wanted records are that are in the row.
    ///
    /// - Parameters:
    ///   - lsns: sorted.
    ///   - range: the first and last LSN that the row is said to have.
    ///   - found: with the index in `lsns`; of an LSN that is wanted twice, for each.
    static func find(
        _ lsns: ArraySlice<LSN>, in packed: ByteSlice, range: ClosedRange<LSN>, found: (Int, Delivery) -> Void
    ) throws(MalformedBytes) {
        var reader = try checked(packed)
        guard try reader.integer(UInt8.self) == form else { throw MalformedBytes("form of packed outcomes") }
        let (first, last) = (try reader.integer(UInt64.self), try reader.integer(UInt64.self))
        guard range == LSN(rawValue: first)...LSN(rawValue: max(first, last)) else {
            throw MalformedBytes("outcomes of other records")
        }
        let count = Int(try reader.integer(UInt32.self))
        var timestampMs = try reader.integer(Int64.self)
        var places = try places(&reader)
        var next = first
        var wanted = lsns.startIndex
        for _ in 0..<count {
            let (gap, place) = (try reader.varint(), try reader.varint())
            let (offset, time) = (try reader.zigzag(), try reader.zigzag())
            guard place < UInt64(places.count), next <= last, gap <= last - next else {
                throw MalformedBytes("a packed outcome")
            }
            let lsn = LSN(rawValue: next + gap)
            places[Int(place)].offset &+= offset
            timestampMs &+= time
            while wanted < lsns.endIndex, lsns[wanted] <= lsn {
                if lsns[wanted] == lsn {
                    let place = places[Int(place)]
                    found(
                        wanted,
                        Delivery(lsn: lsn, partition: place.partition, offset: place.offset, timestampMs: timestampMs))
                }
                wanted += 1
            }
            if wanted == lsns.endIndex { return }
            places[Int(place)].offset &+= 1
            next = lsn.rawValue &+ 1
        }
        guard count == 0 || next == last &+ 1, reader.remaining == 0 else {
            throw MalformedBytes("end of packed outcomes")
        }
    }

    private static func places(_ reader: inout ByteReader) throws(MalformedBytes) -> [Place] {
        var topics: [TopicName] = []
        // Whatever the counts say: each takes a byte at least, and reading ends with the bytes.
        for _ in 0..<(try reader.varint()) {
            guard let topic = TopicName(try reader.string()) else { throw MalformedBytes("a topic's name") }
            topics.append(topic)
        }
        var places: [Place] = []
        for _ in 0..<(try reader.varint()) {
            let (topic, partition) = (try reader.varint(), try reader.varint())
            let offset = try reader.zigzag()
            guard topic < UInt64(topics.count), let partition = UInt32(exactly: partition) else {
                throw MalformedBytes("a place")
            }
            places.append(
                Place(
                    partition: TopicPartition(topic: topics[Int(topic)], partition: Int32(bitPattern: partition)),
                    offset: offset))
        }
        return places
    }

    /// A reader of what is before the checksum, when that is right.
    private static func checked(_ packed: ByteSlice) throws(MalformedBytes) -> ByteReader {
        guard packed.count > checksumBytes else { throw MalformedBytes("packed outcomes without a checksum") }
        let body = packed.dropLast(checksumBytes)
        guard packed.littleEndian(at: body.endIndex, as: UInt32.self) == checksum(of: body) else {
            throw MalformedBytes("checksum of packed outcomes")
        }
        return ByteReader(body)
    }

    private static func checksum(of bytes: ByteSlice) -> UInt32 {
        bytes.withUnsafeBytes { postrider_crc32c(seed, $0.baseAddress, $0.count) }
    }
}
