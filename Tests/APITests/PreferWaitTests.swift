import Forwarder
import GatewayTestSupport
import HTTPServer
import JSON
import Primitives
import Spool
import Testing
import TestSupport

/// `Prefer: wait` of produce calls: 200 once all is delivered, 422 when one is dead, 202 when the wait is over.
@Suite struct PreferWaitTests {
    private static let long = ("Prefer", "wait=60")

    private func produce(
        _ client: HTTPClient, _ values: [String], _ prefer: (String, String) = PreferWaitTests.long
    ) throws -> Answer {
        let records = values.map { #"{"value_text":"\#($0)","partition":0}"# }.joined(separator: ",")
        return try client.request(
            "POST", "/v1/topics/orders/records", [("Content-Type", "application/json"), prefer],
            body: Array(#"{"records":[\#(records)]}"#.utf8))
    }

    private func states(_ answer: Answer) throws -> [String?] {
        try answer.json()["outcomes"]?.list.map { $0["state"]?.string } ?? []
    }

    @Test func produce_Is202_WhenTheWaitIsOver() throws {
        let gateway = try FakeGateway(holding: true)
        for (prefer, applied) in [("wait=0.05", "wait=0.05"), ("wait=0", "wait=0")] {
            let answer = try produce(gateway.client(), ["a", "b"], ("Prefer", prefer))
            #expect(answer.status == 202)
            #expect(answer.header("Preference-Applied") == applied)
            #expect(answer.header("Vary") == "Prefer")
            #expect(try answer.json()["receipts"]?.list.count == 2)
            #expect(try answer.json()["outcomes"] == nil)
        }
    }

    @Test func malformedWaits_AreIgnored() throws {
        let gateway = try FakeGateway(holding: true)
        let client = try gateway.client()
        for prefer in [
            "wait", "wait=", "wait=x", "wait=-1", "wait=1e3", "wait=.5", "wait=5.", "wait=1.2.3", "respond-async",
            "return=\"a,wait=5\"", "await=5", "wait=x, wait=5",
        ] {
            let answer = try produce(client, ["a"], ("Prefer", prefer))
            #expect(answer.status == 202, "\(prefer)")
            #expect(answer.header("Preference-Applied") == nil, "\(prefer)")
        }
    }

    @Test func longWaits_AreCut() throws {
        let gateway = try FakeGateway()
        for prefer in ["wait=61", "wait=99999999999999999999"] {
            let answer = try produce(gateway.client(), ["a"], ("Prefer", prefer))
            #expect(answer.status == 200)
            #expect(answer.header("Preference-Applied") == "wait=60")
        }
    }

    @Test func preferenceApplied_IsADelayAgain_HoweverSmall() throws {
        let gateway = try FakeGateway(holding: true)
        for (wait, applied) in [
            ("0.00001", "0.001"), ("0.05", "0.05"), ("0.0100", "0.01"), ("0", "0"), ("00.000", "0"),
            ("0.1234", "0.124"),
        ] {
            let answer = try produce(gateway.client(), ["a"], ("Prefer", "wait=\(wait)"))
            #expect(answer.status == 202)
            #expect(answer.header("Preference-Applied") == "wait=\(applied)", "\(wait)")
        }
    }

    @Test func produce_Is422WithEveryOutcome_OnceAllIsSettledAndOneIsDead() throws {
        let gateway = try FakeGateway()
        let answer = try produce(gateway.client(), ["a", "BAD", "c"])
        expectProblem(answer, 422, "records_dead_lettered", outcome: "accepted", retryable: false)
        #expect(answer.header("Preference-Applied") == "wait=60")
        #expect(try states(answer) == ["delivered", "dead", "delivered"])
        let dead = try answer.json()["outcomes"]?[1]
        #expect(dead?["reason"]?["code"]?.string == "record_refused")
        let receipt = try #require(try answer.json()["receipts"]?[1]?.string)
        #expect(try gateway.client().request("GET", "/v1/receipts/\(receipt)").text == dead?.rawText)
    }

    /// The dead one comes first, and what follows it hangs.
    @Test func produce_Is422AtTheEndOfTheWait_WhenOneIsDeadAndOthersAreNotSettled() throws {
        // On a slow machine nothing is settled before the first waits are over.
        for wait in ["0.5", "5", "40"] {
            let gateway = try FakeGateway()
            gateway.hold("x")
            defer { gateway.release() }
            let answer = try produce(gateway.client(), ["BAD", "x"], ("Prefer", "wait=\(wait)"))
            if answer.status == 202 { continue }
            expectProblem(answer, 422, "records_dead_lettered", outcome: "accepted", retryable: false)
            #expect(try states(answer) == ["dead", "accepted"])
            return
        }
        Issue.record("the first record is not dead")
    }

    @Test func waitingProduce_Is202_WhenTheGatewayStops() throws {
        let gateway = try FakeGateway(holding: true)
        let client = try HTTPClient(port: gateway.server.port)
        try client.send("POST", "/v1/topics/orders", [Self.long], body: [120])
        #expect(eventually { gateway.server.usage.parked == 1 })
        gateway.stop()
        let answer = try client.answer()
        #expect(answer.status == 202)
        #expect(try answer.json()["receipts"]?.list.count == 1)
    }

    @Test func wait_Ends_WhenTheClientLeaves() throws {
        let gateway = try FakeGateway(holding: true)
        let client = try gateway.client()
        try client.send("POST", "/v1/topics/orders", [Self.long], body: [120])
        #expect(eventually { gateway.spool.outcomeWaits == 1 })
        client.close()
        #expect(eventually { gateway.spool.outcomeWaits == 0 && gateway.server.usage.parked == 0 })
    }

    @Test func wait_IsNotMade_WhenAsManyWaitAsMay() throws {
        var settings = FakeGateway.spoolSettings
        settings.outcomeWaitsMax = 1
        let gateway = try FakeGateway(holding: true, spool: settings)
        let first = try gateway.client()
        try first.send("POST", "/v1/topics/orders", [Self.long], body: [120])
        #expect(eventually { gateway.spool.outcomeWaits == 1 })
        #expect(try produce(gateway.client(), ["b"]).status == 202)
        gateway.release()
        #expect(try first.answer().status == 200)
    }

    /// What is accepted must not be answered with an error that leaves it open.
    @Test func produce_Is202_WhenAsManyAreParkedAsMay() throws {
        let gateway = try FakeGateway(holding: true, http: { $0.parkedMax = 1 })
        let first = try gateway.client()
        try first.send("POST", "/v1/topics/orders", [Self.long], body: [120])
        #expect(eventually { gateway.server.usage.parked == 1 })
        #expect(try produce(gateway.client(), ["b"]).status == 202)
        gateway.release()
        #expect(try first.answer().status == 200)
    }

    /// A lane that pauses between large hand-overs does not while somebody waits.
    @Test func waitingRecord_IsNotHeldUpByThePaceOfItsLane() throws {
        var settings = ForwarderSettings()
        settings.handOverInterval = .seconds(3600)
        settings.pacedRecords = 2
        let gateway = try FakeGateway(forwarder: settings)
        let client = try gateway.client()
        #expect(try produce(client, ["a", "b"]).status == 200)
        // The lane pauses for an hour now.
        let before = try produce(client, ["c"], ("Prefer", "respond-async"))
        #expect(before.status == 202)
        let receipt = try #require(try before.json()["receipts"]?[0]?.string)
        let answer = try client.request("GET", "/v1/receipts/\(receipt)", [Self.long])
        #expect(try answer.json()["state"]?.string == "delivered")
        #expect(try produce(client, ["d"]).status == 200)
    }
}

/// `GET /v1/receipts/{receipt}` with `Prefer: wait`, and `POST /v1/receipts/query`.
@Suite struct ReceiptWaitTests {
    private func accept(_ client: HTTPClient, _ value: String) throws -> String {
        try client.produce("orders", value, partition: 0)
    }

    private func query(
        _ client: HTTPClient, _ receipts: [String], _ prefer: String = "respond-async"
    ) throws -> Answer {
        let list = receipts.map { "\"\($0)\"" }.joined(separator: ",")
        return try client.request(
            "POST", "/v1/receipts/query", [("Prefer", prefer)], body: Array(#"{"receipts":[\#(list)]}"#.utf8))
    }

    private func states(_ answer: Answer) throws -> [String?] {
        try answer.json()["receipts"]?.list.map { $0["state"]?.string } ?? []
    }

    @Test func receipt_WaitsUntilItsRecordIsSettled() throws {
        let gateway = try FakeGateway(holding: true)
        let client = try gateway.client()
        let good = try accept(client, "good")
        let bad = try accept(client, "BAD")
        let over = try client.request("GET", "/v1/receipts/\(good)", [("Prefer", "wait=0.05")])
        #expect(over.status == 200)
        #expect(try over.json()["state"]?.string == "accepted")
        #expect(over.header("Preference-Applied") == "wait=0.05")
        let waiting = try [good, bad].map { receipt in
            let client = try gateway.client()
            try client.send("GET", "/v1/receipts/\(receipt)", [("Prefer", "wait=60")])
            return client
        }
        #expect(eventually { gateway.spool.outcomeWaits == 2 })
        gateway.release()
        let answers = try waiting.map { try $0.answer() }
        #expect(try answers.map { try $0.json()["state"]?.string } == ["delivered", "dead"])
        #expect(answers.allSatisfy { $0.header("Preference-Applied") == "wait=60" })
        #expect(answers.allSatisfy { $0.header("Cache-Control") == "no-store" })
        // Settled already: answered at once.
        let again = try client.request("GET", "/v1/receipts/\(bad)", [("Prefer", "wait=60")])
        #expect(try again.json()["reason"]?["code"]?.string == "record_refused")
    }

    @Test func query_AnswersInTheOrderAsked_AndWaitsForAll() throws {
        let gateway = try FakeGateway(holding: true)
        let client = try gateway.client()
        var receipts: [String] = []
        for number in 0..<5 {
            receipts.append(
                try client.produce("topic-\(number)", number == 3 ? "BAD" : "good", partition: 0))
        }
        let made = receipts[0].prefix(9) + "1"
        #expect(try states(query(client, receipts)) == Array(repeating: "accepted", count: 5))
        let waiting = try gateway.client()
        let asked = [receipts[4], String(made), receipts[3], receipts[4], receipts[0], receipts[1], receipts[2]]
        let list = asked.map { "\"\($0)\"" }.joined(separator: ",")
        try waiting.send(
            "POST", "/v1/receipts/query", [("Prefer", "wait=60")], body: Array(#"{"receipts":[\#(list)]}"#.utf8))
        #expect(eventually { gateway.spool.outcomeWaits == 1 })
        gateway.release()
        let answer = try waiting.answer()
        #expect(answer.status == 200)
        #expect(answer.header("Preference-Applied") == "wait=60")
        #expect(answer.header("Cache-Control") == "no-store")
        #expect(
            try states(answer)
                == ["delivered", "unknown", "dead", "delivered", "delivered", "delivered", "delivered"])
        #expect(try answer.json()["receipts"]?.list.map { $0["receipt"]?.string } == asked)
    }

    @Test(arguments: [-1, 0, 1]) func query_IsLimited(by difference: Int) throws {
        let gateway = try FakeGateway(holding: true)
        let client = try gateway.client()
        let receipt = try accept(client, "good")
        let answer = try query(client, Array(repeating: receipt, count: 10_000 + difference))
        if difference <= 0 {
            #expect(try states(answer).count == 10_000 + difference)
        } else {
            expectProblem(answer, 400, "invalid_parameter")
        }
    }

    @Test func badQueries_AreRefused() throws {
        let gateway = try FakeGateway()
        let client = try gateway.client()
        let receipt = try accept(client, "good")
        let foreign = (receipt.first == "a" ? "b" : "a") + receipt.dropFirst()
        let cases: [(body: String, status: Int, code: String)] = [
            ("", 400, "malformed_json"), ("[]", 400, "invalid_parameter"), ("{}", 400, "invalid_parameter"),
            (#"{"receipts":7}"#, 400, "invalid_parameter"), (#"{"receipts":[7]}"#, 400, "invalid_parameter"),
            (#"{"receipts":[]}"#, 400, "invalid_parameter"), (#"{"more":[]}"#, 400, "invalid_parameter"),
            (#"{"receipts":["x"]}"#, 400, "invalid_receipt"),
            (#"{"receipts":["\#(foreign)"]}"#, 404, "receipt_held_elsewhere"),
        ]
        for (body, status, code) in cases {
            expectProblem(try client.postJSON("/v1/receipts/query", body), status, code, retryable: false, "\(body)")
        }
    }

    /// Stored bytes need no memory of the server's while their outcome is awaited, and they may be awaited for long.
    @Test func waitingProduce_HoldsNoBodyMemory() throws {
        let gateway = try FakeGateway(holding: true) {
            $0.bodyBytesMax = 64 << 10
            $0.bodyMemoryMax = 64 << 10
        }
        let value = String(repeating: "x", count: 50_000)
        let waiting = try (1...3).map { count in
            let client = try gateway.client()
            try client.send("POST", "/v1/topics/a", [("Prefer", "wait=60")], body: Array(value.utf8))
            #expect(eventually { gateway.server.usage.bodyBytes == 0 && gateway.server.usage.parked == count })
            return client
        }
        let receipt = try gateway.client().produce("a", value)
        // Nor while a receipt is waited for.
        let asking = try gateway.client()
        let query = Array(#"{"receipts":["\#(receipt)"]}"#.utf8)
        try asking.send("POST", "/v1/receipts/query", [("Prefer", "wait=60")], body: query)
        #expect(eventually { gateway.server.usage.parked == 4 && gateway.server.usage.bodyBytes == 0 })
        gateway.release()
        for client in waiting { #expect(try client.answer().status == 200) }
        #expect(try asking.answer().status == 200)
    }
}
