import Broker
import Primitives
import Records

/// The compacted topic in which consumers' definitions are kept for every gateway on the cluster: key the consumer's
/// name, value the definition's bytes, none where it was forgotten. Everything is in partition 0, so that there is one
/// order of changes.
///
/// Header `postrider-writer`: 8 bytes that name the process and 8 that number its writes, little-endian, so that a
/// process knows what it wrote itself.
enum DefinitionsTopic {
    static let partition: Int32 = 0
    static let writerHeader = "postrider-writer"
    static let configuration = ["cleanup.policy": "compact", "unclean.leader.election.enable": "false"]

    struct Change {
        var name: ConsumerName
        /// nil: forgotten.
        var bytes: ByteSlice?
        var writer: Writer?
    }

    struct Writer: Equatable {
        var process: UInt64
        var number: UInt64

        var bytes: [UInt8] {
            var writer = ByteWriter(capacity: 16)
            writer.integer(process)
            writer.integer(number)
            return writer.bytes
        }

        init(process: UInt64, number: UInt64) {
            self.process = process
            self.number = number
        }

        init?(_ bytes: ByteSlice?) {
            guard let bytes, bytes.count == 16 else { return nil }
            process = bytes.littleEndian(at: bytes.startIndex)
            number = bytes.littleEndian(at: bytes.startIndex + 8)
        }
    }

    /// nil for a record that no gateway wrote.
    static func change(_ message: FetchedMessage) -> Change? {
        guard let key = message.key, let name = ConsumerName(String(decoding: key, as: UTF8.self)) else { return nil }
        let header = message.headers.first { $0.name == writerHeader }
        return Change(name: name, bytes: message.value, writer: Writer(header?.value))
    }
}
