import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

/// LSNs rise, and none is used twice, whatever the wall clock does.
@Suite struct ClockTests {
    private static let hourMs: Int64 = 3_600_000

    private func life(_ disk: FakeFileSystem, at wallMs: Int64, sequencesPerEpoch: UInt64 = 1 << 20) throws -> [LSN] {
        let clock = ManualClock()
        clock.jumpWall(milliseconds: wallMs - clock.wallMilliseconds())
        var settings = JournalHarness.settings
        settings.sequencesPerEpoch = sequencesPerEpoch
        let harness = try JournalHarness(disk, settings: settings, clock: WallClock(clock))
        for record in 0..<6 {
            #expect(harness.append(["r\(record)"]).value != nil)
            // Also while it runs.
            clock.jumpWall(milliseconds: record % 2 == 0 ? -9 * Self.hourMs : 7 * Self.hourMs)
        }
        let lsns = try harness.read().map(\.lsn)
        harness.close()
        return lsns
    }

    @Test func epochs_Rise_WhereverTheClockIsAtAStart() throws {
        let now = ManualClock().wallMilliseconds()
        var disk = FakeFileSystem()
        var lives = 0
        // Now, hours back and ahead, before 1970, 1970, past the year 2106, and now again.
        let starts: [Int64] = [
            now, now - 5 * Self.hourMs, now + 5 * Self.hourMs, now, -Self.hourMs, 0, .max, now, 1 << 42, now,
        ]
        for wallMs in starts {
            for sequences in [UInt64(2), 1 << 20] {
                lives += 1
                let lsns = try life(disk, at: wallMs, sequencesPerEpoch: sequences)
                #expect(lsns.count == 6 * lives)
                #expect(zip(lsns, lsns.dropFirst()).allSatisfy { $0 < $1 }, "start at \(wallMs)")
                // A clock that is centuries ahead must not use up the epochs.
                #expect(lsns.allSatisfy { UInt64($0.epoch) < UInt64(now / 1000) + 86_400 }, "start at \(wallMs)")
                disk = disk.withoutPower(.losesEverythingUnsynced)
            }
        }
    }
}

/// The wall clock of one, and the monotonic clock that threads sleep by.
private struct WallClock: TimeSource {
    private let wall: ManualClock

    init(_ wall: ManualClock) { self.wall = wall }

    func now() -> MonotonicInstant { SystemClock().now() }
    func wallMilliseconds() -> Int64 { wall.wallMilliseconds() }
}
