import Journal
import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

/// Requests, repetitions, refusals, crashes at any call of the disk, power failures, time that passes, and restores of
/// the whole directory, in any order, against `RequestModel`; and in the end each accepted request's records are there
/// once.
@Suite struct RequestPropertyTests {
    private static let lives = 60
    private static let steps = 120

    @Test func repetitions_AreKnown_WhateverHappens() throws {
        var seeds = SeededGenerator(printingFor: "repetitions_AreKnown")
        var counts = Counts()
        for number in 0..<Self.lives {
            var life = try RequestLife(seed: number == 0 ? seeds.seed : seeds.next())
            for _ in 0..<Self.steps { try life.step() }
            try life.end()
            counts.add(life.counts)
        }
        print("requests: \(counts)")
        #expect(counts.isVaried, "\(counts)")
    }

    struct Counts: CustomStringConvertible {
        var told: [String: Int] = [:]
        var unknown = 0, foundAgain = 0, crashes = 0, restores = 0

        mutating func add(_ other: Counts) {
            told.merge(other.told, uniquingKeysWith: +)
            unknown += other.unknown
            foundAgain += other.foundAgain
            crashes += other.crashes
            restores += other.restores
        }

        /// A run that never met something proves nothing about it.
        var isVaried: Bool {
            ["first", "repeated", "otherPayload", "gap", "full", "inFlight"].allSatisfy { (told[$0] ?? 0) > 10 }
                && unknown > 10 && foundAgain > 2 && crashes > 20 && restores > 10
        }

        var description: String {
            "\(told.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")); "
                + "\(unknown) unknown, \(foundAgain) of them found again, \(crashes) crashes, \(restores) restores"
        }
    }
}

/// One spool over many processes.
private struct RequestLife {
    let seed: UInt64
    private(set) var counts = RequestPropertyTests.Counts()
    private var random: SeededGenerator
    private let clock = ManualClock()
    private var model = RequestModel()
    private var spool: SpoolHarness
    private var backup: (disk: FakeFileSystem, model: RequestModel, texts: [LSN: String])?
    /// What stands where, as clients were told.
    private var texts: [LSN: String] = [:]
    private var number = 0
    private var steps: UInt64 = 0

    init(seed: UInt64) throws {
        self.seed = seed
        random = SeededGenerator(seed: seed)
        spool = try SpoolHarness(FakeFileSystem(), settings: Self.settings, requestClock: clock)
    }

    private static var settings: SpoolSettings {
        var settings = SpoolHarness.settings
        settings.idempotency.lifetime = .seconds(RequestModel.lifetimeSeconds)
        settings.idempotency.producerIdle = .seconds(RequestModel.idleSeconds)
        settings.idempotency.keysMax = RequestModel.keysMax
        settings.idempotency.saveInterval = .milliseconds(2)
        settings.idempotency.saveRetry = .milliseconds(2)
        return settings
    }

    private var seconds: Int64 { clock.wallMilliseconds() / 1000 }

