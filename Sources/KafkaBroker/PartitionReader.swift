import Broker
import CRdkafka
import Primitives
import Records

/// One client that reads one partition at a time, without a group. One thread uses it.
final class PartitionReader {
    private let client: KafkaClient
    private let settings: KafkaBrokerSettings
    private let clock = SystemClock()

    init(settings: KafkaBrokerSettings) throws(BrokerError) {
        var configuration = ClientConfiguration(settings: settings, role: .reader)
        configuration.prefetchBytes = settings.readerBytes
        // A fetch that hangs on the end of one partition would hold up the read of the next.
        configuration.fetchWait = .milliseconds(10)
        client = try KafkaClient(configuration)
        self.settings = settings
    }

    func close() { client.close(within: settings.closeTimeout) }

    /// Blocks, within `readTimeout` for the records.
    func read(_ request: FetchRequest) throws(BrokerError) -> FetchResult {
        let place = request.partition
        let (low, high) = try client.watermarks(of: place, within: settings.adminTimeout)
        let from = max(request.offset, low)
        let end = min(request.endOffset ?? high, high)
        var result = FetchResult(records: [], nextOffset: from, lowWatermark: low, highWatermark: high)
        guard from < end else { return result }
        do throws(KafkaError) {
            let list = TopicPartitionList()
            list.add(place, offset: from)
            try check(list.withPointer { rd_kafka_assign(client.handle, $0) })
            defer { rd_kafka_assign(client.handle, nil) }
            try collect(&result, request, end: end)
        } catch {
            throw ErrorTable.brokerError(error)
        }
        return result
    }

    private func collect(_ result: inout FetchResult, _ request: FetchRequest, end: Int64) throws(KafkaError) {
        let deadline = clock.now() + settings.readTimeout
        let recordsMax = max(1, request.recordsMax)
        var bytes = 0
        while result.nextOffset < end {
            let left = deadline - clock.now()
            guard left > .zero else {
                // What is here is good; the rest is asked for again.
                if result.records.isEmpty { throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT) }
                return
            }
            guard let raw = rd_kafka_consumer_poll(client.handle, Int32(left.wholeMilliseconds) + 1) else { continue }
            let message = FetchedMessage(consuming: raw)
            // What concerns no partition passes by itself, or the deadline comes.
            guard message.partition == request.partition else { continue }
            switch message.code {
            case RD_KAFKA_RESP_ERR_NO_ERROR: break
            case RD_KAFKA_RESP_ERR__PARTITION_EOF:
                // Behind markers.
                result.nextOffset = max(result.nextOffset, min(message.offset, end))
                return
            default: throw message.error
            }
            guard message.offset < end else {
                result.nextOffset = end
                return
            }
            let record = message.record
            bytes += record.bytes
            if !result.records.isEmpty, bytes > request.bytesMax { return }
            result.records.append(
                StoredRecord(partition: request.partition, offset: message.offset, record: record))
            result.nextOffset = message.offset + 1
            if result.records.count == recordsMax { return }
        }
    }
}
