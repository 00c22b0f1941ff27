import Gateway
import GatewayTestSupport
import JSON
import Testing
import TestSupport

/// `GET /v1/receipts/{receipt}`: what became of a record.
@Suite final class ReceiptTests: GatewayTest {
    @Test func receipt_SaysAccepted_WhileTheBrokerDoesNotTakeIt() throws {
        // A broker that is full from the start.
        let full = try LocalGateway { try $0.set("broker.embedded.bytes_max=1") }
        let client = try full.client()
        let receipt = try client.produce("orders", "value")
        let answer = try client.request("GET", "/v1/receipts/\(receipt)")
        #expect(try answer.json()["state"]?.string == "accepted")
        #expect(try answer.json()["topic"] == nil)
        let saysWhy = try eventually {
            let answer = try client.request("GET", "/readyz?require=forwarding")
            let lanes = try answer.json()["forwarding"]?["lanes"]?.list ?? []
            return answer.status == 503
                && lanes.contains {
                    $0["error"]?.string == "broker_full" && $0["failing_since"]?.string != nil
                        && $0["tries"]?.int64 ?? 0 > 1
                }
        }
        #expect(saysWhy)
        let ready = try client.request("GET", "/readyz?require=forwarding").json()
        #expect(ready["accepting"]?["ok"]?.bool == true)
        #expect(ready["forwarding"]?["ok"]?.bool == false)
        #expect(try client.request("GET", "/readyz").status == 200)
    }

    @Test func receipt_Expires_WhenItsOutcomeIsNoLongerKept() throws {
        let forgetful = try LocalGateway {
            for setting in ["receipts.in_memory=0", "receipts.bytes_max=1"] { try $0.set(setting) }
        }
        let client = try forgetful.client()
        let receipt = try client.produce("orders", "value")
        // The newest is always kept.
        #expect(try client.settled(receipt)["offset"]?.int64 == 0)
        _ = try client.produce("orders", "next")
        let isExpired = try eventually { try client.request("GET", "/v1/receipts/\(receipt)").status == 410 }
        #expect(isExpired)
        expectProblem(try client.request("GET", "/v1/receipts/\(receipt)"), 410, "receipt_expired", retryable: false)
    }

    @Test func receipt_IsKnownAfterARestart() throws {
        let first = try LocalGateway()
        let receipt = try first.client().produce("orders", "value")
        let before = try first.client().settled(receipt)
        first.stop()
        let second = try LocalGateway(in: first.directory)
        let after = try second.request("GET", "/v1/receipts/\(receipt)")
        #expect(after.text == before.rawText)
    }

    @Test func refusals_NameTheReason() throws {
        let receipt = try client.produce("orders", "value")
        let gateway = receipt.prefix(8)
        let foreign = (gateway.first == "a" ? "b" : "a") + gateway.dropFirst()
        let number = try #require(UInt64(receipt.dropFirst(9)))
        for malformed in [
            "x", "\(gateway)", "\(gateway)-", "\(gateway)-0", "\(gateway)-01", "\(gateway)--1",
            "\(gateway)-1x", "\(gateway)-18446744073709551616", "\(gateway.uppercased())-1",
        ] {
            expectProblem(
                try client.request("GET", "/v1/receipts/\(malformed)"), 400, "invalid_receipt", "\(malformed)")
        }
        expectProblem(
            try client.request("GET", "/v1/receipts/\(foreign)-\(number)"), 404, "receipt_held_elsewhere",
            retryable: false)
        for unknown in [1, number + 1, number + 1 << 32, UInt64.max] {
            expectProblem(
                try client.request("GET", "/v1/receipts/\(gateway)-\(unknown)"), 404, "unknown_receipt", "\(unknown)")
        }
        expectProblem(try client.request("GET", "/v1/receipts/\(receipt)?wait=1"), 400, "unknown_parameter")
    }
}

/// `GET /v1/topics`, `GET /v1/topics/{topic}`.
@Suite final class TopicTests: GatewayTest {
    @Test func list_Pages() throws {
        let names = ["a", "b", "c", "d", "e"]
        for name in names.reversed() { _ = try client.settled(try client.produce(name, "value")) }
        var found: [String] = []
        var token = ""
        for _ in 0..<3 {
            let page = try client.request("GET", "/v1/topics?limit=2" + token).json()
            found += (page["topics"]?.list ?? []).compactMap { $0["name"]?.string }
            token = page["next"]?.string.map { "&page_token=\($0)" } ?? ""
        }
        #expect(found == names)
        #expect(token.isEmpty)
        #expect(try client.request("GET", "/v1/topics?page_token=e").json()["topics"]?.list.isEmpty == true)
        #expect(try client.request("GET", "/v1/topics?limit=5").json()["next"] == nil)
        for bad in ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=1&limit=2"] {
            expectProblem(try client.request("GET", "/v1/topics?\(bad)"), 400, "invalid_parameter", "\(bad)")
        }
        expectProblem(try client.request("GET", "/v1/topics?bogus=1"), 400, "unknown_parameter")
    }
}
