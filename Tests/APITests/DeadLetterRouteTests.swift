import Gateway
import GatewayTestSupport
import JSON
import Spool
import Testing

/// `/v1/dead-letters`.
@Suite struct DeadLetterRouteTests {
    /// Receipts of dead letters with these values, in order.
    private func dead(_ gateway: FakeGateway, _ topic: String, _ values: String...) throws -> [String] {
        let client = try gateway.client()
        return try values.map { value in
            let receipt = try client.produce(topic, "BAD" + value, key: "k")
            #expect(try client.settled(receipt)["state"]?.string == "dead")
            return receipt
        }
    }

    @Test func list_Filters_AndPages() throws {
        let gateway = try FakeGateway()
        let client = try gateway.client()
        let a = try dead(gateway, "a", "1", "2", "3")
        let b = try dead(gateway, "b", "4")
        func receipts(_ query: String) throws -> [String] {
            var all: [String] = []
            var token = ""
            repeat {
                let answer = try client.request("GET", "/v1/dead-letters?limit=2\(query)\(token)")
                #expect(answer.status == 200 && answer.header("Cache-Control") == "no-store")
                let page = try answer.json()
                all += (page["dead_letters"]?.list ?? []).compactMap { $0["receipt"]?.string }
                token = page["next"]?.string.map { "&page_token=\($0)" } ?? ""
            } while !token.isEmpty
            return all
        }
        #expect(try receipts("") == a + b)
        #expect(try receipts("&topic=a") == a)
        #expect(try receipts("&topic=none") == [])
        #expect(try receipts("&code=record_refused&topic=b") == b)
        #expect(try receipts("&code=none") == [])
        #expect(try receipts("&since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z") == a + b)
        #expect(try receipts("&until=2020-01-01T00:00:00Z") == [])
        #expect(try receipts("&since=2100-01-01T00:00:00Z") == [])
        let one = try client.request("GET", "/v1/dead-letters?topic=b").json()["dead_letters"]?[0]
        #expect(one?["topic"]?.string == "b" && one?["bytes"]?.int64 == 5 && one?["partition"]?.isNull == true)
        #expect(one?["code"]?.string == "record_refused" && one?["detail"]?.string == "as told by the test")
        #expect(one?["value"] == nil && one?["value_text"] == nil)
        for bad in ["limit=0", "limit=1001", "since=x", "until=1", "page_token=x", "page_token=1-x", "topic=a%20b"] {
            expectProblem(try client.request("GET", "/v1/dead-letters?\(bad)"), 400, "invalid_parameter", "\(bad)")
        }
        expectProblem(try client.request("GET", "/v1/dead-letters?bogus=1"), 400, "unknown_parameter")
    }

    @Test func one_ShowsTheRecord() throws {
        let gateway = try FakeGateway()
        let receipt = try dead(gateway, "a", "1")[0]
        let answer = try gateway.client().request("GET", "/v1/dead-letters/\(receipt)")
        #expect(answer.status == 200 && answer.header("Cache-Control") == "no-store")
        let json = try answer.json()
        #expect(json["receipt"]?.string == receipt && json["key"]?.string == "k")
        #expect(json["value_text"]?.string == "BAD1" && json["headers"]?.list.isEmpty == true)
    }

    @Test func discarded_IsGone_AndItsReceiptStaysDead() throws {
        let gateway = try FakeGateway()
        let client = try gateway.client()
        let receipt = try dead(gateway, "a", "1")[0]
        let answer = try client.request("DELETE", "/v1/dead-letters/\(receipt)")
        #expect(answer.status == 204 && answer.body.isEmpty)
        for (method, path) in [("GET", ""), ("DELETE", "")] {
            expectProblem(
                try client.request(method, "/v1/dead-letters/\(receipt)\(path)"), 404, "unknown_dead_letter",
                retryable: false)
        }
        expectProblem(
            try client.request("POST", "/v1/dead-letters/\(receipt)/redeliver"), 404, "unknown_dead_letter",
            outcome: "not_accepted", retryable: false)
        let state = try client.request("GET", "/v1/receipts/\(receipt)").json()
        #expect(state["state"]?.string == "dead" && state["discarded_at"]?.string != nil)
        #expect(state["reason"]?["code"]?.string == "record_refused")
    }

