import Broker
import Records
import TestSupport
import Testing

@testable import KafkaBroker

@Suite struct PartitionBufferTests {
    private let place = TopicPartition("t")

    private func buffer(at start: Int64 = 0, _ offsets: [Int64]) -> PartitionBuffer {
        var buffer = PartitionBuffer(at: start)
        for offset in offsets { buffer.append(record(offset)) }
        return buffer
    }

    private func record(_ offset: Int64) -> StoredRecord {
        let value = Array(repeating: UInt8(ascii: "x"), count: 100)[...]
        return StoredRecord(
            partition: place, offset: offset, record: Record(key: nil, value: value, timestampMs: offset))
    }

    private func request(_ offset: Int64, to end: Int64? = nil, max: Int = 100, bytes: Int = 1 << 20) -> FetchRequest {
        FetchRequest(partition: place, offset: offset, endOffset: end, recordsMax: max, bytesMax: bytes)
    }

    private func found(_ answer: PartitionBuffer.Answer) -> FetchResult? {
        if case .found(let result) = answer { result } else { nil }
    }

    private func isElsewhere(_ answer: PartitionBuffer.Answer) -> Bool {
        if case .elsewhere = answer { true } else { false }
    }

    private func isNotYet(_ answer: PartitionBuffer.Answer) -> Bool {
        if case .notYet = answer { true } else { false }
    }

    @Test func takeNext_SaysNotYet_UntilSomethingOrTheEndIsKnown() {
        var buffer = PartitionBuffer(at: 5)
        let nothing = isNotYet(buffer.takeNext(request(5)))
        #expect(nothing)
        buffer.reachedEnd(at: 7)
        let end = found(buffer.takeNext(request(5)))
        #expect(end?.records.isEmpty == true && end?.nextOffset == 7 && end?.highWatermark == 7)
        buffer.append(record(7))
        let next = found(buffer.takeNext(request(7)))
        #expect(next?.records.map(\.offset) == [7] && next?.nextOffset == 8)
        #expect(next?.highWatermark == 9, "nobody has said that it ends there")
    }

    @Test func takeNext_GoesPastTheGapAtTheEnd() {
        var buffer = buffer([0, 1, 4])
        buffer.reachedEnd(at: 6)
        let result = found(buffer.takeNext(request(0)))
        #expect(result?.records.map(\.offset) == [0, 1, 4] && result?.nextOffset == 6 && result?.highWatermark == 6)
    }

    @Test func takeNext_IsCutByCountAndBytes_ButGivesOneRecord() {
        var buffer = buffer([0, 2, 3])
        let two = found(buffer.takeNext(request(0, max: 2)))
        #expect(two?.nextOffset == 3)
        let byBytes = found(buffer.takeNext(request(0, bytes: 250)))
        #expect(byBytes?.records.map(\.offset) == [0, 2])
        let one = found(buffer.takeNext(request(0, bytes: 1)))
        #expect(one?.records.map(\.offset) == [0])
    }

    @Test func takeNext_GivesAgain_WhatWasNotTaken() {
        var buffer = buffer([0, 1, 2])
        _ = buffer.takeNext(request(0))
        let rest = found(buffer.takeNext(request(1)))
        #expect(rest?.records.map(\.offset) == [1, 2])
        let isDropped = isElsewhere(buffer.takeNext(request(0)))
        #expect(isDropped, "dropped by the fetch behind it")
    }

    @Test func takeAgain_ChangesNothing_AndKnowsOnlyItsWindow() {
        var buffer = buffer([0, 1, 3, 4])
        _ = buffer.takeNext(request(0, max: 2))
        let again = found(buffer.takeAgain(request(1, to: 3)))
        #expect(again?.records.map(\.offset) == [1] && again?.nextOffset == 3)
        #expect(found(buffer.takeAgain(request(0, to: 2)))?.records.count == 2)
        #expect(isElsewhere(buffer.takeAgain(request(0, to: 9))))
        let behind = found(buffer.takeNext(request(2)))
        #expect(behind?.records.map(\.offset) == [3, 4])
        #expect(isElsewhere(buffer.takeAgain(request(0, to: 2))))
    }

    @Test func append_PassesOverWhatIsKnown() {
        var buffer = buffer([0, 1])
        let bytes = buffer.unreadBytes
        buffer.append(record(1))
        #expect(buffer.unreadBytes == bytes && buffer.next == 2)
    }

