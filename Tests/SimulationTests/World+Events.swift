import Broker
import Consumers
import Journal
import Primitives
import Records
import Spool
import TestSupport

/// What happens next: one thing at a time.
extension World {
    /// Anything that may happen at any time, also while a call is on its way.
    func happen() {
        let lives = lives
        guard !lives.isEmpty, ledger.violations.isEmpty else { return }
        ledger.now += 1
        let life = chance.one(of: lives)
        let choice = chance.pick(0..<100)
        chance.note(choice)
        switch choice {
        case 0..<22: actAsClient(of: life)
        case 22..<68: stepSomebody(lives)
        case 68..<75: clock.advance(by: .milliseconds(chance.pick(0..<300)))
        case 75..<77: clock.advance(by: .milliseconds(chance.pick(500..<4_000)))
        case 77..<94: actAsConsumer()
        case 94: stuck[chance.pick(0..<Life.lanes)] = clock.now() + .milliseconds(chance.pick(1_000..<20_000))
        case 95: if chance.percent(temper.diskPerMille > 0 ? 40 : 10) { isFull.toggle() }
        case 96: clock.jumpWall(milliseconds: Int64(chance.pick(0..<7_200_000)) - (temper.hasOperator ? 0 : 3_600_000))
        default: if chance.percent(35) { crash(life) }
        }
        observe()
    }

    /// What only happens between calls.
    func happenAlone() {
        ledger.now += 1
        if isFull, chance.percent(10) { isFull = false }
        for site in [gateway, twin].compactMap({ $0 }) {
            guard let fatal = site.life?.fate.fatal, chance.percent(40) else { continue }
            exit(site, because: fatal)
        }
        if gateway.life?.fate.isDead ?? true, twin == nil || chance.percent(30) { restart() }
        if temper.hasOperator || twin != nil { operate() }
        if gateway.life?.fate.isDead == false, chance.percent(1) { stopInOrder() }
    }

    // MARK: - Processes

    private func stepSomebody(_ lives: [Life]) {
        for _ in 0..<chance.pick(1..<5) {
            let ready = lives.flatMap { life in Life.actors.filter(life.isReady).map { (life, $0) } }
            if ready.isEmpty { return clock.advance(by: .milliseconds(chance.pick(1..<400))) }
            let (life, actor) = chance.one(of: ready)
            step(life, actor)
            observe()
        }
    }

    private func crash(_ life: Life) {
        let isGateways = life === gateway.life
        guard let site = isGateways ? gateway : twin else { return }
        let disk = end(site, hasPower: chance.percent(40))
        if isGateways { gateway.disk = disk } else { twin?.disk = disk }
    }

    private func exit(_ site: Site, because fatal: String) {
        ledger.tally.add(fatal == "spool_owned_elsewhere" ? .ownedElsewhere : .fatal)
        note("process \(site.life?.fate.process ?? 0) exits: \(fatal)")
        let disk = end(site, hasPower: !chance.percent(20))
        if site.lineage == gateway.lineage { gateway.disk = disk } else { twin?.disk = disk }
    }

    func restart() {
        gateway.life = nil
        start()
    }

    private func stopInOrder() {
        guard let life = gateway.life else { return }
        note("process \(life.fate.process) stops in order")
        ledger.tally.add(.restarts)
        let fate = life.fate
        life.stop()
        gateway.disk = end(gateway, hasPower: chance.percent(70) || fate.fatal != nil)
    }

    // MARK: - Consumers

    private func actAsConsumer() {
        guard let readers, gateway.life?.fate.isDead == false else { return }
        switch chance.pick(0..<20) {
        case 0..<6:
            readers.poll(
                client: chance.percent(30) ? nil : "client \(chance.pick(0..<3))", max: chance.pick(1..<8),
                wait: chance.percent(50) ? .zero : .milliseconds(chance.pick(1..<4_000)))
        case 6..<11:
            let forgets = chance.percent(50)
            guard let answer = readers.answer({ chance.pick(0..<$0) }, forgetting: forgets) else { break }
            let all = chance.percent(60)
            readers.acknowledge(answer.records.filter { _ in all || chance.percent(50) })
        case 11:
            guard let answer = readers.answer({ chance.pick(0..<$0) }, forgetting: true) else { break }
            let some = answer.records.filter { _ in chance.percent(50) }
            readers.giveBack(some, delay: .milliseconds(chance.pick(0..<3_000)))
        case 12:
            // Forgotten: a client or a proxy lost the answer.
            _ = readers.answer({ chance.pick(0..<$0) }, forgetting: true)
        case 13 where chance.percent(temper.storePercent):
            ledger.tally.add(.commitErrors)
            readers.store.failWrites([chance.percent(50) ? .beforeWriting : .afterWriting])
        case 14 where chance.percent(temper.storePercent):
            ledger.tally.add(.fetchErrors)
            readers.source.failFetches([FakeOffsetStore.error])
        default: break
        }
        for _ in 0..<chance.pick(0..<8) { readers.callbacks.runOne() }
    }

