import GatewayTestSupport
import JSON
import Primitives
import TestSupport
import Testing

/// Promise 4 against SIGKILL of the real process.
@Suite struct RepetitionTests {
    private func headers(_ number: Int, _ usesKey: Bool) -> [(String, String)] {
        usesKey
            ? [("Idempotency-Key", "\"key-\(number)\"")]
            : [("Postrider-Producer", "producer"), ("Postrider-Sequence", "\(number)")]
    }

    private func produce(_ client: HTTPClient, _ number: Int, _ usesKey: Bool) throws -> Answer {
        try client.request(
            "POST", "/v1/topics/orders?partition=0", headers(number, usesKey), body: Array("value-\(number)".utf8))
    }

    @Test(arguments: [true, false])
    func aRepeatedRequestIsNotASecondRecord_WhenTheProcessIsKilledBetweenTheTwo(usesKey: Bool) throws {
        let directory = try TemporaryDirectory()
        var texts: [String] = []
        for round in 0..<3 {
            let process = try GatewayProcess(in: directory)
            let client = try process.client()
            // The receipts of all those that earlier processes accepted.
            for (index, text) in texts.enumerated() {
                let again = try produce(client, index + 1, usesKey)
                #expect(again.text == text && again.header("Idempotent-Replayed") == "true", "\(again.text)")
            }
            for number in round * 10 + 1...round * 10 + 10 {
                let first = try produce(client, number, usesKey)
                #expect(first.status == 202 && first.header("Idempotent-Replayed") == nil, "\(first.text)")
                texts.append(first.text)
            }
            // Sent, and nobody reads the answer: the next process may or may not know it.
            try client.send("POST", "/v1/topics/lost", [("Idempotency-Key", "\(round)")], body: [120])
            process.killNow()
        }
        let client = try GatewayProcess(in: directory).client()
        for round in 0..<3 {
            let lost = try client.request("POST", "/v1/topics/lost", [("Idempotency-Key", "\(round)")], body: [120])
            #expect(lost.status == 202)
        }
        for number in 1...texts.count { #expect(try produce(client, number, usesKey).text == texts[number - 1]) }
        let values = try client.read(texts.count, as: "reader", from: "orders").map { $0["value_text"]?.string }
        #expect(values == (1...texts.count).map { "value-\($0)" })
        #expect(try client.read(3, as: "finder", from: "lost").count == 3)
        for consumer in ["reader", "finder"] {
            let rest = try client.request("POST", "/v1/consumers/\(consumer)/poll").json()["records"]?.list
            #expect(rest?.isEmpty == true, "\(consumer)")
        }
    }

    /// A client that repeats until it is answered, whatever happens to the gateway, has each record stored once.
    @Test func clientsThatRepeatUntilTheyAreAnswered_StoreEachRecordOnce() throws {
        var random = SeededGenerator(printingFor: "clientsThatRepeatUntilTheyAreAnswered_StoreEachRecordOnce")
        let process = try GatewayProcess()
        let clients = 6
        let load = Load(clients: clients, port: try process.port()) { client, name in
            let answer = try client.request(
                "POST", "/v1/topics/orders", [("Idempotency-Key", "\"\(name)\"")], body: Array(name.utf8))
            guard answer.status == 202 else { throw HTTPClient.Failure("\(answer.status) \(answer.text)") }
        }
        #expect(load.waitUntilAccepted(Int.random(in: 100..<400, using: &random)))
        process.killNow()
        let told = load.join()

        let next = try GatewayProcess(in: process.directory)
        let client = try next.client()
        let answered = told.accepted.joined()
        var replays = 0
        for name in told.unanswered + answered {
            let answer = try client.request(
                "POST", "/v1/topics/orders", [("Idempotency-Key", "\"\(name)\"")], body: Array(name.utf8))
            #expect(answer.status == 202, "\(answer.text)")
            if answer.header("Idempotent-Replayed") == "true" { replays += 1 }
        }
        #expect(replays >= answered.count)
        let names = Set(told.unanswered + answered)
        let values = try client.read(names.count, as: "reader", from: "orders").compactMap { $0["value_text"]?.string }
        #expect(values.sorted() == names.sorted())
        #expect(try client.request("POST", "/v1/consumers/reader/poll").json()["records"]?.list.isEmpty == true)
    }
}
