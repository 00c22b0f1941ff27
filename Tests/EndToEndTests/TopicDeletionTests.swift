import GatewayTestSupport
import JSON
import Primitives
import Testing
import TestSupport

/// Promise 3 where the topic itself goes and comes.
@Suite struct TopicDeletionTests {
    /// What the threads saw.
    private struct Seen {
        var receipts: [String] = []
        /// Requests that were refused because there was no topic.
        var refused = 0
        var faults: [String] = []
        var isOver = false
    }

    private static let rounds = 12
    private static let recordsPerRound = 24

    /// Runs `step` until the end, or a fault.
    private func thread(
        _ name: String, _ local: LocalGateway, _ seen: Monitor<Seen>,
        _ step: @escaping @Sendable (HTTPClient) throws -> Void
    ) -> WorkerThread {
        WorkerThread(name: name) {
            do {
                let client = try local.client()
                while !seen.withLock({ $0.isOver || !$0.faults.isEmpty }) {
                    try step(client)
                    seen.broadcast()
                }
            } catch {
                seen.withLock { $0.faults.append("\(name): \(error)") }
                seen.broadcast()
            }
        }
    }

    private func produce(_ client: HTTPClient, _ seen: Monitor<Seen>) throws {
        let answer = try client.postJSON(
            "/v1/topics/orders/records", #"{"records":[{"value":1},{"value":2,"partition":0},{"value":3,"key":"k"}]}"#)
        let receipts = try answer.json()["receipts"]?.strings ?? []
        seen.withLock { seen in
            switch (answer.status, answer.code) {
            case (202, _) where receipts.count == 3: seen.receipts += receipts
            case (404, "unknown_topic"): seen.refused += 1
            default: seen.faults.append("produce: \(answer.status) \(answer.text)")
            }
        }
    }

    private func read(_ client: HTTPClient, _ seen: Monitor<Seen>) throws {
        let poll = try client.request("POST", "/v1/consumers/c/poll?topic=orders&wait=0.05")
        if poll.status == 200, let token = try poll.json()["ack"]?.string {
            let ack = try client.postJSON("/v1/consumers/c/acks", #"{"ack":"\#(token)"}"#)
            // Leases end with their topic, and a commit may come when it is just gone.
            if ack.status >= 500, ack.status != 503 {
                seen.withLock { $0.faults.append("ack: \(ack.status) \(ack.text)") }
            }
        } else if poll.status >= 500, poll.status != 503 {
            seen.withLock { $0.faults.append("poll: \(poll.status) \(poll.text)") }
        }
    }

    @Test func acceptedRecords_AreDeliveredOrDead_WhenTheTopicIsDeletedWhileProducedToAndRead() throws {
        let local = try LocalGateway()
        let client = try local.client()
        try #require(try client.putJSON("/v1/topics/orders", "").status == 201)
        let seen = Monitor(Seen())
        let threads = [
            thread("produce-0", local, seen) { try self.produce($0, seen) },
            thread("produce-1", local, seen) { try self.produce($0, seen) },
            thread("read", local, seen) { try self.read($0, seen) },
        ]
        for round in 1...Self.rounds {
            let enough = seen.wait(until: patienceEnd()) { seen in
                seen.receipts.count >= round * Self.recordsPerRound || !seen.faults.isEmpty ? true : nil
            }
            #expect(enough == true, "round \(round)")
            let deleted = try client.request("DELETE", "/v1/topics/orders?force=true")
            #expect(deleted.status == 204, "round \(round): \(deleted.text)")
            // Somebody must have met the topic's absence.
            let refused = seen.withLock { $0.refused }
            let met = seen.wait(until: patienceEnd()) { seen in
                seen.refused > refused || !seen.faults.isEmpty ? true : nil
            }
            #expect(met == true, "round \(round)")
            let made = try client.putJSON("/v1/topics/orders", "")
            #expect(made.status == 201, "round \(round): \(made.text)")
        }
        seen.withLock { $0.isOver = true }
        for thread in threads { thread.join() }

        let end = seen.withLock { $0 }
        #expect(end.faults == [])
        #expect(Set(end.receipts).count == end.receipts.count)
        var states: [String: Int] = [:]
        for receipt in end.receipts {
            let state = try client.settled(receipt)
            let name = state["state"]?.string ?? "none"
            states[name, default: 0] += 1
            if name == "dead" { #expect(state["reason"]?["code"]?.string == "topic_deleted", "\(receipt)") }
        }
        #expect(states["delivered", default: 0] + states["dead", default: 0] == end.receipts.count, "\(states)")
        // And the gateway goes on.
        let ended = local.ended.withLock { $0 }
        #expect(ended.isEmpty)
        #expect(try client.request("GET", "/readyz?require=forwarding").status == 200)
        let last = try client.produce("orders", "last", partition: 3)
        #expect(try client.settled(last)["state"]?.string == "delivered")
        let found = try client.read(1, as: "fresh", from: "orders")
        #expect(!found.isEmpty)
    }
}
