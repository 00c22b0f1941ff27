import Primitives
import Records
import Testing

@testable import Spool

@Suite struct LaneCursorsTests {
    @Test func idleLane_JumpsToWhatIsFound_AndABusyOneDoesNot() {
        var lane = LaneCursor()
        lane.found(in: lsn(10)..<lsn(12))
        #expect(lane.scanned == lsn(10) && lane.wanted == lsn(12) && lane.hasWork)
        lane.found(in: lsn(20)..<lsn(22))
        #expect(lane.scanned == lsn(10) && lane.wanted == lsn(22))
        lane.scanned = lsn(22)
        #expect(!lane.hasWork)
        lane.found(in: lsn(30)..<lsn(31))
        #expect(lane.scanned == lsn(30))
    }

    /// A frame can be read before the journal's hook tells of it.
    @Test(arguments: [
        (scanned: 25, work: true), (scanned: 30, work: false), (scanned: 45, work: false),
    ])
    func lane_ThatReadAhead_NeverGoesBack(scanned: UInt64, work: Bool) {
        var lane = LaneCursor(delivered: lsn(5), scanned: lsn(scanned), wanted: lsn(20))
        lane.found(in: lsn(20)..<lsn(30))
        #expect(lane.scanned == lsn(scanned))
        #expect(lane.hasWork == work)
    }

    @Test func released_IsTheLeastScannedOfLanesWithWork_ElseTheEnd() {
        var cursors = LaneCursors(lanes: 3)
        #expect(cursors.released(durable: lsn(50)) == lsn(50))
        cursors.lanes[1] = LaneCursor(delivered: lsn(9), scanned: lsn(10), wanted: lsn(20))
        cursors.lanes[2] = LaneCursor(delivered: lsn(4), scanned: lsn(5), wanted: lsn(5))
        #expect(cursors.released(durable: lsn(50)) == lsn(10))
    }

    @Test func encoding_KeepsDelivered_AndAnIdleLaneAtTheEnd() throws {
        var cursors = LaneCursors(lanes: 2)
        cursors.lanes[0] = LaneCursor(delivered: lsn(9), scanned: lsn(10), wanted: lsn(20))
        cursors.lanes[1] = LaneCursor(delivered: lsn(4), scanned: lsn(5), wanted: lsn(5))
        let bytes = cursors.encoded(durable: lsn(50))
        let decoded = try LaneCursors(decoding: bytes, lanes: 2)
        #expect(decoded.lanes[0] == LaneCursor(delivered: lsn(9), scanned: lsn(10), wanted: .zero))
        #expect(decoded.lanes[1] == LaneCursor(delivered: lsn(4), scanned: lsn(50), wanted: .zero))
        #expect(try LaneCursors(decoding: [], lanes: 2).lanes == [LaneCursor(), LaneCursor()])
        for length in 1..<bytes.count {
            #expect(throws: MalformedBytes.self) { try LaneCursors(decoding: Array(bytes[..<length]), lanes: 2) }
        }
        #expect(throws: MalformedBytes.self) { try LaneCursors(decoding: bytes, lanes: 3) }
        #expect(throws: MalformedBytes.self) { try LaneCursors(decoding: bytes + [0], lanes: 2) }
    }

    @Test func checkpoint_HasTheMarkOfRequests_AndIsReadWithoutOne() throws {
        var cursors = LaneCursors(lanes: 2)
        cursors.lanes[0] = LaneCursor(delivered: lsn(9), scanned: lsn(10), wanted: lsn(20))
        let mark = RequestMark(covered: lsn(0x0102), generation: 3)
        let bytes = SpoolCheckpoint(cursors: cursors, requests: mark).encoded(durable: lsn(50))
        let lanes = cursors.encoded(durable: lsn(50))
        #expect(bytes == [2] + lanes + [2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
        let decoded = try SpoolCheckpoint(decoding: bytes, lanes: 2)
        #expect(decoded.requests == mark)
        #expect(decoded.cursors.lanes[0].scanned == lsn(10))
        let older = try SpoolCheckpoint(decoding: lanes, lanes: 2)
        #expect(older.requests == RequestMark())
        #expect(older.cursors.lanes == decoded.cursors.lanes)
        #expect(try SpoolCheckpoint(decoding: [], lanes: 2).requests == RequestMark())
        for length in 1..<bytes.count {
            #expect(throws: MalformedBytes.self) { try SpoolCheckpoint(decoding: Array(bytes[..<length]), lanes: 2) }
        }
        #expect(throws: MalformedBytes.self) { try SpoolCheckpoint(decoding: bytes + [0], lanes: 2) }
    }

    private func lsn(_ value: UInt64) -> LSN { LSN(rawValue: value) }
}
