import CZlib
import Primitives
import Testing
import TestSupport

@testable import HTTPServer

@Suite struct GzipTests {
    struct NotGzip: Error {}

    /// What a client makes of it.
    private func unzipped(_ bytes: [UInt8]) throws -> [UInt8] {
        var stream = z_stream()
        let gzipOnly: Int32 = 15 + 16
        guard inflateInit2_(&stream, gzipOnly, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw NotGzip()
        }
        defer { inflateEnd(&stream) }
        var bytes = bytes
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var result = Z_OK
        try bytes.withUnsafeMutableBufferPointer { bytes in
            stream.next_in = bytes.baseAddress
            stream.avail_in = UInt32(bytes.count)
            while result == Z_OK {
                let count = buffer.withUnsafeMutableBufferPointer { buffer in
                    stream.next_out = buffer.baseAddress
                    stream.avail_out = UInt32(buffer.count)
                    result = inflate(&stream, Z_NO_FLUSH)
                    return buffer.count - Int(stream.avail_out)
                }
                text += buffer[..<count]
            }
            guard result == Z_STREAM_END, stream.avail_in == 0 else { throw NotGzip() }
        }
        return text
    }

    private func get(
        _ path: String, _ fields: String = "Accept-Encoding: gzip\r\n", method: String = "GET", version: String = "1.1"
    ) -> String { "\(method) \(path) HTTP/\(version)\r\nHost: a\r\n\(fields)\r\n" }

    @Test(arguments: [1024, 1025, 65_536, 65_537, 300_000, 5_000_000])
    func answer_IsCompressed_WhenTheClientAccepts(_ bytes: Int) throws {
        try withServer { server in
            let client = try server.client()
            for _ in 0..<2 {
                let response = try client.exchange(get("/lines/\(bytes)/json"))
                #expect(response.status == 200)
                #expect(response.header("Content-Encoding") == "gzip")
                #expect(response.header("Vary") == "Accept-Encoding")
                #expect(response.header("Content-Length") == nil)
                let text = try unzipped(response.bytes)
                #expect(text == TestServer.lines(bytes))
                #expect(response.bytes.count < bytes / 2)
            }
            // What the compression had is given back.
            let free = eventually { server.server.usage.responseBytes == 0 }
            #expect(free)
        }
    }

    /// Slices of it leave nothing to send for a while.
    @Test func answer_IsCompressed_WhenItShrinksToNearlyNothing() throws {
        try withServer { server in
            let body = [UInt8](repeating: 120, count: 16 << 20)
            let gzip = try #require(GzipBody(body))
            var sent: [UInt8] = []
            var empty = 0
            var buffer = [UInt8](repeating: 0, count: 4096)
            var isOver = false
            while !isOver {
                switch buffer.withUnsafeMutableBytes(gzip.next) {
                case .written(let count):
                    sent += buffer[..<count]
                    if count == 0 { empty += 1 }
                case .end: isOver = true
                case .failed: throw NotGzip()
                }
            }
            #expect(empty > 0)
            let text = try unzipped(sent)
            #expect(text == body)
            let client = try server.client()
            let response = try client.exchange(get("/big/16777216", "Accept-Encoding: gzip, identity;q=0\r\n"))
            let same = try unzipped(response.bytes)
            #expect(same == body)
        }
    }

    @Test(arguments: [
        ("/lines/1023/json", "Accept-Encoding: gzip\r\n", "too small"),
        ("/lines/100000/octet-stream", "Accept-Encoding: gzip\r\n", "the client's own bytes"),
        ("/lines/100000/coded", "Accept-Encoding: gzip\r\n", "coded already"),
        ("/lines/100000/json", "", "not asked"), ("/lines/100000/json", "Accept-Encoding: br, deflate\r\n", "others"),
        ("/lines/100000/json", "Accept-Encoding: gzip;q=0\r\n", "refused"),
        ("/lines/100000/json", "Accept-Encoding: *;q=0\r\n", "all refused"),
        ("/lines/100000/json", "Accept-Encoding: gzip;q=0.5, identity\r\n", "identity preferred"),
    ])
    func answer_ComesAsItIs_WhenItShould(_ path: String, _ fields: String, _ why: String) throws {
        try withServer { server in
            let response = try server.client().exchange(get(path, fields))
            #expect(response.header("Content-Encoding") != "gzip", "\(why)")
            #expect(response.bytes == TestServer.lines(Int(path.split(separator: "/")[1]) ?? 0))
            // Where another request would have got another form, caches must know.
            #expect((response.header("Vary") == "Accept-Encoding") == path.hasSuffix("100000/json"), "\(why)")
        }
    }

