import Broker
import Consumers
import DeadLetters
import Journal
import Primitives
import Records
import TestSupport

@testable import Spool
@testable import SpoolTestSupport

/// One seed's universe: a disk, a clock, a broker, clients, consumers, an operator, and the gateway between them; at
/// times a second one on a copy of the disk.
///
/// Everything runs on one thread. What threads do beside each other happens here while a call to the disk or the broker
/// is on its way (`World+Nature.swift`): then others take steps, and the call goes on. So a seed is the whole run.
// SAFETY: a world and everything in it belongs to one thread.
final class World: @unchecked Sendable {
    static let topics: [TopicName] = {
        let names = (0..<100).compactMap { TopicName("topic-\($0)") }
        let byLane = (0..<Life.lanes).map { lane in
            names.filter { Int(Records.lane(of: $0, lanes: Life.lanes)) == lane }
        }
        // The first lane has two.
        return [byLane[0][0], byLane[0][1], byLane[1][0], byLane[2][0]]
    }()
    static func number(of topic: TopicName) -> Int { topics.firstIndex(of: topic) ?? -1 }

    /// How bad it is in this one.
    struct Temper {
        var diskPerMille: Int
        var brokerPercent: Int
        var interleavingPercent: Int
        var storePercent: Int
        var hasOperator: Bool
        var settings: SpoolSettings
        var mode: DeliveryMode
    }

    let seed: UInt64
    let clock = ManualClock()
    let log = FakeLog()
    let temper: Temper
    var chance: Chance
    var ledger = Ledger(topics: World.topics.count)
    /// Nothing fails any more, and nothing happens beside anything.
    var isCalm = false
    /// The disk has no space.
    var isFull = false
    /// Topics of these lanes cannot be written, until then.
    var stuck: [Int: MonotonicInstant] = [:]
    var depth = 0
    /// Counts processes, whose nonces these are.
    private(set) var processes = 0
    /// By process.
    private var lineageOf: [Int] = [-1]
    private var lineages = 1
    var gateway: Site
    var twin: Site?
    private(set) var readers: Readers?
    /// Clients that number their requests, each with its gateways.
    var producers: [NumberedClient] = []
    var backup: (disk: FakeFileSystem, at: Int)?
    /// Records of each topic that the ledger and the consumers know.
    private var observed = [Int](repeating: 0, count: World.topics.count)
    private var stored: [StoredRecord] = []
    private let stores: [DeadLetters]
    private(set) var trace: [String]?

    /// A machine with a disk, on which one process after the other runs.
    struct Site {
        var disk: FakeFileSystem
        var life: Life?
        let lineage: Int
        let deadLetters: DeadLetters
        /// When its disk was copied from the other's.
        var copiedAt = 0
    }

    /// - Parameters:
    ///   - stores: two empty ones.
    ///   - traces: whether `trace` says what happened.
    init(seed: UInt64, stores: [DeadLetters], traces: Bool = false) throws {
        self.seed = seed
        self.stores = stores
        trace = traces ? [] : nil
        var chance = Chance(seed: seed)
        temper = Self.temper(&chance)
        self.chance = chance
        gateway = Site(disk: FakeFileSystem(), lineage: 0, deadLetters: stores[0])
        isCalm = true
        start()
        ledger.expect(readers?.define(temper.mode) ?? false, "the consumer is not defined")
        isCalm = false
    }

    private static func temper(_ chance: inout Chance) -> Temper {
        var settings = SpoolSettings()
        settings.lanes = Life.lanes
        settings.journal.segmentBytes = chance.one(of: [6 << 10, 8 << 10, 12 << 10])
        settings.journal.groupBytesMax = 2 << 10
        settings.journal.tailBytesMax = chance.one(of: [0, 4 << 10])
        settings.journal.reserveBytes = 1 << 10
        settings.journal.zeroFill = chance.percent(40)
        settings.journal.syncTimeout = .seconds(5)
        if chance.percent(30) { settings.journal.sync = .interval(.milliseconds(200)) }
        if chance.percent(25) { settings.journal.sequencesPerEpoch = 40 }
        settings.bytesMax = 8 * Int64(settings.journal.segmentBytes)
        settings.highWaterPercent = 25
        settings.parkedBytesMax = 16 * Int64(settings.journal.segmentBytes)
        settings.parkAfter = .seconds(2)
        settings.parkInterval = .milliseconds(500)
        // Jumps of the wall clock over restarts age keys; no client here repeats too late.
        settings.idempotency.lifetime = .seconds(3650 * 24 * 3600)
        settings.idempotency.producerIdle = settings.idempotency.lifetime
        settings.idempotency.keysMax = 1_000
        settings.idempotency.saveInterval = .milliseconds(chance.one(of: [200, 2_000, 60_000]))
        settings.idempotency.unsavedKeysMax = 5
        return Temper(
            diskPerMille: chance.one(of: [0, 4, 10, 25]), brokerPercent: chance.one(of: [0, 10, 25]),
            interleavingPercent: chance.one(of: [0, 10, 30]), storePercent: chance.one(of: [0, 10]),
            hasOperator: chance.percent(50), settings: settings,
            mode: chance.percent(50) ? .ordered : .shared)
    }

