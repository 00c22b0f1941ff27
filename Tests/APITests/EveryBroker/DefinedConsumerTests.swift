import GatewayTestSupport
import JSON
import KafkaTestSupport
import Primitives
import Testing
import TestSupport

/// Definitions, offsets and seeks of consumers, whatever the broker.
@Suite struct DefinedConsumerTests {
    @Test(arguments: Brokers.available) func define_CreatesAndUpdates_AndRefusesOtherTopics(_ broker: TestBroker) throws
    {
        let gateway = try TestGateway(broker)
        let (orders, payments) = (try gateway.topic(), try gateway.topic("payments"))
        let consumer = gateway.name("c")
        let target = "/v1/consumers/\(consumer)"
        let body = #"{"topics":["\#(orders)"],"ack_deadline_ms":5000,"max_in_flight":7}"#
        let created = try gateway.client.putJSON(target, body)
        #expect(created.status == 201)
        #expect(created.header("Cache-Control") == "no-store")
        #expect(
            created.text
                == #"{"name":"\#(consumer)","topics":["\#(orders)"],"from":"earliest","mode":"ordered","#
                + #""ack_deadline_ms":5000,"max_in_flight":7}"#)
        let updated = try gateway.client.putJSON(target, #"{"topics":["\#(orders)"],"max_in_flight":8}"#)
        #expect(updated.status == 200)
        #expect(try gateway.client.request("GET", target).json()["max_in_flight"]?.int64 == 8)
        let other = try gateway.client.putJSON(target, #"{"topics":["\#(payments)"]}"#)
        expectProblem(other, 409, "consumer_conflict", retryable: false)
        expectProblem(
            try gateway.client.request("POST", "\(target)/poll?topic=\(payments)"), 409, "consumer_conflict")
        expectProblem(
            try gateway.client.putJSON(target, #"{"topics":["\#(orders)"],"mode":"round"}"#), 400, "invalid_parameter")
    }

    @Test(arguments: Brokers.available) func replacement_MovesToOtherTopics_AndAnswersThePollsThatWait(
        _ broker: TestBroker
    ) throws {
        try broker.needs(.listingGroupOffsets)
        let gateway = try TestGateway(broker)
        let (orders, payments) = (try gateway.topic(), try gateway.topic("payments"))
        let consumer = gateway.name("c")
        let first = try gateway.fill(orders, ["a", "b"])
        try gateway.fill(payments, ["p"])
        try gateway.define(consumer, orders)
        try gateway.acknowledgeAll(consumer, try gateway.poll(consumer, "max=1&\(TestGateway.patience)"))
        let both = #"{"topics":["\#(orders)","\#(payments)"]}"#
        #expect(try gateway.client.putJSON("/v1/consumers/\(consumer)?replace=true", both).status == 200)
        // What stays keeps its offset, what is new begins at the beginning.
        #expect(try gateway.committed(consumer) == first[1])
        let only = #"{"topics":["\#(payments)"]}"#
        let poller = try gateway.local.client()
        var read: [String?] = []
        for _ in 0..<4 where read.count < 2 {
            let answer = try gateway.poll(consumer)
            read += values(answer)
            try gateway.acknowledgeAll(consumer, answer)
        }
        #expect(Set(read) == ["b", "p"])
        try poller.send("POST", "/v1/consumers/\(consumer)/poll?wait=60")
        #expect(
            try eventually {
                try gateway.client.request("GET", "/v1/consumers/\(consumer)").json()["polls_waiting"]?.int64 == 1
            })
        #expect(try gateway.client.putJSON("/v1/consumers/\(consumer)?replace=true", only).status == 200)
        expectProblem(try poller.answer(), 503, "stopping", retryable: true)
        let description = try gateway.client.request("GET", "/v1/consumers/\(consumer)").json()
        #expect(description["topics"]?.strings == [payments])
    }

    @Test(arguments: Brokers.available) func from_DecidesWhereANewConsumerBegins(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let offsets = try gateway.fill(topic, ["a", "b"])
        for (name, from) in [("e", "earliest"), ("l", "latest")] {
            let consumer = gateway.name(name)
            try gateway.define(consumer, topic, #","from":"\#(from)""#)
            let partition = try gateway.client.request("GET", "/v1/consumers/\(consumer)").json()["partitions"]?[0]
            let (committed, end) = (partition?["committed"]?.int64 ?? -1, partition?["end"]?.int64 ?? -1)
            #expect(end > offsets[1])
            #expect(committed == (from == "earliest" ? offsets[0] : end), "\(from)")
            #expect(partition?["lag"]?.int64 == end - committed)
        }
    }

    @Test(arguments: Brokers.available) func aTime_IsTheFirstRecordAtOrAfterIt(_ broker: TestBroker) throws {
        try broker.needs(.offsetsByTime)
        let gateway = try TestGateway(broker)
        let (topic, consumer) = (try gateway.topic(), gateway.name("c"))
        let old =
            #"{"records":[{"value":0,"partition":0,"timestamp":"2020-01-01T00:00:00Z"},"#
            + #"{"value":1,"partition":0,"timestamp":"2021-01-01T00:00:00Z"}]}"#
        let answer = try gateway.client.request(
            "POST", "/v1/topics/\(topic)/records", [("Content-Type", "application/json"), ("Prefer", "wait=60")],
            body: Array(old.utf8))
        let last = try #require(try answer.json()["outcomes"]?[1])
        _ = try gateway.stored(last)
        try gateway.define(consumer, topic, #","from":"2020-06-01T00:00:00+02:00""#)
        #expect(try gateway.committed(consumer) == last["offset"]?.int64)
        let seek = try gateway.client.postJSON("/v1/consumers/\(consumer)/seek", #"{"to":"2019-01-01T00:00:00Z"}"#)
        #expect(try seek.json()["committed"]?[0]?["offset"]?.int64 == 0)
    }

    @Test(arguments: Brokers.available) func list_NamesThem_AndDeleteForgets(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let topic = try gateway.topic()
        let names = ["a", "b", "c"].map { gateway.name($0) }
        for name in names { try gateway.define(name, topic) }
        func list(_ query: String = "") throws -> JSONValue {
            try gateway.client.request("GET", "/v1/consumers\(query)").json()
        }
        #expect(try list()["consumers"]?.list.map { $0["name"]?.string } == names)
        let page = try list("?limit=2")
        #expect(page["consumers"]?.list.count == 2 && page["next"]?.string == names[1])
        #expect(try list("?page_token=\(names[1])")["consumers"]?.list.map { $0["name"]?.string } == [names[2]])
        let deleted = try gateway.client.request("DELETE", "/v1/consumers/\(names[1])")
        #expect(deleted.status == 204 && deleted.body.isEmpty)
        expectProblem(try gateway.client.request("DELETE", "/v1/consumers/\(names[1])"), 404, "unknown_consumer")
        expectProblem(try gateway.client.request("POST", "/v1/consumers/\(names[1])/poll"), 404, "unknown_consumer")
        #expect(try list()["consumers"]?.list.map { $0["name"]?.string } == [names[0], names[2]])
    }

    @Test(arguments: Brokers.available)
    func deletion_LeavesNoTrace_AndAnswersThePollsThatWait(_ broker: TestBroker) throws {
        try broker.needs(.forgettingGroups)
        let gateway = try TestGateway(broker)
        let (topic, consumer) = (try gateway.topic(), gateway.name("c"))
        let offsets = try gateway.fill(topic, ["a"])
        try gateway.define(consumer, topic)
        try gateway.acknowledgeAll(consumer, try gateway.poll(consumer))
        let poller = try gateway.local.client()
        try poller.send("POST", "/v1/consumers/\(consumer)/poll?wait=60")
        let isWaiting = try eventually {
            try gateway.client.request("GET", "/v1/consumers/\(consumer)").json()["polls_waiting"]?.int64 == 1
        }
        #expect(isWaiting)
        #expect(try gateway.client.request("DELETE", "/v1/consumers/\(consumer)").status == 204)
        expectProblem(try poller.answer(), 404, "unknown_consumer", retryable: false)
        try gateway.define(consumer, topic)
        #expect(try gateway.committed(consumer) == offsets[0])
    }

    @Test(arguments: Brokers.available) func seek_MovesTheCommittedOffset_WhileTheConsumerIsUsed(_ broker: TestBroker)
        throws
    {
        let gateway = try TestGateway(broker)
        let (topic, consumer) = (try gateway.topic(), gateway.name("c"))
        let offsets = try gateway.fill(topic, ["a", "b", "c"])
        try gateway.define(consumer, topic)
        try gateway.acknowledgeAll(consumer, try gateway.poll(consumer))
        func seek(_ body: String) throws -> Answer {
            try gateway.client.postJSON("/v1/consumers/\(consumer)/seek", body)
        }
        let place = #"{"topic":"\#(topic)","partition":0,"offset":\#(offsets[1])}"#
        let back = try seek(#"{"offsets":[\#(place)]}"#)
        #expect(back.text == #"{"committed":[\#(place)]}"#)
        #expect(back.header("Cache-Control") == "no-store")
        let again = try gateway.poll(consumer)
        #expect(values(again) == ["b", "c"])
        let first = try seek(#"{"to":"earliest"}"#).json()
        #expect(first["committed"]?.list.map { $0["offset"]?.int64 } == [0, 0, 0, 0])
        let last = try seek(#"{"to":"latest"}"#).json()
        #expect(last["committed"]?[0]?["offset"]?.int64 ?? 0 > offsets[2])
        let none = #"{"offsets":[{"topic":"\#(topic)","partition":9,"offset":0}]}"#
        expectProblem(try seek(none), 400, "invalid_field", retryable: false)
        expectProblem(
            try gateway.client.postJSON("/v1/consumers/\(gateway.name("none"))/seek", #"{"to":"latest"}"#), 404,
            "unknown_consumer")
    }

    /// Before anybody polled there is no membership, and the offset is changed from outside.
    @Test(arguments: Brokers.available) func seek_MovesTheCommittedOffset_BeforeTheFirstPoll(_ broker: TestBroker)
        throws
    {
        let gateway = try TestGateway(broker)
        let (topic, consumer) = (try gateway.topic(), gateway.name("c"))
        let offsets = try gateway.fill(topic, ["a", "b"])
        try gateway.define(consumer, topic)
        let place = #"{"topic":"\#(topic)","partition":0,"offset":\#(offsets[1])}"#
        let answer = try gateway.client.postJSON("/v1/consumers/\(consumer)/seek", #"{"offsets":[\#(place)]}"#)
        #expect(answer.text == #"{"committed":[\#(place)]}"#)
        #expect(values(try gateway.poll(consumer)) == ["b"])
    }

    /// What another gateway finds: definition and offsets are the broker's.
    @Test(arguments: Brokers.available) func consumer_GoesOnWhereItWas_AfterARestart(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let (topic, consumer) = (try gateway.topic(), gateway.name("c"))
        let offsets = try gateway.fill(topic, ["a", "b", "c"])
        try gateway.define(consumer, topic, #","mode":"shared""#)
        let poll = try gateway.poll(consumer)
        let delivered = ids(poll)
        // Behind a gap: kept with the committed offset.
        let acks = #"{"deliveries":["\#(delivered[0])","\#(delivered[2])"]}"#
        #expect(try gateway.settle(consumer, acks).status == 200)
        gateway.local.stop()
        let again = try TestGateway(gateway.instance, in: gateway.local.directory)
        let isKnown = try eventually {
            try again.client.request("GET", "/v1/consumers/\(consumer)").status == 200
        }
        try #require(isKnown)
        #expect(try again.committed(consumer) == offsets[1])
        #expect(values(try again.poll(consumer)) == ["b"])
        let stale = try again.settle(consumer, #"{"deliveries":["\#(delivered[1])"]}"#)
        expectProblem(stale, 409, "leases_lost")
    }
}
