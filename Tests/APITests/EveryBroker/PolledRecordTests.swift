import GatewayTestSupport
import JSON
import Primitives
import Testing
import TestSupport

/// Polls and acknowledgements, whatever the broker.
@Suite struct PolledRecordTests {
    /// A gateway with a topic that has these values in partition 0, and a consumer of it.
    private struct Polled {
        let gateway: TestGateway
        let topic: String
        let consumer: String
        var offsets: [Int64]

        init(_ broker: TestBroker, _ values: [String], _ definition: String = "") throws {
            gateway = try TestGateway(broker)
            topic = try gateway.topic()
            consumer = gateway.name("c")
            offsets = try gateway.fill(topic, values)
            try gateway.define(consumer, topic, definition)
        }

        func poll(_ query: String = TestGateway.patience) throws -> JSONValue { try gateway.poll(consumer, query) }

        func settle(_ body: String, _ call: String = "acks") throws -> Answer {
            try gateway.settle(consumer, body, call)
        }

        /// What an answer says after the consumer committed this offset of partition 0.
        func committed(_ offset: Int64) -> String {
            #"{"committed":[{"topic":"\#(topic)","partition":0,"offset":\#(offset)}]}"#
        }
    }

    @Test(arguments: Brokers.available) func poll_AnswersRecordsWithTheirDelivery(_ broker: TestBroker) throws {
        let polled = try Polled(broker, ["first", "second"])
        let answer = try polled.gateway.client.request(
            "POST", "/v1/consumers/\(polled.consumer)/poll?max=1&\(TestGateway.patience)")
        #expect(answer.header("Cache-Control") == "no-store")
        let record = try #require(try answer.json()["records"]?[0])
        #expect(record["topic"]?.string == polled.topic)
        #expect(record["partition"]?.int64 == 0)
        #expect(record["offset"]?.int64 == polled.offsets[0])
        #expect(record["value_text"]?.string == "first")
        #expect(record["delivery"]?["attempt"]?.int64 == 1)
        #expect(record["delivery"]?["deadline"]?.string?.hasSuffix("Z") == true)
        #expect(record["delivery"]?["id"]?.string?.isEmpty == false)
        // Promise 5: a poll moves nothing.
        #expect(try polled.gateway.committed(polled.consumer) == polled.offsets[0])
        let described = try polled.gateway.client.request("GET", "/v1/consumers/\(polled.consumer)").json()
        #expect(described["leases"]?.int64 == 1)
        #expect(described["partitions"]?.list.count == 4)
        let partition = described["partitions"]?[0]
        #expect(partition?["lag"]?.int64 == (partition?["end"]?.int64 ?? 0) - polled.offsets[0])
    }

    @Test(arguments: Brokers.available)
    func poll_AnswersAtTheFirstRecord_WhenAnotherConnectionSendsIt(_ broker: TestBroker) throws {
        let polled = try Polled(broker, ["first"])
        try polled.gateway.acknowledgeAll(polled.consumer, try polled.poll())
        #expect(try polled.poll("")["ack"]?.isNull == true)
        #expect(offsets(try polled.poll("wait=0.2")).isEmpty)
        let poller = try polled.gateway.local.client()
        try poller.send("POST", "/v1/consumers/\(polled.consumer)/poll?wait=60")
        #expect(poller.isSilent(for: .milliseconds(200)))
        try polled.gateway.client.produce(polled.topic, "second")
        #expect(values(try poller.answer().json()) == ["second"])
    }

    @Test(arguments: Brokers.available) func poll_CutByCountOrBytes_DropsNothing(_ broker: TestBroker) throws {
        let large = String(repeating: "x", count: 3_000)
        let all = ["a", "b", "c", large, large, "small", large]
        let polled = try Polled(broker, all)
        let first = try polled.poll("max=3&\(TestGateway.patience)")
        #expect(values(first) == ["a", "b", "c"])
        try polled.gateway.acknowledgeAll(polled.consumer, first)
        var found: [String?] = values(first)
        for _ in 0..<all.count where found.count < all.count {
            let answer = try polled.poll("max_bytes=4000&\(TestGateway.patience)")
            #expect(answer["records"]?.list.isEmpty == false)
            found += values(answer)
            try polled.gateway.acknowledgeAll(polled.consumer, answer)
        }
        #expect(found == all)
        // One record comes, however large.
        try polled.gateway.fill(polled.topic, [large])
        #expect(values(try polled.poll("max_bytes=1&\(TestGateway.patience)")) == [large])
    }

