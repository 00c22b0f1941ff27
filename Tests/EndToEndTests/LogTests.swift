import GatewayTestSupport
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// What the real process says, and what it never says.
@Suite struct LogTests {
    /// Stands in everything that a client sends but names of topics and consumers.
    private static let mark = "s3cretM4rk"
    private static let talkative = ["log.level=trace", "log.requests=all", "log.repeats_max=0"]

    private func lines(of process: GatewayProcess) throws -> [JSONValue] {
        try process.log().split(separator: "\n").map { try JSONDocument(Array($0.utf8)[...]).root }
    }

    @Test func content_IsInNoLine_WhateverBecomesOfARequest() throws {
        let process = try GatewayProcess(Self.talkative)
        var requests = try goodRequests(process.client())
        requests += try badRequests(process.client())
        for bytes in Self.brokenRequests {
            let client = try process.client()
            try client.send(Array(bytes.utf8))
            // try?: some of them only close the connection.
            _ = try? client.answer()
        }
        // Recovery reads the records again.
        process.killNow()
        let again = try GatewayProcess(in: process.directory, Self.talkative)
        _ = try again.client().read(1, as: "after", from: "orders")
        again.signal(SIGTERM)
        #expect(again.waitForEnd() == .exited(0))
        for process in [process, again] {
            #expect(try !process.log().contains(Self.mark))
            for line in try lines(of: process) {
                for member in ["time", "level", "logger", "message"] {
                    #expect(line[member]?.string != nil, "\(member) in \(line.rawText)")
                }
            }
        }
        // Each request has its line, by the id that its client got.
        let told = Set(try lines(of: process).compactMap { $0["request_id"]?.string })
        #expect(told.isSuperset(of: requests))
        let refused = try #require(try lines(of: process).last { $0["code"]?.string == "malformed_json" })
        #expect(refused["message"]?.string == "request refused")
        #expect(refused["route"]?.string == "/v1/topics/{topic}/records")
        #expect(refused["topic"]?.string == "orders")
        #expect(refused["status"]?.int64 == 400)
        #expect(refused["trace_id"]?.string == "4bf92f3577b34da6a3ce929d0e0e4736")
    }

