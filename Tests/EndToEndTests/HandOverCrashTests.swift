import GatewayTestSupport
import JSON
import KafkaTestSupport
import Primitives
import Testing

/// Promise 3 where it is hardest: the process dies at each named point of the hand-over, and the next one finds out how
/// far it got. The points are those of `postrider-crash-points`.
@Suite struct HandOverCrashTests {
    /// Where to die, and at which passage: some hand-overs come before it.
    private static let points = [
        ("opening", 1), ("opening", 2), ("opened", 1), ("opened", 2), ("claimed", 1), ("claimed", 2),
        ("handing-over", 1), ("handing-over", 3), ("handed-over", 1), ("handed-over", 4),
    ]

    @Test(arguments: points) func record_IsDeliveredOnce_WhenKilledAt(point: String, passage: Int) throws {
        let topic = "orders"
        let gateway = try crash([], topic, point, passage)
        let client = try gateway.process.client()
        let values = try client.read(gateway.accepted.count, as: "reader", from: topic).map { $0["value_text"]?.string }
        try check(values, gateway)
    }

    @Test(
        .needsRealCluster,
        arguments: points + [("prepared", 1), ("prepared", 3)])
    func record_IsDeliveredOnceToKafka_WhenKilledAt(point: String, passage: Int) throws {
        let servers = try #require(RealKafka.bootstrapServers)
        let topic = "crash-points-\(UInt32.random(in: 0 ... .max))"
        let gateway = try crash(
            ["broker.kind=kafka", "broker.kafka.bootstrap_servers=\(servers)"], topic, point, passage)
        let client = try gateway.process.client()
        // Outcomes are not kept over two starts: those of the first process may be gone with their segment.
        for receipt in gateway.receipts.dropFirst(Self.acceptedBefore) {
            #expect(try client.settled(receipt)["state"]?.string == "delivered")
        }
        let values = LogReader.read(topic, partitions: 1, at: servers).map(\.text)
        try check(values, gateway)
        _ = try client.request("DELETE", "/v1/topics/\(topic)?force=true")
    }

    private static let acceptedBefore = 3

    /// What is left after the crash.
    private struct Left {
        /// Started again, without a bomb.
        var process: GatewayProcess
        /// Values, in the order of their acceptance, with their receipts.
        var accepted: [String] = []
        var receipts: [String] = []
        /// Sent, and the process was gone before the answer.
        var unanswered: String?
    }

    /// A gateway that delivered something before, then one that dies at the point under load, then one that goes on.
    private func crash(_ broker: [String], _ topic: String, _ point: String, _ passage: Int) throws -> Left {
        var left = Left(process: try GatewayProcess(broker))
        let first = try left.process.client()
        let created = try first.putJSON("/v1/topics/\(topic)", #"{"partitions":1}"#)
        #expect(created.status == 201, "\(created.text)")
        for number in 0..<Self.acceptedBefore {
            left.accepted.append("before-\(number)")
            left.receipts.append(try first.produce(topic, "before-\(number)"))
        }
        _ = try first.settled(try #require(left.receipts.last))
        left.process.killNow()

        let doomed = try GatewayProcess(
            in: left.process.directory, broker,
            arguments: ["--crash-at", point, "--passage", String(passage)], executable: "postrider-crash-points")
        // try?: at some points it dies before it serves; how it ended is looked at below.
        if let client = try? doomed.client() {
            // Bounded: it dies long before.
            for number in 0..<10_000 {
                let value = "under-\(number)"
                left.unanswered = value
                // try?: gone in the middle of a request; how it ended is looked at below.
                guard let receipt = try? client.produce(topic, value) else { break }
                left.unanswered = nil
                left.accepted.append(value)
                left.receipts.append(receipt)
            }
        }
        #expect(doomed.waitForEnd() == .killed(signal: 9))
        left.process = try GatewayProcess(in: left.process.directory, broker)
        return left
    }

    /// Each accepted record once and in order; the unanswered one at most once, at its place.
    private func check(_ values: [String?], _ left: Left) throws {
        let values = values.compactMap { $0 }
        let surplus = values.filter { $0 == left.unanswered }
        #expect(surplus.count <= 1)
        #expect(values.filter { $0 != left.unanswered } == left.accepted)
    }
}
