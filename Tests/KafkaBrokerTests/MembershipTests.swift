import Broker
import CRdkafka
import KafkaTestSupport
import Primitives
import Records
import TestSupport
import Testing

@testable import KafkaBroker

/// Group memberships at a mock cluster, whose groups take 3 s to form.
@Suite struct MembershipTests {
    private let topic = TopicName("t")!
    private let name = ConsumerName("c")!
    private let place = TopicPartition("t")

    private func values(_ count: Int, bytes: Int = 4) -> [String] {
        (0..<count).map { "\($0) " + String(repeating: "x", count: bytes) }
    }

    @Test func member_ReadsCommitsAndGoesOnThere() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 2)
        let (harness, member) = try MemberHarness.joined(cluster, name, [topic])
        try harness.produce(place, values(20))
        try member.wait("assignment") { $0.assigned.count == 2 }
        #expect(
            try harness.refusal { (done: @escaping @Sendable (Result<Void, BrokerError>) -> Void) in
                harness.offsets.commit(consumer: name, offsets: [place: CommittedOffset(offset: 1)], completion: done)
            } == "partition_not_assigned", "nobody asked for its committed offset yet: it is of an older assignment")
        #expect(try harness.committed(name, [place]) == [:])
        #expect(try member.readAll(harness, place) == Array(0..<20))
        #expect(try member.fetch(harness, place, from: 5, to: 8).records.map(\.offset) == [5, 6, 7], "again")
        try harness.commit(name, place, 12, metadata: "bitmap")
        #expect(try harness.committed(name, [place]) == [place: 12])
        // Woken by what comes.
        let before = member.state.withLock { $0.available }
        try harness.produce(place, ["more"])
        try member.wait("news") { $0.available > before }
        #expect(try member.fetch(harness, place, from: 20).records.map(\.offset) == [20])
        member.close()
        try member.wait("revocation") { $0.revocations == 1 }
        let outside = try harness.answer { harness.offsets.committed(consumer: name, of: [place], completion: $0) }
        #expect(outside == [place: CommittedOffset(offset: 12, metadata: "bitmap")])
        let again = MemberHarness()
        try again.join(harness, name, [topic])
        try again.wait("assignment") { $0.assigned.count == 2 }
        #expect(try again.readAll(harness, place, from: 12) == Array(12...20))
    }

    /// An error of every request kind on the way to the first record.
    @Test func member_ReadsEverything_AfterErrorsThatPass() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 1)
        let errors: [(RequestKind, [rd_kafka_resp_err_t])] = [
            (.findCoordinator, [RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE]),
            (.joinGroup, [RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]),
            (.syncGroup, [RD_KAFKA_RESP_ERR_NOT_COORDINATOR]), (.heartbeat, [RD_KAFKA_RESP_ERR_NOT_COORDINATOR]),
            (.offsetFetch, [RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_UNKNOWN]),
            (.fetch, [RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR_UNKNOWN]),
            (.listOffsets, [RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]),
        ]
        let (harness, member) = try MemberHarness.joined(cluster, name, [topic])
        try harness.produce(place, values(5))
        for (kind, codes) in errors { cluster.pushErrors(kind, codes.map(\.rawValue)) }
        let found = try eventually("records") { () -> [Int64]? in
            try member.wait("assignment") { !$0.assigned.isEmpty }
            let found = try member.readAll(harness, place)
            return found.isEmpty ? nil : found
        }
        #expect(found == [0, 1, 2, 3, 4])
    }

    @Test func commit_FailsRetriably_AndTheNextSucceeds_WhateverTheError() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 1)
        let (harness, member) = try MemberHarness.joined(cluster, name, [topic])
        try harness.produce(place, values(5))
        try member.wait("assignment") { !$0.assigned.isEmpty }
        let codes = [
            RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_UNKNOWN,
            RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE,
            RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
        ]
        for (index, code) in codes.enumerated() {
            cluster.pushErrors(.offsetCommit, [code.rawValue])
            try eventually("commit after \(code)") {
                try member.wait("assignment") { !$0.assigned.isEmpty }
                // As the owner does after a revocation.
                _ = try harness.committed(name, [place])
                try harness.commit(name, place, Int64(index))
                return ()
            }
            #expect(try harness.committed(name, [place]) == [place: Int64(index)])
        }
    }

    @Test func commit_WhoseAnswerIsLost_IsInDoubt_AndThenToldFromTheCluster() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 1)
        let (harness, member) = try MemberHarness.joined(cluster, name, [topic]) { $0.socketTimeout = .seconds(1) }
        try harness.produce(place, values(5))
        try member.wait("assignment") { !$0.assigned.isEmpty }
        _ = try harness.committed(name, [place])
        cluster.pushError(.offsetCommit, 0, afterMs: 1_500, broker: 1)
        do {
            try harness.commit(name, place, 4)
        } catch let error as BrokerError {
            #expect(error.class == .retriable, "\(error)")
        }
        #expect(try harness.committed(name, [place]) == [place: 4], "it was done")
    }

    @Test func slowReader_KeepsItsMembership_AndReadsEverythingInOrder() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 1)
        // 4 KiB are buffered of 400.
        let (harness, member) = try MemberHarness.joined(cluster, name, [topic]) { settings in
            settings.prefetchBytesMax = 32 << 10
            settings.consumersActiveMax = 1
        }
        try harness.produce(place, values(400, bytes: 1_000))
        try member.wait("assignment") { !$0.assigned.isEmpty }
        #expect(try member.readAll(harness, place) == Array(0..<400))
        #expect(member.state.withLock { $0.revocations } == 0)
        let error = #expect(throws: BrokerError.self) {
            _ = try harness.source.subscribe(
                consumer: ConsumerName("other")!, topics: [topic], delegate: MemberHarness())
        }
        #expect(error?.code == "too_many_consumers" && error?.class == .retriable)
    }

    /// What nobody takes fills the buffer, and must not keep others' records away.
    @Test func partition_IsReadToItsEnd_WhileNobodyTakesTheOthers() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 4)
        let (harness, member) = try MemberHarness.joined(cluster, name, [topic]) { settings in
            settings.prefetchBytesMax = 32 << 10
            settings.consumersActiveMax = 1
        }
        let places = (0..<4).map { TopicPartition("t", $0) }
        for place in places { try harness.produce(place, values(10, bytes: 2_000)) }
        try member.wait("assignment") { $0.assigned.count == places.count }
        #expect(try member.readAll(harness, places[3]) == Array(0..<10))
        #expect(try member.readAll(harness, places[0]) == Array(0..<10))
    }

    @Test func twoMembers_ShareThePartitions_AndTheFirstLosesItsLeases() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 4)
        let (harness, first) = try MemberHarness.joined(cluster, name, [topic])
        try first.wait("assignment") { $0.assigned.count == 4 }
        let places = (0..<4).map { TopicPartition("t", $0) }
        _ = try harness.committed(name, places)
        let (other, second) = try MemberHarness.joined(cluster, name, [topic])
        // The group may form more than once where a member is slow.
        let theirs = try eventually("a half each") {
            let (mine, theirs) = (first.state.withLock { $0.assigned }, second.state.withLock { $0.assigned })
            return mine.count == 2 && theirs.count == 2 && mine.union(theirs) == Set(places) ? theirs : nil
        }
        #expect(first.state.withLock { $0.revocations } >= 1)
        let lost = try #require(theirs.first)
        #expect(
            try harness.refusal { (done: @escaping @Sendable (Result<Void, BrokerError>) -> Void) in
                harness.offsets.commit(consumer: name, offsets: [lost: CommittedOffset(offset: 1)], completion: done)
            } == "partition_not_assigned", "the broker would take it")
        _ = try other.committed(name, Array(theirs))
        try other.commit(name, lost, 1)
    }

    /// By the time the group has formed anew, both partitions have long been paused.
    @Test func partition_IsReadToItsEnd_WhoeverGetsIt_AfterItWasRevokedWhilePaused() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 2)
        let places = (0..<2).map { TopicPartition("t", $0) }
        let (harness, first) = try MemberHarness.joined(cluster, name, [topic]) { settings in
            settings.prefetchBytesMax = 32 << 10
            settings.consumersActiveMax = 1
        }
        for place in places { try harness.produce(place, values(200, bytes: 1_000)) }
        try first.wait("assignment and records") { $0.assigned.count == 2 && $0.available > 0 }
        let (other, second) = try MemberHarness.joined(cluster, name, [topic])
        try second.wait("assignment") { $0.assigned.count == 1 }
        try first.wait("a smaller assignment") { $0.assigned.count == 1 && $0.revocations >= 1 }
        for (gateway, member) in [(harness, first), (other, second)] {
            let place = try #require(member.state.withLock { $0.assigned.first })
            #expect(try member.readAll(gateway, place) == Array(0..<200))
        }
    }

    @Test func member_Joins_OnceWhatItsClientLackedIsThere() throws {
        var settings = KafkaBrokerSettings()
        settings.bootstrapServers = "127.0.0.1:1"
        let directory = try TemporaryDirectory()
        settings.properties = [
            "security.protocol": "ssl", "ssl.ca.location": "\(directory.path)/certificates", "log_level": "0",
        ]
        let source = KafkaSource(settings: settings)
        defer { source.stop() }
        let subscription = try source.subscribe(consumer: name, topics: [topic], delegate: MemberHarness())
        func refusal() -> String {
            let request = FetchRequest(partition: place, offset: 0, recordsMax: 1, bytesMax: 1)
            let result = waitForAnswer { subscription.fetch(request, completion: $0) }
            if case .failure(let error)? = result { return error.code }
            return "none"
        }
        #expect(refusal() == "invalid_configuration")
        try SystemFileSystem().createDurableDirectory("\(directory.path)/certificates")
        try eventually("a client") { refusal() == "partition_not_assigned" ? () : nil }
    }

    @Test func member_GoesOn_WhenTheCoordinatorMovesAndABrokerIsAway() throws {
        let cluster = MockCluster(brokers: 3)
        cluster.createTopic("t", partitions: 1)
        cluster.setLeader(of: "t", partition: 0, to: 3)
        cluster.setCoordinator("group", of: name.text, to: 1)
        let (harness, member) = try MemberHarness.joined(cluster, name, [topic])
        try harness.produce(place, values(5))
        try member.wait("assignment") { !$0.assigned.isEmpty }
        #expect(try member.readAll(harness, place) == [0, 1, 2, 3, 4])
        cluster.setCoordinator("group", of: name.text, to: 2)
        cluster.setDown(1)
        try eventually("a commit at the new coordinator") {
            _ = try harness.committed(name, [place])
            try harness.commit(name, place, 5)
            return ()
        }
        cluster.setUp(1)
        try harness.produce(place, ["more"])
        let found = try eventually("what came") { () -> [Int64]? in
            let found = try member.fetch(harness, place, from: 5).records.map(\.offset)
            return found.isEmpty ? nil : found
        }
        #expect(found == [5])
    }
}