    private static let headers = [
        ("Authorization", "Bearer \(mark)"), ("Cookie", "a=\(mark)"), ("X-\(mark)", mark), ("User-Agent", mark),
        ("Referer", "http://localhost/\(mark)"), ("tracestate", "x=\(mark)"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ]

    /// - Returns: the ids that the answers had.
    private func goodRequests(_ client: HTTPClient) throws -> [String] {
        let mark = Self.mark
        var ids: [String] = []
        func call(_ target: String, _ headers: [(String, String)] = [], _ body: String, _ status: Int) throws -> Answer
        {
            let answer = try client.request("POST", target, Self.headers + headers, body: Array(body.utf8))
            #expect(answer.status == status, "\(target): \(answer.text)")
            ids.append(answer.header("Postrider-Request-Id") ?? "none")
            return answer
        }
        let json = ("Content-Type", "application/json")
        _ = try call(
            "/v1/topics/orders?key=\(mark)", [("Postrider-Header-a", mark), ("Idempotency-Key", mark)], mark, 202)
        _ = try call(
            "/v1/topics/orders/records", [json, ("Prefer", "wait=20, \(mark)")],
            #"{"records":[{"key":"\#(mark)","value":"\#(mark)","headers":{"\#(mark)":"\#(mark)"}}]}"#, 200)
        // A consumer that gives a record back for good, with a reason.
        let made = try client.putJSON("/v1/consumers/c", #"{"topics":["orders"],"max_deliveries":1}"#)
        #expect(made.status == 201, "\(made.text)")
        var ack = ""
        let isPolled = try eventually {
            let poll = try call("/v1/consumers/c/poll?wait=5&max=1&client=\(mark)", [], "", 200)
            let isEmpty = try poll.json()["records"]?.list.isEmpty ?? true
            #expect(isEmpty || poll.text.contains(mark))
            ack = try poll.json()["records"]?[0]?["delivery"]?["id"]?.string ?? ""
            return !ack.isEmpty
        }
        #expect(isPolled)
        _ = try call("/v1/consumers/c/nacks", [json], #"{"deliveries":["\#(ack)"],"reason":"\#(mark)"}"#, 200)
        return ids
    }

    private func badRequests(_ client: HTTPClient) throws -> [String] {
        let mark = Self.mark
        let json = ("Content-Type", "application/json")
        let calls: [(target: String, headers: [(String, String)], body: String, status: Int)] = [
            ("/v1/topics/orders?\(mark)=\(mark)", [], mark, 400),
            ("/v1/topics/orders?partition=\(mark)", [], mark, 400),
            ("/v1/topics/orders?key=%\(mark)", [], mark, 400),
            ("/v1/topics/orders", [("Postrider-\(mark)", mark)], mark, 400),
            ("/v1/topics/orders", [("Idempotency-Key", "\"\(mark)")], mark, 400),
            ("/v1/topics/orders?key=\(mark)", [("Idempotency-Key", mark)], "other \(mark)", 422),
            ("/v1/topics/orders", [("Content-Encoding", mark)], mark, 415),
            ("/v1/topics/orders/records", [("Content-Type", mark)], mark, 415),
            ("/v1/topics/orders/records", [json], #"{"\#(mark)":1}"#, 400),
            ("/v1/topics/orders/records", [json], #"{"records":[{"\#(mark)":"\#(mark)"}]}"#, 400),
            ("/v1/topics/orders/records", [json], #"{"records":[{"value":1,"timestamp":"\#(mark)"}]}"#, 400),
            ("/v1/topics/orders/records", [json], #"{"records":[{"value_base64":"\#(mark)!"}]}"#, 400),
            (
                "/v1/topics/orders/records", [json], #"{"records":[{"value":1,"headers":{"postrider-\#(mark)":""}}]}"#,
                422
            ),
            ("/v1/consumers/c/acks", [json], #"{"ack":"\#(mark)"}"#, 400),
            ("/v1/consumers/c/nacks", [json], #"{"\#(mark)":"\#(mark)"}"#, 400),
            ("/v1/consumers/c/seek", [json], #"{"to":"\#(mark)"}"#, 400),
            ("/v1/receipts/query", [json], #"{"receipts":["\#(mark)"]}"#, 400),
            ("/v1/\(mark)/\(mark)", [], mark, 404),
            ("/v1/topics/orders/records", [json], #"{"records":[\#(mark)"#, 400),
        ]
        return try calls.map { call in
            let answer = try client.request(
                "POST", call.target, Self.headers + call.headers, body: Array(call.body.utf8))
            #expect(answer.status == call.status, "\(call.target) \(call.body): \(answer.text)")
            return answer.header("Postrider-Request-Id") ?? "none"
        }
    }

    /// What the server, or libmicrohttpd, refuses itself. Each closes its connection.
    private static let brokenRequests = [
        "\(mark)\r\n\r\n", "POST /v1/topics/orders?\(mark) HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "POST /v1/topics/orders HTTP/1.1\r\nHost: \(mark)\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "POST /v1/topics/orders HTTP/1.1\r\nHost: localhost\r\n\(mark)\r\n\r\n",
        "POST /v1/topics/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(mark)\r\n\r\n",
        "POST /v1/topics/orders HTTP/1.1\r\nHost: localhost\r\nA: \(mark)\u{1}\r\nContent-Length: 0\r\n\r\n",
        "POST /v1/topics/orders HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \(mark)\r\n\r\n",
        "POST /v1/topics/orders HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\(mark)\r\n",
    ]

    @Test func hangUp_TakesTheLogsSettingsOver_AndNamesWhatNeedsAStart() throws {
        let directory = try TemporaryDirectory()
        let file = "\(directory.path)/postrider.yaml"
        func write(_ text: String) throws {
            let file = try SystemFileSystem().open(file, .createOrTruncate)
            defer { file.close() }
            try file.writeAll(Array(text.utf8), at: 0)
        }
        try write("log:\n  level: notice\n  requests: none\n")
        let process = try GatewayProcess(in: directory, arguments: ["--config", file])
        let client = try process.client()
        #expect(try client.request("GET", "/nowhere").status == 404)
        #expect(try client.request("GET", "/healthz").status == 200)
        #expect(try process.logged("request refused") == nil)
        // What is not left at its default, and where it stands.
        let settings = try #require(try process.logged("settings that are not the defaults"))
        #expect(settings["log.level"]?.string == "notice (\(file):2)")
        #expect(settings["spool.lanes"]?.string == "2 (--set)")
        #expect(settings["http.threads"] == nil)

        try write("log:\n  level: debug\n  requests: all\nbroker:\n  kafka:\n    group_prefix: eu.\n")
        process.signal(SIGHUP)
        #expect(
            try eventually { try process.logged("other settings have changed too, which the next start takes") != nil })
        let told = try process.logged("settings of the log")
        #expect(told?["log.level"]?.string == "notice -> debug")
        #expect(told?["log.requests"]?.string == "none -> all")
        #expect(told?["log.format"] == nil)
        let others = try process.logged("other settings have changed too, which the next start takes")
        #expect(others?["settings"]?.string == "broker.kafka.group_prefix")
        let id = try client.request("GET", "/healthz").header("Postrider-Request-Id")
        #expect(try eventually { try process.logged("request")?["request_id"]?.string == id })

        // A mistake changes nothing.
        for (text, problem) in [
            ("log:\n  level: loud\n", "loud"), ("log:\n  levle: info\n", "levle"), ("log: [", ":2:1: YAML: "),
        ] {
            try write(text)
            process.signal(SIGHUP)
            let isTold = try eventually {
                try process.logged("the settings cannot be read, the old ones stay")?["error"]?.string?.contains(
                    problem)
                    ?? false
            }
            #expect(isTold, "\(text)")
        }
        let last = try client.request("GET", "/healthz").header("Postrider-Request-Id")
        #expect(try eventually { try process.logged("request")?["request_id"]?.string == last })
        process.signal(SIGTERM)
        #expect(process.waitForEnd() == .exited(0))
    }

    @Test func text_IsAligned_AndWithoutColours_WhereStandardErrorIsAFile() throws {
        let process = try GatewayProcess(["log.format=text"])
        #expect(
            try eventually { try process.log().contains(" notice   postrider.gateway: serving address=127.0.0.1 ") })
        process.signal(SIGTERM)
        #expect(process.waitForEnd() == .exited(0))
        #expect(try !process.log().contains("\u{1b}"))
    }
}
