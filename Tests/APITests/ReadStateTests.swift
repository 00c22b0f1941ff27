import Broker
import Primitives
import Records
import Testing

@testable import API

/// A stateless read's decisions, without threads and sockets.
@Suite struct ReadStateTests {
    private static let place = TopicPartition(topic: TopicName("orders")!, partition: 0)
    private static let memory = ReadState.Memory(bytesMax: 1 << 20, answerBytesMax: 256 << 10)

    private static func state(
        _ start: ReadState.Start, max: Int = 100, maxBytes: Int = 1 << 20, waits: Bool = false
    ) -> ReadState {
        ReadState(
            ReadState.Question(partition: place, start: start, max: max, maxBytes: maxBytes, waits: waits), memory)
    }

    private static func found(_ offsets: [Int64], low: Int64 = 0, high: Int64, next: Int64? = nil) -> FetchResult {
        let records = offsets.map {
            StoredRecord(partition: place, offset: $0, record: Record(key: nil, value: [1], timestampMs: 0))
        }
        return FetchResult(
            records: records, nextOffset: next ?? offsets.last.map { $0 + 1 } ?? high, lowWatermark: low,
            highWatermark: high)
    }

    /// Begins, gets its memory, and fetches. - Returns: what it fetches.
    private static func fetch(_ state: inout ReadState, _ effect: ReadState.Effect?) throws -> FetchRequest {
        guard case .reserve = effect, case .fetch(let request) = state.reserved() else {
            throw Unexpected(effect: "\(String(describing: effect))")
        }
        return request
    }

    private struct Unexpected: Error { let effect: String }

    private static func answer(_ effect: ReadState.Effect?) throws -> FetchResult {
        guard case .answer(let found) = effect else { throw Unexpected(effect: "\(String(describing: effect))") }
        return found
    }

    private static func refusal(_ effect: ReadState.Effect?) throws -> Problem {
        guard case .refuse(let problem) = effect else { throw Unexpected(effect: "\(String(describing: effect))") }
        return problem
    }

    /// - Parameter cost: of each record.
    private static func fetched(_ state: inout ReadState, _ found: FetchResult, cost: Int = 100) -> ReadState.Effect? {
        state.fetched(.success(found), costs: found.records.map { _ in cost })
    }

    @Test func answer_IsCutToItsMemory_AndGoesOnRightBehind() throws {
        var state = Self.state(.earliest)
        _ = try Self.fetch(&state, state.begin())
        // A quarter of a MiB for records of 100,000.
        let answer = try Self.answer(Self.fetched(&state, Self.found([0, 2, 5, 9], high: 20), cost: 100_000))
        #expect(answer.records.map(\.offset) == [0, 2])
        #expect(answer.nextOffset == 3)
        #expect(answer.highWatermark == 20)
    }

    @Test func answer_GoesOnBehindAGap_WhenNothingWasCut() throws {
        var state = Self.state(.offset(0))
        _ = try Self.fetch(&state, state.begin())
        #expect(try Self.answer(Self.fetched(&state, Self.found([0, 1], high: 7, next: 7))).nextOffset == 7)
    }

    @Test func memory_IsAskedForAgain_WhenTheFirstRecordNeedsMore_AndRefusedWhenThereIsNotAsMuch() throws {
        var state = Self.state(.earliest)
        _ = try Self.fetch(&state, state.begin())
        let cost = 500_000
        guard case .reserve(let bytes, let back)? = Self.fetched(&state, Self.found([0, 1], high: 2), cost: cost) else {
            Issue.record("no reservation")
            return
        }
        #expect(bytes == cost + AnswerBytes.emptyRead)
        #expect(back == Self.memory.answerBytesMax)
        _ = state.reserved()
        let answer = try Self.answer(Self.fetched(&state, Self.found([0, 1], high: 2), cost: cost))
        #expect(answer.records.map(\.offset) == [0])
        #expect(answer.nextOffset == 1)

        var tooLarge = Self.state(.earliest)
        _ = try Self.fetch(&tooLarge, tooLarge.begin())
        let problem = try Self.refusal(Self.fetched(&tooLarge, Self.found([0], high: 1), cost: 1 << 20))
        #expect(problem.code == "answer_too_large")
        #expect(problem.retryable == false)
    }

