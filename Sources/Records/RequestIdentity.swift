import Primitives

/// By what a produce request is told from others, so that its repetition is known as one (promise 4).
public enum RequestIdentity: Hashable, Sendable {
    /// An `Idempotency-Key`. `scope` is of the principal, the route with its topic, and the key.
    case key(scope: Digest, payload: Digest)
    /// A producer's request `number`, from 1 on. `producer` is of the principal and the producer's id: its requests are
    /// numbered together, whatever their route.
    case sequence(producer: Digest, number: UInt64, payload: Digest)

    /// What must not be in flight twice.
    public var name: Name {
        switch self {
        case .key(let scope, _): .key(scope)
        case .sequence(let producer, _, _): .producer(producer)
        }
    }

    /// Of what the request asks for: a repetition has the same.
    public var payload: Digest {
        switch self {
        case .key(_, let payload), .sequence(_, _, let payload): payload
        }
    }

    public enum Name: Hashable, Sendable {
        case key(Digest)
        case producer(Digest)
    }
}

/// What stands in the journal about a request that may be repeated: behind its first record, so that it is exactly as
/// durable as the records are. Integers are little-endian. JOURNAL.md holds the same table.
///
/// | bytes | field |
/// |---|---|
/// | 1 | kind: 1 key, 2 producer sequence |
/// | 16 | digest of the scope, or of the producer (`Digest`: high, low) |
/// | 16 | digest of the payload |
/// | 8 | the sequence's number, from 1 on; 0 for a key |
/// | 4 | number of the request's records, at least 1 |
/// | 8 | time of acceptance, milliseconds since 1970 by the spool's clock for requests |
public struct RequestStamp: Hashable, Sendable {
    public var identity: RequestIdentity
    /// Records of the request; their LSNs follow one another.
    public var count: UInt32
    public var acceptedMs: Int64

    public init(identity: RequestIdentity, count: UInt32, acceptedMs: Int64) {
        self.identity = identity
        self.count = count
        self.acceptedMs = acceptedMs
    }

    /// Encoded.
    public static let bytes = 53
    private static let key: UInt8 = 1
    private static let sequence: UInt8 = 2

    func encode(to writer: inout ByteWriter) {
        switch identity {
        case .key(let scope, let payload): Self.encode(Self.key, scope, payload, 0, to: &writer)
        case .sequence(let producer, let number, let payload):
            Self.encode(Self.sequence, producer, payload, number, to: &writer)
        }
        writer.integer(count)
        writer.integer(acceptedMs)
    }

    private static func encode(
        _ kind: UInt8, _ name: Digest, _ payload: Digest, _ number: UInt64, to writer: inout ByteWriter
    ) {
        writer.integer(kind)
        writer.integer(name.high)
        writer.integer(name.low)
        writer.integer(payload.high)
        writer.integer(payload.low)
        writer.integer(number)
    }

    init(decoding reader: inout ByteReader) throws(MalformedBytes) {
        let kind = try reader.integer(UInt8.self)
        let name = Digest(high: try reader.integer(), low: try reader.integer())
        let payload = Digest(high: try reader.integer(), low: try reader.integer())
        let number = try reader.integer(UInt64.self)
        switch (kind, number) {
        case (Self.key, 0): identity = .key(scope: name, payload: payload)
        case (Self.sequence, 1...): identity = .sequence(producer: name, number: number, payload: payload)
        default: throw MalformedBytes("request stamp of kind \(kind), number \(number)")
        }
        count = try reader.integer()
        acceptedMs = try reader.integer()
        guard count >= 1 else { throw MalformedBytes("request stamp without records") }
    }
}
