import Journal
import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

@Suite struct RecordPlaceTests {
    private static let lanes = 3

    /// Nothing of it is in memory, and nothing is delivered.
    private func backlog(segmentBytes: Int, requests: Int, records: Int) throws -> (SpoolHarness, [LSN: Int]) {
        var settings = SpoolHarness.settings
        settings.journal.segmentBytes = segmentBytes
        settings.journal.tailBytesMax = 0
        let harness = try SpoolHarness(FakeFileSystem(), settings: settings)
        var lanes: [LSN: Int] = [:]
        for request in 0..<requests {
            let lane = request % Self.lanes
            let first = try harness.submit(Array(repeating: record(lane, "x"), count: records)).get().first
            for number in 0..<records { lanes[first.advanced(by: number)] = lane }
        }
        return (harness, lanes)
    }

    @Test func places_AreTold_WhicheverAreAskedFor() throws {
        var random = SeededGenerator(printingFor: "places_AreTold")
        let (harness, lanes) = try backlog(segmentBytes: 8 << 10, requests: 60, records: 20)
        defer { harness.close() }
        let first = try #require(lanes.keys.min())
        for share in [1, 2, 50, 400] {
            for _ in 0..<5 {
                var asked = lanes.keys.filter { _ in Int.random(in: 0..<share, using: &random) == 0 }
                asked += asked.filter { _ in Int.random(in: 0..<8, using: &random) == 0 }
                // Of none: below all, and beyond all.
                asked += [
                    .zero, LSN(rawValue: first.rawValue - 1), first.advanced(by: lanes.count), LSN(rawValue: .max),
                ]
                asked.sort()
                let places = try harness.spool.places(of: asked)
                #expect(places == asked.map { lsn in lanes[lsn].map { .lane(UInt8($0)) } ?? .nowhere })
            }
        }
    }

    /// However far apart they are.
    @Test func places_OfABacklog_CostOnePassOverIt() throws {
        let (harness, lanes) = try backlog(segmentBytes: 8 << 20, requests: 300, records: 200)
        defer { harness.close() }
        let asked = lanes.keys.sorted().enumerated().filter { $0.offset % 5_000 == 0 }.map(\.element)
        #expect(asked.count == 12)
        let before = harness.disk.bytesRead
        let places = try harness.spool.places(of: asked)
        let read = harness.disk.bytesRead - before
        #expect(places == asked.compactMap { lanes[$0] }.map { .lane(UInt8($0)) })
        let used = Int(harness.spool.usedBytes)
        #expect(used > 2 << 20)
        // The window that is read ahead comes on top.
        #expect(read < used + 2 << 20, "\(read) bytes of \(used)")
    }
}
