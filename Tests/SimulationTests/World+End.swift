import Consumers
import Primitives
import Records
import TestSupport

extension World {
    /// A run of so many events, and its end.
    func run(events: Int) throws {
        for _ in 0..<events where ledger.violations.isEmpty {
            happenAlone()
            happen()
        }
        if ledger.violations.isEmpty { try drain() }
        for site in [gateway, twin] { site?.life?.disk.setPlan(nil) }
    }

    /// From here on nothing fails: everything is delivered, read and acknowledged, and the sums are made.
    private func drain() throws {
        note("the end")
        (isCalm, isFull, stuck) = (true, false, [:])
        if twin != nil { endTwins() }
        readers?.store.clearFailures()
        readers?.source.clearFailures()
        for _ in 0..<600 where ledger.violations.isEmpty {
            ledger.now += 1
            if gateway.life?.fate.isDead ?? true { restart() }
            if let fatal = gateway.life?.fate.fatal {
                note("exits: \(fatal)")
                gateway.disk = end(gateway, hasPower: true)
                restart()
            }
            decideIfUnknown()
            guard let life = gateway.life else { return }
            for _ in 0..<20 {
                let ready = Life.actors.filter(life.isReady)
                if ready.isEmpty { break }
                for actor in ready where life.isReady(actor) { step(life, actor) }
            }
            observe()
            read()
            if life.isDrained, pendingDeadLetters == 0, isRead, isEverythingAnswered { break }
            askWhatIsOpen()
            clock.advance(by: .milliseconds(700))
        }
        guard ledger.violations.isEmpty else { return }
        let isDrained = gateway.life?.isDrained ?? false
        ledger.expect(isDrained, "P3: it does not drain: \(gateway.life?.status ?? [])")
        ledger.expect(isEverythingAnswered, "P4: a request gets no answer, however often it is repeated")
        ledger.expect(pendingDeadLetters == 0, "a dead letter is pending")
        ledger.close(dead: try dead())
        if let life = gateway.life {
            life.stop()
            ledger.expect(life.fate.fatal == nil, "\(life.fate.fatal ?? "")")
        }
    }

    private var isRead: Bool {
        ledger.partitions.allSatisfy { $0.committed == Int64($0.records.count) }
    }

    private func read() {
        guard let readers else { return }
        readers.callbacks.runAll()
        readers.poll(client: "last", max: 50, wait: .zero)
        readers.callbacks.runAll()
        while let answer = readers.answer({ $0 - 1 }, forgetting: true) { readers.acknowledge(answer.records) }
        readers.callbacks.runAll()
        observe()
    }
}
