import Journal
import Primitives
import Records

/// The bytes that a store of requests keeps; integers are little-endian, and a CRC32C over what is before it is last,
/// since SQLite has no checksums.
///
/// | of | bytes |
/// |---|---|
/// | head | spool's UUID (high 8, low 8), generation 8, `covered` 8, clock 8, wall clock 8, gap 8 |
/// | keys, each | scope 16, payload 16, first LSN 8, records 4, seconds 4 |
/// | producer | name 16, seconds 4, last number 8; each answer, oldest first: first LSN 8, records 4, payload 16 |
enum RequestRows {
    private static let checksumBytes = 4
    private static let entryBytes = 48
    private static let answerBytes = 28

    static func encode(_ head: RequestHead) -> [UInt8] {
        sealed(bytes: 56) { writer in
            writer.integer(head.spool.high)
            writer.integer(head.spool.low)
            writer.integer(head.mark.generation)
            writer.integer(head.mark.covered.rawValue)
            writer.integer(head.clockMs)
            writer.integer(head.wallMs)
            writer.integer(head.gapMs)
        }
    }

    static func head(_ bytes: ByteSlice) throws(MalformedBytes) -> RequestHead {
        var reader = try opened(bytes)
        let spool = SpoolID(high: try reader.integer(), low: try reader.integer())
        let generation = try reader.integer(UInt64.self)
        let covered = LSN(rawValue: try reader.integer())
        let head = RequestHead(
            spool: spool, mark: RequestMark(covered: covered, generation: generation),
            clockMs: try reader.integer(), wallMs: try reader.integer(), gapMs: try reader.integer())
        guard reader.remaining == 0 else { throw MalformedBytes("head of requests") }
        return head
    }

    static func encode(_ entries: ArraySlice<KeyEntry>) -> [UInt8] {
        sealed(bytes: entries.count * entryBytes) { writer in
            for entry in entries {
                encode(entry.scope, to: &writer)
                encode(entry.payload, to: &writer)
                writer.integer(entry.first.rawValue)
                writer.integer(entry.count)
                writer.integer(entry.seconds)
            }
        }
    }

    static func keys(_ bytes: ByteSlice) throws(MalformedBytes) -> [KeyEntry] {
        var reader = try opened(bytes)
        guard reader.remaining % entryBytes == 0 else { throw MalformedBytes("row of keys") }
        var entries: [KeyEntry] = []
        entries.reserveCapacity(reader.remaining / entryBytes)
        while reader.remaining > 0 {
            entries.append(
                KeyEntry(
                    scope: try digest(&reader), payload: try digest(&reader),
                    first: LSN(rawValue: try reader.integer()),
                    count: try reader.integer(), seconds: try reader.integer()))
        }
        return entries
    }

    static func encode(_ name: Digest, _ producer: Producer) -> [UInt8] {
        sealed(bytes: 28 + producer.answers.count * answerBytes) { writer in
            encode(name, to: &writer)
            writer.integer(producer.seconds)
            writer.integer(producer.last)
            for answer in producer.answers {
                writer.integer(answer.first.rawValue)
                writer.integer(answer.count)
                encode(answer.payload, to: &writer)
            }
        }
    }

    static func producer(_ bytes: ByteSlice) throws(MalformedBytes) -> (name: Digest, state: Producer) {
        var reader = try opened(bytes)
        let name = try digest(&reader)
        let seconds = try reader.integer(UInt32.self)
        let last = try reader.integer(UInt64.self)
        let count = reader.remaining / answerBytes
        guard reader.remaining % answerBytes == 0, (1...IdempotencySettings.answersPerProducer).contains(count),
            last >= UInt64(count)
        else { throw MalformedBytes("row of a producer") }
        var answers: [Producer.Answer] = []
        answers.reserveCapacity(count)
        for _ in 0..<count {
            answers.append(
                Producer.Answer(
                    first: LSN(rawValue: try reader.integer()), count: try reader.integer(),
                    payload: try digest(&reader)))
        }
        return (name, Producer(last: last, answers: answers, seconds: seconds))
    }

    static func encode(_ digest: Digest, to writer: inout ByteWriter) {
        writer.integer(digest.high)
        writer.integer(digest.low)
    }

    private static func digest(_ reader: inout ByteReader) throws(MalformedBytes) -> Digest {
        Digest(high: try reader.integer(), low: try reader.integer())
    }

    private static func sealed(bytes: Int, _ write: (inout ByteWriter) -> Void) -> [UInt8] {
        var writer = ByteWriter(capacity: bytes + checksumBytes)
        write(&writer)
        writer.integer(Format.checksum(writer.bytes[...], seed: 0))
        return writer.bytes
    }

    private static func opened(_ bytes: ByteSlice) throws(MalformedBytes) -> ByteReader {
        guard bytes.count >= checksumBytes else { throw MalformedBytes("no room for a checksum") }
        let body = bytes.dropLast(checksumBytes)
        guard Format.checksum(body, seed: 0) == bytes.littleEndian(at: body.endIndex, as: UInt32.self) else {
            throw MalformedBytes("checksum")
        }
        return ByteReader(body)
    }
}
