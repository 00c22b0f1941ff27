import Broker
import Primitives
import Records

/// The record that goes to a dead-letter topic: key, value and headers as they were, and what happened to it in headers
/// of the gateway's own. A client cannot send headers of these names; those of an earlier death are replaced, and the
/// identity that a hand-over gave the record goes: the next one gives it another. The timestamp is new, so that
/// retention counts from now; the old one is in a header.
public enum DeadLetterRecord {
    static let prefix = "postrider-dead-letter-"

    /// What the headers add at most: names, two names of at most 249 bytes, numbers, and the default bound of a reason.
    public static let headersBytesMax = 2_048

    /// nil when it is over `bytesMax` even without its reason.
    static func make(
        _ draft: DeadLetterDraft, topic: TopicName, consumer: ConsumerName, nowMs: Int64, bytesMax: Int
    ) -> SpoolRecord? {
        let (stored, place) = (draft.record.record, draft.record.partition)
        var record = stored
        record.timestampMs = nowMs
        record.headers.removeAll { $0.name.hasPrefix(prefix) || $0.name == RecordBatchSize.identityHeader }
        func add(_ name: String, _ value: some StringProtocol) {
            record.headers.append(RecordHeader(name: prefix + name, value: Array(value.utf8)[...]))
        }
        add("topic", place.topic.text)
        add("partition", String(place.partition))
        add("offset", String(draft.record.offset))
        add("timestamp", String(stored.timestampMs))
        add("attempts", String(draft.attempts))
        add("consumer", consumer.text)
        if let reason = draft.reason {
            let room = bytesMax - record.bytes - (prefix + "reason").utf8.count
            let kept = prefixOf(reason, bytesMax: room)
            if !kept.isEmpty { add("reason", kept) }
        }
        guard record.bytes <= bytesMax else { return nil }
        return SpoolRecord(topic: topic, partition: nil, timestampIsGateways: true, record: record)
    }

    /// Whole characters only.
    private static func prefixOf(_ text: String, bytesMax: Int) -> Substring {
        if text.utf8.count <= bytesMax { return text[...] }
        var (end, bytes) = (text.startIndex, 0)
        for index in text.indices {
            let next = text.index(after: index)
            bytes += text[index..<next].utf8.count
            if bytes > bytesMax { break }
            end = next
        }
        return text[..<end]
    }

    /// Completes once those that the topic takes are synced, or with why not.
    static func submit(
        _ drafts: [DeadLetterDraft], to topic: TopicName, of consumer: ConsumerName, _ context: ConsumerContext,
        completion: @escaping @Sendable (DeadLetterOutcome) -> Void
    ) {
        context.topics.look(topic) { knowledge in
            switch knowledge {
            case .known(let known), .creatable(let known):
                submit(drafts, to: topic, of: consumer, context, bytesMax: known.recordBytesMax, completion: completion)
            case .missing:
                let error = BrokerError(.retriable, code: "unknown_topic", detail: "\(topic) does not exist")
                completion(DeadLetterOutcome(error: error))
            case .unverified: completion(DeadLetterOutcome(error: .unverified(topic)))
            }
        }
    }

    private static func submit(
        _ drafts: [DeadLetterDraft], to topic: TopicName, of consumer: ConsumerName, _ context: ConsumerContext,
        bytesMax: Int, completion: @escaping @Sendable (DeadLetterOutcome) -> Void
    ) {
        var (records, fitting, tooLarge): ([SpoolRecord], Set<Int64>, Set<Int64>) = ([], [], [])
        let nowMs = context.clock.wallMilliseconds()
        for draft in drafts {
            let made = make(draft, topic: topic, consumer: consumer, nowMs: nowMs, bytesMax: bytesMax)
            if let made {
                records.append(made)
                fitting.insert(draft.record.offset)
            } else {
                tooLarge.insert(draft.record.offset)
            }
        }
        if records.isEmpty { return completion(DeadLetterOutcome(tooLarge: tooLarge)) }
        context.submitter.submit(records) { [fitting, tooLarge] result in
            switch result {
            case .success: completion(DeadLetterOutcome(submitted: fitting, tooLarge: tooLarge))
            case .failure(let error): completion(DeadLetterOutcome(tooLarge: tooLarge, error: error))
            }
        }
    }
}
