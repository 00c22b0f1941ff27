import Broker
import Glibc
import Primitives
import TestSupport

/// What disk and broker do with a call, and what happens beside it.
extension World {
    private static let interleavingDepthMax = 3

    /// Others go on while a call is on its way.
    ///
    /// - Returns: false when that process is dead meanwhile.
    func interleave(_ fate: Life.Fate, most: Int = 6) -> Bool {
        guard depth < Self.interleavingDepthMax else { return true }
        depth += 1
        defer { depth -= 1 }
        ledger.tally.add(.interleavings)
        for _ in 0..<chance.pick(1..<most) where !fate.isDead { happen() }
        return !fate.isDead
    }

    // MARK: - The disk

    func fault(of call: String, _ path: String, _ fate: Life.Fate) -> FakeFileSystem.Fault? {
        if isCalm || fate.isDead { return nil }
        chance.note(call.utf8.count << 8 | path.utf8.count)
        // META and ADOPTION are written with a lock held, as docs/ARCHITECTURE.md says.
        let isLocked = path.hasSuffix("/META") || path.hasSuffix("/ADOPTION")
        let mayInterleave = fate.isRunning && !isLocked && call != "pread"
        if mayInterleave, chance.percent(temper.interleavingPercent), !interleave(fate) { return nil }
        if isFull, FakeFileSystem.needsSpace(call), chance.percent(70) {
            ledger.tally.add(.noSpace)
            note("\(call) \(path): ENOSPC")
            return chance.percent(30) ? .errorAfterWrite(ENOSPC) : .error(ENOSPC)
        }
        guard chance.perMille(temper.diskPerMille) else { return nil }
        note("fault at \(call) \(path)")
        if !fate.isRunning, chance.percent(40) {
            ledger.tally.add(.diesInRecovery)
            return .die
        }
        switch call {
        case "pread":
            // (A parked file that a start cannot read counts as damaged, and its lane stops until the next start.)
            guard fate.isRunning || !path.hasSuffix(".parked"), chance.percent(10) else { return nil }
            ledger.tally.add(.readErrors)
            return .error(EIO)
        case "pwrite" where chance.percent(60):
            ledger.tally.add(.shortWrites)
            return .shortWrite
        case "pwrite" where chance.percent(50):
            ledger.tally.add(.ioErrors)
            return .errorAfterWrite(EIO)
        case "fdatasync" where mayInterleave && chance.percent(60):
            ledger.tally.add(.hungSyncs)
            clock.advance(by: .milliseconds(chance.pick(500..<9_000)))
            _ = interleave(fate, most: 12)
            return nil
        case "fdatasync", "fsync":
            ledger.tally.add(.syncErrors)
            return .error(EIO)
        default:
            ledger.tally.add(.ioErrors)
            return .error(EIO)
        }
    }

    // MARK: - The broker

    func fault(of call: FakeSinks.Call, _ fate: Life.Fate) -> FakeSinks.Fault? {
        if isCalm || fate.isDead { return nil }
        chance.note(call.lane << 8 | call.batch.count)
        if fate.isRunning, chance.percent(temper.interleavingPercent), !interleave(fate) {
            // What was sent before the end may arrive all the same.
            return chance.percent(50) ? nil : .refuse(FakeSinks.unreachable)
        }
        if let until = stuck[call.lane], until > clock.now() {
            ledger.tally.add(.refusedHandOvers)
            return .refuse(FakeSinks.unreachable)
        }
        guard chance.percent(temper.brokerPercent) else { return nil }
        let choice = chance.pick(0..<10)
        note("broker's fault \(choice) for lane \(call.lane)")
        switch choice {
        case 0, 1:
            ledger.tally.add(.refusedHandOvers)
            return .refuse(FakeSinks.unreachable)
        case 2, 3:
            ledger.tally.add(.lostAnswers)
            return .loseAnswer(FakeSinks.unreachable)
        case 4:
            ledger.tally.add(.lostAnswers)
            return .loseAnswer(BrokerError(.fenced, code: "transaction_timed_out", detail: "as told by the test"))
        case 5:
            ledger.tally.add(.refusedHandOvers)
            return .refuseCommit(FakeSinks.unreachable)
        // Only a record refused alone may die for it, and only bad ones may die.
        case 6 where call.batch.count > 1:
            ledger.tally.add(.refusedHandOvers)
            return .refuse(BrokerError(.recordFatal, code: "batch_refused", detail: "as told by the test"))
        case 7:
            ledger.tally.add(.fenced)
            return .fence
        case 8 where fate.isRunning:
            ledger.tally.add(.hungHandOvers)
            clock.advance(by: .milliseconds(chance.pick(500..<20_000)))
            if !interleave(fate, most: 12) { return chance.percent(50) ? nil : .refuse(FakeSinks.unreachable) }
            return chance.percent(50) ? nil : .refuse(FakeSinks.unreachable)
        default:
            ledger.tally.add(.refusedHandOvers)
            return .refuse(BrokerError(.sinkFatal, code: "sink", detail: "as told by the test"))
        }
    }
}
