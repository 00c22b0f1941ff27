import GatewayTestSupport
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// `postrider spool verify`, `repair` and `export`, on the files of a real process.
@Suite struct SpoolRepairCommandTests {
    /// The command's end and everything that it printed.
    private func spool(
        _ directory: TemporaryDirectory, _ words: String...
    ) throws -> (end: GatewayProcess.End?, text: String) {
        try spool(directory, words)
    }

    private func spool(
        _ directory: TemporaryDirectory, _ words: [String]
    ) throws -> (end: GatewayProcess.End?, text: String) {
        let process = try GatewayProcess(
            in: directory, command: ["spool"] + words + ["--data-dir", directory.path + "/data"])
        let end = process.waitForEnd()
        return (end, try process.log())
    }

    /// The broker takes nothing, so that every record is still needed.
    private static let stuck = ["broker.embedded.bytes_max=1", onePartition]
    private static let onePartition = "broker.embedded.partitions_default=1"

    @Test func damagedSpool_IsVerifiedRepairedAndStarted_AndReceiptsSayWhatHappened() throws {
        let first = try GatewayProcess(Self.stuck)
        let directory = first.directory
        let client = try first.client()
        let receipts = try (0..<4).map { try client.produce("orders", "record-\($0)") }
        try SegmentFile.waitUntilProven(directory.path + "/data")
        first.killNow()
        #expect(try spool(directory, "verify").end == .exited(0))
        #expect(try spool(directory, "repair").end == .exited(0))

        let segment = try SegmentFile(of: directory.path + "/data")
        let frames = segment.frames.filter { $0.count > 0 }
        // A byte of the second record's value, and of the third frame's header.
        try segment.flip(at: frames[1].offset + 40 + 4 + 28 + 6 + 2)
        try segment.flip(at: frames[2].offset + 33)
        let lsns = receipts.map { String($0.split(separator: "-")[1]) }
        #expect(try GatewayProcess(in: directory).waitForEnd() == .exited(21))
        let verified = try spool(directory, "verify")
        #expect(verified.end == .exited(21))
        #expect(verified.text.contains("unreadable: LSN \(lsns[1]) to \(lsns[2])"), "\(verified.text)")
        #expect(verified.text.contains("topics, unverified: orders"))
        let json = try JSONDocument(Array(try spool(directory, "verify", "--json").text.utf8)[...]).root
        #expect(json["clean"]?.bool == false)
        #expect(json["damages"]?[0]?["standing"]?.string == "refuses_start")
        #expect(json["damages"]?[0]?["from"]?.int64.map { String($0) } == lsns[1])
        #expect(json["damages"]?[0]?["records_unverified"]?.int64 == 1)
        let exported = try spool(directory, "export")
        #expect(exported.end == .exited(21))
        #expect(exported.text.contains("cannot be read"))
        #expect(exported.text.contains("record-0") && exported.text.contains("record-3"))
        #expect(!exported.text.contains("record-2"))

        // Saying what would be done changes nothing.
        let plan = try spool(directory, "repair")
        #expect(plan.end == .exited(21) && plan.text.contains("would be quarantined"))
        #expect(try GatewayProcess(in: directory).waitForEnd() == .exited(21))
        let repaired = try spool(directory, "repair", "--quarantine")
        #expect(repaired.end == .exited(0), "\(repaired.text)")
        #expect(try spool(directory, "repair", "--quarantine").text.contains("nothing to repair"))
        #expect(try spool(directory, "verify").end == .exited(0))

        let second = try GatewayProcess(in: directory)
        let again = try second.client()
        for words in [["verify"], ["repair"], ["repair", "--quarantine"], ["export"]] {
            #expect(try spool(directory, words).end == .exited(22))
        }
        let values = try again.read(2, as: "reader", from: "orders").map { $0["value_text"]?.string }
        #expect(values == ["record-0", "record-3"])
        for (index, receipt) in receipts.enumerated() {
            let outcome = try again.settled(receipt)
            let isLost = index == 1 || index == 2
            #expect(outcome["state"]?.string == (isLost ? "dead" : "delivered"), "\(index): \(outcome)")
            #expect(outcome["reason"]?["code"]?.string == (isLost ? "quarantined" : nil))
        }
        // The one that still looks like a record is a dead letter; of the other there is nothing to look at.
        let letters = try again.request("GET", "/v1/dead-letters?code=quarantined").json()["dead_letters"]
        #expect(letters?[0]?["receipt"]?.string == receipts[1])
        #expect(letters?[1] == nil)
        let letter = try again.request("GET", "/v1/dead-letters/\(receipts[1])").json()
        #expect(letter["value_text"]?.string?.hasPrefix("re") == true && letter["value_text"]?.string != "record-1")
        try again.produce("orders", "after")
        #expect(try again.read(1, as: "reader", from: "orders").first?["value_text"]?.string == "after")
    }

    @Test func exportedLines_MakeTheSameRecords() throws {
        let first = try GatewayProcess(Self.stuck)
        let directory = first.directory
        let client = try first.client()
        let batch = #"""
            {"records":[
            {"value":{"a": [1,
             2]},"headers":{"content-type":"application/json"},"timestamp":1700000000001},
            {"key":"k","value_text":"täxt \"\n\u0000","partition":0},
            {"key_base64":"//4=","value_base64":"AP+A","headers":[{"name":"h","value_base64":"/w=="},
             {"name":"h","value":null}]},
            {"key":"","value":null},
            {"value_text":""}
            ]}
            """#
        let answer = try client.postJSON("/v1/topics/orders/records", batch)
        #expect(answer.status == 202, "\(answer.text)")
        try client.produce("other", "of another topic")
        first.signal(SIGTERM)
        #expect(first.waitForEnd() == .exited(0))

        let several = try spool(directory, "export")
        #expect(several.end == .exited(1))
        #expect(several.text.contains("orders (5), other (1)"))
        #expect(try spool(directory, "export", "--from", "9", "--to", "3").end == .exited(64))
        let exported = try spool(directory, "export", "--topic", "orders")
        #expect(exported.end == .exited(0))
        let receipt = try #require(try answer.json()["receipts"]?[1]?.string)
        let lsn = String(receipt.split(separator: "-")[1])
        let one = try spool(directory, "export", "--from", lsn, "--to", lsn)
        #expect(one.text.split(separator: "\n").count == 1 && one.text.contains("täxt"))

        // What both brokers then hold of it is the same, byte for byte.
        let second = try GatewayProcess(in: directory, [Self.onePartition])
        let third = try GatewayProcess([Self.onePartition])
        let target = try third.client()
        let posted = try target.request(
            "POST", "/v1/topics/orders/records", [("Content-Type", "application/x-ndjson")],
            body: Array(exported.text.utf8))
        #expect(posted.status == 202, "\(posted.text)")
        #expect(try records(try second.client()) == records(target))
    }

    /// Of the topic, as text without what a broker adds.
    private func records(_ client: HTTPClient) throws -> [String] {
        func fields(_ record: JSONValue) -> String {
            let names = ["key", "key_base64", "value", "value_base64", "headers", "timestamp", "partition"]
            return names.map { name in
                "\(name)=" + (record[name].map { String(decoding: $0.raw, as: UTF8.self) } ?? "-")
            }.joined(separator: " ")
        }
        var found: [String] = []
        let isThere = try eventually {
            let path = "/v1/topics/orders/partitions/0/records?offset=0&values=base64"
            found = try client.request("GET", path).json()["records"]?.elements?.map(fields) ?? []
            return found.count == 5
        }
        #expect(isThere)
        return found
    }
}
