import GatewayTestSupport
import JSON
import TestSupport
import Testing

/// Promise 4 over HTTP, whatever the broker: a repeated request is not a second record.
@Suite struct RepeatedRequestTests {
    private static let json = ("Content-Type", "application/json")
    private static let wait = ("Prefer", "wait=15")

    private func key(_ key: String) -> [(String, String)] { [("Idempotency-Key", "\"\(key)\"")] }

    private func sequence(_ number: Int, of producer: String = "till-7") -> [(String, String)] {
        [("Postrider-Producer", producer), ("Postrider-Sequence", "\(number)")]
    }

    private func post(
        _ gateway: TestGateway, _ topic: String, _ headers: [(String, String)], _ body: String = "value"
    ) throws -> Answer {
        try gateway.client.request("POST", "/v1/topics/\(topic)", headers, body: Array(body.utf8))
    }

    private func batch(
        _ gateway: TestGateway, _ topic: String, _ headers: [(String, String)], _ values: [String]
    ) throws -> Answer {
        let records = values.map { #"{"value_text":"\#($0)","partition":0}"# }.joined(separator: ",")
        return try gateway.client.request(
            "POST", "/v1/topics/\(topic)/records", headers + [Self.json],
            body: Array(#"{"records":[\#(records)]}"#.utf8))
    }

    /// Of all partitions, as a consumer is handed them, once a record behind all others is there.
    private func delivered(_ gateway: TestGateway, _ topic: String) throws -> [String] {
        try gateway.fill(topic, ["end"])
        var values: [String] = []
        let isThere = try eventually {
            let answer = try gateway.client.request(
                "GET", "/v1/topics/\(topic)/partitions/0/records?offset=0&max=1000&values=text")
            try #require(answer.status == 200, "\(answer.text)")
            values = try answer.json()["records"]?.list.compactMap { $0["value_text"]?.string } ?? []
            return values.last == "end"
        }
        try #require(isThere)
        return values.dropLast()
    }

    @Test(arguments: Brokers.available)
    func repeatedKey_AnswersTheFirstReceipts_AndStoresNothing(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic("orders", partitions: 1)
        let first = try post(gateway, topic, key("a"))
        #expect(first.status == 202)
        #expect(first.header("Idempotent-Replayed") == nil)
        let several = try batch(gateway, topic, key("a"), ["x", "y", "z"])
        #expect(several.status == 202, "the same key on another route is another key")
        #expect(several.header("Idempotent-Replayed") == nil)
        for _ in 0..<3 {
            for (again, text) in [
                (try post(gateway, topic, key("a")), first.text),
                (try batch(gateway, topic, key("a"), ["x", "y", "z"]), several.text),
            ] {
                #expect(again.status == 202)
                #expect(again.text == text)
                #expect(again.header("Idempotent-Replayed") == "true")
            }
        }
        #expect(try post(gateway, topic, []).status == 202)
        #expect(try delivered(gateway, topic) == ["value", "x", "y", "z", "value"])
    }

    @Test(arguments: Brokers.available)
    func repeatedSequence_AnswersTheFirstReceipts_AndStoresNothing(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic("orders", partitions: 1)
        // Numbered together, whatever the route.
        let first = try post(gateway, topic, sequence(1), "one")
        let second = try batch(gateway, topic, sequence(2), ["two", "two and a half"])
        #expect([first.status, second.status] == [202, 202])
        let again = try post(gateway, topic, sequence(1), "one")
        #expect(again.text == first.text)
        #expect(again.header("Idempotent-Replayed") == "true")
        #expect(try batch(gateway, topic, sequence(2), ["two", "two and a half"]).text == second.text)
        #expect(try post(gateway, topic, sequence(1, of: "till-8"), "other").status == 202)
        #expect(try delivered(gateway, topic) == ["one", "two", "two and a half", "other"])
    }

    @Test(arguments: Brokers.available)
    func repetition_TellsTodaysOutcome_WhenItPrefersToWait(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic("orders", partitions: 1)
        let first = try post(gateway, topic, key("a"))
        #expect(first.status == 202)
        for _ in 0..<2 {
            let again = try post(gateway, topic, key("a") + [Self.wait])
            #expect(again.status == 200, "\(again.text)")
            #expect(again.header("Idempotent-Replayed") == "true")
            #expect(again.header("Preference-Applied") == "wait=15")
            #expect(try again.json()["receipts"]?.strings == first.json()["receipts"]?.strings)
            #expect(try again.json()["outcomes"]?[0]?["state"]?.string == "delivered")
        }
        #expect(try delivered(gateway, topic) == ["value"])
    }

    @Test(arguments: Brokers.available)
    func repetition_AnswersTheFirstReceipts_WhenTheGatewayWasStartedAgain(_ broker: TestBroker) throws {
        let instance = try BrokerInstance(broker)
        let directory: TemporaryDirectory
        let topic: String
        let texts: [String]
        do {
            let gateway = try TestGateway(instance)
            directory = gateway.local.directory
            topic = try gateway.topic("orders", partitions: 1)
            texts = [
                try post(gateway, topic, key("a")).text, try batch(gateway, topic, key("b"), ["x", "y"]).text,
                try post(gateway, topic, sequence(1), "one").text,
            ]
            gateway.local.stop()
        }
        let gateway = try TestGateway(instance, in: directory)
        let again = [
            try post(gateway, topic, key("a")), try batch(gateway, topic, key("b"), ["x", "y"]),
            try post(gateway, topic, sequence(1), "one"),
        ]
        #expect(again.map(\.text) == texts)
        #expect(again.allSatisfy { $0.status == 202 && $0.header("Idempotent-Replayed") == "true" })
        #expect(try post(gateway, topic, sequence(2), "two").status == 202)
        #expect(try delivered(gateway, topic) == ["value", "x", "y", "one", "two"])
    }
}
