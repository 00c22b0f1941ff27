import Broker
import CRdkafka
import Primitives
import Records

extension KafkaClient {
    /// How many partitions a topic has: asks the cluster now, again and again while it does not answer. Blocks.
    ///
    /// - Returns: from 1; nil: the cluster says that there is no such topic.
    /// - Throws: retriable, when it does not say.
    func partitions(of topic: TopicName, _ patience: Patience) throws(BrokerError) -> Int32? {
        var last = KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT)
        while let slice = try patience.next(Patience.requestSlice) {
            do throws(KafkaError) {
                let metadata = try metadata(of: topic, within: .milliseconds(Int64(slice)))
                guard let found = metadata.topics.first(where: { $0.name == topic }) else { continue }
                if found.isAbsent { return nil }
                if found.error == RD_KAFKA_RESP_ERR_NO_ERROR, !found.partitions.isEmpty {
                    return Int32(found.partitions.count)
                }
                last = KafkaError(
                    found.error == RD_KAFKA_RESP_ERR_NO_ERROR ? RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE : found.error)
                break
            } catch {
                last = error
                guard ErrorTable.entry(for: error.code).meaning == .retriable else { break }
            }
        }
        throw ErrorTable.brokerError(KafkaError(last.code, "metadata of \(topic): \(last.text)"))
    }
}

extension BrokerError {
    static func timedOut(_ doing: String) -> BrokerError {
        ErrorTable.brokerError(KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, doing))
    }
}
