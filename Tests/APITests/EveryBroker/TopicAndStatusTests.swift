import Gateway
import GatewayTestSupport
import JSON
import KafkaTestSupport
import Primitives
import Testing
import TestSupport

/// Topics, whatever the broker.
@Suite struct TopicOfEveryBrokerTests {
    @Test(arguments: Brokers.available) func list_NamesTopics_InPages(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let names = try (0..<3).map { try gateway.topic("t\($0)", partitions: 1) }
        // Others may have topics in a shared cluster.
        var (found, token, pages): ([String], String?, Int) = ([], "", 0)
        while let next = token {
            let page = try gateway.client.request("GET", "/v1/topics?limit=2" + next).json()
            #expect((page["topics"]?.list.count ?? 0) <= 2)
            found += (page["topics"]?.list ?? []).compactMap { $0["name"]?.string }
            token = page["next"]?.string.map { "&page_token=\($0)" }
            pages += 1
            try #require(pages < 10_000)
        }
        #expect(found == found.sorted() && Set(found).count == found.count)
        #expect(Set(found).isSuperset(of: names))
    }

    @Test(arguments: Brokers.available) func description_ShowsPartitionsAndWatermarks(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let offsets = try gateway.fill(topic, ["a", "b"], partition: 1)
        let description = try gateway.client.request("GET", "/v1/topics/\(topic)").json()
        #expect(description["name"]?.string == topic)
        let partitions = description["partitions"]?.list ?? []
        #expect(partitions.map { $0["partition"]?.int64 } == [0, 1, 2, 3])
        #expect(partitions.map { $0["low_watermark"]?.int64 } == [0, 0, 0, 0])
        #expect(partitions[1]["high_watermark"]?.int64 ?? 0 > offsets[1])
        #expect(partitions[0]["high_watermark"]?.int64 == 0)
        for partition in partitions {
            #expect(partition["leader"]?.int64 != nil)
            #expect(partition["in_sync_replicas"]?.list.isEmpty == false)
        }
        #expect(description["warnings"]?.kind == .array)
        expectProblem(try gateway.client.request("GET", "/v1/topics/a%20b"), 400, "invalid_topic")
        expectProblem(try gateway.client.request("GET", "/v1/topics/\(topic)?bogus"), 400, "unknown_parameter")
    }

