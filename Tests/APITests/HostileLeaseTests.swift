import Gateway
import GatewayTestSupport
import JSON
import Testing

/// Acknowledgements of what is not the client's to acknowledge: nothing is committed by them.
@Suite final class HostileLeaseTests: GatewayTest {
    private func fill(_ count: Int) throws {
        let records = (0..<count).map { #"{"value":\#($0),"partition":0}"# }.joined(separator: ",")
        let receipts = try batch("orders", #"{"records":[\#(records)]}"#).json()["receipts"]?.strings ?? []
        for receipt in receipts { _ = try client.settled(receipt) }
    }

    private func poll(_ consumer: String, _ query: String = "") throws -> JSONValue {
        let answer = try client.request("POST", "/v1/consumers/\(consumer)/poll?topic=orders&wait=60\(query)")
        try #require(answer.status == 200, "\(answer.text)")
        return try answer.json()
    }

    private func ids(_ answer: JSONValue) -> [String] {
        (answer["records"]?.list ?? []).compactMap { $0["delivery"]?["id"]?.string }
    }

    private func call(_ consumer: String, _ call: String, _ body: String) throws -> Answer {
        try client.postJSON("/v1/consumers/\(consumer)/\(call)", body)
    }

    private func committed(_ consumer: String) throws -> Int64? {
        try client.request("GET", "/v1/consumers/\(consumer)").json()["partitions"]?[0]?["committed"]?.int64
    }

    @Test func deliveriesOfAnotherConsumer_AreLost() throws {
        try fill(3)
        let mine = try poll("mine", "&client=one")
        let others = try poll("others", "&client=one")
        let token = try #require(others["ack"]?.string)
        for (name, body) in [
            ("acks", ""), ("nacks", ""), ("extensions", #","deadline_ms":60000"#),
        ] {
            expectProblem(try call("mine", name, #"{"ack":"\#(token)"\#(body)}"#), 409, "leases_lost", "\(name)")
            let list = ids(others).map { #""\#($0)""# }.joined(separator: ",")
            let answer = try call("mine", name, #"{"deliveries":[\#(list)]\#(body)}"#)
            expectProblem(answer, 409, "leases_lost", "\(name)")
            #expect(try answer.json()["results"]?.strings == ["lease_lost", "lease_lost", "lease_lost"], "\(name)")
        }
        #expect(try committed("mine") == 0)
        #expect(try committed("others") == 0)
        // Nobody's leases were touched.
        let own = try #require(mine["ack"]?.string)
        #expect(try call("mine", "acks", #"{"ack":"\#(own)"}"#).status == 200)
        #expect(try call("others", "acks", #"{"ack":"\#(token)"}"#).status == 200)
    }

    @Test func forgedDeliveries_AreLost() throws {
        try fill(3)
        let answer = try poll("c", "&max=2&client=one")
        let id = try #require(ids(answer).first)
        var parts = id.split(separator: ".").map(String.init)
        try #require(parts.count == 6)
        // Epoch, serial, topic, partition, offset, attempt: each of them another one, and of those never handed out.
        for (index, other) in [(0, "1"), (1, "zz"), (2, "7"), (3, "1"), (4, "2"), (4, "1y2p0ij32e8e7"), (5, "2")] {
            let kept = parts[index]
            parts[index] = other
            for form in ["deliveries", "through"] {
                let answer = try call("c", "acks", #"{"\#(form)":["\#(parts.joined(separator: "."))"]}"#)
                expectProblem(answer, 409, "leases_lost", retryable: false, "\(form) \(parts)")
            }
            parts[index] = kept
        }
        let place = #"{"topic":"orders","partition":0,"offset":2}"#
        for client in ["one", "two", ""] {
            expectProblem(
                try call("c", "acks", #"{"offsets":[\#(place)],"client":"\#(client)"}"#), 409, "leases_lost",
                "\(client)")
        }
        // A number has one text: leading zeros, capitals and signs are no id.
        for text in ["0" + id, id.uppercased(), "+" + id, id + ".0", String(id.dropLast(2)), id + " "]
        where text != id {
            expectProblem(try call("c", "acks", #"{"deliveries":["\#(text)"]}"#), 400, "invalid_field", "\(text)")
        }
        #expect(try committed("c") == 0)
        #expect(try call("c", "acks", #"{"deliveries":["\#(id)"]}"#).status == 200)
        #expect(try committed("c") == 1)
    }

    @Test func acknowledgedDelivery_CanBeAcknowledgedAgain_AndNothingElse() throws {
        try fill(2)
        let answer = try poll("c")
        let id = try #require(ids(answer).first)
        for _ in 0..<2 { #expect(try call("c", "acks", #"{"deliveries":["\#(id)","\#(id)"]}"#).status == 200) }
        expectProblem(try call("c", "nacks", #"{"deliveries":["\#(id)"]}"#), 409, "leases_lost")
        expectProblem(
            try call("c", "extensions", #"{"deliveries":["\#(id)"],"deadline_ms":1000}"#), 409, "leases_lost")
        #expect(try committed("c") == 1)
        // Of a consumer that was deleted and defined again, nothing is left.
        #expect(try client.request("DELETE", "/v1/consumers/c").status == 204)
        _ = try poll("c", "&max=1")
        expectProblem(try call("c", "acks", #"{"deliveries":["\#(id)"]}"#), 409, "leases_lost")
        #expect(try committed("c") == 0)
    }

    @Test(arguments: [-1, 0, 1]) func items_AreLimited(by difference: Int) throws {
        let count = 10_000 + difference
        let large = try LocalGateway { try $0.set("limits.record_bytes_max=1MiB") }
        let other = try large.client()
        _ = try other.settled(try other.produce("orders", "a", partition: 0))
        let polled = try other.request("POST", "/v1/consumers/c/poll?topic=orders&wait=60").json()
        let list = Array(repeating: #""\#(ids(polled).first ?? "")""#, count: count).joined(separator: ",")
        let acks = try other.postJSON("/v1/consumers/c/acks", #"{"deliveries":[\#(list)]}"#)
        if difference <= 0 {
            #expect(acks.status == 200, "\(acks.text.prefix(200))")
        } else {
            expectProblem(acks, 400, "invalid_field", retryable: false)
        }
    }

    @Test(arguments: [-1, 0, 1]) func clientName_IsLimited(by difference: Int) throws {
        for character in ["c", "%C3%A9"] {
            let bytes = character == "c" ? 1 : 2
            let name = String(repeating: character, count: (128 + difference + bytes - 1) / bytes)
            let answer = try client.request("POST", "/v1/consumers/c/poll?topic=orders&client=\(name)")
            if (128 + difference + bytes - 1) / bytes * bytes <= 128 {
                #expect(answer.status == 200, "\(character)")
            } else {
                expectProblem(answer, 400, "invalid_field", retryable: false, "\(character)")
            }
        }
    }

    @Test func unknownFieldsOfAPlace_AreRefused() throws {
        try fill(1)
        _ = try poll("c", "&client=one")
        let places = [
            #"{"topic":"orders","partition":0,"offset":0,"offest":1}"#,
            #"{"topic":"orders","partition":0,"offset":-1}"#,
            #"{"topic":"orders","partition":-1,"offset":0}"#, #"{"topic":"a b","partition":0,"offset":0}"#,
            #"{"topic":"orders","partition":0,"offset":1.0}"#, #"{"topic":"orders","partition":0,"offset":1e0}"#,
            #"{"topic":"orders","partition":0,"offset":9223372036854775808}"#, "7", "[]", "null", "{}",
        ]
        for place in places {
            for (name, body) in [
                ("acks", #"{"offsets":[\#(place)],"client":"one"}"#), ("seek", #"{"offsets":[\#(place)]}"#),
            ] {
                let answer = try call("c", name, body)
                #expect(answer.status == 400, "\(name) \(place)")
                #expect(["invalid_parameter", "unknown_field"].contains(answer.code), "\(name) \(place)")
            }
        }
        expectProblem(
            try call(
                "c", "acks", #"{"offsets":[{"topic":"orders","partition":0,"offset":0,"offset":0}],"client":"one"}"#),
            400,
            "malformed_json")
        #expect(try committed("c") == 0)
    }
}
