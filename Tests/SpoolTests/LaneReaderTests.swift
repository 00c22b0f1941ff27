import Journal
import Records
import TestSupport
import Testing

@testable import Spool

@Suite struct LaneReaderTests {
    private static let kib = 1 << 10

    private func harness() throws -> SpoolHarness {
        var settings = SpoolHarness.settings
        settings.journal.segmentBytes = 8 << 20
        settings.journal.groupBytesMax = 1 << 20
        settings.journal.tailBytesMax = 8 << 20
        return try SpoolHarness(FakeFileSystem(), settings: settings)
    }

    /// A part of a frame that did not fit would keep all of it in memory.
    @Test func batch_EndsWithALargeFrame_WhereTheNextWouldNotFit() throws {
        let harness = try harness()
        defer { harness.close() }
        for number in 0..<3 {
            let records = (0..<2).map { record(0, "\(number).\($0)", padding: 300 * Self.kib) }
            _ = try harness.submit(records).get()
        }
        for number in 0..<3 {
            let batch = try harness.read(0, bytes: 1000 * Self.kib)
            #expect(batch.texts == ["\(number).0", "\(number).1"])
            #expect(batch.isCut == (number < 2))
        }
        #expect(try harness.read(0).records.isEmpty)
    }

    @Test func batch_IsFilledToTheByte_WhereFramesAreSmall() throws {
        let harness = try harness()
        defer { harness.close() }
        for number in 0..<12 { try harness.accept(record(0, "\(number)", padding: 100 * Self.kib)) }
        let first = try harness.read(0, bytes: 1000 * Self.kib)
        #expect(first.texts == (0..<9).map(String.init))
        #expect(first.isCut)
        #expect(first.bytes > 900 * Self.kib && first.bytes <= 1000 * Self.kib)
        #expect(try harness.read(0, bytes: 1000 * Self.kib).texts == ["9", "10", "11"])
    }

    @Test func largeFrame_IsHandedOutInParts_WhereItIsLargerThanTheBatch() throws {
        let harness = try harness()
        defer { harness.close() }
        let records = (0..<4).map { record(0, "\($0)", padding: 300 * Self.kib) }
        _ = try harness.submit(records).get()
        _ = try harness.submit([record(0, "4", padding: 300 * Self.kib)]).get()
        #expect(try harness.read(0, bytes: 700 * Self.kib).texts == ["0", "1"])
        #expect(try harness.read(0, bytes: 700 * Self.kib).texts == ["2", "3"])
        #expect(try harness.read(0, bytes: 700 * Self.kib).texts == ["4"])
    }
}
