import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

/// Promise 5: a consumer's committed offset never passes a record that was neither acknowledged nor dead-lettered, and
/// what was handed out and not acknowledged is handed out again. In ordered mode in order and to one client at a time;
/// in shared mode each record to one client at a time.
@Suite struct PromiseTests {
    struct Kind: Sendable {
        var mode: DeliveryMode
        var maxDeliveries: Int?
    }

    static let kinds = [
        Kind(mode: .ordered), Kind(mode: .shared), Kind(mode: .ordered, maxDeliveries: 3),
        Kind(mode: .shared, maxDeliveries: 2),
    ]
    private static let (runs, steps) = (15, 300)

    @Test(arguments: kinds)
    func promise5_OnlyAnAcknowledgementCommits_AndEverythingComes_WhateverHappens(_ kind: Kind) throws {
        var seeds = SeededGenerator(printingFor: "promise 5, \(kind)")
        var deadCount = 0
        for run in 0..<Self.runs {
            // The first run of a given seed is that seed's.
            let seed = run == 0 ? seeds.seed : seeds.next()
            // Now and then for long, so that much comes together.
            let model = try play(kind, seed: seed, steps: seed % 25 == 0 ? Self.steps * 10 : Self.steps)
            #expect(model.violations == [])
            #expect(model.handedOut > 0, "seed \(seed): the run did nothing")
            deadCount += model.deadCount
            if !model.violations.isEmpty { return }
        }
        #expect((deadCount > 0) == (kind.maxDeliveries != nil), "something died where it may")
    }

    @Test(arguments: kinds) func seed_RepeatsItsRun(_ kind: Kind) throws {
        let seed = SeededGenerator(printingFor: "repeating, \(kind)").seed
        let first = try play(kind, seed: seed, steps: Self.steps)
        let second = try play(kind, seed: seed, steps: Self.steps)
        #expect(first.digest == second.digest, "each dictionary has its own order")
    }

    private func play(_ kind: Kind, seed: UInt64, steps: Int) throws -> PromiseModel {
        let model = try PromiseModel(seed: seed, kind.mode, maxDeliveries: kind.maxDeliveries)
        for step in 0..<steps where model.violations.isEmpty {
            model.context = "\(kind) seed \(seed) step \(step)"
            try act(model)
            model.observe()
        }
        if model.violations.isEmpty { model.drain() }
        return model
    }

    private func act(_ m: PromiseModel) throws {
        func somePartition() -> TopicPartition { m.h.place(Int32(m.pick(0..<Int(PromiseModel.partitions)))) }
        switch m.pick(0..<100) {
        case 0..<20:
            for _ in 0..<m.pick(1..<6) {
                m.h.source.append(
                    somePartition(), gap: m.chance(25) ? Int64(m.pick(1..<5)) : 0, bytes: m.pick(1..<400))
            }
        case 20..<42:
            m.poll(
                m.chance(30) ? nil : "client \(m.pick(0..<4))", max: m.pick(1..<12), maxBytes: m.pick(1..<2_000),
                wait: m.chance(50) ? .zero : .milliseconds(m.pick(1..<4_000)))
        case 42..<57: act(m, .acknowledge)
        case 57..<62: act(m, .giveBack(m.chance(50) ? .zero : .milliseconds(m.pick(1..<6_000))))
        case 62..<66: act(m, .extend(.milliseconds(m.pick(1_000..<9_000))))
        // A client or a proxy lost it.
        case 66..<70: m.loseAnswer()
        case 70..<75: m.h.clock.advance(by: .milliseconds(m.pick(0..<3_000)))
        case 75..<77: m.h.clock.jumpWall(milliseconds: Int64(m.pick(0..<7_200_000)) - 3_600_000)
        case 77..<79: m.h.store.failWrites([m.chance(50) ? .beforeWriting : .afterWriting])
        case 79..<80: m.h.submitter.fail([m.chance(50) ? .beforeWriting : .afterWriting])
        case 80..<82: m.h.source.failFetches([FakeOffsetStore.error])
        case 82..<84: m.revoke(somePartition())
        case 84..<85: m.h.source.appendGap(somePartition(), Int64(m.pick(1..<4)))
        case 85..<87: m.handles.randomElement(using: &m.random)?.cancel()
        case 87..<88: if m.chance(30) { try m.crash() }
        default:
            // Threads of the broker, in any order between partitions; one at a time.
            for _ in 0..<m.pick(1..<20) {
                m.h.callbacks.runOne()
                m.observe()
            }
        }
    }

    private func act(_ m: PromiseModel, _ action: PromiseModel.Action) {
        guard let (selector, groups) = m.selector() else { return }
        m.call(action, selector, groups)
    }
}