    // MARK: - Processes

    /// Starts the gateway; what fails meanwhile ends that process, and there is another.
    func start() {
        let (life, disk) = begin(gateway, hasReaders: true)
        (gateway.life, gateway.disk) = (life, disk)
        serve(life)
    }

    /// - Returns: a process, and its disk: another one when an earlier try died.
    func begin(_ site: Site, hasReaders: Bool) -> (Life, FakeFileSystem) {
        var disk = site.disk
        let wasCalm = isCalm
        defer { isCalm = wasCalm }
        var attempt = 0
        while true {
            attempt += 1
            // A restored spool gives LSNs a second time where the clock was set back, or where starts came faster than
            // one a second for long (docs/JOURNAL.md): the worlds with backups keep off that. Two copies side by side
            // may start in one second, and take the same epoch.
            if temper.hasOperator, twin == nil { clock.advance(by: .milliseconds(2_100)) }
            if attempt > 3 { (isCalm, isFull) = (true, false) }
            processes += 1
            lineageOf.append(site.lineage)
            let fate = Life.Fate(process: processes, lineage: site.lineage)
            disk.setPlan { [weak self] call, path in self?.fault(of: call, path, fate) }
            let sinks = sinks(fate)
            do throws(JournalError) {
                let life = try Life(
                    fate, on: disk, temper.settings, clock: clock, sinks: sinks, deadLetters: site.deadLetters)
                guard !disk.isDead else {
                    // It died at a call whose failure a start takes lightly.
                    life.die()
                    ledger.tally.add(.refusedStarts)
                    disk = next(disk, hasPower: !chance.percent(40), lineage: site.lineage)
                    continue
                }
                if temper.hasOperator, twin == nil { clock.advance(by: .milliseconds(1_100)) }
                note("process \(processes) of \(site.lineage), epoch \(life.spool.epoch)")
                chance.note(Int(life.spool.epoch))
                ledger.recovered(lineage: site.lineage)
                if hasReaders {
                    do throws(BrokerError) {
                        readers = try Readers(self, epoch: life.spool.epoch, after: readers)
                        for record in stored { readers?.source.append(record) }
                    } catch {
                        ledger.expect(false, "no consumers: \(error)")
                    }
                }
                return (life, disk)
            } catch {
                note("process \(processes) of \(site.lineage) does not start: \(error)")
                ledger.tally.add(.refusedStarts)
                switch error {
                case .io, .unreadable(path: RequestFile.name, _): break
                default: ledger.expect(false, "a start is refused: \(error)")
                }
                ledger.expect(attempt < 5, "no start: \(error)")
                disk = next(disk, hasPower: !chance.percent(40), lineage: site.lineage)
                // A violation ends the run; until then it needs a disk.
                if attempt >= 5 { disk = FakeFileSystem() }
            }
        }
    }

    /// The lanes open before clients are served, as the gateway's do.
    func serve(_ life: Life) {
        for lane in 0..<Life.lanes where life.isReady(.lane(lane)) { step(life, .lane(lane)) }
        observe()
    }

    private func sinks(_ fate: Life.Fate) -> FakeSinks {
        FakeSinks(
            log,
            refusal: { outgoing in
                outgoing.spooled.record.value?.first == World.badMark
                    ? BrokerError(.recordFatal, code: "record_refused", detail: "as told by the test") : nil
            },
            plan: { [weak self] call in self?.fault(of: call, fate) })
    }

    func step(_ life: Life, _ actor: Life.Actor) {
        note("\(actor) of \(life.fate.process)")
        life.step(actor) { .milliseconds(chance.pick(1..<2_500)) }
    }

