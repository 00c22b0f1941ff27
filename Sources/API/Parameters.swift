import HTTPServer
import JSON
import Primitives
import Records

/// The query of a request, read once; an unknown, repeated or malformed parameter is refused by name.
struct Parameters {
    private var items: [HTTPRequest.QueryItem]

    /// - Parameter repeatable: may come more than once.
    init(_ request: HTTPRequest, _ allowed: [String], repeatable: String? = nil) throws(Problem) {
        do throws(HTTPRequest.QueryError) {
            items = try request.queryItems()
        } catch {
            throw .invalid("query", "\(error)")
        }
        for (index, item) in items.enumerated() {
            guard allowed.contains(item.name) else { throw Self.unknown(item.name, allowed) }
            if item.name != repeatable, items[..<index].contains(where: { $0.name == item.name }) {
                throw .invalid(item.name, "given more than once")
            }
        }
    }

    /// The problem's `known` has those that the call takes, for programs that correct themselves.
    private static func unknown(_ name: String, _ allowed: [String]) -> Problem {
        let list = allowed.isEmpty ? "none is known" : "known are \(allowed.joined(separator: ", "))"
        var problem = Problem.invalid(name, "there is no such parameter here; \(list)", code: "unknown_parameter")
        problem.extra = { writer in
            writer.key("known")
            writer.array { writer in for name in allowed { writer.string(name) } }
        }
        return problem
    }

    func text(_ name: String) -> String? { items.first { $0.name == name }.map { $0.value ?? "" } }

    func texts(_ name: String) -> [String] { items.filter { $0.name == name }.map { $0.value ?? "" } }

    func integer<T: FixedWidthInteger>(_ name: String, in range: ClosedRange<T>) throws(Problem) -> T? {
        guard let text = text(name) else { return nil }
        guard let value = DecimalText.whole(text, as: T.self), range.contains(value) else {
            throw .invalid(name, "a whole number from \(range.lowerBound) to \(range.upperBound) is expected")
        }
        return value
    }

    func flag(_ name: String) throws(Problem) -> Bool {
        switch text(name) {
        case nil, "false": return false
        case "true", "": return true
        default: throw .invalid(name, "true or false is expected")
        }
    }

    /// Seconds, fractions allowed; more than `clampedTo` counts as that.
    func seconds(_ name: String, clampedTo longest: Duration) throws(Problem) -> Duration? {
        guard let text = text(name) else { return nil }
        guard let value = DecimalText.seconds(text) else {
            throw .invalid(name, "seconds from 0 on are expected, such as 10 or 0.5")
        }
        return min(longest, .nanoseconds(Int64(min(value, longest.inSeconds) * 1e9)))
    }
}

extension HTTPRequest {
    func topic() throws(Problem) -> TopicName {
        let text = capture("topic")
        guard let name = TopicName(text) else {
            throw .invalid(
                "topic", "1 to 249 of a-z, A-Z, 0-9, dot, dash and underscore are expected", code: "invalid_topic")
        }
        return name
    }

    /// A topic that clients may write to, make, change and delete.
    func ownTopic() throws(Problem) -> TopicName {
        let topic = try topic()
        if topic.isInternal {
            throw Problem(
                422, "reserved_topic", "The topic's name is reserved",
                "\(topic): names that begin with __ or _postrider are Kafka's and the gateway's own")
        }
        return topic
    }

    func consumer() throws(Problem) -> ConsumerName {
        guard let name = ConsumerName(capture("consumer")) else {
            throw .invalid(
                "consumer", "1 to 249 of a-z, A-Z, 0-9, dot, dash and underscore are expected", code: "invalid_consumer"
            )
        }
        return name
    }
}
