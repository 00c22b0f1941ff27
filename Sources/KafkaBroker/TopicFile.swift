import Broker
import Primitives
import Records

/// What of the catalog is on disk.
struct StoredTopics: Equatable {
    struct Topic: Equatable {
        var name: TopicName
        var partitions: Int32
        var limits: TopicLimits?
        var isUsed: Bool
    }

    var clusterID: String?
    var topics: [Topic]
}

/// `kafka-topics` in the data directory. It is a copy of what Kafka knows better: a damaged one is left aside, and the
/// next answer of the cluster replaces it. Integers are little-endian:
///
/// | bytes | field |
/// |---|---|
/// | 8 | `PRTOPICS` |
/// | 4 | version: 1 |
/// | 8 | FNV-1a (64 bits) of all that follows |
/// | 2 + … | cluster id; empty: none |
/// | 4 | number of topics |
///
/// and for each topic: 2-byte length and name; 4-byte number of partitions; flags (1: limits are known, 2: used);
/// 8-byte `max.message.bytes`, and bounds of timestamps before and after the broker's clock in ms, −1 for none.
struct TopicFile {
    static let name = "kafka-topics"
    private static let magic = Array("PRTOPICS".utf8)
    private static let version: UInt32 = 1
    private static let headerBytes = 20
    private static let (limitsKnown, used): (UInt8, UInt8) = (1, 2)
    /// Of a catalog at its bound, with names of full length.
    private static let bytesMax: Int64 = 64 << 20

    private let directory: String
    private let fileSystem: any FileSystem

    init(directory: String, fileSystem: any FileSystem) {
        self.directory = directory
        self.fileSystem = fileSystem
    }

    private var path: String { "\(directory)/\(Self.name)" }

    enum ReadError: Error, Equatable, CustomStringConvertible {
        case io(FileSystemError)
        case malformed(String)

        var description: String {
            switch self {
            case .io(let error): error.description
            case .malformed(let what): what
            }
        }
    }

    /// nil: there is none yet.
    func read() throws(ReadError) -> StoredTopics? {
        let bytes: [UInt8]
        do throws(FileSystemError) {
            guard try fileSystem.exists(path) else { return nil }
            let file = try fileSystem.open(path, .readOnly)
            defer { file.close() }
            bytes = try file.read(Int(min(try file.size(), Self.bytesMax)), at: 0)
        } catch {
            throw .io(error)
        }
        do throws(MalformedBytes) {
            return try Self.decode(bytes[...])
        } catch {
            throw .malformed(error.what)
        }
    }

    /// Durable when it returns, and whole or not at all.
    func write(_ topics: StoredTopics) throws(FileSystemError) {
        let temporary = path + ".new"
        let file = try fileSystem.open(temporary, .createOrTruncate)
        defer { file.close() }
        try file.writeAll(Self.encode(topics), at: 0)
        try file.syncData()
        try fileSystem.rename(temporary, to: path)
        try fileSystem.syncDirectory(directory)
    }

    static func encode(_ stored: StoredTopics) -> [UInt8] {
        var body = ByteWriter(capacity: 64 * stored.topics.count)
        body.string(stored.clusterID ?? "")
        body.integer(UInt32(stored.topics.count))
        for topic in stored.topics {
            body.string(topic.name.text)
            body.integer(topic.partitions)
            body.integer((topic.limits == nil ? 0 : limitsKnown) | (topic.isUsed ? used : 0))
            body.integer(topic.limits?.messageBytesMax.map { Int64($0) } ?? -1)
            body.integer(topic.limits?.timestampBounds?.beforeMs ?? -1)
            body.integer(topic.limits?.timestampBounds?.afterMs ?? -1)
        }
        var file = ByteWriter(capacity: headerBytes + body.bytes.count)
        file.bytes.append(contentsOf: magic)
        file.integer(version)
        file.integer(checksum(body.bytes[...]))
        file.bytes.append(contentsOf: body.bytes)
        return file.bytes
    }

    static func decode(_ bytes: ByteSlice) throws(MalformedBytes) -> StoredTopics {
        var reader = ByteReader(bytes)
        guard try Array(reader.slice(magic.count)) == magic else { throw MalformedBytes("not of this program") }
        let version: UInt32 = try reader.integer()
        guard version == Self.version else { throw MalformedBytes("version \(version)") }
        guard try reader.integer() == checksum(bytes.dropFirst(headerBytes)) else { throw MalformedBytes("checksum") }
        let clusterID = try reader.string()
        var stored = StoredTopics(clusterID: clusterID.isEmpty ? nil : clusterID, topics: [])
        for _ in 0..<(try reader.integer(UInt32.self)) {
            guard let name = TopicName(try reader.string()) else { throw MalformedBytes("topic name") }
            let partitions: Int32 = try reader.integer()
            let flags: UInt8 = try reader.integer()
            let (bytes, before, after): (Int64, Int64, Int64) = (
                try reader.integer(), try reader.integer(), try reader.integer()
            )
            let bounds = TimestampBounds(beforeMs: before < 0 ? nil : before, afterMs: after < 0 ? nil : after)
            let limits = TopicLimits(
                messageBytesMax: bytes < 0 ? nil : Int(bytes),
                timestampBounds: before < 0 && after < 0 ? nil : bounds)
            stored.topics.append(
                .init(
                    name: name, partitions: partitions, limits: flags & limitsKnown == 0 ? nil : limits,
                    isUsed: flags & used != 0))
        }
        return stored
    }

    private static func checksum(_ bytes: ByteSlice) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return hash
    }
}