    @Test func raiseLowWatermark_MovesAndIsTold() {
        var buffer = buffer(at: 3, [])
        buffer.raiseLowWatermark(to: 10)
        buffer.append(record(10))
        let result = found(buffer.takeNext(request(3)))
        #expect(result?.lowWatermark == 10 && result?.records.map(\.offset) == [10])
    }

    /// A stream with gaps, read in random pieces, gives every record once and in order, and its unread bytes end
    /// at 0.
    @Test func reading_GivesEveryRecordOnceInOrder_WhateverThePieces() {
        var random = SeededGenerator(seed: 41)
        for _ in 0..<200 {
            var buffer = PartitionBuffer(at: 0)
            var (stream, sent): (Int64, [Int64]) = (0, [])
            var (position, read): (Int64, [Int64]) = (0, [])
            for _ in 0..<60 {
                switch Int.random(in: 0..<4, using: &random) {
                case 0, 1:
                    stream += Int64.random(in: 0..<3, using: &random)
                    buffer.append(record(stream))
                    sent.append(stream)
                    stream += 1
                case 2: buffer.reachedEnd(at: stream)
                default:
                    let most = Int.random(in: 1..<5, using: &random)
                    guard let result = found(buffer.takeNext(request(position, max: most))) else { continue }
                    // Sometimes less is taken than was given.
                    let taken = result.records.prefix(Int.random(in: 0...result.records.count, using: &random))
                    read += taken.map(\.offset)
                    position =
                        taken.count == result.records.count ? result.nextOffset : result.records[taken.count].offset
                }
            }
            while let result = found(buffer.takeNext(request(position))), !result.records.isEmpty {
                read += result.records.map(\.offset)
                position = result.nextOffset
            }
            #expect(read == sent)
            #expect(buffer.unreadBytes == 0)
        }
    }
}

@Suite struct PrefetchSharesTests {
    @Test func shares_NeverExceedTheLimit_AndEverybodyHasOne() {
        let shares = PrefetchShares(bytesMax: 1 << 20, consumersMax: 16)
        let taken = (0..<16).map { _ in shares.take() }
        #expect(taken.reduce(0, +) <= 1 << 20)
        #expect(taken.allSatisfy { $0 >= (1 << 20) / 2 / 16 })
        #expect(taken[0] > taken[15])
        for share in taken { shares.giveBack(share) }
        #expect(shares.take() == taken[0])
    }
}

@Suite struct WatchTableTests {
    private let place = TopicPartition("t")

    @Test func watch_IsFound_WhenARecordComesAtOrPastItsOffset() {
        var table = WatchTable(limit: 10)
        let isFirstIn = table.add(1, at: place, from: 5)
        let isSecondIn = table.add(2, at: place, from: 9)
        #expect(isFirstIn && isSecondIn)
        let beginning = table.settle(place)
        #expect(beginning == .begin(5))
        let firstFound = table.found(place, at: 6)
        #expect(firstFound == [1])
        let between = table.settle(place)
        #expect(between == .asItIs, "the stream stands before 9")
        let secondFound = table.found(place, at: 9)
        #expect(secondFound == [2])
        let ending = table.settle(place)
        #expect(ending == .end)
        #expect(table.count == 0)
    }

    @Test func stream_BeginsAnew_WhenItHasPassedANewWatch() {
        var table = WatchTable(limit: 10)
        _ = table.add(1, at: place, from: 5)
        _ = table.settle(place)
        _ = table.found(place, at: 7)
        _ = table.add(2, at: place, from: 3)
        let again = table.settle(place)
        #expect(again == .begin(3))
    }

    @Test func add_IsRefused_OverTheLimit_UntilOneGoes() {
        var table = WatchTable(limit: 1)
        let isFirstIn = table.add(1, at: place, from: 0)
        #expect(isFirstIn)
        let isSecondIn = table.add(2, at: place, from: 0)
        #expect(!isSecondIn)
        let isGone = table.remove(1)
        let isGoneTwice = table.remove(1)
        #expect(isGone && !isGoneTwice)
        let isThirdIn = table.add(2, at: place, from: 0)
        #expect(isThirdIn)
        let failed = table.failed(place)
        #expect(failed == [2])
        let after = table.settle(place)
        #expect(after == .asItIs, "it was never read")
    }
}