    mutating func step() throws {
        // What is done next depends on the seed, not on the call at which a thread of the last process died.
        steps += 1
        random = SeededGenerator(seed: seed &+ steps &* 0x9e37_79b9_7f4a_7c15)
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<3: try restart(crash: .random(in: 0..<5, using: &random))
        case 3..<8: spool.disk.inject(.die, atCall: .random(in: 0..<12, using: &random))
        case 8..<14:
            let pause = Duration.seconds(Int64.random(in: 1...60, using: &random))
            // Who asks too late cannot find out any more.
            if model.unknown.isEmpty { clock.advance(by: pause) }
        case 14..<20: deliver()
        case 20: backUp()
        case 21: try restore()
        case 22..<26: try abandon()
        default: try request()
        }
    }

    private mutating func anyIdentity() -> RequestIdentity {
        let payload = UInt64.random(in: 0..<8, using: &random) == 0 ? 1 : UInt64(0)
        if Bool.random(using: &random) { return key(.random(in: 0..<30, using: &random), payload) }
        let producer = UInt64.random(in: 0..<3, using: &random)
        let last = model.last(of: producer, seconds: seconds)
        switch Int.random(in: 0..<8, using: &random) {
        case 0: return sequence(producer, last + 2, payload)
        case 1..<4: return sequence(producer, UInt64.random(in: 0...last, using: &random), payload)
        default: return sequence(producer, last + 1, payload)
        }
    }

    /// A request, perhaps one of unknown outcome again.
    private mutating func request() throws {
        let open = model.unknown.keys.sorted { "\($0)" < "\($1)" }
        let again = Int.random(in: 0..<2, using: &random) == 0 ? open.randomElement(using: &random) : nil
        let identity = again ?? anyIdentity()
        if open.contains(where: { $0.name == identity.name }), !open.contains(identity) {
            // Until it is known what became of the one before, nothing can be said of another.
            return
        }
        try send(identity)
    }

    private mutating func send(_ identity: RequestIdentity) throws {
        let attempt = model.unknown[identity]
        number += 1
        let count = Int.random(in: 1...3, using: &random)
        let attemptText = "\(number)"
        let records = (0..<count).map { record($0 % 3, "\(attemptText)/\($0)", padding: 200) }
        let (told, result) = spool.request(identity, records)
        counts.told["\("\(told)".prefix { $0 != "(" })", default: 0] += 1
        if let attempt {
            if case .repeated(let first, let count) = told {
                // It had been stored.
                #expect(count == attempt.count, "seed \(seed)")
                accept(identity, first, attempt)
                counts.foundAgain += 1
                return
            }
            // Where it is not there now, it never will be.
            model.unknown[identity] = nil
        }
        let isFull = told == .full(.keys(max: RequestModel.keysMax)) && model.mayBeFull(seconds: seconds)
        let expected = model.told(identity, seconds: seconds)
        #expect(
            isFull || told == expected,
            "seed \(seed), request \(number), \(identity) is \(told), not \(expected), at \(seconds)")
        guard let result else { return }
        let mine = RequestModel.Attempt(text: attemptText, count: count, seconds: seconds)
        switch result {
        case .success(let acceptance): accept(identity, acceptance.first, mine)
        case .failure(let refusal):
            if refusal.outcomeUnknown {
                model.unknown[identity] = mine
                counts.unknown += 1
            }
            // The disk refused: the process is as good as dead.
            try restart(crash: .random(in: 0..<5, using: &random))
        }
    }

    private mutating func accept(_ identity: RequestIdentity, _ first: LSN, _ attempt: RequestModel.Attempt) {
        model.unknown[identity] = nil
        model.accept(identity, first, count: attempt.count, seconds: attempt.seconds)
        for index in 0..<attempt.count {
            texts[LSN(rawValue: first.rawValue + UInt64(index))] = "\(attempt.text)/\(index)"
        }
    }

    /// What is refused after it was admitted stays unused.
    private mutating func abandon() throws {
        let identity = anyIdentity()
        guard !model.unknown.keys.contains(where: { $0.name == identity.name }) else { return }
        let admission = spool.spool.admit(identity)
        let isFull =
            Told(admission) == .full(.keys(max: RequestModel.keysMax)) && model.mayBeFull(seconds: seconds)
        #expect(isFull || Told(admission) == model.told(identity, seconds: seconds), "seed \(seed)")
        guard case .first(let claim) = admission else { return }
        let second = spool.ask(identity)
        #expect(second == .inFlight, "seed \(seed)")
        counts.told["inFlight", default: 0] += 1
        claim.abandon()
        #expect(spool.ask(identity) == .first, "seed \(seed)")
    }

    private func deliver() {
        do {
            try spool.deliverAll()
        } catch {
            // The disk died, which the next request finds.
        }
    }

    /// - Parameter crash: 0 the orderly end, 1 SIGKILL, else a power failure.
    private mutating func restart(crash: Int) throws {
        counts.crashes += crash == 0 ? 0 : 1
        if crash == 0 { spool.close() }
        let losses: [FakeFileSystem.PowerLoss] = [.losesEverythingUnsynced, .keepsEverything, .keepsSome]
        let survivor =
            crash < 2 ? spool.disk.killed() : spool.disk.withoutPower(losses[crash - 2], seed: random.next())
        if crash != 0 { spool.close() }
        spool = try SpoolHarness(survivor, settings: Self.settings, requestClock: clock)
    }

    private mutating func backUp() {
        // Of a stopped gateway: what is unknown is decided by asking before.
        guard model.unknown.isEmpty else { return }
        spool.close()
        backup = (spool.disk.killed(), model, texts)
        do {
            spool = try SpoolHarness(spool.disk.killed(), settings: Self.settings, requestClock: clock)
        } catch {
            Issue.record("\(error), seed \(seed)")
        }
    }

    private mutating func restore() throws {
        guard let backup else { return }
        counts.restores += 1
        spool.close()
        // A restored spool takes a later epoch than all it knows; epochs follow the clock.
        (model, texts) = (backup.model, backup.texts)
        spool = try SpoolHarness(backup.disk.killed(), settings: Self.settings, requestClock: clock)
    }

    /// Decides what is unknown, and looks at every record that is still there.
    mutating func end() throws {
        try restart(crash: 1)
        for identity in model.unknown.keys { try send(identity) }
        var found: [LSN: String] = [:]
        let reader = spool.spool.journal.reader(from: .zero)
        // (A segment that goes while it is read gives nothing; the next look is behind it.)
        var looks = 0
        while looks < 3 {
            guard let frame = try reader.next() else {
                looks += 1
                continue
            }
            looks = 0
            try frame.forEachRecord { lsn, bytes in
                do {
                    found[lsn] = text(try SpoolRecordCodec.decode(bytes))
                } catch {
                    Issue.record("\(error), seed \(seed)")
                }
            }
        }
        let wrong = found.filter { texts[$0.key] != $0.value }
        #expect(wrong.isEmpty, "seed \(seed): stored, and nobody was told: \(wrong.count) of \(found.count)")
        #expect(Set(found.values).count == found.count, "seed \(seed)")
        // What was delivered goes, oldest first, also while it is read here.
        let oldest = spool.disk.paths.filter { $0.hasSuffix(".seg") }.compactMap { UInt64($0.dropLast(4).suffix(20)) }
            .min()
        let lost = texts.filter { $0.key.rawValue >= oldest ?? .max && found[$0.key] == nil }
        #expect(lost.isEmpty, "seed \(seed): lost \(lost.count)")
        #expect(spool.spool.idempotency.gap == nil, "seed \(seed)")
        spool.close()
    }
}