    @Test(arguments: Brokers.available) func put_CreatesThenAlters_AndIntakeObeys(_ broker: TestBroker) throws {
        try broker.needs(.creatingTopics, .topicSettings, .missingTopics)
        let gateway = try TestGateway(broker)
        let topic = gateway.instance.willMake("orders")
        let target = "/v1/topics/\(topic)"
        expectProblem(try gateway.client.request("GET", target), 404, "unknown_topic", retryable: false)
        let made = try gateway.client.putJSON(
            target, #"{"partitions":2,"retention_ms":3600000,"record_bytes_max":1000}"#)
        #expect(made.status == 201, "\(made.text)")
        #expect(try made.json()["partitions"]?.list.count == 2)
        let altered = try gateway.client.putJSON(target, #"{"retention_bytes":5000000,"partitions":2}"#)
        #expect(altered.status == 200, "\(altered.text)")
        let expected: [String: Int64] = [
            "retention_ms": 3_600_000, "retention_bytes": 5_000_000, "record_bytes_max": 1000,
        ]
        // A broker of a cluster may tell of a change a moment later.
        let isTold = try eventually {
            let settings = try gateway.client.request("GET", target).json()["settings"]
            return expected.allSatisfy { settings?[$0.key]?.int64 == $0.value }
        }
        #expect(isTold)
        expectProblem(
            try gateway.client.putJSON(target, #"{"partitions":3}"#), 409, "partitions_differ", retryable: false)
        expectProblem(try gateway.client.putJSON(target, #"{"partitions":0}"#), 400, "invalid_field")
        // Room that Kafka takes for the batch is set aside.
        let large = [UInt8](repeating: 120, count: 2_100)
        expectProblem(
            try gateway.client.request("POST", target, body: large), 413, "record_too_large", outcome: "not_accepted")
        #expect(try gateway.deliver(topic, "", [], Array(large.prefix(1_000)))["state"]?.string == "delivered")
    }

    @Test(arguments: Brokers.available)
    func delete_TakesTheTopicAway_UntilItIsCreatedAgain(_ broker: TestBroker) throws {
        try broker.needs(.deletingTopics, .missingTopics)
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let target = "/v1/topics/\(topic)"
        _ = try gateway.deliver(topic)
        // The outcome is there a moment before the backlog's count.
        let isDeleted = try eventually { try gateway.client.request("DELETE", target).status == 204 }
        #expect(isDeleted)
        let isGone = try eventually { try gateway.client.request("GET", target).status == 404 }
        #expect(isGone)
        for gone in [target, "\(target)?force=true", "/v1/topics/\(gateway.name("never-was"))"] {
            expectProblem(try gateway.client.request("DELETE", gone), 404, "unknown_topic", retryable: false)
        }
        expectProblem(try gateway.client.request("DELETE", "\(target)?force=yes"), 400, "invalid_parameter")
        expectProblem(
            try gateway.client.request("POST", target, body: [1]), 404, "unknown_topic", outcome: "not_accepted")
        #expect(try gateway.client.putJSON(target, "").status == 201)
        #expect(try gateway.deliver(topic, "?partition=0")["offset"]?.int64 == 0)
    }

    @Test(arguments: Brokers.available)
    func purge_MovesLowWatermarks_AndConsumersSayWhatTheySkipped(_ broker: TestBroker) throws {
        try broker.needs(.purging)
        let gateway = try TestGateway(broker)
        let (topic, consumer) = (try gateway.topic(), gateway.name("c"))
        let offsets = try gateway.fill(topic, (0..<6).map { "v\($0)" }, partition: 1)
        try gateway.define(consumer, topic)
        func purge(_ offset: Int64) throws -> Answer {
            try gateway.client.postJSON(
                "/v1/topics/\(topic)/purge",
                #"{"offsets":[{"partition":1,"offset":\#(offset)},{"offset":0,"partition":0}]}"#)
        }
        expectProblem(try purge(1_000), 400, "offset_out_of_range", retryable: false)
        let answer = try purge(offsets[4])
        #expect(
            answer.text
                == #"{"low_watermarks":[{"partition":0,"offset":0},{"partition":1,"offset":\#(offsets[4])}]}"#)
        let partitions = try gateway.client.request("GET", "/v1/topics/\(topic)").json()["partitions"]?.list ?? []
        #expect(partitions.map { $0["low_watermark"]?.int64 } == [0, offsets[4], 0, 0])
        let poll = try gateway.poll(consumer)
        #expect(values(poll) == ["v4", "v5"])
        #expect(poll["skipped"]?[0]?["from"]?.int64 == offsets[0])
        #expect(poll["skipped"]?[0]?["to"]?.int64 == offsets[4])
    }
}

/// Health and status, whatever the broker.
@Suite struct StatusOfEveryBrokerTests {
    @Test(arguments: Brokers.available) func healthAndReadiness_Answer(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let health = try gateway.client.request("GET", "/healthz")
        #expect(health.text == #"{"status":"alive"}"#)
        #expect(health.header("Cache-Control") == "no-store")
        let isForwarding = try eventually {
            try gateway.client.request("GET", "/readyz?require=forwarding").status == 200
        }
        #expect(isForwarding)
        let isReachable = try eventually {
            try gateway.client.request("GET", "/readyz").json()["broker"]?["reachable"]?.bool == true
        }
        #expect(isReachable)
        let ready = try gateway.client.request("GET", "/readyz").json()
        #expect(ready["ready"]?.bool == true)
        #expect(ready["broker"]?["kind"]?.string == (broker == .embedded ? "embedded" : "kafka"))
        #expect(ready["broker"]?["guarantee"]?.string == "exactly-once")
        let index = try gateway.client.request("GET", "/").json()
        #expect(index["name"]?.string == "postrider")
        #expect(index["version"]?.string == Gateway.version)
        for path in index["paths"]?.strings ?? [] {
            #expect(try gateway.client.request("GET", path).status == 200, "\(path)")
        }
        #expect((index["paths"]?.list.count ?? 0) >= 5)
        expectProblem(try gateway.client.request("GET", "/readyz?require=bogus"), 400, "invalid_parameter")
        expectProblem(try gateway.client.request("GET", "/readyz?bogus=forwarding"), 400, "unknown_parameter")
    }

    @Test(arguments: Brokers.available) func status_ShowsEverythingAtAGlance(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let before = try gateway.client.request("GET", "/v1/status")
        #expect(before.status == 200)
        #expect(before.header("Cache-Control") == "no-store")
        let idle = try before.json()
        #expect(idle["gateway"]?.string == before.header("Postrider-Gateway"))
        #expect(idle["durability"]?.string == "fsync")
        #expect(idle["accepting"]?["ok"]?.bool == true)
        #expect(idle["lanes"]?.list.count == 2)
        #expect(idle["lanes"]?.list.allSatisfy { $0["undelivered_records"]?.int64 == 0 } == true)
        #expect(idle["dead_letters"]?.int64 == 0)
        #expect(idle["consumers"]?.int64 == 0)
        try gateway.client.produce(topic, "one")
        try gateway.define(gateway.name("billing"), topic)
        let isShown = try eventually {
            let status = try gateway.client.request("GET", "/v1/status").json()
            return status["consumers"]?.int64 == 1 && status["spool"]?["undelivered_records"]?.int64 == 0
        }
        #expect(isShown)
        #expect(try gateway.client.request("GET", "/v1/status").json()["spool"]?["used_bytes"]?.int64 ?? 0 > 0)
        expectProblem(try gateway.client.request("GET", "/v1/status?bogus=1"), 400, "unknown_parameter")
    }
}
