import GatewayTestSupport
import JSON
import Primitives
import Testing

/// Reads without a consumer, whatever the broker.
@Suite struct ReadRecordTests {
    private struct Filled {
        let gateway: TestGateway
        let topic: String
        let offsets: [Int64]

        init(_ broker: TestBroker, _ values: [String] = ["a", "b", "c"]) throws {
            gateway = try TestGateway(broker)
            topic = try gateway.topic()
            offsets = try gateway.fill(topic, values)
        }

        func target(_ query: String) -> String { "/v1/topics/\(topic)/partitions/0/records?\(query)" }

        func read(_ query: String = "") throws -> JSONValue {
            let answer = try gateway.client.request("GET", target(query))
            try #require(answer.status == 200, "\(answer.text)")
            #expect(answer.header("Cache-Control") == "no-store")
            return try answer.json()
        }
    }

    @Test(arguments: Brokers.available) func read_AnswersRecords_AndWhereToGoOn(_ broker: TestBroker) throws {
        let filled = try Filled(broker)
        let first = try filled.read("max=2")
        #expect(values(first) == ["a", "b"])
        let record = try #require(first["records"]?[0])
        #expect(record["topic"]?.string == filled.topic)
        #expect(record["partition"]?.int64 == 0 && record["offset"]?.int64 == filled.offsets[0])
        #expect(record["timestamp"]?.string?.hasSuffix("Z") == true)
        #expect(record["delivery"] == nil)
        #expect(first["next_offset"]?.int64 == filled.offsets[2])
        let high = try #require(first["high_watermark"]?.int64)
        #expect(first["low_watermark"]?.int64 == 0 && high > filled.offsets[2])
        let second = try filled.read("offset=\(filled.offsets[2])")
        #expect(values(second) == ["c"] && second["next_offset"]?.int64 == high)
        // At the end there is nothing, and nothing wrong.
        let end = try filled.read("offset=\(high)")
        #expect(values(end).isEmpty && end["next_offset"]?.int64 == high)
        // Nothing is remembered.
        #expect(values(try filled.read()) == ["a", "b", "c"])
        #expect(values(try filled.read("offset=earliest&max=1")) == ["a"])
        let latest = try filled.read("offset=latest")
        #expect(values(latest).isEmpty && latest["next_offset"]?.int64 == high)
    }

    @Test(arguments: Brokers.available)
    func read_CutByBytes_DropsNothing_AndSaysExactlyWhereToGoOn(_ broker: TestBroker) throws {
        let large = String(repeating: "x", count: 3_000)
        let all = [large, large, "small", large, "small", "small", large]
        let filled = try Filled(broker, all)
        for bytes in [1, 3_000, 3_200, 6_200, 100_000] {
            var (found, offset): ([String?], Int64) = ([], 0)
            for _ in 0..<all.count where found.count < all.count {
                let answer = try filled.read("offset=\(offset)&max_bytes=\(bytes)")
                let here = values(answer)
                #expect(here.count == 1 || here.reduce(0) { $0 + ($1?.utf8.count ?? 0) } <= bytes)
                found += here
                offset = try #require(answer["next_offset"]?.int64)
                let last = try #require(answer["records"]?.list.last?["offset"]?.int64)
                // Behind the last record of all there may be offsets without one.
                #expect(found.count == all.count ? offset > last : offset == last + 1)
            }
            #expect(found == all, "\(bytes)")
        }
    }

    @Test(arguments: Brokers.available) func read_OutsideOfThePartition_Is400_WithBothWatermarks(_ broker: TestBroker)
        throws
    {
        let filled = try Filled(broker)
        let high = try #require(try filled.read()["high_watermark"]?.int64)
        for offset in [high + 1, .max] {
            let answer = try filled.gateway.client.request("GET", filled.target("wait=60&offset=\(offset)"))
            expectProblem(answer, 400, "offset_out_of_range", retryable: false)
            #expect(try answer.json()["low_watermark"]?.int64 == 0)
            #expect(try answer.json()["high_watermark"]?.int64 == high)
        }
        let answer = try filled.gateway.client.request("GET", "/v1/topics/\(filled.topic)/partitions/4/records?wait=60")
        expectProblem(answer, 404, "unknown_partition", retryable: false)
    }

    @Test(arguments: Brokers.available)
    func wait_EndsAtTheFirstRecordOfItsPartition_NotAnothers(_ broker: TestBroker) throws {
        let filled = try Filled(broker)
        #expect(values(try filled.read("offset=latest&wait=0.3")).isEmpty)
        let reader = try filled.gateway.local.client()
        for start in ["latest", ""] {
            let high = try #require(try filled.read()["high_watermark"]?.int64)
            let offset = start.isEmpty ? "\(high)" : start
            try reader.send("GET", filled.target("offset=\(offset)&wait=60"))
            // Its watch must be there before the record is.
            #expect(reader.isSilent(for: .milliseconds(300)))
            try filled.gateway.fill(filled.topic, ["other"], partition: 1)
            #expect(reader.isSilent(for: .milliseconds(100)))
            try filled.gateway.fill(filled.topic, ["new"])
            #expect(values(try reader.answer().json()) == ["new"])
        }
        let end = try filled.gateway.client.request(
            "HEAD", filled.target("offset=latest&wait=60"))
        #expect(end.status == 200 && end.body.isEmpty)
    }

    @Test(arguments: Brokers.available) func forms_AreTheSame(_ broker: TestBroker) throws {
        let filled = try Filled(broker)
        let lines = try filled.gateway.client.request(
            "GET", filled.target("max=3"), [("Accept", "application/x-ndjson")])
        #expect(lines.status == 200 && lines.header("Content-Type") == "application/x-ndjson")
        #expect(lines.header("Postrider-Low-Watermark") == "0")
        #expect(lines.text.split(separator: "\n").count == 3)
        let octets = try filled.gateway.client.request(
            "GET", filled.target("max=1&offset=\(filled.offsets[1])"), [("Accept", "application/octet-stream")])
        #expect(octets.text == "b" && octets.header("Postrider-Offset") == "\(filled.offsets[1])")
        #expect(octets.header("Postrider-Topic") == filled.topic)
    }
}
