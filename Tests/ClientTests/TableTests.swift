import Client
import JSON
import Testing

@Suite struct TableTests {
    @Test func columns_AreAsWideAsTheirCells_NumbersToTheRight() {
        var table = Table(["NAME", "LAG"])
        #expect(table.lines() == ["NAME  LAG"])
        table.add(["orders", "7"])
        table.add(["x", "-"])
        table.add(["é", "12345"])
        #expect(table.lines() == ["NAME      LAG", "orders      7", "x           -", "é       12345"])
        #expect(table.lines(width: 8).map(\.count) == [8, 8, 8, 8])
    }

    @Test(arguments: [
        (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (5 << 40, "5 TiB"), (5 << 50, "5120 TiB"),
    ])
    func bytes_AreReadable(bytes: Int64, text: String) {
        #expect(byteText(bytes) == text)
    }

    @Test func status_IsOneScreen_WithWhatIsWrong() throws {
        let text = """
            {"version":"1","gateway":"abcdefgh","started_at":"t","durability":"fsync",
            "accepting":{"ok":false,"reason":"quota"},
            "forwarding":{"ok":false,"lanes":[{"lane":1,"state":"retrying","error":"x"}]},
            "broker":{"kind":"kafka","guarantee":"exactly-once","reachable":false,"error":"timed_out\\u001b[2J"},
            "spool":{"used_bytes":1073741824,"bytes_max":4294967296,"undelivered_records":5,"parked_bytes":0},
            "lanes":[{"lane":1,"state":"retrying","error":"x","detail":"y","tries":4,"batch_records_max":9,
            "undelivered_records":5,"parked":{"records":3,"bytes":9}}],"dead_letters":2,"consumers":1}
            """
        let consumer =
            #"{"name":"shop","topics":["a","b"],"mode":"shared","leases":1,"partitions":[{"lag":2},{"lag":3}]}"#
        let status = try JSONDocument(Array(text.utf8)[...]).root
        let lines = try StatusScreen.lines(
            status, consumers: [try JSONDocument(Array(consumer.utf8)[...]).root], width: 70)
        let screen = lines.joined(separator: "\n")
        for part in [
            "accepting   NO, quota", "forwarding  NO, lanes 1 (retrying)", "NOT REACHABLE", "1 GiB of 4 GiB (25%)",
            "x: y", "shop", "a,b",
        ] { #expect(screen.contains(part), "\(part)") }
        #expect(!screen.contains("\u{1B}") && lines.allSatisfy { $0.count <= 70 })
        #expect(lines.last?.split(separator: " ").dropFirst(3).first == "5")
        #expect(throws: ClientError.self) {
            try StatusScreen.lines(try JSONDocument(Array("[]".utf8)[...]).root, consumers: [], width: 70)
        }
    }
}
