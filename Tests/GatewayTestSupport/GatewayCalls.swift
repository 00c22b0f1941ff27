public import JSON
import Primitives

/// What tests do again and again, over one connection.
extension HTTPClient {
    /// Posts one record. - Returns: its receipt.
    @discardableResult
    public func produce(
        _ topic: String, _ value: String, key: String? = nil, partition: Int? = nil
    ) throws -> String {
        var query: [String] = []
        if let key { query.append("key=\(key)") }
        if let partition { query.append("partition=\(partition)") }
        let target = "/v1/topics/\(topic)" + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
        let answer = try request("POST", target, body: Array(value.utf8))
        guard answer.status == 202, let receipt = try answer.json()["receipts"]?[0]?.string else {
            throw Failure("produce: \(answer.status) \(answer.text)")
        }
        return receipt
    }

    public func postJSON(_ target: String, _ body: String) throws -> Answer {
        try request("POST", target, [("Content-Type", "application/json")], body: Array(body.utf8))
    }

    public func putJSON(_ target: String, _ body: String) throws -> Answer {
        try request("PUT", target, [("Content-Type", "application/json")], body: Array(body.utf8))
    }

    /// Polls and acknowledges until `count` records came, each once. - Returns: them, as in the answers.
    public func read(
        _ count: Int, as consumer: String, from topic: String, within: Duration = patience
    ) throws -> [JSONValue] {
        let deadline = SystemClock().now() + within
        var records: [JSONValue] = []
        while records.count < count {
            guard SystemClock().now() < deadline else {
                throw Failure("\(records.count) of \(count) records of \(topic) came in time")
            }
            let poll = try request("POST", "/v1/consumers/\(consumer)/poll?topic=\(topic)&wait=2&max=1000")
            // The hand-over of its first record creates a topic: a moment after the 202.
            if poll.code == "unknown_topic" { continue }
            guard poll.status == 200 else { throw Failure("poll: \(poll.status) \(poll.text)") }
            let found = try poll.json()["records"]?.list ?? []
            guard let token = try poll.json()["ack"]?.string else { continue }
            records += found
            let ack = try postJSON("/v1/consumers/\(consumer)/acks", #"{"ack":"\#(token)"}"#)
            guard ack.status == 200 else { throw Failure("acks: \(ack.status) \(ack.text)") }
        }
        return records
    }

    /// The receipt's state once it is not `accepted` any more.
    public func settled(_ receipt: String, within: Duration = patience) throws -> JSONValue {
        let deadline = SystemClock().now() + within
        while true {
            let answer = try request("GET", "/v1/receipts/\(receipt)")
            guard answer.status == 200 else { throw Failure("receipt: \(answer.status) \(answer.text)") }
            let state = try answer.json()
            if state["state"]?.string != "accepted" { return state }
            guard SystemClock().now() < deadline else { throw Failure("\(receipt) is not settled") }
        }
    }
}
