import Broker
import KafkaTestSupport
import Primitives
import Records
import Testing
import TestSupport

@testable import KafkaBroker

/// Definitions in their topic, at a mock cluster.
@Suite struct DefinitionsTests {
    private let name = ConsumerName("c")!

    /// What a gateway was told.
    final class Gateway: DefinitionWatcher {
        struct Told {
            var isLoaded = false
            var definitions: [ConsumerName: String] = [:]
            var changes = 0
        }

        let told = Monitor(Told())

        func definitionsLoaded(_ definitions: [ConsumerDefinitionBytes]) {
            told.withLock { told in
                told.isLoaded = true
                told.definitions = [:]
                for definition in definitions {
                    told.definitions[definition.name] = String(decoding: definition.bytes, as: UTF8.self)
                }
            }
            told.broadcast()
        }

        func definitionChanged(_ name: ConsumerName, _ bytes: ByteSlice?) {
            told.withLock { told in
                told.definitions[name] = bytes.map { String(decoding: $0, as: UTF8.self) }
                told.changes += 1
            }
            told.broadcast()
        }

        func wait(_ what: String, _ condition: (Told) -> Bool) throws {
            let deadline = patienceEnd()
            try #require(told.wait(until: deadline) { condition($0) ? true : nil } == true, "\(what) never happened")
        }
    }

    private func define(_ harness: SourceHarness, _ text: String, at offsets: [TopicPartition: Int64] = [:]) throws {
        let definition = ConsumerDefinitionBytes(name: name, bytes: Array(text.utf8)[...])
        let values = offsets.mapValues { CommittedOffset(offset: $0) }
        try harness.answer {
            harness.offsets.define(definition, offsets: values, replacing: false, completion: $0)
        }
    }

    @Test func definition_ReachesEveryGateway_AndIsThereAfterARestart() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 1)
        let place = TopicPartition("t")
        let (here, there) = (try SourceHarness(cluster), try SourceHarness(cluster))
        let (mine, theirs) = (Gateway(), Gateway())
        #expect(try here.offsets.definitions().isEmpty && there.offsets.definitions().isEmpty)
        here.offsets.watchDefinitions(mine)
        there.offsets.watchDefinitions(theirs)
        try theirs.wait("loading") { $0.isLoaded }
        try define(here, "one", at: [place: 3])
        #expect(try here.committed(name, [place]) == [place: 3])
        try theirs.wait("the definition") { $0.definitions[name] == "one" }
        try define(here, "two")
        try theirs.wait("the change") { $0.definitions[name] == "two" }
        try define(there, "three")
        try mine.wait("the other gateway's change") { $0.definitions[name] == "three" }
        #expect(mine.told.withLock { $0.changes } == 1, "its own are no news")
        let restarted = try SourceHarness(cluster)
        #expect(try restarted.offsets.definitions().map(\.name) == [name])
        try there.answer { there.offsets.forget(consumer: name, completion: $0) }
        try mine.wait("the end") { $0.definitions[name] == nil }
        let last = try SourceHarness(cluster)
        #expect(try last.offsets.definitions().isEmpty)
    }

    /// One after the other they would take `adminTimeout` each.
    @Test func callsThatWait_EndWithTheGateway_WhenTheClusterDoesNotAnswer() throws {
        let cluster = MockCluster(brokers: 1)
        let harness = try SourceHarness(cluster)
        try define(harness, "one")
        cluster.setRoundTrip(1, milliseconds: 60_000)
        let codes = Monitor<[String]>([])
        for _ in 0..<20 {
            harness.offsets.committed(consumer: name, of: [TopicPartition("t")]) { result in
                if case .failure(let error) = result { codes.withLock { $0.append(error.code) } }
                codes.broadcast()
            }
        }
        harness.offsets.stop()
        let all = codes.wait(until: patienceEnd()) { $0.count == 20 ? $0 : nil }
        #expect(Set(try #require(all)).isSubset(of: ["interrupted"]))
    }

    @Test func definitions_AreToldLater_WhenTheClusterIsAway() throws {
        let cluster = MockCluster(brokers: 1)
        let before = try SourceHarness(cluster)
        try define(before, "one")
        cluster.setDown(1)
        let harness = try SourceHarness(cluster) { $0.definitionsWait = .milliseconds(500) }
        let error = #expect(throws: BrokerError.self) { try harness.offsets.definitions() }
        #expect(error?.class == .retriable)
        let gateway = Gateway()
        harness.offsets.watchDefinitions(gateway)
        cluster.setUp(1)
        try gateway.wait("loading") { $0.isLoaded }
        #expect(gateway.told.withLock { $0.definitions } == [name: "one"])
    }
}
