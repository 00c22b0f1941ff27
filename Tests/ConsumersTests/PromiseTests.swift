import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

/// Promise 5: a consumer's committed offset never passes a record that was not acknowledged, and what was handed out
/// and not acknowledged is handed out again.
@Suite struct PromiseTests {
    /// Set to replay one failing run.
    private static let replay: UInt64? = nil
    private static let runs = 100
    private static let steps = 250

    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
    }

    private struct Seen {
        var attempt: Int
        var client: String
        var deadline: MonotonicInstant
        var process: Int
        var id: String
        /// Revocations of the partition before it was handed out.
        var revocations: Int
    }

    private struct Sent {
        /// For each item: the records it speaks of.
        var groups: [[RecordPlace]]
        var box: Box<Result<LeaseResult, ConsumerError>>
    }

    /// What the outside world knows: records, what it acknowledged, what it was handed.
    private final class Model {
        var h: Harness
        var process = 1
        var random: Generator
        /// Acknowledgements of each record that were not refused: only these may be passed by a commit.
        var asked: [RecordPlace: Int] = [:]
        var confirmed: Set<RecordPlace> = []
        var seen: [RecordPlace: Seen] = [:]
        var delivered: Set<RecordPlace> = []
        var held: [PollAnswer] = []
        var polls: [(client: String, box: Box<Result<PollAnswer, ConsumerError>>)] = []
        var acks: [Sent] = []
        var clients = 0
        var handedOut = 0
        let revocations = Lock<[TopicPartition: Int]>([:])
        var violations: [String] = []

        func expect(_ condition: Bool, _ violation: @autoclosure () -> String) {
            if !condition { violations.append(violation()) }
        }

        func revocations(_ partition: TopicPartition) -> Int { revocations.withLock { $0[partition] ?? 0 } }

        init(_ seed: UInt64) throws {
            random = Generator(state: seed)
            h = try Harness(partitions: 3)
            #expect(try h.define(ackDeadlineMs: 5_000, maxInFlight: 40)?.get() == .created)
        }

        func pick(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }
        func chance(_ percent: Int) -> Bool { pick(0..<100) < percent }
    }

    @Test func onlyAnAcknowledgementCommits_AndEverythingIsDelivered_WhateverHappens() throws {
        let first = UInt64.random(in: .min ... .max)
        for run in 0..<Self.runs {
            let seed = Self.replay ?? first &+ UInt64(run)
            let model = try Model(seed)
            for step in 0..<Self.steps {
                try act(model, "seed \(seed) step \(step)")
                observe(model, "seed \(seed) step \(step)")
                if !model.violations.isEmpty { break }
            }
            if model.violations.isEmpty { drain(model, "seed \(seed)") }
            #expect(model.violations == [])
            #expect(model.handedOut > 0, "seed \(seed): the run did nothing")
            if !model.violations.isEmpty || Self.replay != nil { return }
        }
    }

    private func act(_ m: Model, _ context: String) throws {
        switch m.pick(0..<100) {
        case 0..<20:
            for _ in 0..<m.pick(1..<6) {
                m.h.source.append(
                    m.h.place(Int32(m.pick(0..<3))), gap: m.chance(25) ? Int64(m.pick(1..<5)) : 0,
                    bytes: m.pick(1..<400))
            }
        case 20..<45: startPoll(m)
        case 45..<65: acknowledge(m)
        case 65..<70:
            // A client or a proxy lost it.
            if !m.held.isEmpty { m.held.remove(at: m.pick(0..<m.held.count)) }
        case 70..<75: m.h.clock.advance(by: .milliseconds(m.pick(0..<3_000)))
        case 75..<78: m.h.clock.jumpWall(milliseconds: Int64(m.pick(0..<7_200_000)) - 3_600_000)
        case 78..<80: m.h.store.failWrites([m.chance(50) ? .beforeWriting : .afterWriting])
        case 80..<82: m.h.source.failFetches([FakeOffsetStore.error])
        case 82..<84:
            let places = [m.h.place(Int32(m.pick(0..<3)))]
            m.h.source.revoke(places)
            m.h.callbacks.add { [revocations = m.revocations] in revocations.withLock { $0[places[0], default: 0] += 1 }
            }
            m.h.source.assign(places)
        case 84..<85: m.h.source.appendGap(m.h.place(Int32(m.pick(0..<3))), Int64(m.pick(1..<4)))
        case 85..<87: m.polls.randomElement(using: &m.random)?.box.handle?.cancel()
        case 87..<88: try crash(m)
        default:
            // Threads of the broker, in any order between partitions; one at a time.
            for _ in 0..<m.pick(1..<20) {
                m.h.callbacks.runOne()
                observe(m, context)
            }
        }
    }

    private func startPoll(_ m: Model) {
        let client: String
        if m.chance(30) {
            m.clients += 1
            client = "anonymous \(m.clients)"
        } else {
            client = "client \(m.pick(0..<4))"
        }
        let request = PollRequest(
            consumer: m.h.name, max: m.pick(1..<12), maxBytes: m.pick(1..<2_000),
            wait: m.chance(50) ? .zero : .milliseconds(m.pick(1..<4_000)),
            client: client.hasPrefix("anonymous") ? nil : client)
        m.polls.append((client, m.h.start(request)))
    }

    private func acknowledge(_ m: Model) {
        guard !m.held.isEmpty else { return }
        let answer = m.held[m.pick(0..<m.held.count)]
        guard let chosen = answer.records.randomElement(using: &m.random), let token = answer.ack else { return }
        func place(_ record: DeliveredRecord) -> RecordPlace {
            RecordPlace(partition: record.record.partition, offset: record.record.offset)
        }
        let through = answer.records.filter {
            $0.record.partition == chosen.record.partition && $0.record.offset <= chosen.record.offset
        }
        let some = answer.records.filter { _ in m.chance(40) }
        let (what, groups): (LeaseSelector, [[RecordPlace]])
        switch m.pick(0..<10) {
        case 0..<3: (what, groups) = (.answer(token), [answer.records.map(place)])
        case 3..<5: (what, groups) = (.deliveries([chosen.id]), [[place(chosen)]])
        case 5..<6 where !some.isEmpty: (what, groups) = (.deliveries(some.map(\.id)), some.map { [place($0)] })
        case 6..<8: (what, groups) = (.through([chosen.id]), [through.map(place)])
        case 8..<9:
            let client = m.seen[place(chosen)]?.client ?? ""
            // By offset the newest delivery counts, whichever answer the client read the offset from.
            let before = m.seen.filter {
                $0.key.partition == place(chosen).partition && $0.key.offset <= place(chosen).offset
                    && $0.value.client == client
            }
            (what, groups) = (.offsets([place(chosen)], client: client), [Array(before.keys)])
        default:
            // Wrong: a token that nobody was given.
            (what, groups) = (.answer(AnswerToken(epoch: 1_000, serial: UInt64(m.pick(1..<50))).description), [[]])
        }
        for group in groups { for place in group { m.asked[place, default: 0] += 1 } }
        let box = Box<Result<LeaseResult, ConsumerError>>()
        m.h.consumers.acknowledge(m.h.name, what) { box.set($0) }
        m.acks.append(Sent(groups: groups, box: box))
    }

    private func crash(_ m: Model) throws {
        // Everything the clients still hold is of an older epoch now; they will acknowledge it all the same.
        m.process += 1
        m.h = try Harness(after: m.h, epoch: UInt32(m.process))
        m.polls = []
        m.acks = []
    }

    /// Reads what was answered since, and checks it, and the store, against what is known.
    private func observe(_ m: Model, _ context: String) {
        for (client, box) in m.polls {
            if case .success(let answer)? = box.value { observe(answer, of: client, m, context) }
        }
        m.polls.removeAll { $0.box.value != nil }
        for sent in m.acks { if let result = sent.box.value { observe(result, of: sent, m) } }
        m.acks.removeAll { $0.box.value != nil }
        check(m, context)
    }

    private func observe(_ answer: PollAnswer, of client: String, _ m: Model, _ context: String) {
        let now = m.h.clock.now()
        var last: [TopicPartition: Int64] = [:]
        let places = Set(answer.records.map { RecordPlace(partition: $0.record.partition, offset: $0.record.offset) })
        for record in answer.records {
            let place = RecordPlace(partition: record.record.partition, offset: record.record.offset)
            m.expect(record.record.offset > last[place.partition] ?? -1, "\(place) out of order, \(context)")
            last[place.partition] = record.record.offset
            m.expect(!m.confirmed.contains(place), "\(place) was acknowledged, \(context)")
            let revocations = m.revocations(place.partition)
            if let old = m.seen[place], old.process == m.process {
                let isVoid = old.revocations != revocations
                if old.id == record.id {
                    m.expect(old.client == client && old.attempt == record.attempt, "\(place) changed, \(context)")
                } else if !isVoid {
                    m.expect(old.deadline <= now, "\(place) leased twice, \(context)")
                    m.expect(record.attempt == old.attempt + 1, "attempt of \(place), \(context)")
                }
            }
            for earlier in m.h.source.partition(place.partition).records.prefix(while: { $0.offset < place.offset }) {
                let before = RecordPlace(partition: place.partition, offset: earlier.offset)
                m.expect(
                    m.delivered.contains(before) || places.contains(before), "\(place) before \(before), \(context)")
            }
            if m.seen[place]?.id != record.id || m.seen[place]?.process != m.process {
                m.seen[place] = Seen(
                    attempt: record.attempt, client: client, deadline: now + .seconds(5), process: m.process,
                    id: record.id, revocations: revocations)
            }
            m.delivered.insert(place)
            m.handedOut += 1
        }
        if !answer.records.isEmpty { m.held.append(answer) }
    }

    private func observe(_ result: Result<LeaseResult, ConsumerError>, of sent: Sent, _ m: Model) {
        switch result {
        case .success(let result), .failure(.leasesLost(let result)):
            for (group, outcome) in zip(sent.groups, result.outcomes) {
                for place in group {
                    if outcome == .acknowledged {
                        m.confirmed.insert(place)
                    } else if result.committed[place.partition] == nil {
                        // Where a partition was committed, some of the group may have been good.
                        m.asked[place, default: 0] -= 1
                    }
                }
            }
        case .failure(.unavailable): break
        case .failure: for group in sent.groups { for place in group { m.asked[place, default: 0] -= 1 } }
        }
    }

    private func check(_ m: Model, _ context: String) {
        for (partition, committed) in m.h.store.offsets(m.h.name) {
            for record in m.h.source.partition(partition).records where record.offset < committed.offset {
                m.expect(
                    m.asked[RecordPlace(partition: partition, offset: record.offset)] ?? 0 > 0,
                    "committed \(committed.offset) passes \(record.offset) of \(partition), \(context)")
            }
            m.expect(committed.metadata.utf8.count <= OffsetStoreLimits.metadataBytesMax, "metadata, \(context)")
        }
    }

    /// From here on nothing fails: what is left comes, and the end is committed.
    private func drain(_ m: Model, _ context: String) {
        m.h.store.clearFailures()
        m.h.source.clearFailures()
        while m.h.callbacks.runOne() { observe(m, context) }
        let partitions = (0..<Int32(3)).map { m.h.place($0) }
        for _ in 0..<400 {
            if partitions.allSatisfy({ m.h.committed($0.partition) == m.h.source.partition($0).end }) { break }
            guard case .success(let answer)? = m.h.poll(max: 50, client: "last"), let token = answer.ack else {
                m.h.clock.advance(by: .seconds(6))
                m.h.settle()
                observe(m, context)
                continue
            }
            observe(answer, of: "last", m, context)
            for record in answer.records {
                m.asked[RecordPlace(partition: record.record.partition, offset: record.record.offset), default: 0] += 1
            }
            _ = m.h.acknowledge(.answer(token))
        }
        for partition in partitions {
            let stored = m.h.source.partition(partition)
            m.expect(m.h.committed(partition.partition) == stored.end, "\(partition) was not finished, \(context)")
            for record in stored.records {
                m.expect(
                    m.delivered.contains(RecordPlace(partition: partition, offset: record.offset)),
                    "\(record.offset) of \(partition) never came, \(context)")
            }
        }
    }
}
