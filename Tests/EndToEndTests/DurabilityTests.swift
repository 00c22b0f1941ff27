import GatewayTestSupport
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// Promises 1, 2 and 3 against SIGKILL of the real process.
@Suite struct DurabilityTests {
    @Test func acceptedMeansDurable_WhenTheProcessIsKilledRightAfterThe202() throws {
        let directory = try TemporaryDirectory()
        var sent: [String] = []
        for round in 0..<4 {
            let process = try GatewayProcess(in: directory)
            let client = try process.client()
            sent.append("round-\(round)")
            try client.produce("orders", sent[round], partition: 0)
            process.killNow()
        }
        let last = try GatewayProcess(in: directory).client()
        let values = try last.read(sent.count, as: "reader", from: "orders").map { $0["value_text"]?.string }
        #expect(values == sent)
        #expect(try last.request("POST", "/v1/consumers/reader/poll").json()["records"]?.list.isEmpty == true)
    }

    @Test func acceptedMeansDurable_WhenTheProcessIsKilledUnderLoad() throws {
        var random = SeededGenerator(printingFor: "acceptedMeansDurable_WhenTheProcessIsKilledUnderLoad")
        let process = try GatewayProcess()
        let clients = 6
        let load = Load(clients: clients, port: try process.port()) { client, name in
            try client.produce("orders", name, key: String(name.prefix { $0 != ":" }))
        }
        #expect(load.waitUntilAccepted(Int.random(in: 100..<400, using: &random)))
        process.killNow()
        let told = load.join()

        let values = try everything(of: "orders", in: process.directory).map { $0["value_text"]?.string ?? "" }
        #expect(Set(values).count == values.count, "a record was delivered twice")
        for client in 0..<clients {
            let own = values.filter { $0.hasPrefix("\(client):") }
            // In the order of acceptance, and nothing that was accepted is missing.
            #expect(own.starts(with: told.accepted[client]), "client \(client)")
            #expect(Set(own.dropFirst(told.accepted[client].count)).isSubset(of: told.unanswered))
        }
    }

    @Test func aRequestIsAtomic_WhenTheProcessIsKilledUnderLoad() throws {
        var random = SeededGenerator(printingFor: "aRequestIsAtomic_WhenTheProcessIsKilledUnderLoad")
        let process = try GatewayProcess()
        let count = 40
        let load = Load(clients: 4, port: try process.port()) { client, name in
            // To all partitions, in one request.
            let records = (0..<count).map { #"{"value":"\#(name)","partition":\#($0 % 4)}"# }
            let body = #"{"records":[\#(records.joined(separator: ","))]}"#
            let answer = try client.postJSON("/v1/topics/orders/records", body)
            guard answer.status == 202 else { throw HTTPClient.Failure("\(answer.status) \(answer.text)") }
        }
        #expect(load.waitUntilAccepted(Int.random(in: 10..<60, using: &random)))
        process.killNow()
        let told = load.join()

        var found: [String: Int] = [:]
        for record in try everything(of: "orders", in: process.directory) {
            found[record["value"]?.string ?? "", default: 0] += 1
        }
        let accepted = told.accepted.joined()
        #expect(accepted.allSatisfy { found[$0] == count })
        #expect(found.values.allSatisfy { $0 == count }, "a part of a request: \(found)")
        #expect(Set(found.keys).subtracting(accepted).isSubset(of: told.unanswered))
    }

    @Test func aRequestIsAtomic_WhenOneOfItsRecordsIsBad() throws {
        let local = try LocalGateway()
        let client = try local.client()
        let bad = try client.postJSON(
            "/v1/topics/orders/records", #"{"records":[{"value":1,"partition":0},{"value":2,"partition":9}]}"#)
        #expect(bad.status == 400)
        #expect(try bad.json()["errors"]?[0]?["pointer"]?.string == "/records/1/partition")
        // Whatever was stored would be in front of this one.
        try client.produce("orders", "good", partition: 0)
        let record = try client.read(1, as: "reader", from: "orders").first
        #expect(record?["value_text"]?.string == "good")
        #expect(record?["offset"]?.int64 == 0)
    }

    /// Starts again and reads every record that the topic has once the spool is empty.
    private func everything(of topic: String, in directory: TemporaryDirectory) throws -> [JSONValue] {
        let process = try GatewayProcess(in: directory)
        let client = try process.client()
        // Behind all that was recovered, in every partition.
        let fences = (0..<4).map { #"{"value":"fence","partition":\#($0)}"# }.joined(separator: ",")
        let answer = try client.postJSON("/v1/topics/\(topic)/records", #"{"records":[\#(fences)]}"#)
        for receipt in try answer.json()["receipts"]?.strings ?? [] { _ = try client.settled(receipt) }
        let partitions = try client.request("GET", "/v1/topics/\(topic)").json()["partitions"]?.list ?? []
        let count = partitions.reduce(0) { $0 + Int($1["high_watermark"]?.int64 ?? 0) }
        return try client.read(count, as: "everything", from: topic).filter { $0["value"]?.string != "fence" }
    }
}
