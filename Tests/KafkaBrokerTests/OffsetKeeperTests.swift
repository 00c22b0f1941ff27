import Broker
import KafkaTestSupport
import Primitives
import Records
import TestSupport
import Testing

@testable import KafkaBroker

/// Offsets of consumers that nobody uses, over days of a clock that is moved by hand.
@Suite struct OffsetKeeperTests {
    private static let day = Duration.seconds(24 * 3600)
    private static let (a, b) = (ConsumerName("a")!, ConsumerName("b")!)
    private static let offsets = [TopicPartition("t"): CommittedOffset(offset: 7, metadata: "bitmap")]

    /// What a cluster has, and what was written to it.
    private final class Groups: IdleConsumers {
        struct State {
            var offsets: [ConsumerName: [TopicPartition: CommittedOffset]] = [:]
            var used: Set<ConsumerName> = []
            /// Becomes used while its offsets are read.
            var joining: ConsumerName?
            var errors: [ConsumerName: BrokerError] = [:]
            var commits: [ConsumerName] = []
        }

        let state = Lock(State())

        var names: [ConsumerName] { state.withLock { $0.offsets.keys.sorted() } }

        func isUsed(_ name: ConsumerName) -> Bool { state.withLock { $0.used.contains(name) } }

        func committed(_ name: ConsumerName) -> [TopicPartition: CommittedOffset] {
            state.withLock { state in
                if state.joining == name { state.used.insert(name) }
                return state.offsets[name] ?? [:]
            }
        }

        func commit(_ name: ConsumerName, _ offsets: [TopicPartition: CommittedOffset]) throws(BrokerError) {
            try state.withLock { state throws(BrokerError) in
                if let error = state.errors[name] { throw error }
                #expect(offsets == state.offsets[name], "unchanged")
                state.commits.append(name)
            }
        }

        /// Since the last time.
        func takeCommits() -> [ConsumerName] {
            state.withLock { state in
                defer { state.commits = [] }
                return state.commits
            }
        }
    }

    /// Days of a gateway.
    private final class Days {
        let groups = Groups()
        let clock = ManualClock()
        let keeper: OffsetKeeper
        private var rounds = 0

        init(_ names: [ConsumerName], interval: Duration = OffsetKeeperTests.day) {
            groups.state.withLock { state in
                for name in names { state.offsets[name] = OffsetKeeperTests.offsets }
            }
            keeper = OffsetKeeper(interval: interval, consumers: groups, clock: clock, timers: clock)
        }

        deinit { keeper.stop() }

        /// - Returns: what was committed again when a round was due within that time.
        func pass(_ duration: Duration) -> [ConsumerName] {
            clock.advance(by: duration)
            rounds += 1
            #expect(keeper.waitForRounds(rounds, until: patienceEnd()))
            return groups.takeCommits()
        }

        /// Time in which nothing is due. (A round begins with its timer, which is run by then.)
        func passIdle(_ duration: Duration) {
            clock.advance(by: duration)
            #expect(!keeper.waitForRounds(rounds + 1, until: SystemClock().now()))
        }
    }

    @Test func offsets_AreCommittedAgain_SoonAfterTheStart_AndThenEveryDay() {
        let days = Days([Self.a, Self.b])
        days.passIdle(OffsetKeeper.firstAfter - .seconds(1))
        #expect(days.pass(.seconds(1)) == [Self.a, Self.b])
        for _ in 0..<3 {
            days.passIdle(Self.day - .seconds(1))
            #expect(days.pass(.seconds(1)) == [Self.a, Self.b])
        }
    }

    @Test func firstRound_IsNoLaterThanTheSecond() {
        let days = Days([Self.a], interval: .seconds(60))
        #expect(days.pass(.seconds(60)) == [Self.a])
        #expect(days.pass(.seconds(60)) == [Self.a])
    }

    /// It commits by itself, and an old offset must not go over a new one.
    @Test func consumerInUse_IsLeftAlone_AlsoWhenItJoinsInBetween() {
        let days = Days([Self.a, Self.b])
        days.groups.state.withLock { $0.used = [Self.a] }
        #expect(days.pass(OffsetKeeper.firstAfter) == [Self.b])
        days.groups.state.withLock { state in
            state.used = []
            state.joining = Self.b
        }
        #expect(days.pass(Self.day) == [Self.a])
        days.groups.state.withLock { state in
            state.used = []
            state.joining = nil
        }
        #expect(days.pass(Self.day) == [Self.a, Self.b])
    }

    @Test(arguments: ["consumer_active_elsewhere", "coordinator_not_available"])
    func failure_IsOfOneConsumer_AndItsTurnComesAgain(code: String) {
        let days = Days([Self.a, Self.b])
        days.groups.state.withLock { $0.errors[Self.a] = BrokerError(.retriable, code: code, detail: "") }
        #expect(days.pass(OffsetKeeper.firstAfter) == [Self.b])
        days.groups.state.withLock { $0.errors = [:] }
        #expect(days.pass(Self.day) == [Self.a, Self.b])
    }

    @Test func consumerWithoutOffsets_IsPassedOver() {
        let days = Days([Self.a, Self.b])
        days.groups.state.withLock { $0.offsets[Self.a] = [:] }
        #expect(days.pass(OffsetKeeper.firstAfter) == [Self.b])
    }

    @Test(.needsRealCluster) func offsetsOfAnIdleGroup_AreAsTheyWere_WhenTheyWereCommittedAgain() throws {
        let servers = RealKafka.bootstrapServers ?? ""
        let harness = try SourceHarness(servers) {
            $0.consumersTopic = "_postrider_consumers_test_\(UInt64.random(in: 0...UInt64.max))"
        }
        let topic = RealKafka.makeTopic("test-keeper", partitions: 2)
        defer { RealKafka.delete([topic, harness.settings.consumersTopic]) }
        let (name, place) = (ConsumerName("group-\(topic)")!, TopicPartition(topic, 1))
        let value = CommittedOffset(offset: 0, metadata: "bitmap")
        try harness.answerOnceReady {
            harness.offsets.define(
                ConsumerDefinitionBytes(name: name, bytes: [1]), offsets: [place: value], replacing: false,
                completion: $0)
        }
        _ = try eventually("the definition") { try harness.offsets.definitions().isEmpty ? nil : true }
        harness.clock.advance(by: OffsetKeeper.firstAfter)
        #expect(harness.offsets.keeper.waitForRounds(1, until: patienceEnd()))
        let found = GroupOffsets.committed(name.text, topic, partitions: 2, at: servers)
        #expect(found == [1: GroupOffsets.Value(offset: 0, metadata: "bitmap")])
    }
}