    // MARK: - Operators

    private func operate() {
        if let unknown = [gateway, twin].compactMap({ $0 }).first(where: { $0.life?.fate.isHistoryUnknown == true }),
            chance.percent(30)
        {
            decide(unknown)
        }
        if twin != nil {
            if twin?.life?.fate.isDead == true || gateway.life?.fate.isDead == true, chance.percent(30) { endTwins() }
        } else if chance.percent(2), gateway.life?.isForwarding == true {
            beginTwin()
        } else if chance.percent(2), let life = gateway.life, life.isForwarding {
            note("backup")
            ledger.copied()
            backup = (life.disk.copied(), ledger.now)
            // What is answered next is answered later.
            ledger.now += 1
        } else if chance.percent(2), let backup {
            restore(backup.disk, backup.at)
        }
    }

    private func restore(_ disk: FakeFileSystem, _ at: Int) {
        note("restored from \(at)")
        ledger.tally.add(.restored)
        _ = end(gateway, hasPower: true)
        ledger.putAway(after: at, lineage: nil)
        producers = []
        gateway.disk = disk.copied().withoutPower(.keepsEverything)
        restart()
    }

    /// `postrider spool adopt`, of a gateway that does not run.
    private func decide(_ site: Site) {
        ledger.tally.add(.unknownHistories)
        let disk = end(site, hasPower: true)
        let resends = chance.percent(50)
        // It takes an epoch, as a start does.
        if twin == nil { clock.advance(by: .milliseconds(2_100)) }
        note("adopt, resend \(resends)")
        do {
            _ = try Journal.adopt(
                directory: Life.directory, resends ? .resend : .assumeDelivered, settings: temper.settings.journal,
                fileSystem: disk, clock: clock, log: Life.quiet)
        } catch {
            ledger.expect(false, "adopt: \(error)")
        }
        ledger.recovered(lineage: site.lineage)
        ledger.tally.add(resends ? .resent : .assumedDelivered)
        if resends { ledger.resend() } else { ledger.assumeDelivered() }
        producers = []
        let next = disk.withoutPower(.losesEverythingUnsynced)
        if site.lineage == gateway.lineage {
            gateway.disk = next
            restart()
        } else {
            twin?.disk = next
            twin?.life = nil
            startTwin()
        }
    }

    /// A copy of the directory is started elsewhere.
    private func beginTwin() {
        guard let life = gateway.life else { return }
        note("twin")
        ledger.copied()
        ledger.twinBegins()
        ledger.tally.add(.twins)
        twin = Site(
            disk: life.disk.copied(), lineage: newLineage(), deadLetters: otherStore(than: gateway.deadLetters),
            copiedAt: ledger.now)
        ledger.now += 1
        startTwin()
    }

    private func startTwin() {
        guard let site = twin else { return }
        let (life, disk) = begin(site, hasReaders: false)
        twin?.life = life
        twin?.disk = disk
        serve(life)
    }

    /// Somebody notices, and goes on with one of them.
    func endTwins() {
        guard var other = twin else { return }
        other.disk = end(other, hasPower: true)
        gateway.disk = end(gateway, hasPower: true)
        let keepsOther = chance.percent(50)
        note("goes on with the twin: \(keepsOther)")
        ledger.putAway(after: other.copiedAt, lineage: keepsOther ? gateway.lineage : other.lineage)
        producers = []
        if keepsOther { gateway = other }
        twin = nil
        // Longer than the starts of both took epochs.
        clock.advance(by: .seconds(120))
        restart()
    }

    /// The decision that is due, at the end.
    func decideIfUnknown() {
        if gateway.life?.fate.isHistoryUnknown == true { decide(gateway) }
    }
}
