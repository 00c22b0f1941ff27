import JSON
public import Primitives

/// How far `produce` came, in a file that outlives it: what was sent last, and under which name. Written and synced
/// before each request, so that whoever starts next repeats exactly that request first.
public struct ProduceProgress: Sendable, Equatable {
    /// Where records go and how they are made: a file is for one of these.
    public var topic: String
    public var form: String
    /// Numbered requests of this producer; nil: keys that begin with `run`.
    public var producer: String?
    public var run: String
    /// Of the request below, or, when there is none, of the next one.
    public var number: Int64 = 1
    /// Everything of the input below is accepted.
    public var from: Int64 = 0
    public var lines = 0
    public var records = 0
    /// Of that part of the input.
    public var digest = InputDigest()
    /// The end of the request that was sent and is perhaps not answered; nil when there is none.
    public var to: Int64?
    /// When it was first sent, milliseconds since 1970.
    public var sentMs: Int64 = 0
    /// Who accepted the request before; nil: there was none, or it did not say.
    public var gateway: String?

    public init(topic: String, form: String, producer: String?, run: String) {
        self.topic = topic
        self.form = form
        self.producer = producer
        self.run = run
    }

    private static let version: Int64 = 2
    private static let bytesMax: Int64 = 1 << 16

    var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("version")
            writer.integer(Self.version)
            let digest = String(digest.value, radix: 16)
            for (name, value) in [
                ("topic", topic), ("form", form), ("producer", producer), ("run", run), ("digest", digest),
                ("gateway", gateway),
            ] {
                writer.key(name)
                if let value { writer.string(value) } else { writer.null() }
            }
            let numbers = [
                ("number", number), ("from", from), ("lines", Int64(lines)), ("records", Int64(records)),
                ("sent_ms", sentMs),
            ]
            for (name, value) in numbers {
                writer.key(name)
                writer.integer(value)
            }
            writer.key("to")
            if let to { writer.integer(to) } else { writer.null() }
        }
        writer.endLine()
        return writer.bytes
    }

    init(decoding bytes: [UInt8], path: String) throws(ClientError) {
        // try?: what is no JSON is as bad as what lacks a field.
        guard let root = try? JSONDocument(bytes[...]).root, root.member("version")?.int64 == Self.version,
            let topic = root.member("topic")?.string, let form = root.member("form")?.string,
            let run = root.member("run")?.string, let number = root.member("number")?.int64, number > 0,
            let from = root.member("from")?.int64, let lines = root.member("lines")?.int64,
            let records = root.member("records")?.int64, let sentMs = root.member("sent_ms")?.int64,
            let digest = root.member("digest")?.string.flatMap({ UInt64($0, radix: 16) }),
            let to = root.member("to"), to.isNull || to.int64.map({ $0 >= from }) == true,
            from >= 0, lines >= 0, records >= 0
        else { throw .input("\(path) is no progress file of this version") }
        self.init(topic: topic, form: form, producer: root.member("producer")?.string, run: run)
        self.number = number
        self.from = from
        self.lines = Int(lines)
        self.records = Int(records)
        self.digest = InputDigest(digest)
        self.to = to.int64
        self.sentMs = sentMs
        gateway = root.member("gateway")?.string
    }

    /// Keeps other processes from the file: they would send what has one name in another order. Beside it, since the
    /// file itself is replaced again and again.
    ///
    /// - Returns: what holds it as long as it lives.
    public static func lock(
        _ path: String, on fileSystem: any FileSystem = SystemFileSystem()
    ) throws(ClientError) -> any File {
        do throws(FileSystemError) {
            let file = try fileSystem.open(path + ".lock", .createOrOpen)
            if try file.tryLock() { return file }
        } catch {
            throw .io(error.description)
        }
        throw .input("\(path) is in use by another process")
    }

    /// nil when there is no file yet. - Throws: it cannot be read, or is none of these.
    public static func load(
        _ path: String, on fileSystem: any FileSystem = SystemFileSystem()
    ) throws(ClientError) -> ProduceProgress? {
        let bytes: [UInt8]
        do throws(FileSystemError) {
            let file = try fileSystem.open(path, .readOnly)
            defer { file.close() }
            bytes = try file.read(Int(min(try file.size(), bytesMax)), at: 0)
        } catch {
            if error.isNotFound { return nil }
            throw .io(error.description)
        }
        return try ProduceProgress(decoding: bytes, path: path)
    }

    /// Replaces the file, and returns when that is durable.
    public func save(_ path: String, on fileSystem: any FileSystem = SystemFileSystem()) throws(ClientError) {
        do throws(FileSystemError) {
            let temporary = path + ".new"
            let file = try fileSystem.open(temporary, .createOrTruncate)
            defer { file.close() }
            try file.writeAll(json, at: 0)
            try file.syncData()
            try fileSystem.rename(temporary, to: path)
            let slash = path.lastIndex(of: "/")
            try fileSystem.syncDirectory(slash.map { String(path[...$0]) } ?? ".")
        } catch {
            throw .io(error.description)
        }
    }
}