    /// A process is gone.
    ///
    /// - Returns: the disk that the next one finds.
    func end(_ site: Site, hasPower: Bool) -> FakeFileSystem {
        guard let life = site.life else { return site.disk }
        // (Read before: nothing of the process answers afterwards.)
        let durable = life.spool.durable
        life.die()
        if site.lineage == gateway.lineage { readers?.die() }
        ledger.processEnded(life.fate.process)
        ledger.synced(lineage: site.lineage, below: durable)
        if life.fate.fatal?.hasPrefix("journal") == true {
            ledger.lostUnsynced(lineage: site.lineage)
        }
        note("process \(life.fate.process) dies, power \(hasPower), durable \(durable)")
        return next(life.disk, hasPower: hasPower, lineage: site.lineage)
    }

    private func next(_ disk: FakeFileSystem, hasPower: Bool, lineage: Int) -> FakeFileSystem {
        disk.setPlan(nil)
        if hasPower {
            ledger.tally.add(.kills)
            return disk.killed()
        }
        ledger.lostUnsynced(lineage: lineage)
        let loss =
            chance.one(of: [.keepsSome, .keepsSome, .losesEverythingUnsynced, .keepsEverything])
            as FakeFileSystem.PowerLoss
        let survivor = disk.withoutPower(loss, seed: chance.next())
        ledger.tally.add(.powerLosses)
        ledger.tally.add(.tornWrites, survivor.losses.torn)
        ledger.tally.add(.reorderedWrites, survivor.losses.reordered)
        ledger.tally.add(.lostWrites, survivor.losses.writes)
        ledger.tally.add(.lostNames, survivor.losses.names)
        return survivor
    }

    // MARK: - The other side of the broker

    static let badMark = UInt8(ascii: "!")

    /// The ledger and the consumers learn what was committed to the broker's log.
    func observe() {
        for (topic, name) in Self.topics.enumerated() {
            let records = log.records(name)
            while observed[topic] < records.count {
                let (offset, outgoing) = (observed[topic], records[observed[topic]])
                observed[topic] += 1
                let number = Self.number(in: outgoing.spooled.record)
                note("record \(number) of LSN \(outgoing.lsn) is \(name) \(offset)")
                chance.note(number)
                ledger.stored(number, lsn: outgoing.lsn, in: topic, by: lineage(handingOver: name))
                let record = StoredRecord(
                    partition: TopicPartition(topic: name, partition: 0), offset: Int64(offset),
                    record: outgoing.spooled.record)
                stored.append(record)
                readers?.source.append(record)
            }
        }
        readers?.observeCommits()
        for site in [gateway, twin] {
            if let site {
                // (These are written anew before they are synced again.)
                let again = site.disk.syncedAfterFailure.filter {
                    !$0.hasSuffix("/ADOPTION") && $0 != FakeRequestStore.newPath
                }
                ledger.expect(again.isEmpty, "a sync was tried again after it failed: \(again)")
            }
            if let life = site?.life, !life.fate.isDead {
                let news = life.news()
                ledger.tally.add(.parked, news.parked)
                ledger.tally.add(.segments, news.released)
                ledger.tally.add(.requestSaves, news.saves)
            }
            if let lost = site?.life?.corruption { ledger.expect(false, "P1: lost: \(lost)") }
        }
    }

    /// Whose hand-over was the last of the topic's lane: this is looked at after each.
    private func lineage(handingOver topic: TopicName) -> Int {
        let lane = Int(Records.lane(of: topic, lanes: Life.lanes))
        let checkpoint = gateway.life.flatMap { log.checkpoint(spool: $0.spool.id, lane: lane) }
        return checkpoint.map { lineageOf[Int($0.nonce)] } ?? gateway.lineage
    }

    static func number(in record: Record) -> Int {
        Int(String(decoding: (record.value ?? []).drop { $0 == badMark }, as: UTF8.self)) ?? -1
    }

    /// Records of the broker's dead-letter store.
    func dead() throws -> Set<Int> {
        var dead: Set<Int> = []
        for store in stores {
            for letter in try store.list(DeadLetterQuery(limit: 1000)) {
                guard let spooled = try store.record(lsn: letter.lsn) else { continue }
                dead.insert(Self.number(in: spooled.record))
            }
        }
        return dead
    }

    var pendingDeadLetters: Int { gateway.deadLetters.count(state: .pending) }

    // MARK: - Looking back

    func note(_ text: @autoclosure () -> String) {
        if trace != nil { trace?.append("\(ledger.now) \(String(repeating: "  ", count: depth))\(text())") }
    }

    func newLineage() -> Int {
        lineages += 1
        return lineages - 1
    }

    func otherStore(than store: DeadLetters) -> DeadLetters { stores[0] === store ? stores[1] : stores[0] }

    var lives: [Life] { [gateway.life, twin?.life].compactMap { $0 }.filter { !$0.fate.isDead } }
}
