import Broker
import Primitives
import Records

/// The compacted topic in which each lane of each spool keeps how far it was handed over.
///
/// Key: the spool's UUID and the lane, `f81d4fae-7dec-41d0-a765-00a0c91e6bf6/3`. The partition is `lane % 8`, whatever
/// the topic has: it must never move. Value, little-endian:
///
/// | bytes | field |
/// |---|---|
/// | 1 | form, 1 |
/// | 4 | epoch of the process that wrote it |
/// | 8 | LSN |
/// | 8 | nonce of the process |
enum CheckpointTopic {
    /// In use.
    static let partitions: Int32 = 8
    private static let form: UInt8 = 1

    /// What it is created with. Only closed segments are compacted, so small ones keep reading at a start short; 1 MiB
    /// is the least that Kafka 4 takes (KIP-1030).
    static let configuration = [
        "cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01",
        "unclean.leader.election.enable": "false",
    ]

    static func partition(lane: Int) -> Int32 { Int32(lane) % partitions }

    static func key(spool: SpoolID, lane: Int) -> ByteSlice { Array("\(spool)/\(lane)".utf8)[...] }

    static func encode(_ checkpoint: SinkCheckpoint) -> ByteSlice {
        var writer = ByteWriter(capacity: 21)
        writer.integer(form)
        writer.integer(checkpoint.epoch)
        writer.integer(checkpoint.lsn.rawValue)
        writer.integer(checkpoint.nonce)
        return writer.bytes[...]
    }

    static func decode(_ value: ByteSlice) throws(MalformedBytes) -> SinkCheckpoint {
        var reader = ByteReader(value)
        let form: UInt8 = try reader.integer()
        guard form == Self.form else { throw MalformedBytes("form \(form)") }
        let epoch: UInt32 = try reader.integer()
        let lsn = LSN(rawValue: try reader.integer())
        let nonce: UInt64 = try reader.integer()
        guard reader.remaining == 0 else { throw MalformedBytes("\(reader.remaining) bytes too many") }
        return SinkCheckpoint(lsn: lsn, epoch: epoch, nonce: nonce)
    }
}