    @Test(arguments: [
        (ReadState.Start.offset(4), false), (.offset(5), true), (.offset(9), true), (.offset(10), true),
        (.offset(11), false), (.offset(.max), false), (.earliest, true), (.latest, true),
    ])
    func offset_OutsideOfThePartition_IsRefused(_ start: ReadState.Start, _ isInside: Bool) throws {
        var state = Self.state(start)
        let request = try Self.fetch(&state, state.begin())
        // As a broker does: a position below is moved up.
        let offsets = (5..<10).filter { $0 >= request.offset }
        let effect = Self.fetched(&state, Self.found(offsets, low: 5, high: 10))
        if isInside {
            #expect(try Self.answer(effect).nextOffset == 10)
        } else {
            let problem = try Self.refusal(effect)
            #expect(problem.code == "offset_out_of_range" && problem.status == 400)
        }
    }

    @Test func waiting_HoldsNoMemory_AndBeginsWhereItStood() throws {
        var state = Self.state(.latest, waits: true)
        #expect(try Self.fetch(&state, state.begin()).offset == .max)
        guard case .watch(_, let from, let number, let back)? = Self.fetched(&state, Self.found([], high: 10)) else {
            Issue.record("does not wait")
            return
        }
        #expect(from == 10 && back == Self.memory.answerBytesMax)
        // News of an earlier wait change nothing.
        #expect(state.told(number: number - 1) == nil)
        #expect(try Self.fetch(&state, state.told(number: number)).offset == 10)
        #expect(state.told(number: number) == nil)
        // A gap only: on behind it.
        guard case .watch(_, let behind, let again, _)? = Self.fetched(&state, Self.found([], high: 12, next: 12))
        else {
            Issue.record("does not wait")
            return
        }
        #expect(behind == 12)
        #expect(try Self.fetch(&state, state.told(number: again)).offset == 12)
        #expect(try Self.answer(Self.fetched(&state, Self.found([12], high: 13))).nextOffset == 13)
    }

    @Test func endOfTheWait_AnswersWhereItStands_AndNothingComesAfter() throws {
        var state = Self.state(.offset(3), waits: true)
        _ = try Self.fetch(&state, state.begin())
        guard case .watch(_, _, let number, _)? = Self.fetched(&state, Self.found([], high: 3)) else {
            Issue.record("does not wait")
            return
        }
        let answer = try Self.answer(state.waitOver().effect)
        #expect(answer.records.isEmpty && answer.nextOffset == 3)
        #expect(state.told(number: number) == nil)
        // Without anything fetched there is nothing to tell but that.
        var starved = Self.state(.earliest, waits: true)
        _ = starved.begin()
        #expect(try Self.refusal(starved.waitOver().effect).code == "overloaded")
        #expect(starved.reserved() == nil)
    }

    @Test func brokerThatPromisesAndHasNothing_IsNotAskedForEver() throws {
        var state = Self.state(.earliest, waits: true)
        var effect: ReadState.Effect? = state.begin()
        for _ in 0..<ReadState.fetchesMax {
            _ = try Self.fetch(&state, effect)
            effect = Self.fetched(&state, Self.found([], high: 5, next: 0))
            if case .watch(_, _, let number, _)? = effect { effect = state.told(number: number) }
        }
        #expect(try Self.answer(effect).records.isEmpty)
    }

    @Test func whatIsNotThere_Is404() throws {
        for code in ["unknown_topic", "unknown_partition"] {
            var state = Self.state(.earliest)
            _ = try Self.fetch(&state, state.begin())
            let error = BrokerError(.recordFatal, code: code, detail: "none")
            let problem = try Self.refusal(state.fetched(.failure(error), costs: []))
            #expect(problem.status == 404 && problem.code == code)
        }
    }
}
