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
        let records = try client.read(gateway.accepted.count, as: "reader", from: topic)
        try check(records.map { $0["value_text"]?.string }, gateway)
        try checkReceipts(gateway, client, records.map { ($0["offset"]?.int64, $0["value_text"]?.string) })
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
        try waitUntilSettled(gateway, client)
        let records = LogReader.read(topic, partitions: 1, at: servers)
        try check(records.map(\.text), gateway)
        try checkReceipts(gateway, client, records.map { ($0.offset, $0.text) })
        _ = try client.request("DELETE", "/v1/topics/\(topic)?force=true")
    }

    /// What the mock cluster can tell of it: it shows transactions that were not committed, so a record may be there
    /// twice, but a receipt never names a place that holds another one.
    @Test(arguments: [("handing-over", 2), ("prepared", 1), ("prepared", 3), ("handed-over", 2)])
    func receipt_NamesItsRecord_WhenKilledAt(point: String, passage: Int) throws {
        let cluster = MockCluster(brokers: 1)
        let topic = "orders"
        // It creates none by itself.
        for (name, partitions) in [(topic, Int32(1)), ("_postrider_checkpoints", 8), ("_postrider_consumers", 1)] {
            cluster.createTopic(name, partitions: partitions)
        }
        let servers = cluster.bootstrapServers
        let gateway = try crash(
            ["broker.kind=kafka", "broker.kafka.bootstrap_servers=\(servers)"], topic, point, passage, creates: false)
        let client = try gateway.process.client()
        try waitUntilSettled(gateway, client)
        let records = LogReader.read(topic, partitions: 1, at: servers)
        try checkReceipts(gateway, client, records.map { ($0.offset, $0.text) })
        withExtendedLifetime(cluster) {}
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
    private func crash(
        _ broker: [String], _ topic: String, _ point: String, _ passage: Int, creates: Bool = true
    ) throws -> Left {
        var left = Left(process: try GatewayProcess(broker))
        let first = try left.process.client()
        if creates {
            let created = try first.putJSON("/v1/topics/\(topic)", #"{"partitions":1}"#)
            #expect(created.status == 201, "\(created.text)")
        }
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

    private func waitUntilSettled(_ left: Left, _ client: HTTPClient) throws {
        for receipt in left.receipts { _ = try client.settled(receipt) }
    }

    /// Of every process: each receipt tells the offset at which the broker holds its record.
    private func checkReceipts(_ left: Left, _ client: HTTPClient, _ records: [(offset: Int64?, text: String?)]) throws
    {
        let texts = Dictionary(records.map { ($0.offset, $0.text) }, uniquingKeysWith: { first, _ in first })
        let list = left.receipts.map { "\"\($0)\"" }.joined(separator: ",")
        let answer = try client.postJSON("/v1/receipts/query", #"{"receipts":[\#(list)]}"#)
        let outcomes = try answer.json()["receipts"]?.list ?? []
        #expect(outcomes.map { $0["state"]?.string } == left.receipts.map { _ in "delivered" })
        #expect(outcomes.map { texts[$0["offset"]?.int64] } == left.accepted)
    }

    /// Each accepted record once and in order; the unanswered one at most once, at its place.
    private func check(_ values: [String?], _ left: Left) throws {
        let values = values.compactMap { $0 }
        let surplus = values.filter { $0 == left.unanswered }
        #expect(surplus.count <= 1)
        #expect(values.filter { $0 != left.unanswered } == left.accepted)
    }
}
