import Consumers
import JSON
import Primitives
import Records

/// The JSON that clients send about named consumers.
enum ConsumerBodies {
    /// Depth that is walked: an object, a list, an object in it.
    private static let tapeDepth = 4

    /// `{topics, from, mode, ack_deadline_ms, max_in_flight, max_deliveries, dead_letter_topic}`
    static func definition(_ body: ByteSlice) throws(Problem) -> ConsumerDefinition {
        var topics: [TopicName] = []
        var definition = ConsumerDefinition(topics: [])
        let fields = try members(
            body,
            [
                "topics", "from", "mode", "ack_deadline_ms", "max_in_flight", "max_deliveries", "dead_letter_topic",
            ])
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
        if let topic = fields["dead_letter_topic"] {
            guard let name = topic.string.flatMap({ TopicName($0) }) else {
                throw .invalid("dead_letter_topic", "a topic's name is expected", code: "invalid_topic")
            }
            definition.deadLetterTopic = name
        }
        return ConsumerDefinition(
            topics: topics, from: definition.from, mode: definition.mode, ackDeadlineMs: definition.ackDeadlineMs,
            maxInFlight: definition.maxInFlight, maxDeliveries: definition.maxDeliveries,
            deadLetterTopic: definition.deadLetterTopic)
    }

    /// `{"ack": token}`, `{"deliveries":[id]}`, `{"through":[id]}` or `{"offsets":[…], "client": name}`.
    static func acknowledgement(_ body: ByteSlice) throws(Problem) -> LeaseSelector {
        try selector(try members(body, selectors))
    }

    /// As acknowledgements, with `delay_ms` and `reason`.
    static func nack(
        _ body: ByteSlice
    ) throws(Problem) -> (selector: LeaseSelector, delay: Duration?, reason: String?) {
        let fields = try members(body, selectors + ["delay_ms", "reason"])
        var reason: String?
        if let value = fields["reason"] {
            guard let text = value.string else { throw .invalid("reason", "a string is expected") }
            reason = text
        }
        let delayMs = try integer(fields["delay_ms"], "delay_ms", from: 0)
        return (try selector(fields), delayMs.map { .milliseconds($0) }, reason)
    }

    /// As acknowledgements, with `deadline_ms`.
    static func extensionOfLeases(
        _ body: ByteSlice
    ) throws(Problem) -> (selector: LeaseSelector, deadline: Duration) {
        let fields = try members(body, selectors + ["deadline_ms"])
        guard let deadlineMs = try integer(fields["deadline_ms"], "deadline_ms") else {
            throw .invalid("deadline_ms", "milliseconds from now are expected")
        }
        return (try selector(fields), .milliseconds(deadlineMs))
    }

    private static let selectors = ["ack", "deliveries", "through", "offsets", "client"]

    private static func selector(_ fields: [String: JSONValue]) throws(Problem) -> LeaseSelector {
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

    private static func integer(
        _ value: JSONValue?, _ field: String, from least: Int64 = 1
    ) throws(Problem) -> Int64? {
        guard let value else { return nil }
        guard let number = value.int64, number >= least, number <= Int64(Int32.max) else {
            throw .invalid(field, "a whole number from \(least) to \(Int32.max) is expected")
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

    private static let places = ["topic", "partition", "offset"]

    private static func offsets(
        _ value: JSONValue?, _ field: String
    ) throws(Problem) -> [(partition: TopicPartition, offset: Int64)] {
        guard let elements = value?.elements else { throw .invalid(field, "an array is expected") }
        var offsets: [(TopicPartition, Int64)] = []
        for element in elements {
            guard let members = element.members else { throw .invalid(field, "objects are expected") }
            for member in members where !places.contains(member.name) {
                throw .invalid(
                    field,
                    "\(member.name.clipped): there is no such field; known are \(places.joined(separator: ", "))",
                    code: "unknown_field")
            }
            guard let topic = element.member("topic")?.string.flatMap({ TopicName($0) }),
                let partition = element.member("partition")?.int64, partition >= 0, partition <= Int64(Int32.max),
                let offset = element.member("offset")?.int64, offset >= 0
            else { throw .invalid(field, "objects of topic, partition and offset are expected") }
            offsets.append((TopicPartition(topic: topic, partition: Int32(partition)), offset))
        }
        return offsets
    }
}
