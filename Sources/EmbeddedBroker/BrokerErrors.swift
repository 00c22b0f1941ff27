import Broker
import Outcomes
import Records
import Store

/// How a job on one of the broker's threads fails.
enum JobFailure: Error {
    /// Before it changed anything.
    case refused(BrokerError)
    /// At any point: what it did is undone.
    case store(StoreError)

    var brokerError: BrokerError {
        switch self {
        case .refused(let error): error
        case .store(let error): BrokerError(error)
        }
    }
}

/// Lets a throwing call on the store be part of a job.
func stored<Result>(_ body: () throws(StoreError) -> Result) throws(JobFailure) -> Result {
    do throws(StoreError) {
        return try body()
    } catch {
        throw .store(error)
    }
}

extension BrokerError {
    /// The one place where SQLite's refusals become the broker's.
    init(_ error: StoreError) {
        let (`class`, code): (BrokerError.Class, String) =
            switch error.kind {
            case .full: (.retriable, "broker_full")
            case .busy: (.retriable, "broker_busy")
            case .corrupt: (.processFatal, "broker_corrupt")
            case .readonly: (.processFatal, "broker_readonly")
            case .foreign, .newer: (.processFatal, "broker_file_unknown")
            case .other where error.isRetriable: (.retriable, "broker_out_of_memory")
            case .other where error.isSyncFailure: (.processFatal, "broker_sync_failed")
            case .other: (.processFatal, "broker_io_failed")
            }
        self.init(`class`, code: code, detail: error.description)
    }

    static let closed = BrokerError(.retriable, code: "broker_closed", detail: "the embedded broker is stopping")

    static func busy(_ queued: Int) -> BrokerError {
        BrokerError(.retriable, code: "broker_busy", detail: "\(queued) calls are waiting")
    }

    static func full(used: Int64, quota: Int64) -> BrokerError {
        BrokerError(.retriable, code: "broker_full", detail: "\(used) bytes in use, the quota is \(quota)")
    }

    static func fenced(_ sink: SinkKey) -> BrokerError {
        BrokerError(.fenced, code: "sink_fenced", detail: "a newer sink of \(sink.spool), lane \(sink.lane) is open")
    }

    static let sinkClosed = BrokerError(.sinkFatal, code: "sink_closed", detail: "the sink was closed")

    static let subscriptionClosed = BrokerError(
        .sinkFatal, code: "subscription_closed", detail: "the subscription was closed")

    static func unknownTopic(_ topic: TopicName) -> BrokerError {
        BrokerError(.recordFatal, code: "unknown_topic", detail: "there is no topic \(topic)")
    }

    static func topicDeleted(_ topic: TopicName) -> BrokerError {
        BrokerError(
            .recordFatal, code: "topic_deleted", detail: "topic \(topic) was deleted; create it to use it again")
    }

    static func unknownPartition(_ partition: TopicPartition, count: Int) -> BrokerError {
        BrokerError(
            .recordFatal, code: "unknown_partition", detail: "\(partition): the topic has partitions 0 to \(count - 1)")
    }

    static func offsetOutOfRange(_ partition: TopicPartition, _ offset: Int64, end: Int64) -> BrokerError {
        BrokerError(
            .recordFatal, code: "offset_out_of_range", detail: "\(partition): \(offset) is not within 0 to \(end)")
    }

    static func recordTooLarge(_ topic: TopicName, bytes: Int, limit: Int) -> BrokerError {
        BrokerError(
            .recordFatal, code: "record_too_large", detail: "\(bytes) bytes, topic \(topic) takes \(limit)")
    }

    static func headerNameTooLong(bytes: Int) -> BrokerError {
        BrokerError(.recordFatal, code: "header_name_too_long", detail: "\(bytes) bytes, the limit is \(UInt16.max)")
    }

    static func tooManyWatches(_ limit: Int) -> BrokerError {
        BrokerError(.retriable, code: "too_many_watches", detail: "\(limit) reads are waiting, the limit")
    }

    /// Of an explicit `create` only. Retriable: an operator deletes topics or raises the limit.
    static func tooManyTopics(_ limit: Int) -> BrokerError {
        BrokerError(.retriable, code: "too_many_topics", detail: "the limit is \(limit)")
    }

    /// Nothing that anybody does gives a number back, so a record that needs one dies instead of holding up its lane.
    static let noPartitionNumbersLeft = BrokerError(
        .recordFatal, code: "partition_numbers_exhausted",
        detail: "this file has had \(RecordKey.partitionEnd - 1) partitions; begin a new one")

    static func invalid(_ code: String, _ detail: String) -> BrokerError {
        BrokerError(.recordFatal, code: code, detail: detail)
    }
}
