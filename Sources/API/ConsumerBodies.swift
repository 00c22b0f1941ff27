import Consumers
import JSON
import Primitives
import Records
import Telemetry

/// The JSON of named consumers, in and out.
enum ConsumerBodies {
    /// Depth that is walked: an object, a list, an object in it.
    private static let tapeDepth = 4

    // MARK: - In

    /// `{topics, from, mode, ack_deadline_ms, max_in_flight, max_deliveries}`
    static func definition(_ body: ByteSlice) throws(Problem) -> ConsumerDefinition {
        var topics: [TopicName] = []
        var definition = ConsumerDefinition(topics: [])
        let fields = try members(
            body, ["topics", "from", "mode", "ack_deadline_ms", "max_in_flight", "max_deliveries"])
        guard let list = fields["topics"]?.elements else { throw .invalid("topics", "an array of names is expected") }
        for element in list {
            guard let topic = element.string.flatMap({ TopicName($0) }) else {
                throw .invalid("topics", "a topic's name is expected", code: "invalid_topic")
            }
            topics.append(topic)
        }
        if let mode = fields["mode"] {
            guard let value = mode.string.flatMap({ DeliveryMode(rawValue: $0) }) else {
                throw .invalid("mode", "ordered or shared is expected")
            }
            definition.mode = value
        }
        if let from = fields["from"] { definition.from = try startPosition(from, "from") }
        definition.ackDeadlineMs = try integer(fields["ack_deadline_ms"], "ack_deadline_ms")
        definition.maxInFlight = try integer(fields["max_in_flight"], "max_in_flight").map { Int($0) }
        definition.maxDeliveries = try integer(fields["max_deliveries"], "max_deliveries").map { Int($0) }
        return ConsumerDefinition(
            topics: topics, from: definition.from, mode: definition.mode, ackDeadlineMs: definition.ackDeadlineMs,
            maxInFlight: definition.maxInFlight, maxDeliveries: definition.maxDeliveries)
    }

    /// `{"ack": token}`, `{"deliveries":[id]}`, `{"through":[id]}` or `{"offsets":[…], "client": name}`.
    static func acknowledgement(_ body: ByteSlice) throws(Problem) -> Acknowledgement {
        let fields = try members(body, ["ack", "deliveries", "through", "offsets", "client"])
        let forms = ["ack", "deliveries", "through", "offsets"].filter { fields[$0] != nil }
        guard forms.count == 1 else {
            throw .invalid("body", "one of ack, deliveries, through and offsets is expected", code: "invalid_body")
        }
        if fields["client"] != nil, forms[0] != "offsets" {
            throw .invalid("client", "it belongs to offsets", code: "invalid_body")
        }
        switch forms[0] {
        case "ack":
            guard let token = fields["ack"]?.string else { throw .invalid("ack", "a string is expected") }
            return .answer(token)
        case "deliveries": return .deliveries(try strings(fields["deliveries"], "deliveries"))
        case "through": return .through(try strings(fields["through"], "through"))
        default:
            guard let client = fields["client"]?.string else {
                throw .invalid("client", "the name of the client that polled is expected")
            }
            let places = try offsets(fields["offsets"], "offsets").map {
                RecordPlace(partition: $0.partition, offset: $0.offset)
            }
            return .offsets(places, client: client)
        }
    }

    /// `{"to": "earliest" | "latest" | time}` or `{"offsets":[{topic, partition, offset}]}`: the next offsets to read.
    static func seekTarget(_ body: ByteSlice) throws(Problem) -> SeekTarget {
        let fields = try members(body, ["to", "offsets"])
        switch (fields["to"], fields["offsets"]) {
        case (let to?, nil): return .start(try startPosition(to, "to"))
        case (nil, let list?):
            var targets: [TopicPartition: Int64] = [:]
            for (partition, offset) in try offsets(list, "offsets") {
                if targets.updateValue(offset, forKey: partition) != nil {
                    throw .invalid("offsets", "\(partition) is given twice")
                }
            }
            return .offsets(targets)
        default: throw .invalid("body", "one of to and offsets is expected", code: "invalid_body")
        }
    }

    static func members(_ body: ByteSlice, _ allowed: [String]) throws(Problem) -> [String: JSONValue] {
        let document: JSONDocument
        do throws(JSONError) {
            document = try JSONDocument(body, tapeDepth: tapeDepth)
        } catch {
            throw Problem(error)
        }
        guard let members = document.root.members else {
            throw .invalid("body", "an object is expected", code: "invalid_body")
        }
        var fields: [String: JSONValue] = [:]
        for member in members {
            guard allowed.contains(member.name) else {
                throw .invalid(
                    member.name, "there is no such field; known are \(allowed.joined(separator: ", "))",
                    code: "unknown_field")
            }
            if !member.value.isNull { fields[member.name] = member.value }
        }
        return fields
    }

    private static func startPosition(_ value: JSONValue, _ field: String) throws(Problem) -> StartPosition {
        switch value.string {
        case "earliest": return .earliest
        case "latest": return .latest
        case let text?:
            if let ms = millisecondsSince1970(rfc3339: text) { return .time(ms: ms) }
        case nil: break
        }
        throw .invalid(field, "earliest, latest or a time as RFC 3339 is expected")
    }

    private static func integer(_ value: JSONValue?, _ field: String) throws(Problem) -> Int64? {
        guard let value else { return nil }
        guard let number = value.int64, number > 0, number <= Int64(Int32.max) else {
            throw .invalid(field, "a whole number from 1 to \(Int32.max) is expected")
        }
        return number
    }

    private static func strings(_ value: JSONValue?, _ field: String) throws(Problem) -> [String] {
        guard let elements = value?.elements else { throw .invalid(field, "an array of strings is expected") }
        var strings: [String] = []
        for element in elements {
            guard let string = element.string else { throw .invalid(field, "an array of strings is expected") }
            strings.append(string)
        }
        return strings
    }

    private static func offsets(
        _ value: JSONValue?, _ field: String
    ) throws(Problem) -> [(partition: TopicPartition, offset: Int64)] {
        guard let elements = value?.elements else { throw .invalid(field, "an array is expected") }
        var offsets: [(TopicPartition, Int64)] = []
        for element in elements {
            guard let topic = element.member("topic")?.string.flatMap({ TopicName($0) }),
                let partition = element.member("partition")?.int64, partition >= 0, partition <= Int64(Int32.max),
                let offset = element.member("offset")?.int64, offset >= 0
            else { throw .invalid(field, "objects of topic, partition and offset are expected") }
            offsets.append((TopicPartition(topic: topic, partition: Int32(partition)), offset))
        }
        return offsets
    }

    // MARK: - Out

    static func committed(_ offsets: [TopicPartition: Int64]) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in writer.committed(offsets) }
        return writer.bytes
    }

    static func definition(_ name: ConsumerName, _ definition: ConsumerDefinition) -> [UInt8] {
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
        for (key, value) in [
            ("ack_deadline_ms", definition.ackDeadlineMs), ("max_in_flight", definition.maxInFlight.map { Int64($0) }),
            ("max_deliveries", definition.maxDeliveries.map { Int64($0) }),
        ] {
            guard let value else { continue }
            writer.key(key)
            writer.integer(value)
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
