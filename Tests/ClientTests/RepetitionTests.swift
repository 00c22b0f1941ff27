import Client
import Primitives
import TestSupport
import Testing

@Suite struct RepetitionTests {
    private static func problem(_ status: Int, _ code: String) -> Answer {
        Answer(status: status, body: Array(#"{"status":\#(status),"code":"\#(code)","title":"t","detail":"d"}"#.utf8))
    }

    private func word(_ verdict: Verdict) -> String {
        switch verdict {
        case .done: "done"
        case .again: "again"
        case .refused: "refused"
        }
    }

    /// The table of docs/CLIENTS.md.
    @Test(arguments: [
        (200, "", "done"), (202, "", "done"), (422, "records_dead_lettered", "done"),
        (408, "request_timeout", "again"), (429, "limit_reached", "again"), (429, "", "again"),
        (500, "", "again"), (502, "", "again"), (503, "overloaded", "again"), (504, "", "again"),
        (507, "spool_full", "again"), (409, "idempotency_in_flight", "again"), (409, "sequence_in_flight", "again"),
        (409, "sequence_gap", "refused"), (409, "sequence_too_old", "refused"), (409, "", "refused"),
        (400, "invalid_records", "refused"), (403, "", "refused"), (404, "unknown_topic", "refused"),
        (413, "body_too_large", "refused"), (415, "", "refused"), (421, "host_not_allowed", "refused"),
        (422, "idempotency_key_reused", "refused"), (301, "", "refused"), (304, "", "refused"),
    ])
    func answer_MeansOneOfThree(status: Int, code: String, expected: String) {
        let answer = code.isEmpty ? Answer(status: status) : Self.problem(status, code)
        #expect(word(Verdict(.success(answer))) == expected)
    }

    @Test func request_IsRepeatedAsItIs_UntilItIsAnswered() throws {
        let server = try FakeServer([.lose, .half, .answer(503), .answer(409, body: #"{"code":"sequence_in_flight"}"#)])
        let connection = try Connection(try Endpoint("http://127.0.0.1:\(server.port)"))
        let told = Lock(0)
        let repeater = Repeater(connection, stop: StopFlag()) { _ in told.withLock { $0 += 1 } }
        let request = Request("POST", "/t", headers: [("Idempotency-Key", "\"k\"")], body: Array("body".utf8))
        #expect(try repeater.send(request, until: nil).status == 200)
        let seen = server.seen
        #expect(seen.count == 5 && repeater.repetitions == 4)
        #expect(seen.allSatisfy { $0.head == seen[0].head && $0.body == "body" })
        // The first, the second and the fourth failure.
        #expect(told.withLock { $0 } == 3)
    }

    @Test func repetition_Ends_WhenThereIsNoTimeForIt() throws {
        // The pause that is asked for is longer than what is left, so it is not even begun.
        let server = try FakeServer([.answer(507, headers: "Retry-After: 3000\r\n")])
        let connection = try Connection(try Endpoint("http://127.0.0.1:\(server.port)"))
        let repeater = Repeater(connection, stop: StopFlag()) { _ in }
        do throws(ClientError) {
            _ = try repeater.send(Request("POST", "/t"), until: SystemClock().now() + .seconds(2000))
            Issue.record("it did not end")
        } catch {
            guard case .gaveUp = error else {
                Issue.record("\(error)")
                return
            }
        }
        #expect(server.seen.count == 1)
    }

    @Test func repetition_Ends_WhenItIsStopped_ButAnAnswerCounts() throws {
        let server = try FakeServer([.answer(202), .answer(503, headers: "Retry-After: 3000\r\n")])
        let connection = try Connection(try Endpoint("http://127.0.0.1:\(server.port)"))
        let stop = StopFlag()
        stop.set()
        let repeater = Repeater(connection, stop: stop) { _ in }
        #expect(try repeater.send(Request("POST", "/t"), until: nil).status == 202)
        do throws(ClientError) {
            _ = try repeater.send(Request("POST", "/t"), until: nil)
            Issue.record("it did not end")
        } catch {
            guard case .stopped = error else {
                Issue.record("\(error)")
                return
            }
        }
    }
}
