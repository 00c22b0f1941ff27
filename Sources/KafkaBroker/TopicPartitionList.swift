import CRdkafka
import Glibc
import Records

/// Owns one `rd_kafka_topic_partition_list_t`. One thread at a time uses it.
final class TopicPartitionList {
    struct Element {
        var partition: TopicPartition
        var offset: Int64
        var metadata: String
        var error: rd_kafka_resp_err_t
    }

    private let pointer: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

    init(capacity: Int = 1) { pointer = rd_kafka_topic_partition_list_new(Int32(capacity)) }

    init(copying list: UnsafePointer<rd_kafka_topic_partition_list_t>) {
        pointer = rd_kafka_topic_partition_list_copy(list)
    }

    /// Without offsets.
    convenience init(_ partitions: some Collection<TopicPartition>) {
        self.init(capacity: partitions.count)
        for partition in partitions { add(partition) }
    }

    deinit { rd_kafka_topic_partition_list_destroy(pointer) }

    /// - Parameter offset: absolute, or one of `RD_KAFKA_OFFSET_…`.
    func add(_ place: TopicPartition, offset: Int64 = Int64(RD_KAFKA_OFFSET_INVALID), metadata: String = "") {
        guard let element = rd_kafka_topic_partition_list_add(pointer, place.topic.text, place.partition) else {
            return
        }
        element.pointee.offset = offset
        if !metadata.isEmpty {
            // The list frees it.
            element.pointee.metadata = UnsafeMutableRawPointer(strdup(metadata))
            element.pointee.metadata_size = metadata.utf8.count
        }
    }

    /// The list stays as long as `body` runs. The pointer alone would not keep it: an object may go once nothing
    /// mentions it any more, which is before a call that has only its pointer returns.
    func withPointer<Result>(
        _ body: (UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) -> Result
    ) -> Result {
        withExtendedLifetime(self) { body(pointer) }
    }

    var isEmpty: Bool { withPointer { $0.pointee.cnt == 0 } }

    var elements: [Element] { withPointer { Self.elements(of: $0) } }

    /// Of a list that the library owns. What is no topic name to us is left out.
    static func elements(of list: UnsafePointer<rd_kafka_topic_partition_list_t>) -> [Element] {
        UnsafeBufferPointer(start: list.pointee.elems, count: Int(list.pointee.cnt)).compactMap { element in
            guard let text = element.topic, let topic = TopicName(String(cString: text)) else { return nil }
            let metadata = UnsafeRawBufferPointer(start: element.metadata, count: element.metadata_size)
            return Element(
                partition: TopicPartition(topic: topic, partition: element.partition), offset: element.offset,
                metadata: String(decoding: metadata, as: UTF8.self), error: element.err)
        }
    }
}
