import Broker
import DeadLetters
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

/// Promise 3, by a model: what clients were told, against what the broker and the dead-letter store hold in the end.
@Suite struct PromiseTests {
    private static let seeds = 200

    @Test func deliveredOnceInOrderOrAccountedFor_WhateverFails() throws {
        var seeds = SeededGenerator(printingFor: "deliveredOnceInOrderOrAccountedFor")
        var totals = Totals()
        for number in 0..<Self.seeds {
            // The first run is the printed seed's own, so that a failing one can be repeated alone.
            let seed = number == 0 ? seeds.seed : seeds.next()
            let run = try Run(seed: seed)
            try run.perform()
            try run.check()
            totals.add(run)
            if run.failed { break }
        }
        // A run that meets nothing proves nothing.
        #expect(totals.delivered > 5000 && totals.dead > 200 && totals.unknown > 20)
        #expect(totals.redelivered > 50 && totals.givenBack > 1 && totals.placed > 5000)
        for end in Harness.End.allCases { #expect((totals.ends[end] ?? 0) > 20, "\(end)") }
        for fault in Faults.Kind.allCases { #expect((totals.faults[fault] ?? 0) > 20, "\(fault)") }
        print("forwarder runs: \(Self.seeds), \(totals)")
    }

    struct Totals {
        var delivered = 0
        var dead = 0
        var unknown = 0
        var redelivered = 0
        var givenBack = 0
        var placed = 0
        var ends: [Harness.End: Int] = [:]
        var faults: [Faults.Kind: Int] = [:]

        mutating func add(_ run: Run) {
            delivered += run.delivered
            dead += run.dead
            unknown += run.client.withLock { $0.unknown.count }
            redelivered += run.redelivered
            givenBack += run.client.withLock { $0.givenBack }
            placed += run.placed
            ends.merge(run.ends) { $0 + $1 }
            faults.merge(run.faults.counts) { $0 + $1 }
        }
    }
}

/// Chooses what goes wrong at each call. (The seed fixes the choices; how threads interleave it cannot.)
final class Faults: Sendable {
    enum Kind: CaseIterable {
        case retriableBefore, lostAnswer, sinkFatal, lostAnswerSinkFatal, batchRefused, fenced, dieBefore, dieAfter
        case notCommitted, timedOut, topicMissing
    }

    private struct State {
        var random: SeededGenerator
        var counts: [Kind: Int] = [:]
        var isOn = true
    }

    private let state: Lock<State>

    init(seed: UInt64) { state = Lock(State(random: SeededGenerator(seed: seed))) }

    var counts: [Kind: Int] { state.withLock { $0.counts } }

    func end() { state.withLock { $0.isOn = false } }

    func next(for call: FakeSinks.Call) -> FakeSinks.Fault? {
        state.withLock { state in
            guard state.isOn, Int.random(in: 0..<4, using: &state.random) == 0 else { return nil }
            var kind = Kind.allCases.randomElement(using: &state.random)!
            // Deaths end a run's life: rarely.
            if kind == .dieBefore || kind == .dieAfter, Int.random(in: 0..<4, using: &state.random) > 0 {
                kind = .retriableBefore
            }
            // Only a record refused alone may die for it, and only marked ones may die.
            if kind == .batchRefused, call.batch.count < 2 { kind = .retriableBefore }
            state.counts[kind, default: 0] += 1
            return fault(kind)
        }
    }

    private func fault(_ kind: Kind) -> FakeSinks.Fault {
        switch kind {
        case .retriableBefore: .refuse(FakeSinks.unreachable)
        case .lostAnswer: .loseAnswer(FakeSinks.unreachable)
        case .sinkFatal: .refuse(BrokerError(.sinkFatal, code: "sink", detail: "as told by the test"))
        case .lostAnswerSinkFatal: .loseAnswer(BrokerError(.sinkFatal, code: "sink", detail: "as told by the test"))
        case .batchRefused: .refuse(BrokerError(.recordFatal, code: "batch_refused", detail: "as told by the test"))
        case .fenced: .fence
        case .notCommitted: .refuseCommit(FakeSinks.unreachable)
        case .timedOut:
            .loseAnswer(BrokerError(.fenced, code: "transaction_timed_out", detail: "as told by the test"))
        case .topicMissing: .refuse(BrokerError(.retriable, code: "topic_missing", detail: "as told by the test"))
        case .dieBefore: .die(committing: false)
        case .dieAfter: .die(committing: true)
        }
    }
}

/// One seed's life of a gateway.
final class Run {
    /// What clients know.
    struct Client {
        var accepted: [(lsn: LSN, topic: TopicName, text: String)] = []
        /// May be delivered, once and in order, or not at all.
        var unknown: Set<String> = []
        var refused: Set<String> = []
        /// Redeliveries that the spool refused.
        var givenBack = 0
        var inFlight = 0
    }

    let seed: UInt64
    let client = Monitor(Client())
    let faults: Faults
    private(set) var ends: [Harness.End: Int] = [:]
    private(set) var delivered = 0
    private(set) var dead = 0
    /// Dead letters that were delivered after all.
    private(set) var redelivered = 0
    /// Something hangs, and would in every further run.
    private(set) var failed = false
    /// Receipts that told a place.
    private(set) var placed = 0
    private let harness: Harness
    private var random: SeededGenerator
    private var nextText = 0

    init(seed: UInt64) throws {
        self.seed = seed
        random = SeededGenerator(seed: seed)
        faults = Faults(seed: random.next())
        // Half of what is sent again is refused again.
        harness = try Harness { outgoing in
            outgoing.spooled.redelivers != nil && outgoing.lsn.sequence % 2 == 0 ? nil : refuseMarked(outgoing)
        }
        let faults = faults
        harness.sinks.setPlan { faults.next(for: $0) }
    }

    func perform() throws {
        for _ in 0..<40 {
            if Int.random(in: 0..<12, using: &random) == 0 || harness.sinks.isDead { try end() }
            if Int.random(in: 0..<30, using: &random) == 0 {
                harness.spool.closeIntake("test")
                submit()
                try redeliver()
                harness.spool.closeIntake(nil)
            }
            submit()
            if Bool.random(using: &random) { try redeliver() }
            if Int.random(in: 0..<3, using: &random) == 0 { waitForAnswers() }
        }
        waitForAnswers()
        faults.end()
        // However slow the forwarder was until now: every run sends something again that the broker refused.
        if try drained() { try redeliver() }
        waitForAnswers()
    }

    private func end(_ chosen: Harness.End? = nil) throws {
        var end = chosen ?? Harness.End.allCases.randomElement(using: &random)!
        if harness.sinks.isDead, end == .forwarderRestart || end == .restart { end = .killed }
        ends[end, default: 0] += 1
        let faults = faults
        try harness.restart(end, seed: random.next(), plan: { faults.next(for: $0) })
        waitForAnswers()
    }

    private func submit() {
        let topics = (0..<Int.random(in: 1...3, using: &random)).map { _ in
            topic(Int.random(in: 0..<Harness.lanes, using: &random), Int.random(in: 0..<2, using: &random))
        }
        let records = (0..<Int.random(in: 1...6, using: &random)).map { _ in
            nextText += 1
            let marked = Int.random(in: 0..<25, using: &random) == 0
            return record(
                topics.randomElement(using: &random)!, "\(marked ? mark : "")\(nextText)",
                padding: Int.random(in: 0..<200, using: &random))
        }
        client.withLock { $0.inFlight += 1 }
        let client = client
        harness.spool.submit(records) { result in
            client.withLock { client in
                client.inFlight -= 1
                switch result {
                case .success(let acceptance):
                    for (number, one) in records.enumerated() {
                        client.accepted.append((acceptance.first.advanced(by: number), one.topic, text(one)))
                    }
                case .failure(let refusal) where refusal.outcomeUnknown:
                    client.unknown.formUnion(records.map(text))
                case .failure:
                    client.refused.formUnion(records.map(text))
                }
            }
            client.broadcast()
        }
    }

    /// As `Redelivery` of the HTTP interface does, which may be forgotten in the middle.
    private func redeliver() throws {
        let letters = try harness.deadLetters.list(DeadLetterQuery(limit: 20)).filter { $0.state == .final }
        guard let dead = letters.randomElement(using: &random)?.lsn else { return }
        let spooled = try harness.claim(dead)
        // The process "dies" before it submits, at times: only another one may give the claim back.
        if Int.random(in: 0..<8, using: &random) == 0 {
            try end(Bool.random(using: &random) ? .killed : .powerLoss)
            return
        }
        let links = Bool.random(using: &random)
        client.withLock { $0.inFlight += 1 }
        let (client, store) = (client, harness.deadLetters)
        harness.spool.submit([spooled]) { result in
            do {
                switch result {
                case .success(let acceptance):
                    if links { try store.link([(dead: dead, successor: acceptance.first)]) }
                case .failure(let refusal):
                    if !refusal.outcomeUnknown {
                        try store.giveBack(lsn: dead)
                        client.withLock { $0.givenBack += 1 }
                    }
                }
            } catch {
                Issue.record("\(error)")
            }
            client.withLock { $0.inFlight -= 1 }
            client.broadcast()
        }
    }

    private func waitForAnswers() {
        let answered = client.wait(until: patienceEnd()) { $0.inFlight == 0 ? true : nil }
        #expect(answered == true, "seed \(seed): a request was never answered")
    }

    /// Waits until everything is settled. - Returns: whether it was in time.
    private func drained() throws -> Bool {
        try eventually {
            // A death that was chosen before the faults ended.
            if harness.sinks.isDead { try end() }
            return (0..<Harness.lanes).allSatisfy { harness.spool.lagRecords(lane: $0) == 0 }
                && harness.deadLetters.count(state: .redelivering) == 0
        }
    }

    // MARK: - The model

    func check() throws {
        let client = client.withLock { $0 }
        let context: Comment = "seed \(seed)"
        let last = client.accepted.map(\.lsn).max() ?? .zero
        let drained = try drained()
        let lags = (0..<Harness.lanes).map { harness.spool.lagRecords(lane: $0) }
        #expect(drained, "seed \(seed): lag \(lags), \(harness.forwarder.status), \(harness.events.withLock { $0 })")
        failed = !drained
        if failed { return harness.stop() }
        try checkReceipts(client)
        harness.stop()

        let dead = try harness.deadLetters.list(DeadLetterQuery(limit: 1000))
        #expect(harness.deadLetters.count(state: .pending) == 0, context)
        let deadTexts = try Dictionary(
            dead.map { (text(try #require(try harness.deadLetters.record(lsn: $0.lsn))), $0) },
            uniquingKeysWith: { a, _ in a })
        #expect(deadTexts.count == dead.count, context)
        #expect(dead.allSatisfy { $0.code == "record_refused" }, context)

        var found: [String: LSN] = [:]
        for (partition, records) in harness.log.snapshot.partitions {
            let lsns = records.map(\.lsn)
            #expect(zip(lsns, lsns.dropFirst()).allSatisfy { $0 < $1 }, "seed \(seed): order in \(partition)")
            for outgoing in records {
                let text = text(outgoing.spooled)
                #expect(found.updateValue(outgoing.lsn, forKey: text) == nil, "seed \(seed): \(text) twice")
                #expect(partition.topic == outgoing.spooled.topic, context)
                let isAgain = outgoing.spooled.redelivers != nil
                #expect(text.hasPrefix(mark) == isAgain, "seed \(seed): \(text) was refused and delivered")
                if isAgain { redelivered += 1 }
            }
        }
        for (lsn, _, text) in client.accepted {
            let dead = deadTexts[text]?.lsn
            var last = lsn
            if case .redelivered(let successor) = try harness.deadLetters.fate(of: lsn) { last = successor }
            #expect((found[text] == last) != (dead == last), "seed \(seed): \(text) at \(last) lost or both")
        }
        let known = Set(client.accepted.map(\.text)).union(client.unknown)
        #expect(known.isSuperset(of: found.keys), context)
        #expect(known.isSuperset(of: deadTexts.keys), context)
        #expect(client.refused.isDisjoint(with: found.keys), context)
        #expect(deadTexts.keys.allSatisfy { $0.hasPrefix(mark) }, context)
        #expect(harness.events.withLock { $0 } == [], context)
        #expect(last > .zero, context)
        delivered = found.count
        self.dead = dead.count
    }

    private func checkReceipts(_ client: Client) throws {
        var places: [LSN: Delivery] = [:]
        for (partition, records) in harness.log.snapshot.partitions {
            for (offset, outgoing) in records.enumerated() {
                places[outgoing.lsn] = Delivery(
                    lsn: outgoing.lsn, partition: partition, offset: Int64(offset),
                    timestampMs: outgoing.spooled.record.timestampMs)
            }
        }
        for (lsn, _, text) in client.accepted {
            let outcome = try harness.spool.outcome(of: lsn)
            switch outcome {
            case .delivered(let place):
                // Whatever was told before commits that failed: never a wrong place.
                #expect(places[lsn] == place, "seed \(seed): receipt of \(text)")
                placed += 1
            case .settled, .untraced:
                // Dead.
                #expect(places[lsn] == nil, "seed \(seed): receipt of \(text): \(outcome)")
            case .accepted, .unknown, .expired, .damaged:
                Issue.record("seed \(seed): receipt of \(text): \(outcome)")
            }
        }
    }
}
