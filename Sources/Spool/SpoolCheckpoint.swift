import Primitives
import Records

/// How far the store of requests is: what a start has to read from the journal, and what may be deleted of it.
struct RequestMark: Equatable {
    /// Every request with a key or a sequence whose records are below stands in the store, or is past its lifetime.
    var covered = LSN.zero
    /// The store has this one or a later one, else it is not the store that `covered` is about. 0: nothing was stored.
    var generation: UInt64 = 0
}

/// The spool's own bytes in CHECKPOINT. JOURNAL.md holds the same table.
///
/// | bytes | field |
/// |---|---|
/// | 1 | form: 2 |
/// | … | the lane cursors |
/// | 8 | `RequestMark.covered` |
/// | 8 | `RequestMark.generation` |
struct SpoolCheckpoint {
    private static let form: UInt8 = 2
    private static let markBytes = 16

    var cursors: LaneCursors
    var requests = RequestMark()

    func encoded(durable: LSN) -> [UInt8] {
        let lanes = cursors.encoded(durable: durable)
        var writer = ByteWriter(capacity: 1 + lanes.count + Self.markBytes)
        writer.integer(Self.form)
        writer.bytes += lanes
        writer.integer(requests.covered.rawValue)
        writer.integer(requests.generation)
        return writer.bytes
    }
}

extension SpoolCheckpoint {
    /// - Parameter bytes: empty for a new spool; the lane cursors alone from a program without requests.
    init(decoding bytes: [UInt8], lanes: Int) throws(MalformedBytes) {
        guard bytes.first == Self.form else {
            cursors = try LaneCursors(decoding: bytes, lanes: lanes)
            return
        }
        guard bytes.count > 1 + Self.markBytes else { throw MalformedBytes("spool checkpoint") }
        cursors = try LaneCursors(decoding: Array(bytes.dropFirst().dropLast(Self.markBytes)), lanes: lanes)
        var reader = ByteReader(bytes.suffix(Self.markBytes))
        requests.covered = LSN(rawValue: try reader.integer())
        requests.generation = try reader.integer()
    }
}
