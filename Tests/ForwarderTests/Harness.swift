import Broker
import DeadLetters
import Journal
import Logging
import Outcomes
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

/// A gateway's spool and forwarder before a broker in memory. The log, the disk and the dead letters outlive the
/// process, which can be stopped, killed or lose its power.
final class Harness {
    static let lanes = 3

    struct Event: Hashable, Sendable {
        var hook: String
        var detail: String
    }

    let log = FakeLog()
    let deadLetters: DeadLetters
    let settings: ForwarderSettings
    let events = Monitor<[Event]>([])
    private let parent: TemporaryDirectory
    private let directory: String
    private let refusal: @Sendable (OutgoingRecord) -> BrokerError?
    private let memoryFactor: Int
    private let clock: any TimeSource
    private(set) var disk = FakeFileSystem()
    private(set) var spool: Spool
    private(set) var sinks: FakeSinks
    private(set) var forwarder: Forwarder
    private var timers = TimerThread()
    private(set) var nonce: UInt64 = 1

    private static var quiet: Logger { Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }) }

    static var spoolSettings: SpoolSettings {
        var settings = SpoolSettings()
        settings.lanes = lanes
        settings.journal.segmentBytes = 8 << 10
        settings.journal.groupBytesMax = 2 << 10
        settings.journal.tailBytesMax = 4 << 10
        settings.journal.reserveBytes = 1 << 10
        settings.journal.idleFrameDelay = .milliseconds(2)
        settings.journal.keeperInterval = .milliseconds(2)
        settings.journal.zeroFill = false
        return settings
    }

    static var shortBackoff: ForwarderSettings {
        var settings = ForwarderSettings()
        settings.batchRecordsMax = 8
        settings.retryInitial = .microseconds(20)
        settings.retryMax = .microseconds(200)
        return settings
    }

    /// - Parameters:
    ///   - memoryFactor: of the broker in memory.
    ///   - start: whether the lanes run at once.
    init(
        _ settings: ForwarderSettings = Harness.shortBackoff, deadLetters: DeadLettersSettings = DeadLettersSettings(),
        memoryFactor: Int = 1, clock: any TimeSource = SystemClock(), start: Bool = true,
        refusal: @escaping @Sendable (OutgoingRecord) -> BrokerError? = refuseMarked
    ) throws {
        parent = try TemporaryDirectory()
        directory = parent.path + "/dead"
        self.deadLetters = try DeadLetters(directory: directory, settings: deadLetters)
        self.settings = settings
        self.refusal = refusal
        self.memoryFactor = memoryFactor
        self.clock = clock
        sinks = Self.sinks(log, memoryFactor, refusal)
        spool = try Self.open(disk, timers, nonce, parent)
        forwarder = Self.forwarder(spool, sinks, self.deadLetters, settings, clock, events)
        if start { forwarder.start() }
    }

    /// What is kept of outcomes is synced, and so survives whatever the process does not.
    private static func open(
        _ disk: FakeFileSystem, _ timers: TimerThread, _ nonce: UInt64, _ outcomes: TemporaryDirectory
    ) throws -> Spool {
        let spool = try Spool.open(
            directory: "/spool", settings: spoolSettings, fileSystem: disk, timers: timers, nonce: nonce, log: quiet,
            failed: { _ in })
        // The disk under them is a real one, which nothing here takes the power from.
        var settings = OutcomesSettings()
        settings.syncs = false
        try spool.keepOutcomes(in: outcomes.path, settings: settings)
        return spool
    }

    private static func sinks(
        _ log: FakeLog, _ memoryFactor: Int, _ refusal: @escaping @Sendable (OutgoingRecord) -> BrokerError?,
        _ plan: @escaping @Sendable (FakeSinks.Call) -> FakeSinks.Fault? = { _ in nil }
    ) -> FakeSinks {
        FakeSinks(log, memoryFactor: memoryFactor, refusal: refusal, plan: plan)
    }

    private static func forwarder(
        _ spool: Spool, _ sinks: FakeSinks, _ deadLetters: DeadLetters, _ settings: ForwarderSettings,
        _ clock: any TimeSource, _ events: Monitor<[Event]>
    ) -> Forwarder {
        @Sendable func add(_ event: Event) {
            events.withLock { $0.append(event) }
            events.broadcast()
        }
        return Forwarder(
            spool: spool, sinks: sinks, deadLetters: deadLetters, settings: settings, clock: clock,
            log: quiet,
            hooks: ForwarderHooks(
                processFatal: { code, _ in add(Event(hook: "processFatal", detail: code)) },
                historyUnknown: { lane, _ in
                    spool.closeIntake("spool_history_unknown")
                    add(Event(hook: "historyUnknown", detail: "\(lane)"))
                }))
    }

    // MARK: - Lives of the process

    enum End: CaseIterable {
        /// The forwarder alone ends in order and begins again.
        case forwarderRestart
        case restart
        case killed
        case powerLoss
    }

    /// Ends the process and starts the next, whose sinks follow `plan`.
    ///
    /// - Parameter between: what an operator does meanwhile.
    func restart(
        _ end: End, seed: UInt64 = 1, start: Bool = true, between: (FakeFileSystem) throws -> Void = { _ in },
        plan: @escaping @Sendable (FakeSinks.Call) -> FakeSinks.Fault? = { _ in nil }
    ) throws {
        switch end {
        case .forwarderRestart, .restart: break
        case .killed, .powerLoss: sinks.die()
        }
        sinks.release()
        forwarder.stop()
        if end != .forwarderRestart { nonce += 1 }
        sinks = Self.sinks(log, memoryFactor, refusal, plan)
        if end != .forwarderRestart {
            switch end {
            case .forwarderRestart, .restart: spool.close()
            case .killed: replaceDisk { $0.killed() }
            case .powerLoss: replaceDisk { $0.withoutPower(.keepsSome, seed: seed) }
            }
            timers.stop()
            timers = TimerThread()
            try between(disk)
            spool = try Self.open(disk, timers, nonce, parent)
        }
        forwarder = Self.forwarder(spool, sinks, deadLetters, settings, clock, events)
        if start { forwarder.start() }
    }

    private func replaceDisk(_ next: (FakeFileSystem) -> FakeFileSystem) {
        disk = next(disk)
        spool.close()
    }

    func stop() {
        sinks.release()
        forwarder.stop()
        spool.close()
        timers.stop()
    }

    // MARK: - Records

    @discardableResult
    func accept(_ records: [SpoolRecord]) throws -> LSN {
        let answer = Monitor<Result<Acceptance, SpoolRefusal>?>(nil)
        spool.submit(records) { result in
            answer.withLock { $0 = result }
            answer.signal()
        }
        return try answer.wait { $0 }!.get().first
    }

    @discardableResult
    func accept(_ lane: Int, _ texts: String...) throws -> LSN { try accept(texts.map { record(topic(lane), $0) }) }

    func texts(_ lane: Int) -> [String] { log.records(topic(lane)).map { text($0.spooled) } }

    func waitForTexts(_ lane: Int, _ count: Int) -> Bool {
        let partition = TopicPartition(topic: topic(lane), partition: 0)
        return log.wait { $0.partitions[partition]?.count ?? 0 >= count }
    }

    /// Waits until the lane's checkpoint at the broker is there.
    func waitForCheckpoint(_ lane: Int, _ lsn: LSN) -> Bool {
        let key = FakeLog.LaneKey(spool: spool.id, lane: lane)
        return log.wait { ($0.lanes[key]?.checkpoint?.lsn ?? .zero) >= lsn }
    }

    func waitForEvent(_ event: Event) -> Bool {
        events.wait(until: patienceEnd()) { $0.contains(event) ? true : nil } ?? false
    }

    func waitForStatus(_ lane: Int, _ condition: (LaneStatus) -> Bool) -> Bool {
        eventually { condition(forwarder.status[lane]) }
    }
}

/// Records whose text begins with this are refused for ever.
let mark = "BAD"

func refuseMarked(_ outgoing: OutgoingRecord) -> BrokerError? {
    text(outgoing.spooled).hasPrefix(mark)
        ? BrokerError(.recordFatal, code: "record_refused", detail: "as told by the test") : nil
}

func text(_ spooled: SpoolRecord) -> String { String(decoding: spooled.record.value ?? [], as: UTF8.self) }

private let names = (0..<40).compactMap { TopicName("topic-\($0)") }
private let topicsByLane = (0..<Harness.lanes).map { lane in
    names.filter { Records.lane(of: $0, lanes: Harness.lanes) == lane }
}

/// A topic of the lane.
func topic(_ lane: Int, _ number: Int = 0) -> TopicName { topicsByLane[lane][number] }

func record(_ topic: TopicName, _ text: String, padding: Int = 0, gatewaysTimestamp: Bool = true) -> SpoolRecord {
    SpoolRecord(
        topic: topic, partition: nil, timestampIsGateways: gatewaysTimestamp,
        record: Record(key: [UInt8](repeating: 0, count: padding)[...], value: Array(text.utf8)[...], timestampMs: 1))
}
