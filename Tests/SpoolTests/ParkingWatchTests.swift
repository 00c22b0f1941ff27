import Primitives
import Records
import Testing

@testable import Spool

@Suite struct ParkingWatchTests {
    private static let after = Duration.seconds(10)

    /// Lane 0 has work and stands; what the others do decides.
    private struct Lanes {
        var cursors = LaneCursors(lanes: 3)
        var watch = ParkingWatch(after: ParkingWatchTests.after)
        var now = MonotonicInstant(nanoseconds: 1_000_000_000)

        init() {
            cursors.lanes[0] = LaneCursor(delivered: LSN(rawValue: 5), scanned: LSN(rawValue: 6))
            cursors.lanes[0].wanted = LSN(rawValue: 100)
            cursors.lanes[1] = LaneCursor(delivered: LSN(rawValue: 1), scanned: LSN(rawValue: 2))
            cursors.lanes[1].wanted = LSN(rawValue: 100)
            look()
        }

        mutating func look() { watch.observe(cursors, now: now) }

        mutating func pass(_ seconds: Int, delivering lanes: Int...) {
            for _ in 0..<seconds {
                now = now + .seconds(1)
                for lane in lanes { cursors.lanes[lane].delivered.rawValue += 1 }
                look()
            }
        }

        var stuck: [Int] { watch.stuck(cursors, now: now) }
    }

    @Test func lane_IsStuck_WhenItStandsStillAndAnotherDelivers() {
        var lanes = Lanes()
        lanes.pass(9, delivering: 1)
        #expect(lanes.stuck == [])
        lanes.pass(1, delivering: 1)
        #expect(lanes.stuck == [0])
        lanes.pass(1, delivering: 0, 1)
        #expect(lanes.stuck == [])
    }

    @Test func noLaneIsStuck_WhenNobodyDelivers() {
        var lanes = Lanes()
        lanes.pass(30)
        #expect(lanes.stuck == [])
        lanes.pass(1, delivering: 1)
        #expect(lanes.stuck == [0])
        // The other one stopped, too.
        lanes.pass(10)
        #expect(lanes.stuck == [])
    }

    @Test func laneThatDeliveredAll_IsWell_ThoughItGetsNothingMore() {
        var lanes = Lanes()
        lanes.pass(1, delivering: 1)
        lanes.cursors.lanes[1].scanned = lanes.cursors.lanes[1].wanted
        lanes.pass(30)
        #expect(lanes.stuck == [0])
        // Of what happened before the lane stopped it says nothing.
        lanes.pass(1, delivering: 0)
        lanes.pass(30)
        #expect(lanes.stuck == [])
        lanes.pass(1, delivering: 0, 1)
        lanes.pass(30)
        #expect(lanes.stuck == [])
        lanes.pass(1, delivering: 1)
        lanes.pass(30)
        #expect(lanes.stuck == [0])
    }

    @Test func stuckLanes_ComeInTheOrderOfWhatTheyPin() {
        var lanes = Lanes()
        lanes.pass(20, delivering: 2)
        #expect(lanes.stuck == [1, 0])
    }

    @Test func lane_IsNotStuck_WhileItHasNothingToDoOrReadsThroughOthers() {
        var lanes = Lanes()
        lanes.cursors.lanes[0].scanned = lanes.cursors.lanes[0].wanted
        lanes.pass(20, delivering: 1)
        #expect(lanes.stuck == [])
        lanes.cursors.lanes[0].wanted = LSN(rawValue: 200)
        lanes.pass(9, delivering: 1)
        #expect(lanes.stuck == [], "it had nothing to do until then")
        lanes.cursors.lanes[0].scanned.rawValue += 10
        lanes.pass(10, delivering: 1)
        #expect(lanes.stuck == [])
        lanes.pass(1, delivering: 1)
        #expect(lanes.stuck == [0])
    }

    @Test func parkedLane_StaysStuck_ThoughParkingMovesIt() {
        var lanes = Lanes()
        lanes.pass(10, delivering: 1)
        lanes.cursors.lanes[0].park(to: LSN(rawValue: 50))
        lanes.pass(1, delivering: 1)
        #expect(lanes.stuck == [0])
        lanes.cursors.lanes[0].park(to: LSN(rawValue: 100))
        #expect(lanes.stuck == [], "nothing of it is left in the journal")
    }
}
