import GatewayTestSupport
import Glibc
import JSON
import Primitives
import Testing
import TestSupport

/// Set by `Scripts/test` when it builds with a sanitizer.
private let isSanitized = getenv("POSTRIDER_TEST_SANITIZER") != nil

/// Promise 7: memory follows the settings, not what clients do.
@Suite(.disabled(if: isSanitized, "a sanitizer keeps memory that the gateway gave back"))
struct MemoryTests {
    private static let bodyMemoryMax = 4 << 20
    private static let responseMemoryMax = 4 << 20
    /// Answers up to this size need no reservation (`HTTPServerSettings.unreservedResponseBytesMax`).
    private static let unreservedBytesMax = 64 << 10

    private func process() throws -> GatewayProcess {
        try GatewayProcess([
            "http.body_memory_max=\(Self.bodyMemoryMax)", "http.response_memory_max=\(Self.responseMemoryMax)",
            "limits.record_bytes_max=512KiB",
        ])
    }

    private func gauge(_ name: String, _ client: HTTPClient) throws -> Int {
        let text = try client.request("GET", "/metrics").text
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(name + " ") }),
            let value = Double(line.dropFirst(name.utf8.count + 1))
        else { throw HTTPClient.Failure("no \(name)") }
        return Int(value)
    }

    @Test func memoryIsBounded_WhenManySlowClientsSendLargeBodies() throws {
        let process = try process()
        let client = try process.client()
        try client.produce("orders", "before")
        let restingBytes = try gauge("process_resident_memory_bytes", client)
        let clients = try (0..<40).map { _ in try process.client() }
        let most = (1 << 20) - 100
        let head =
            "POST /v1/topics/orders/records HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(1 << 20)\r\n\r\n"
        for slow in clients {
            try slow.send(Array(head.utf8) + [UInt8](repeating: 0x20, count: most))
            #expect(try gauge("postrider_http_body_memory_bytes", client) <= Self.bodyMemoryMax)
        }
        // Forty bodies of nearly a MiB were offered, and at most four are held.
        let grownBytes = try gauge("process_resident_memory_bytes", client) - restingBytes
        #expect(grownBytes < 3 * Self.bodyMemoryMax, "\(grownBytes)")
        var refused = 0
        for slow in clients {
            try slow.send([UInt8](repeating: 0x20, count: (1 << 20) - most))
            let answer = try slow.answer()
            if answer.code == "overloaded" {
                refused += 1
                #expect(answer.status == 503)
                #expect(answer.header("Retry-After") != nil)
                #expect(try answer.json()["outcome"]?.string == "not_accepted")
            } else {
                #expect(answer.code == "malformed_json")
            }
        }
        #expect(refused >= clients.count - 4)
        #expect(refused < clients.count)
        #expect(try eventually { try gauge("postrider_http_body_memory_bytes", client) == 0 })
        try client.produce("orders", "after")
    }

    @Test func memoryIsBounded_WhenManyClientsDoNotReadTheirAnswers() throws {
        let process = try process()
        let client = try process.client()
        let value = String(repeating: "x", count: 200 << 10)
        for _ in 0..<4 {
            let records = (0..<4).map { #"{"value_text":"\#(value)","partition":\#($0)}"# }.joined(separator: ",")
            let body = #"{"records":[\#(records)]}"#
            #expect(try client.postJSON("/v1/topics/orders/records", body).status == 202)
        }
        #expect(try client.read(16, as: "first", from: "orders").count == 16)
        // Each sends the same poll again and again, which is answered the same each time, and reads nothing: the
        // kernel's buffers fill, then the gateway holds what is left.
        let clients = try (0..<12).map { number in
            #expect(
                try client.putJSON("/v1/consumers/c\(number)", #"{"topics":["orders"]}"#).status == 201)
            let slow = try HTTPClient(port: try process.port(), receiveBytes: 4096)
            for _ in 0..<12 {
                try slow.send("POST", "/v1/consumers/c\(number)/poll?client=slow&max_bytes=600000&wait=60")
            }
            return slow
        }
        var most = 0
        let isHeld = try eventually {
            most = max(most, try gauge("postrider_http_response_memory_bytes", client))
            return most > Self.responseMemoryMax / 2
        }
        #expect(isHeld, "no answer waits: \(most)")
        for _ in 0..<50 { most = max(most, try gauge("postrider_http_response_memory_bytes", client)) }
        #expect(most <= Self.responseMemoryMax + 2 * Self.unreservedBytesMax, "\(most)")
        // Others are served meanwhile, and nothing stays held for clients that left.
        try client.produce("orders", "meanwhile")
        for slow in clients { slow.close() }
        #expect(
            try eventually {
                try gauge("postrider_http_response_memory_bytes", client) <= Self.unreservedBytesMax
                    && gauge("postrider_http_parked_requests", client) == 0
            })
        #expect(try client.request("POST", "/v1/consumers/c0/poll?client=slow&wait=5").status == 200)
    }

    @Test func memoryIsBounded_WhenManyReadersDoNotReadTheirAnswers_OrLeave() throws {
        let process = try process()
        let client = try process.client()
        // 16 MiB, of which an answer is at most a quarter of the memory.
        let value = String(repeating: "v", count: 200 << 10)
        let records = repeatElement(#"{"value_text":"\#(value)","partition":0}"#, count: 4)
        let body = #"{"records":[\#(records.joined(separator: ","))]}"#
        for _ in 0..<20 { #expect(try client.postJSON("/v1/topics/orders/records", body).status == 202) }
        #expect(try client.read(80, as: "first", from: "orders").count == 80)
        let target = "/v1/topics/orders/partitions/0/records"
        let all = "\(target)?max_bytes=16777216&max=10000"
        let bytes = try client.request("GET", all).body.count
        #expect(bytes > Self.responseMemoryMax / 8 && bytes <= Self.responseMemoryMax / 4)
        let slow = try (0..<30).map { _ in
            let slow = try HTTPClient(port: try process.port(), receiveBytes: 4096)
            for _ in 0..<6 { try slow.send("GET", all) }
            return slow
        }
        var most = 0
        let isHeld = try eventually {
            most = max(most, try gauge("postrider_http_response_memory_bytes", client))
            return most > Self.responseMemoryMax / 2
        }
        #expect(isHeld, "no answer waits: \(most)")
        for _ in 0..<50 { most = max(most, try gauge("postrider_http_response_memory_bytes", client)) }
        #expect(most <= Self.responseMemoryMax + 2 * Self.unreservedBytesMax, "\(most)")
        // HEAD stands in no line, and waits for no record.
        #expect([200, 503].contains(try client.request("HEAD", all).status))
        // Readers that wait, and leave, hold nothing.
        let waiting = try (0..<20).map { _ in
            let reader = try process.client()
            try reader.send("GET", "\(target)?offset=latest&wait=60")
            return reader
        }
        for reader in slow + waiting { reader.close() }
        #expect(
            try eventually {
                try gauge("postrider_http_response_memory_bytes", client) <= Self.unreservedBytesMax
                    && gauge("postrider_http_parked_requests", client) == 0
            })
        #expect(try client.request("GET", all).body.count == bytes)
    }
}