    @Test func redelivered_HasANewReceipt_AndTheOldOneFollows() throws {
        let gateway = try FakeGateway()
        let client = try gateway.client()
        let old = try dead(gateway, "a", "1")[0]
        // Once it dies again, then it is taken.
        var receipts = [old]
        for isTaken in [false, true] {
            gateway.refuse(!isTaken)
            let target = "/v1/dead-letters/\(receipts[receipts.count - 1])/redeliver"
            let answer = try client.request("POST", target)
            #expect(answer.status == 202)
            #expect(try answer.json()["durability"]?.string == "fsync")
            let new = try #require(try answer.json()["receipts"]?[0]?.string)
            receipts.append(new)
            let settled = try client.request("GET", "/v1/receipts/\(old)", [("Prefer", "wait=60")]).json()
            #expect(settled["receipt"]?.string == old && settled["redelivered_as"]?.string == new)
            #expect(settled["state"]?.string == (isTaken ? "delivered" : "dead"))
            expectProblem(try client.request("POST", target), 404, "unknown_dead_letter", outcome: "not_accepted")
        }
        let last = try client.settled(receipts[2])
        #expect(last["state"]?.string == "delivered" && last["redelivered_as"] == nil)
        let followed = try client.settled(receipts[1])
        #expect(followed["offset"]?.int64 == last["offset"]?.int64)
        #expect(try client.request("GET", "/v1/dead-letters").json()["dead_letters"]?.list.isEmpty == true)
    }

    @Test func redelivery_IsRefusedWithoutATrace_WhenTheSpoolTakesNothing() throws {
        let gateway = try FakeGateway()
        let client = try gateway.client()
        let receipt = try dead(gateway, "a", "1")[0]
        gateway.spool.closeIntake("spool_history_unknown")
        expectProblem(
            try client.request("POST", "/v1/dead-letters/\(receipt)/redeliver"), 503, "spool_history_unknown",
            outcome: "not_accepted", retryable: true)
        #expect(try client.request("GET", "/v1/dead-letters/\(receipt)").status == 200)
        gateway.spool.closeIntake(nil)
        gateway.refuse(false)
        #expect(try client.request("POST", "/v1/dead-letters/\(receipt)/redeliver").status == 202)
    }

    /// On the embedded broker, over restarts: a record whose topic may not be created any more dies.
    @Test func record_DiesWithoutItsTopic_AndIsDeliveredOnceThereIsOne() throws {
        let full = try LocalGateway { try $0.set("broker.embedded.bytes_max=1") }
        let receipt = try full.client().produce("orders", "value")
        full.stop()
        let strict = try LocalGateway(in: full.directory) { try $0.set("broker.embedded.create_topics=false") }
        #expect(try strict.client().settled(receipt)["reason"]?["code"]?.string == "unknown_topic")
        expectProblem(
            try strict.client().request("POST", "/v1/dead-letters/\(receipt)/redeliver"), 404, "unknown_topic",
            outcome: "not_accepted")
        strict.stop()
        let open = try LocalGateway(in: full.directory)
        #expect(try open.client().request("POST", "/v1/dead-letters/\(receipt)/redeliver").status == 202)
        #expect(try open.client().settled(receipt)["state"]?.string == "delivered")
        #expect(try open.client().read(1, as: "reader", from: "orders").count == 1)
    }

    @Test func malformedReceipts_AreRefused() throws {
        let gateway = try FakeGateway()
        let client = try gateway.client()
        let receipt = try client.produce("a", "good")
        for (method, suffix) in [("GET", ""), ("DELETE", ""), ("POST", "/redeliver")] {
            let outcome = method == "POST" ? "not_accepted" : nil
            expectProblem(
                try client.request(method, "/v1/dead-letters/x\(suffix)"), 400, "invalid_receipt", outcome: outcome)
            expectProblem(
                try client.request(method, "/v1/dead-letters/\(receipt)\(suffix)"), 404, "unknown_dead_letter",
                outcome: outcome)
        }
    }
}
