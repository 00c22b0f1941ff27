import Logging
import Primitives
import Testing
import TestSupport

@testable import Telemetry

@Suite struct RepeatTableTests {
    private let start = ManualClock().now()

    private func kind(_ message: String) -> LogKind {
        LogKind(label: "l", level: .warning, message: message, code: nil)
    }

    private func admit(_ table: inout RepeatTable, _ message: String = "m", after: Duration) -> RepeatTable.Admission {
        table.admit(kind(message), linesMax: 2, now: start + after)
    }

    @Test func kind_GetsItsLinesInEachPeriod() {
        var table = RepeatTable()
        let first = (0..<4).map { admit(&table, after: .seconds($0)) }
        #expect(first == [.write, .write, .suppressFirst, .suppress])
        #expect(admit(&table, "other", after: .seconds(4)) == .write)
        #expect(table.nextDue == start + RepeatTable.period)
        #expect(table.takeDue(now: start + .milliseconds(9_999)) == [])
        #expect(table.takeDue(now: start + .seconds(10)) == [.init(kind: kind("m"), repeated: 2)])
        #expect(table.nextDue == nil)
        #expect(admit(&table, after: .seconds(10)) == .write)
    }

    @Test func repetitions_StayDue_WhenTheNextPeriodBeginsBeforeTheyAreTold() {
        var table = RepeatTable()
        for _ in 0..<5 { _ = admit(&table, after: .zero) }
        #expect(admit(&table, after: .seconds(15)) == .write)
        #expect(table.nextDue == start + RepeatTable.period)
        #expect(table.takeDue(now: start + .seconds(15)) == [.init(kind: kind("m"), repeated: 3)])
        #expect(table.takeDue(now: start + .seconds(60)) == [])
    }

    @Test func everything_IsTold_WhenTheProcessEnds() {
        var table = RepeatTable()
        for message in ["b", "a"] { for _ in 0..<3 { _ = admit(&table, message, after: .zero) } }
        let summaries = table.takeDue(now: start, everything: true)
        #expect(summaries == [.init(kind: kind("a"), repeated: 1), .init(kind: kind("b"), repeated: 1)])
    }

    @Test func memory_IsBounded_AndWhatFindsNoRoomIsWritten() {
        var table = RepeatTable()
        for number in 0..<RepeatTable.kindsMax { _ = admit(&table, "\(number)", after: .zero) }
        for _ in 0..<10 { #expect(admit(&table, "no room", after: .seconds(1)) == .write) }
        // Past their period the others make room.
        let later = (0..<3).map { _ in admit(&table, "no room", after: .seconds(11)) }
        #expect(later == [.write, .write, .suppressFirst])
    }
}