    @Test(arguments: Brokers.available) func client_GetsItsOpenAnswerAgainUnchanged(_ broker: TestBroker) throws {
        let polled = try Polled(broker, ["a", "b", "c"])
        let target = "/v1/consumers/\(polled.consumer)/poll?client=one"
        let first = try polled.gateway.client.request("POST", "\(target)&max=2&\(TestGateway.patience)")
        let again = try polled.gateway.client.request("POST", "\(target)&max=1&max_bytes=1")
        #expect(again.body == first.body)
        #expect(values(try again.json()) == ["a", "b"])
        // Ordered: the partition is one's.
        #expect(offsets(try polled.poll("client=two")).isEmpty)
        try polled.gateway.acknowledgeAll(polled.consumer, try again.json())
        #expect(values(try polled.poll("client=two&\(TestGateway.patience)")) == ["c"])
        // Another poll of the name while one waits.
        let poller = try polled.gateway.local.client()
        try poller.send("POST", "\(target)&wait=60")
        #expect(
            try eventually {
                try polled.gateway.client.request("GET", "/v1/consumers/\(polled.consumer)")
                    .json()["polls_waiting"]?.int64 == 1
            })
        expectProblem(try polled.gateway.client.request("POST", target), 409, "client_busy", retryable: true)
        poller.close()
        #expect(try eventually { try polled.gateway.client.request("POST", target).status == 200 })
    }

    @Test(arguments: Brokers.available) func acks_InAllFourForms_AnswerTheCommittedOffset(_ broker: TestBroker) throws {
        let polled = try Polled(broker, (0..<10).map { "\($0)" })
        let next = polled.offsets
        let one = try polled.poll("max=2&client=one&\(TestGateway.patience)")
        let token = #"{"ack":"\#(one["ack"]?.string ?? "")"}"#
        let whole = try polled.settle(token)
        #expect(whole.text == polled.committed(next[2]))
        #expect(whole.header("Cache-Control") == "no-store")
        #expect(try polled.settle(token).text == whole.text, "repeated")
        let two = ids(try polled.poll("max=3&client=one&wait=60"))
        // Out of order: the prefix is not there yet.
        #expect(try polled.settle(#"{"deliveries":["\#(two[1])"]}"#).text == polled.committed(next[2]))
        let both = #"{"deliveries":["\#(two[0])","\#(two[2])"]}"#
        #expect(try polled.settle(both).text == polled.committed(next[5]))
        let three = ids(try polled.poll("max=3&client=one&wait=60"))
        #expect(try polled.settle(#"{"through":["\#(three[1])"]}"#).text == polled.committed(next[7]))
        #expect(try polled.settle(#"{"through":["\#(three[2])"]}"#).text == polled.committed(next[8]))
        #expect(offsets(try polled.poll("client=one&max=1&wait=60")) == [next[8]])
        let place = #"{"topic":"\#(polled.topic)","partition":0,"offset":\#(next[8])}"#
        #expect(try polled.settle(#"{"offsets":[\#(place)],"client":"one"}"#).text == polled.committed(next[9]))
        #expect(try polled.gateway.committed(polled.consumer) == next[9])
        let last = try polled.poll("client=one&wait=60")
        #expect(offsets(last) == [next[9]])
        try polled.gateway.acknowledgeAll(polled.consumer, last)
        #expect(offsets(try polled.poll("")).isEmpty)
        let partition = try polled.gateway.client.request("GET", "/v1/consumers/\(polled.consumer)")
            .json()["partitions"]?[0]
        #expect(partition?["lag"]?.int64 == 0, "\(partition?.rawText ?? "")")
    }

    @Test(arguments: Brokers.available)
    func acks_OfLostLeases_Are409_AndTheGoodOnesAreApplied(_ broker: TestBroker) throws {
        let polled = try Polled(broker, ["a", "b", "c"])
        let first = ids(try polled.poll("max=2&\(TestGateway.patience)"))
        // A seek voids the leases; the same records are handed out anew.
        let seek = try polled.gateway.client.postJSON("/v1/consumers/\(polled.consumer)/seek", #"{"to":"earliest"}"#)
        #expect(seek.status == 200, "\(seek.text)")
        let second = ids(try polled.poll("max=2&\(TestGateway.patience)"))
        let answer = try polled.settle(#"{"deliveries":["\#(second[0])","\#(first[1])"]}"#)
        expectProblem(answer, 409, "leases_lost", retryable: false)
        #expect(try answer.json()["results"]?.strings == ["acknowledged", "lease_lost"])
        #expect(try answer.json()["committed"]?[0]?["offset"]?.int64 == polled.offsets[1])
        let place = #"{"topic":"\#(polled.topic)","partition":0,"offset":\#(polled.offsets[1])}"#
        expectProblem(try polled.settle(#"{"offsets":[\#(place)],"client":"somebody"}"#), 409, "leases_lost")
    }

    @Test(arguments: Brokers.available)
    func sharedMode_SpreadsAPartition_AndNacksAndExtensionsAnswerLikeAcks(_ broker: TestBroker) throws {
        let polled = try Polled(broker, ["a", "b", "c"], #","mode":"shared""#)
        let (a, b) = (
            try polled.poll("max=1&client=a&\(TestGateway.patience)"), try polled.poll("max=2&client=b&wait=60")
        )
        #expect(ids(a).count == 1 && ids(b).count == 2)
        let begin = polled.committed(polled.offsets[0])
        let extended = try polled.settle(#"{"ack":"\#(b["ack"]?.string ?? "")","deadline_ms":60000}"#, "extensions")
        #expect(extended.status == 200 && extended.header("Cache-Control") == "no-store")
        #expect(extended.text == begin)
        let nacked = try polled.settle(
            #"{"deliveries":["\#(ids(a)[0])"],"delay_ms":0,"reason":"try again"}"#, "nacks")
        #expect(nacked.status == 200 && nacked.header("Cache-Control") == "no-store")
        #expect(nacked.text == begin)
        let again = try polled.poll("client=a&\(TestGateway.patience)")
        #expect(again["records"]?[0]?["delivery"]?["attempt"]?.int64 == 2)
        let lost = try polled.settle(#"{"deliveries":["\#(ids(a)[0])","\#(ids(again)[0])"]}"#, "nacks")
        expectProblem(lost, 409, "leases_lost", retryable: false)
        #expect(try lost.json()["results"]?.strings == ["lease_lost", "returned"])
        // Behind the gap nothing is committed, and it is kept all the same: only what was given back comes again.
        try polled.gateway.acknowledgeAll(polled.consumer, b)
        #expect(try polled.gateway.committed(polled.consumer) == polled.offsets[0])
        #expect(offsets(try polled.poll("client=c&\(TestGateway.patience)")) == [polled.offsets[0]])
    }

    /// Promise 5.
    @Test(arguments: Brokers.available) func lease_EndsAtItsDeadline_AndItsAckIsLost(_ broker: TestBroker) throws {
        let polled = try Polled(broker, ["a", "b"], #","ack_deadline_ms":1000"#)
        let lost = try polled.poll()
        #expect(values(lost) == ["a", "b"])
        let again = try polled.poll()
        #expect(values(again) == ["a", "b"])
        #expect(again["records"]?[0]?["delivery"]?["attempt"]?.int64 == 2)
        let stale = try polled.settle(#"{"deliveries":["\#(ids(lost)[1])"]}"#)
        expectProblem(stale, 409, "leases_lost")
        #expect(try polled.gateway.committed(polled.consumer) == polled.offsets[0])
    }

    @Test(arguments: Brokers.available)
    func usedUpDeliveries_ArriveInTheDeadLetterTopic_WithOneIdentity(_ broker: TestBroker) throws {
        let gateway = try TestGateway(broker)
        let (topic, dead) = (try gateway.topic(), try gateway.topic("dead", partitions: 1))
        let consumer = gateway.name("c")
        let offsets = try gateway.fill(topic, ["a", "b"])
        try gateway.define(consumer, topic, #","max_deliveries":1,"dead_letter_topic":"\#(dead)""#)
        let answer = try gateway.poll(consumer, "max=1&client=a&\(TestGateway.patience)")
        let nack = #"{"ack":"\#(answer["ack"]?.string ?? "")","reason":"no such customer"}"#
        #expect(try gateway.settle(consumer, nack, "nacks").status == 200)
        var found: JSONValue?
        let isThere = try eventually {
            found = try gateway.client.request("GET", "/v1/topics/\(dead)/partitions/0/records?wait=2")
                .json()["records"]?[0]
            return found != nil
        }
        try #require(isThere)
        let letter = try #require(found)
        #expect(letter["value_text"]?.string == "a")
        let names = letter["headers"]?.list.compactMap { $0["name"]?.string } ?? []
        #expect(Set(names).count == names.count, "one identity: \(names)")
        let headers = (letter["headers"]?.list ?? []).reduce(into: [String: String]()) {
            $0[$1["name"]?.string ?? ""] = $1["value"]?.string
        }
        #expect(headers["postrider-dead-letter-topic"] == topic)
        #expect(headers["postrider-dead-letter-partition"] == "0")
        #expect(headers["postrider-dead-letter-offset"] == "\(offsets[0])")
        #expect(headers["postrider-dead-letter-attempts"] == "1")
        #expect(headers["postrider-dead-letter-consumer"] == consumer)
        #expect(headers["postrider-dead-letter-reason"] == "no such customer")
        // Only then does the partition go on, and may the committed offset pass it.
        #expect(values(try gateway.poll(consumer, "client=a&\(TestGateway.patience)")) == ["b"])
        #expect(try eventually { try gateway.committed(consumer) == offsets[1] })
    }

    @Test(arguments: Brokers.available) func stop_AnswersWaitingPollsAndReads(_ broker: TestBroker) throws {
        let polled = try Polled(broker, ["a"])
        try polled.gateway.acknowledgeAll(polled.consumer, try polled.poll())
        let (poller, reader) = (try polled.gateway.local.client(), try polled.gateway.local.client())
        try poller.send("POST", "/v1/consumers/\(polled.consumer)/poll?wait=60")
        try reader.send("GET", "/v1/topics/\(polled.topic)/partitions/0/records?offset=latest&wait=60")
        #expect(poller.isSilent(for: .milliseconds(100)) && reader.isSilent(for: .milliseconds(100)))
        polled.gateway.local.stop()
        for client in [poller, reader] {
            let answer = try client.answer()
            #expect(answer.status == 200, "\(answer.text)")
            #expect(try answer.json()["records"]?.list.isEmpty == true)
        }
    }
}
