import GatewayTestSupport
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// Starting and ending the real process: exit codes, messages, signals.
@Suite struct ProcessTests {
    @Test(arguments: [
        (["spool.snyc=always"], "did you mean spool.sync?"),
        (["spool.sync=never"], "spool.sync: always or interval is expected, not never"),
        (["spool.bytes_max=1MiB"], "spool.bytes_max: at least four segments"),
        (["consumers.ack_deadline=0ms"], "consumers.ack_deadline: from 1s"),
        (["spool.sync"], "--set wants key=value"),
    ])
    func badSettings_EndTheStart_WithTheKeysName(assignments: [String], message: String) throws {
        let process = try GatewayProcess(assignments)
        // EX_USAGE of sysexits.h, as every mistake on the command line.
        #expect(process.waitForEnd() == .exited(64))
        #expect(try process.log().contains(message))
    }

    @Test func listeningBeyondLoopback_NeedsASpokenWord() throws {
        let refused = try GatewayProcess(listen: "0.0.0.0:0")
        #expect(refused.waitForEnd() == .exited(64))
        #expect(try refused.log().contains("--insecure-listen"))
        let spoken = try GatewayProcess(listen: "0.0.0.0:0", arguments: ["--insecure-listen"])
        #expect(try spoken.client().request("GET", "/healthz").status == 200)
    }

    @Test func takenPort_EndsTheStart_WithTheAddress() throws {
        let first = try GatewayProcess()
        let port = try first.port()
        let second = try GatewayProcess(listen: "127.0.0.1:\(port)")
        #expect(second.waitForEnd() == .exited(1))
        #expect(try second.log().contains("cannot listen on 127.0.0.1 port \(port)"))
    }

    @Test func secondProcess_OnOneDirectory_IsRefused() throws {
        let first = try GatewayProcess()
        let client = try first.client()
        let second = try GatewayProcess(in: first.directory)
        #expect(second.waitForEnd() == .exited(22))
        #expect(try second.log().contains("is in use by another process"))
        #expect(try second.logged("cannot start")?["exit_code"]?.int64 == 22)
        // The first is none the worse.
        try client.produce("orders", "still here")
    }

    @Test func otherNumberOfLanes_EndsTheStart() throws {
        let first = try GatewayProcess()
        _ = try first.port()
        first.signal(SIGTERM)
        #expect(first.waitForEnd() == .exited(0))
        let second = try GatewayProcess(in: first.directory, ["spool.lanes=3"])
        #expect(second.waitForEnd() == .exited(1))
        #expect(try second.log().contains("spool.lanes"))
    }

    @Test(arguments: [SIGTERM, SIGINT]) func signal_DrainsAndExitsInOrder(number: Int32) throws {
        let process = try GatewayProcess()
        let (producer, poller) = (try process.client(), try process.client())
        let receipt = try producer.produce("orders", "before")
        _ = try producer.read(1, as: "reader", from: "orders")
        try poller.send("POST", "/v1/consumers/reader/poll?wait=60")
        try waitUntilPolling(producer, "reader")
        process.signal(number)
        // The parked poll ends as one whose wait is over.
        let answer = try poller.answer()
        #expect(answer.status == 200, "\(answer.text)")
        #expect(try answer.json()["records"]?.list.isEmpty == true)
        #expect(process.waitForEnd() == .exited(0))
        let again = try GatewayProcess(in: process.directory)
        #expect(try again.client().settled(receipt)["state"]?.string == "delivered")
        #expect(try again.logged("serving")?["torn_bytes"]?.string == "0")
    }

    @Test func secondSignal_EndsAtOnce() throws {
        // Its client sends half a request, which an orderly stop would wait for.
        let process = try GatewayProcess(["http.stop_timeout=60s"])
        let client = try process.client()
        try client.produce("orders", "kept")
        try client.send(
            Array("POST /v1/topics/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nhalf".utf8))
        process.signal(SIGTERM)
        #expect(try eventually { try process.log().contains("\"stopping\"") })
        process.signal(SIGTERM)
        #expect(process.waitForEnd() == .exited(25))
        let again = try GatewayProcess(in: process.directory)
        #expect(try again.client().read(1, as: "reader", from: "orders").count == 1)
    }

    @Test(arguments: [SIGTERM, SIGINT]) func signal_EndsAStart_InTheMiddleOfRecovery(number: Int32) throws {
        let first = try GatewayProcess()
        try first.client().produce("orders", "kept")
        first.killNow()
        // Recovery waits for whoever writes into it: it is older than all segments, so the first that is read.
        let pipe = first.directory.path + "/data/spool/00000000000000000001.seg"
        #expect(mkfifo(pipe, 0o600) == 0)
        let process = try GatewayProcess(in: first.directory)
        // From then on signals are waited for.
        #expect(eventually { process.hasThread("start") })
        #expect(process.waitForEnd(within: .milliseconds(300)) == nil)
        process.signal(number)
        #expect(process.waitForEnd() == .exited(0))
        #expect(try process.log().contains("stopped while it was starting"))
        #expect(unlink(pipe) == 0)
        let again = try GatewayProcess(in: first.directory)
        #expect(try again.client().read(1, as: "reader", from: "orders").count == 1)
    }

    @Test func metrics_CountWhatHappened() throws {
        let process = try GatewayProcess()
        let client = try process.client()
        try client.produce("orders", "one")
        let answer = try client.request("GET", "/metrics")
        #expect(answer.header("Content-Type")?.hasPrefix("text/plain; version=0.0.4") == true)
        #expect(answer.text.contains("\npostrider_journal_records_total 1\n"))
        #expect(answer.text.contains("process_resident_memory_bytes"))
    }

    private func waitUntilPolling(_ client: HTTPClient, _ consumer: String) throws {
        let parked = try eventually {
            try client.request("GET", "/v1/consumers/\(consumer)").json()["polls_waiting"]?.int64 == 1
        }
        try #require(parked)
    }
}
