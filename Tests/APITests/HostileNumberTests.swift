import GatewayTestSupport
import JSON
import Testing

/// Numbers of a query and a path are decimal digits; whatever else some reader takes for a number is refused by name.
@Suite final class HostileNumberTests: GatewayTest {
    private static let read = "/v1/topics/orders/partitions/0/records"

    private func fill() throws { _ = try client.settled(try client.produce("orders", "a", partition: 0)) }

    @Test func wholeNumbers_AreDigitsOnly() throws {
        try fill()
        let targets: [(method: String, target: String, outcome: String?)] = [
            ("GET", "\(Self.read)?max=", nil), ("GET", "\(Self.read)?max_bytes=", nil),
            ("GET", "\(Self.read)?offset=", nil), ("GET", "/v1/topics?limit=", nil),
            ("GET", "/v1/consumers?limit=", nil), ("GET", "/v1/dead-letters?limit=", nil),
            ("POST", "/v1/consumers/c/poll?max=", nil), ("POST", "/v1/consumers/c/poll?max_bytes=", nil),
            ("POST", "/v1/topics/orders?partition=", "not_accepted"),
        ]
        let numbers = [
            "%2B1", "+1", "-0", "1e0", "0x1", "%201", "1%20", "1.0", "1_0", "%EF%BC%91", "%D9%A1", "",
            "99999999999999999999",
        ]
        for (method, target, outcome) in targets {
            for number in numbers {
                expectProblem(
                    try client.request(method, target + number), 400, "invalid_parameter", outcome: outcome,
                    retryable: false, "\(target)\(number)")
            }
        }
        #expect(try client.request("GET", "\(Self.read)?max=007&offset=00").json()["records"]?.list.count == 1)
    }

    @Test func waits_AreDigitsAndAFraction() throws {
        try fill()
        let polled = "/v1/consumers/c/poll?topic=orders&wait="
        let waits = [
            "%2B1", "-0", "1e1", "1E1", "0x1p4", "0x10", "nan", "NaN", "inf", "infinity", ".5", "5.", ".", "1.2.3",
            "%201", "1%20", "1,5", "%EF%BC%91", "",
        ]
        for wait in waits {
            for (method, target) in [("GET", "\(Self.read)?wait="), ("POST", polled)] {
                expectProblem(
                    try client.request(method, target + wait), 400, "invalid_parameter",
                    retryable: false, "\(target)\(wait)")
            }
        }
        // However large or exact: it is cut to the longest wait, and there is a record.
        let good = ["0", "00.50", "0.0000000000000000000000001", String(repeating: "9", count: 400)]
        for (index, wait) in good.enumerated() {
            #expect(try client.request("GET", "\(Self.read)?wait=\(wait)").status == 200, "\(wait)")
            let poll = "/v1/consumers/c\(index)/poll?topic=orders&wait=\(wait)"
            #expect(try client.request("POST", poll).status == 200, "\(wait)")
        }
    }

    @Test func partitionOfAPath_IsDigitsOnly() throws {
        try fill()
        for partition in ["+0", "-0", "0x0", "0.0", "%200", "1e0", "2147483648", "%EF%BC%90"] {
            expectProblem(
                try client.request("GET", "/v1/topics/orders/partitions/\(partition)/records"), 400,
                "invalid_parameter", "\(partition)")
        }
    }

    @Test func pageTokens_AreTheGatewaysOwn() throws {
        for token in [
            "", "x", "-", "1", "1-", "-1", "%2B1-2", "1-%2B2", "-1-2", "1--2", "1-2-3", "01-2", "1-02", "1e3-2",
            "9223372036854775808-1", "1-18446744073709551616",
        ] {
            expectProblem(
                try client.request("GET", "/v1/dead-letters?page_token=\(token)"), 400, "invalid_parameter",
                retryable: false, "\(token)")
        }
        #expect(try client.request("GET", "/v1/dead-letters?page_token=9223372036854775807-1").status == 200)
        // Of names, any text is a place in the order.
        for list in ["topics", "consumers"] {
            for token in ["", "%F0%9F%92%A3", "..%2F..", String(repeating: "z", count: 8_000)] {
                #expect(try client.request("GET", "/v1/\(list)?page_token=\(token)").status == 200, "\(token)")
            }
            expectProblem(
                try client.request("GET", "/v1/\(list)?page_token=%00"), 400, "invalid_parameter", "\(list)")
        }
    }

    /// The greatest numbers that the forms take break nothing, wherever they are added to or counted down from.
    @Test func extremeNumbers_AreServedOrRefused() throws {
        let most = Int64.max
        let put = try client.putJSON(
            "/v1/topics/extreme", #"{"retention_ms":\#(most),"retention_bytes":\#(most),"partitions":1}"#)
        #expect(put.status == 201)
        let records = try batch("extreme", #"{"records":[{"value":1,"timestamp":\#(most)},{"value":2,"timestamp":0}]}"#)
        let receipts = try records.json()["receipts"]?.strings ?? []
        try #require(receipts.count == 2)
        for receipt in receipts { #expect(try client.settled(receipt)["state"]?.string == "delivered") }
        let target = "/v1/topics/extreme/partitions/0/records"
        let shown = try client.request("GET", target).json()["records"]?.list ?? []
        #expect(shown.map { $0["timestamp"]?.string } == ["9999-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z"])
        expectProblem(try client.request("GET", "\(target)?offset=\(most)"), 400, "offset_out_of_range")
        expectProblem(
            try client.postJSON("/v1/topics/extreme/purge", #"{"offsets":[{"partition":0,"offset":\#(most)}]}"#), 400,
            "offset_out_of_range")
        for since in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "2000-02-29T00:00:00-23:59"] {
            #expect(try client.request("GET", "/v1/dead-letters?since=\(since)&until=\(since)").status == 200)
        }

        for (name, from) in [("first", "1970-01-01T00:00:00Z"), ("last", "9999-12-31T23:59:59.999Z")] {
            let define = try client.putJSON("/v1/consumers/\(name)", #"{"topics":["extreme"],"from":"\#(from)"}"#)
            #expect(define.status == 201, "\(define.text)")
        }
        let answer = try client.request("POST", "/v1/consumers/first/poll?client=one&wait=60").json()
        #expect(answer["records"]?.list.count == 2)
        let place = #"{"topic":"extreme","partition":0,"offset":\#(most)}"#
        expectProblem(
            try client.postJSON("/v1/consumers/first/acks", #"{"offsets":[\#(place)],"client":"one"}"#), 409,
            "leases_lost")
        expectProblem(
            try client.postJSON("/v1/consumers/first/seek", #"{"offsets":[\#(place)]}"#), 400, "invalid_field")
        #expect(try client.request("GET", "/v1/consumers/first").status == 200)
        let lag = try client.request("GET", "/v1/consumers/last").json()
        #expect(lag["partitions"]?[0]?["lag"]?.int64 == 2, "\(lag.rawText)")
    }
}