    @Test func answer_IsCompressed_WhateverItIs_WhenIdentityIsRefused() throws {
        try withServer { server in
            for path in ["/lines/10/json", "/lines/10/octet-stream"] {
                for fields in ["Accept-Encoding: gzip, identity;q=0\r\n", "Accept-Encoding: gzip, *;q=0\r\n"] {
                    let response = try server.client().exchange(get(path, fields))
                    #expect(response.header("Content-Encoding") == "gzip")
                    let text = try unzipped(response.bytes)
                    #expect(text == TestServer.lines(10))
                }
            }
        }
    }

    @Test func answer_ComesAsItIs_WhenThereIsNoMemoryToCompress() throws {
        try withServer({ $0.responseMemoryMax = 110_000 }) { server in
            let response = try server.client().exchange(get("/lines/100000/json"))
            #expect(response.status == 200)
            #expect(response.header("Content-Encoding") == nil)
            #expect(response.bytes == TestServer.lines(100_000))
        }
    }

    @Test func answer_ComesAsItIs_WhenItIsTurnedOff() throws {
        try withServer({ $0.gzip = false }) { server in
            let response = try server.client().exchange(get("/lines/100000/json"))
            #expect(response.header("Content-Encoding") == nil)
            #expect(response.header("Vary") == nil)
        }
    }

    @Test func head_HasNoBody_AndTheConnectionStays() throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange(get("/lines/100000/json", method: "HEAD"), head: true)
            #expect(response.header("Content-Encoding") == nil)
            #expect(response.header("Vary") == "Accept-Encoding")
            #expect(response.header("Content-Length") == "100000")
            #expect(try client.exchange(get("/v1/topics/a")).body == "a")
        }
    }

    @Test func memory_IsCountedAndGivenBack_WhenTheClientStopsReading() throws {
        try withServer { server in
            let client = try server.client(receiveBytes: 4096)
            try client.send(get("/lines/16000000/json"))
            let counted = eventually { server.server.usage.responseBytes == 16_000_000 + GzipBody.memoryBytes }
            #expect(counted)
            client.close()
            let free = eventually { server.server.usage.responseBytes == 0 }
            #expect(free)
        }
    }

    @Test(arguments: [
        ("gzip", true, false), ("GZIP", true, false), ("x-gzip", true, false), ("*", true, false), ("", false, false),
        ("br, gzip;q=0.001", true, false), ("gzip ; q=1.000\t", true, false), ("gzip;Q=0.5", true, false),
        ("gzip;q=0", false, false), ("gzip;q=0.000", false, false), ("*;q=0", false, true),
        ("*, gzip;q=0", false, false),
        ("identity;q=0", false, true), ("identity;q=0, gzip", true, true), ("*;q=0, gzip", true, true),
        ("*;q=0, identity", false, false), ("gzip, identity", true, false),
        ("gzip;q=0.4, identity;q=0.5", false, false),
        // Malformed members.
        ("gzip;q=2", false, false), ("gzip;q=1.001", false, false), ("gzip;q=0.1234", false, false),
        ("gzip;q=", false, false), ("gzip;q=-1", false, false), ("gzip;q=0x1", false, false),
        ("gzip;level=9", false, false),
        ("gzip;q=1;q=0", false, false), (";;,,;q=1, gzip", true, false), ("gzipp", false, false),
    ])
    func acceptEncoding_IsReadAsWritten(_ field: String, _ prefersGzip: Bool, _ refusesIdentity: Bool) {
        var codings = AcceptedCodings()
        Array(field.utf8).withUnsafeBytes { codings.read($0) }
        #expect(codings.prefersGzip == prefersGzip)
        #expect(codings.refusesIdentity == refusesIdentity)
    }

    @Test func types_OfTextAreCompressible_AndNoOthers() {
        for type in [
            "application/json", "Application/JSON; charset=utf-8", "application/problem+json", "text/plain",
            "text/html;x",
            "application/x-ndjson", "application/yaml", "image/svg+xml",
        ] {
            #expect(ContentCoding.isCompressible(type), "\(type)")
        }
        for type in ["application/octet-stream", "image/png", "application/zip", "application/gzip", "", "json"] {
            #expect(!ContentCoding.isCompressible(type), "\(type)")
        }
        #expect(!ContentCoding.isCompressible(nil))
    }
}
