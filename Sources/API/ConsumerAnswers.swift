import Consumers
import JSON
import Records
import Telemetry

/// The JSON that clients get about named consumers, but for records.
enum ConsumerAnswers {
    static func committed(_ offsets: [TopicPartition: Int64]) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in writer.committed(offsets) }
        return writer.bytes
    }

    static func definition(_ name: ConsumerName, _ requested: ConsumerDefinition) -> [UInt8] {
        let definition = requested.maxDeliveries == nil ? requested : requested.completed(for: name)
        var writer = JSONWriter()
        writer.object { writer in write(name, definition, to: &writer) }
        return writer.bytes
    }

    private static func write(_ name: ConsumerName, _ definition: ConsumerDefinition, to writer: inout JSONWriter) {
        writer.key("name")
        writer.string(name.text)
        writer.key("topics")
        writer.array { writer in for topic in definition.topics { writer.string(topic.text) } }
        writer.key("from")
        switch definition.from {
        case .earliest: writer.string("earliest")
        case .latest: writer.string("latest")
        case .time(let ms): writer.string(rfc3339(milliseconds: ms))
        }
        writer.key("mode")
        writer.string(definition.mode.rawValue)
        // Only what was asked for, or what holds: a consumer without a limit has no dead-letter topic.
        for (key, value) in [
            ("ack_deadline_ms", definition.ackDeadlineMs), ("max_in_flight", definition.maxInFlight.map { Int64($0) }),
            ("max_deliveries", definition.maxDeliveries.map { Int64($0) }),
        ] {
            guard let value else { continue }
            writer.key(key)
            writer.integer(value)
        }
        if let topic = definition.deadLetterTopic {
            writer.key("dead_letter_topic")
            writer.string(topic.text)
        }
    }

    static func description(_ consumer: ConsumerDescription) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            write(consumer.name, consumer.definition, to: &writer)
            writer.key("leases")
            writer.integer(consumer.leases)
            writer.key("polls_waiting")
            writer.integer(consumer.pollsWaiting)
            writer.key("oldest_unacknowledged")
            time(consumer.oldestUnacknowledgedMs, to: &writer)
            if consumer.definition.maxDeliveries != nil {
                writer.key("dead_letters_waiting")
                writer.integer(consumer.deadLettersWaiting)
                writer.key("dead_letter_error")
                if let error = consumer.deadLetterError { writer.string(error) } else { writer.null() }
            }
            writer.key("partitions")
            writer.array { writer in
                for partition in consumer.partitions { write(partition, to: &writer) }
            }
        }
        return writer.bytes
    }

    private static func write(_ progress: PartitionProgress, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.place(progress.partition)
            writer.key("committed")
            if let committed = progress.committed { writer.integer(committed) } else { writer.null() }
            writer.key("position")
            if let position = progress.position { writer.integer(position) } else { writer.null() }
            writer.key("end")
            writer.integer(progress.end)
            writer.key("lag")
            writer.integer(progress.lag)
            writer.key("leases")
            writer.integer(progress.leases)
            writer.key("oldest_unacknowledged")
            time(progress.oldestUnacknowledgedMs, to: &writer)
        }
    }

    private static func time(_ milliseconds: Int64?, to writer: inout JSONWriter) {
        if let milliseconds { writer.string(rfc3339(milliseconds: milliseconds)) } else { writer.null() }
    }
}
