import GatewayTestSupport
import JSON
import Testing
import TestSupport

/// What tests of every broker do again and again.
extension TestGateway {
    /// `wait` for the first records of a consumer: a group of Kafka's needs seconds to form.
    static var patience: String { "wait=60" }

    /// Posts one record and waits until it is delivered. - Returns: what its receipt says.
    func deliver(
        _ topic: String, _ query: String = "", _ headers: [(String, String)] = [], _ body: [UInt8] = [120]
    ) throws -> JSONValue {
        let answer = try client.request(
            "POST", "/v1/topics/\(topic)\(query)", headers + [("Prefer", "wait=60")], body: body)
        try #require(answer.status == 200, "\(answer.text)")
        return try #require(try answer.json()["outcomes"]?[0])
    }

    /// Posts these values, which need no escapes, to a partition, in one request, and waits until readers see the last
    /// one.
    ///
    /// - Returns: their offsets.
    @discardableResult
    func fill(_ topic: String, _ values: [String], partition: Int = 0) throws -> [Int64] {
        let records = values.map { #"{"value_text":"\#($0)","partition":\#(partition)}"# }.joined(separator: ",")
        let headers = [("Content-Type", "application/json"), ("Prefer", "wait=60")]
        let answer = try client.request(
            "POST", "/v1/topics/\(topic)/records", headers, body: Array(#"{"records":[\#(records)]}"#.utf8))
        try #require(answer.status == 200, "\(answer.text)")
        let outcomes = try answer.json()["outcomes"]?.list ?? []
        _ = try stored(try #require(outcomes.last))
        return outcomes.compactMap { $0["offset"]?.int64 }
    }

    /// The record of a receipt, read without a consumer.
    func stored(_ outcome: JSONValue) throws -> JSONValue {
        let topic = try #require(outcome["topic"]?.string)
        let (partition, offset) = (outcome["partition"]?.int64 ?? -1, outcome["offset"]?.int64 ?? -1)
        let target = "/v1/topics/\(topic)/partitions/\(partition)/records?offset=\(offset)&max=1&wait=5"
        var found: JSONValue?
        // Kafka tells of a commit a moment before readers see it; until then the offset lies past their end.
        let isVisible = try eventually {
            let answer = try client.request("GET", target)
            try #require(answer.status == 200 || answer.code == "offset_out_of_range", "\(answer.text)")
            found = try answer.json()["records"]?[0]
            return found != nil
        }
        try #require(isVisible)
        #expect(found?["offset"]?.int64 == offset)
        return try #require(found)
    }

    func poll(_ consumer: String, _ query: String = patience) throws -> JSONValue {
        let answer = try client.request("POST", "/v1/consumers/\(consumer)/poll?\(query)")
        try #require(answer.status == 200, "\(answer.text)")
        return try answer.json()
    }

    /// - Parameter call: `acks`, `nacks` or `extensions`.
    func settle(_ consumer: String, _ body: String, _ call: String = "acks") throws -> Answer {
        try client.postJSON("/v1/consumers/\(consumer)/\(call)", body)
    }

    func acknowledgeAll(_ consumer: String, _ poll: JSONValue) throws {
        let token = try #require(poll["ack"]?.string)
        let answer = try settle(consumer, #"{"ack":"\#(token)"}"#)
        try #require(answer.status == 200, "\(answer.text)")
    }

    func define(_ consumer: String, _ topic: String, _ fields: String = "") throws {
        let answer = try client.putJSON("/v1/consumers/\(consumer)", #"{"topics":["\#(topic)"]\#(fields)}"#)
        try #require(answer.status == 201, "\(answer.text)")
    }

    /// Of partition 0, as the consumer's description shows it.
    func committed(_ consumer: String) throws -> Int64? {
        let answer = try client.request("GET", "/v1/consumers/\(consumer)")
        try #require(answer.status == 200, "\(answer.text)")
        return try answer.json()["partitions"]?[0]?["committed"]?.int64
    }
}

/// A record's headers, without the one that a hand-over to Kafka adds.
func headers(_ record: JSONValue) -> [JSONValue] {
    (record["headers"]?.list ?? []).filter { $0["name"]?.string != "postrider-id" }
}

/// Of the records of an answer.
func values(_ answer: JSONValue) -> [String?] { answer["records"]?.list.map { $0["value_text"]?.string } ?? [] }
func offsets(_ answer: JSONValue) -> [Int64?] { answer["records"]?.list.map { $0["offset"]?.int64 } ?? [] }
func ids(_ answer: JSONValue) -> [String] {
    answer["records"]?.list.compactMap { $0["delivery"]?["id"]?.string } ?? []
}
