import CRdkafka
import Primitives
import Records

/// Something that a consumer's poll returned; owns the message, which is destroyed with it.
final class FetchedMessage {
    private let pointer: UnsafeMutablePointer<rd_kafka_message_t>

    /// - Parameter pointer: of `rd_kafka_consumer_poll`; taken over.
    init(consuming pointer: UnsafeMutablePointer<rd_kafka_message_t>) { self.pointer = pointer }

    deinit { rd_kafka_message_destroy(pointer) }

    /// `NO_ERROR` for a record, else what happened to the partition, or to the client when there is none.
    var code: rd_kafka_resp_err_t { pointer.pointee.err }
    var offset: Int64 { pointer.pointee.offset }

    var error: KafkaError { KafkaError(code, rd_kafka_message_errstr(pointer).map { String(cString: $0) }) }

    var topic: TopicName? { pointer.pointee.rkt.flatMap { TopicName(String(cString: rd_kafka_topic_name($0))) } }

    var partition: TopicPartition? {
        guard pointer.pointee.partition >= 0 else { return nil }
        return topic.map { TopicPartition(topic: $0, partition: pointer.pointee.partition) }
    }

    var key: ByteSlice? { bytes(pointer.pointee.key, pointer.pointee.key_len) }
    var value: ByteSlice? { bytes(pointer.pointee.payload, pointer.pointee.len) }

    /// - Precondition: `code` is `NO_ERROR`.
    var record: Record {
        var kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
        let timestampMs = rd_kafka_message_timestamp(pointer, &kind)
        return Record(
            key: key, value: value, headers: headers,
            timestampMs: kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? 0 : timestampMs)
    }

    var headers: [RecordHeader] {
        var list: OpaquePointer?
        guard rd_kafka_message_headers(pointer, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list else { return [] }
        var found: [RecordHeader] = []
        var (name, value, size): (UnsafePointer<CChar>?, UnsafeRawPointer?, Int) = (nil, nil, 0)
        while rd_kafka_header_get_all(list, found.count, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR {
            found.append(RecordHeader(name: name.map { String(cString: $0) } ?? "", value: bytes(value, size)))
        }
        return found
    }

    private func bytes(_ start: UnsafeRawPointer?, _ count: Int) -> ByteSlice? {
        start.map { [UInt8](UnsafeRawBufferPointer(start: $0, count: count))[...] }
    }
}
