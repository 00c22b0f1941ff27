import HTTPServer
import Testing

/// What a handler is told that its header fields may take is there, whatever the request took.
@Suite struct HeaderRoomTests {
    @Test(arguments: [4 << 10, 8 << 10, 16 << 10, 32 << 10])
    func response_OfAllTheRoom_IsSent_WhateverTheRequestIs(memoryBytes: Int) throws {
        try withServer({ $0.connectionMemoryBytes = memoryBytes }) { server in
            var roomMost = 0
            for (fields, size) in [
                (0, 0), (1, 500), (1, 1500), (1, 3000), (1, 6000), (1, 12_000), (20, 50), (60, 20), (100, 20),
                (50, 100),
                (120, 60),
            ] {
                let extra = (0..<fields).map { "X-\($0): " + String(repeating: "a", count: size) + "\r\n" }.joined()
                func request(_ target: String) -> String { "GET \(target) HTTP/1.1\r\nHost: a\r\n\(extra)\r\n" }
                let queries = ["", "?" + (0..<20).map { "a\($0)=1" }.joined(separator: "&")]
                let behind = request("/fields/0?" + String(repeating: "b", count: 3000))
                for (query, more) in queries.flatMap({ [($0, ""), ($0, behind)] }) {
                    // With `more`, part of the next request is read along. A request that leaves no room for any
                    // answer tells nothing.
                    guard try answer(server, request("/fields/none" + query) + more)?.status == 200 else { continue }
                    let found = try answer(server, request("/fields/room" + query) + more)
                    #expect(found?.status == 200, "\(fields) fields of \(size), \(query), \(more.utf8.count) behind")
                    let bytes = found?.headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
                    roomMost = max(roomMost, bytes ?? 0)
                }
            }
            // Not by giving no room at all.
            #expect(roomMost >= memoryBytes / 4)
        }
    }

    /// nil: the connection was closed instead.
    private func answer(_ server: TestServer, _ text: String) throws -> RawResponse? {
        let client = try server.client()
        try client.send(text)
        return try? client.response()  // try?: closed is what this is about
    }
}
