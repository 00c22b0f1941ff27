import Gateway
import GatewayTestSupport
import JSON
import KafkaTestSupport
import Testing

/// What is produced is what is stored, whatever the broker.
@Suite struct ProducedRecordTests {
    @Test(arguments: Brokers.available) func value_IsKeptByteForByte(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let cases: [(body: [UInt8], type: String?, expected: (member: String, raw: String))] = [
            (Array(#"{ "a" : 1.50 }"#.utf8), nil, ("value", #"{ "a" : 1.50 }"#)),
            (Array("[1]".utf8), "application/json", ("value", "[1]")),
            (Array("[1]".utf8), "application/cloudevents+json; charset=utf-8", ("value", "[1]")),
            (Array("[1]".utf8), "text/plain", ("value_text", "\"[1]\"")),
            (Array("plain \"text\"\n".utf8), nil, ("value_text", #""plain \"text\"\n""#)),
            (Array("null".utf8), nil, ("value_text", "\"null\"")),
            ([], nil, ("value_text", "\"\"")),
            ([0xFF, 0, 0x0A, 0x80], nil, ("value_base64", "\"/wAKgA==\"")),
            ([0], nil, ("value_text", #""\u0000""#)),
        ]
        for (body, type, expected) in cases {
            let headers = type.map { [("Content-Type", $0)] } ?? []
            let record = try gateway.stored(try gateway.deliver(topic, "", headers, body))
            #expect(record[expected.member]?.rawText == expected.raw, "\(record.rawText)")
            for other in ["value", "value_text", "value_base64"] where other != expected.member {
                #expect(record[other] == nil, "\(record.rawText)")
            }
        }
    }

    @Test(arguments: Brokers.available)
    func contentType_IsKept_UnlessItIsAFormsDefault(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let cases: [(type: String?, kept: Bool)] = [
            ("application/avro; v=2", true), (nil, false), ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=x", false), ("Application/X-WWW-Form-Urlencoded", false),
        ]
        for (type, kept) in cases {
            let sent = type.map { [("Content-Type", $0)] } ?? []
            let headers = headers(try gateway.stored(try gateway.deliver(topic, "", sent)))
            #expect(headers.map { $0["name"]?.string } == (kept ? ["content-type"] : []), "\(type ?? "none")")
            #expect(headers.map { $0["value"]?.string } == (kept ? [type] : []), "\(type ?? "none")")
        }
    }

    @Test(arguments: Brokers.available) func key_ComesFromOneOfThreePlaces(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let cases: [(query: String, headers: [(String, String)], member: String, key: String?)] = [
            ("?key=a%20b%2B", [], "key", "a b+"), ("?key_base64=AP8%3D", [], "key_base64", "AP8="),
            ("?key_base64=YWI%3D", [], "key", "ab"), ("", [("Postrider-Key", "customer-7")], "key", "customer-7"),
            ("?key=", [], "key", ""), ("", [], "key", nil),
        ]
        for (query, headers, member, key) in cases {
            let record = try gateway.stored(try gateway.deliver(topic, query, headers))
            #expect(record[member]?.string == key, "\(query): \(record.rawText)")
            if key == nil { #expect(record["key"]?.isNull == true) }
        }
    }

    /// The numbers are those of Kafka's Java client, so that they hold for every producer of a topic.
    @Test(arguments: Brokers.available)
    func key_DecidesThePartition_AndPartitionOverridesIt(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let cases: [(query: String, partition: Int64?)] = [
            ("?key=customer-7&partition=3", 3), ("?key=customer-7&partition=0", 0), ("?partition=2", 2),
        ]
        for (query, partition) in cases {
            #expect(try gateway.deliver(topic, query)["partition"]?.int64 == partition, "\(query)")
        }
        let first = try gateway.deliver(topic, "?key=customer-7")["partition"]?.int64
        for _ in 0..<3 { #expect(try gateway.deliver(topic, "?key=customer-7")["partition"]?.int64 == first) }
    }

    @Test(arguments: Brokers.available) func recordHeaders_AreKeptInOrderAndRepeated(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let sent = [
            ("Postrider-Header-Trace", "a"), ("Postrider-Header-trace", "b"), ("Postrider-Header-Empty", ""),
            ("X-Other", "no"),
        ]
        let headers = headers(try gateway.stored(try gateway.deliver(topic, "", sent)))
        #expect(headers.map { $0["name"]?.string } == ["trace", "trace", "empty"])
        #expect(headers.map { $0["value"]?.string } == ["a", "b", ""])
    }

    private static let wait = ("Prefer", "wait=60")
    private static let json = ("Content-Type", "application/json")
    private static let lines = ("Content-Type", "application/x-ndjson")

    private func batch(
        _ gateway: TestGateway, _ topic: String, _ type: (String, String), _ body: String
    ) throws -> [JSONValue] {
        let answer = try gateway.client.request(
            "POST", "/v1/topics/\(topic)/records", [type, Self.wait], body: Array(body.utf8))
        try #require(answer.status == 200, "\(answer.text)")
        return try answer.json()["outcomes"]?.list ?? []
    }

    @Test(arguments: Brokers.available) func batch_KeepsEveryForm(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let body = """
            {"records":[
            {"value": {"z":1, "a":[1.0,2e3]} ,"key":"k\\u00e9y","partition":2,"timestamp":"2026-01-02T03:04:05.678Z"},
            {"value_text":"line\\n","key_base64":"/w==","partition":2,"timestamp":1000},
            {"value_base64":"/wA=","headers":{"a":"1","b":null},"partition":2},
            {"value":null,"key":"tombstone","partition":2},
            {"value_text":"null","partition":2,"headers":[{"name":"h","value_base64":"/w=="},{"name":"h","value":"2"}]},
            {"value_text":null,"partition":2,"key":null,"headers":null,"timestamp":null}
            ]}
            """
        let outcomes = try batch(gateway, try gateway.topic(), Self.json, body)
        #expect(outcomes.allSatisfy { $0["partition"]?.int64 == 2 })
        let offsets = outcomes.compactMap { $0["offset"]?.int64 }
        #expect(offsets.count == 6 && offsets == offsets.sorted() && Set(offsets).count == 6)
        let records = try outcomes.map { try gateway.stored($0) }
        #expect(records[0]["value"]?.rawText == #"{"z":1, "a":[1.0,2e3]}"#)
        #expect(records[0]["key"]?.string == "kéy")
        #expect(records[0]["timestamp"]?.string == "2026-01-02T03:04:05.678Z")
        #expect(records[1]["value_text"]?.string == "line\n")
        #expect(records[1]["key_base64"]?.string == "/w==")
        #expect(records[1]["timestamp"]?.string == "1970-01-01T00:00:01.000Z")
        #expect(records[2]["value_base64"]?.string == "/wA=")
        #expect(headers(records[2]).map(\.rawText) == [#"{"name":"a","value":"1"}"#, #"{"name":"b","value":null}"#])
        #expect(records[3]["value"]?.isNull == true)
        #expect(records[4]["value_text"]?.string == "null")
        #expect(
            headers(records[4]).map(\.rawText)
                == [#"{"name":"h","value_base64":"/w=="}"#, #"{"name":"h","value":"2"}"#])
        #expect(records[5]["value"]?.isNull == true)
        #expect(records[5]["key"]?.isNull == true)
    }

    @Test(arguments: Brokers.available)
    func lines_AreKeptInOrder_WithTheBytesOfTheirValues(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let body = [
            #"{"value": {"z":1,  "a":[1.0,2e3]} ,"key":"k","partition":2,"timestamp":"2026-01-02T03:04:05.678Z"}"#,
            "", " \t\r", "{\"value_text\":\"a\\nb\",\"key_base64\":\"/w==\",\"partition\":2}\r",
            #"{"value_base64":"/wA=","headers":{"a":"1"},"partition":2}"#, #"{"value":null,"partition":2}"#, "", "",
        ].joined(separator: "\n")
        let outcomes = try batch(gateway, try gateway.topic(), Self.lines, body)
        let offsets = outcomes.compactMap { $0["offset"]?.int64 }
        #expect(offsets.count == 4 && offsets == offsets.sorted())
        let records = try outcomes.map { try gateway.stored($0) }
        #expect(records[0]["value"]?.rawText == #"{"z":1,  "a":[1.0,2e3]}"#)
        #expect(records[0]["timestamp"]?.string == "2026-01-02T03:04:05.678Z")
        #expect(records[1]["value_text"]?.string == "a\nb")
        #expect(records[1]["key_base64"]?.string == "/w==")
        #expect(records[2]["value_base64"]?.string == "/wA=")
        #expect(records[3]["value"]?.isNull == true)
    }

    /// Promises 2 and 3.
    @Test(arguments: Brokers.available)
    func records_AreStoredOnceAndInOrder_AndNoneOfARefusedRequest(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        var receipts: [String] = []
        for number in 0..<40 {
            receipts.append(try gateway.client.produce(topic, "\(number)", partition: 0))
            guard number % 10 == 5 else { continue }
            let bad = try gateway.client.postJSON(
                "/v1/topics/\(topic)/records", #"{"records":[{"value":"bad","partition":0},{"value":2,"partition":9}]}"#
            )
            expectProblem(bad, 400, "invalid_records", outcome: "not_accepted", retryable: false)
            #expect(try bad.json()["errors"]?[0]?["pointer"]?.string == "/records/1/partition")
        }
        _ = try gateway.stored(try gateway.client.settled(try #require(receipts.last)))
        let read = try gateway.client.request("GET", "/v1/topics/\(topic)/partitions/0/records?max=1000").json()
        #expect(read["records"]?.list.map { $0["value"]?.int64 } == (0..<40).map { $0 })
    }

    @Test(arguments: Brokers.available) func refusals_NameTheReason(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        for query in ["partition=4", "partition=-1", "partition=x"] {
            let answer = try gateway.client.request("POST", "/v1/topics/\(topic)?\(query)", body: [1])
            expectProblem(answer, 400, "invalid_parameter", outcome: "not_accepted", retryable: false, "\(query)")
        }
        for (name, status, code) in [
            ("_postrider_test", 422, "reserved_topic"), ("__consumer_offsets", 422, "reserved_topic"),
            ("a%20b", 400, "invalid_topic"),
        ] {
            let answer = try gateway.client.request("POST", "/v1/topics/\(name)", body: [1])
            expectProblem(answer, status, code, outcome: "not_accepted", retryable: false, "\(name)")
        }
        let large = [UInt8](repeating: 120, count: (64 << 10) + 1)
        expectProblem(
            try gateway.client.request("POST", "/v1/topics/\(topic)", body: large), 413, "body_too_large",
            outcome: "not_accepted", retryable: false)
    }

    @Test(arguments: Brokers.available) func unknownTopic_Is404_WhenCreationIsOff(_ broker: TestBroker) throws {
        try broker.needs(.missingTopics)
        let gateway = try TestGateway(broker) { try $0.set("broker.embedded.create_topics=false") }
        let topic = gateway.name("none")
        expectProblem(
            try gateway.client.request("POST", "/v1/topics/\(topic)", body: [1]), 404, "unknown_topic",
            outcome: "not_accepted", retryable: false)
        // What is wrong with the request comes first: it does not depend on what exists.
        expectProblem(
            try gateway.client.request("POST", "/v1/topics/\(topic)?bogus=1", body: [1]), 400, "unknown_parameter",
            outcome: "not_accepted")
        let consumer = gateway.name("c")
        expectProblem(
            try gateway.client.request("POST", "/v1/consumers/\(consumer)/poll?topic=\(topic)"), 404, "unknown_topic",
            retryable: false)
        expectProblem(
            try gateway.client.putJSON("/v1/consumers/\(consumer)", #"{"topics":["\#(topic)"]}"#), 404, "unknown_topic")
        expectProblem(
            try gateway.client.request("GET", "/v1/consumers/\(consumer)"), 404, "unknown_consumer", retryable: false)
        expectProblem(
            try gateway.client.request("GET", "/v1/topics/\(topic)/partitions/0/records?wait=60"), 404, "unknown_topic",
            retryable: false)
    }
}

/// What became of a record, whatever the broker.
@Suite struct DeliveredReceiptTests {
    @Test(arguments: Brokers.available)
    func produce_TellsEachPlace_OnceDelivered(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let one = try gateway.client.request(
            "POST", "/v1/topics/\(topic)?partition=3", [("prefer", "respond-async, WAIT=\"60\"; x=y")], body: [120])
        let body = Array("{\"value\":1,\"partition\":1}\n{\"value\":2,\"partition\":1}".utf8)
        let lines = try gateway.client.request(
            "POST", "/v1/topics/\(topic)/records", [("Content-Type", "application/x-ndjson"), ("Prefer", "wait=60")],
            body: body)
        for (answer, places) in [(one, [(3, 0)]), (lines, [(1, 0), (1, 1)])] as [(Answer, [(Int64, Int64)])] {
            #expect(answer.status == 200)
            #expect(answer.header("Preference-Applied") == "wait=60")
            #expect(answer.header("Vary") == "Prefer")
            let json = try answer.json()
            #expect(json["durability"]?.string == "fsync")
            let outcomes = json["outcomes"]?.list ?? []
            #expect(outcomes.map { $0["receipt"]?.string } == json["receipts"]?.list.map { $0.string })
            #expect(outcomes.map { $0["partition"]?.int64 } == places.map(\.0))
            #expect(outcomes.map { $0["offset"]?.int64 } == places.map(\.1))
            for outcome in outcomes {
                let receipt = try #require(outcome["receipt"]?.string)
                #expect(try gateway.client.request("GET", "/v1/receipts/\(receipt)").text == outcome.rawText)
            }
        }
    }

    @Test(arguments: Brokers.available) func receipt_TellsWhereTheRecordIs_OnceDelivered(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let receipt = try gateway.client.produce(topic, "value", partition: 3)
        let state = try gateway.client.settled(receipt)
        #expect(state["receipt"]?.string == receipt)
        #expect(state["state"]?.string == "delivered")
        #expect(state["topic"]?.string == topic)
        #expect(state["partition"]?.int64 == 3)
        #expect(state["offset"]?.int64 == 0)
        let record = try gateway.stored(state)
        #expect(record["value_text"]?.string == "value")
        #expect(try gateway.client.request("GET", "/v1/receipts/\(receipt)").header("Cache-Control") == "no-store")
        let query = try gateway.client.postJSON("/v1/receipts/query", #"{"receipts":["\#(receipt)"]}"#).json()
        #expect(query["receipts"]?[0]?.rawText == state.rawText)
    }

    @Test(arguments: Brokers.available) func receipt_TellsTheRecordsTimestamp(_ broker: TestBroker) throws {
        try broker.needs(.deliveryTimestamps)
        let gateway = try TestGateway(broker)
        let state = try gateway.deliver(try gateway.topic())
        #expect(try gateway.stored(state)["timestamp"]?.string == state["timestamp"]?.string)
    }

    /// Readers of Kafka know a record by its receipt; what others wrote, and the embedded broker's, have none.
    @Test(arguments: Brokers.available) func record_CarriesItsReceipt_InKafka(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let state = try gateway.deliver(try gateway.topic())
        let found = try gateway.stored(state)["headers"]?.list.filter { $0["name"]?.string == "postrider-id" } ?? []
        #expect(found.map { $0["value"]?.string } == (broker == .embedded ? [] : [state["receipt"]?.string]))
    }

    @Test(arguments: Brokers.available) func lane_GoesOnWhereItWas_AfterARestart(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        try gateway.fill(topic, ["a"])
        let last = try gateway.deliver(topic, "?partition=0", [], Array("b".utf8))
        gateway.local.stop()
        let again = try TestGateway(gateway.instance, in: gateway.local.directory)
        try again.fill(topic, ["c"])
        let receipt = try again.client.settled(try #require(last["receipt"]?.string))
        #expect(receipt["state"]?.string == "delivered")
        // Where it is only the embedded broker keeps, with its records.
        if broker == .embedded { #expect(receipt.rawText == last.rawText) }
        let read = try again.client.request("GET", "/v1/topics/\(topic)/partitions/0/records").json()
        #expect(values(read) == ["a", "b", "c"])
    }
}
