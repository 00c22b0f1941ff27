import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

/// Effects are performed by the thread that caused them, outside the lock: those of two threads in any order. So each
/// says which slot and which session it is about.
@Suite struct EffectTests {
    private let name = ConsumerName("c")!
    private let place = TopicPartition(topic: Harness.topic, partition: 0)
    private let now = MonotonicInstant(nanoseconds: 1)

    private func settled(_ state: inout ConsumerState, _ now: MonotonicInstant) -> [ConsumerEffect] {
        state.settle(now)
        return state.takeEffects()
    }

    private func acquired(_ effects: [ConsumerEffect]) -> [SlotID] {
        effects.compactMap { if case .acquireSlot(let slot) = $0 { slot } else { nil } }
    }

    /// A consumer with one empty partition and a poll that has asked for a slot.
    private func polling(
        _ definition: ConsumerDefinition = ConsumerDefinition(topics: [Harness.topic])
    ) throws -> (state: ConsumerState, slot: SlotID) {
        var state = ConsumerState(
            definition.completed(for: name), epoch: 1, settings: ConsumersSettings(), jitter: SeededGenerator(seed: 1))
        _ = try state.poll(PollRequest(consumer: name, wait: .seconds(30)), now: now)
        state.opened(session: 1, error: nil, now: now)
        state.assigned([place], session: 1)
        _ = settled(&state, now)
        state.loaded(.success([:]), load: 1, now: now)
        let slots = acquired(settled(&state, now))
        try #require(slots.count == 1)
        return (state, slots[0])
    }

    @Test func poll_AsksForAnotherSlot_EachTime() throws {
        var (state, slot) = try polling()
        state.slotGranted(slot, now: now)
        let fetches = settled(&state, now).compactMap { if case .fetch(let ticket, _) = $0 { ticket } else { nil } }
        let ticket = try #require(fetches.first)
        let nothing = FetchResult(records: [], nextOffset: 0, lowWatermark: 0, highWatermark: 0)
        state.fetched(ticket, .success(nothing), costs: [], now: now)
        let released = settled(&state, now).compactMap { if case .releaseSlot(let slot) = $0 { slot } else { nil } }
        #expect(released == [slot])
        state.available([place], session: 1)
        let again = acquired(settled(&state, now))
        #expect(again.count == 1 && again != [slot])
    }

    /// A limit that nobody hears of looks like a consumer that hangs.
    @Test func recordsInFlight_AreToldOnce_WhenTheyKeepOthersBack() throws {
        var (state, slot) = try polling(
            ConsumerDefinition(topics: [Harness.topic], mode: .shared, maxInFlight: 2))
        func told(_ effects: [ConsumerEffect]) -> Int {
            effects.count { if case .note(.inFlightFull) = $0 { true } else { false } }
        }
        state.slotGranted(slot, now: now)
        let fetches = settled(&state, now).compactMap { if case .fetch(let ticket, _) = $0 { ticket } else { nil } }
        let found = (0..<2).map { offset in
            StoredRecord(
                partition: place, offset: Int64(offset), record: Record(key: nil, value: [1], timestampMs: 0))
        }
        let fetch = FetchResult(records: found, nextOffset: 2, lowWatermark: 0, highWatermark: 9)
        state.fetched(try #require(fetches.first), .success(fetch), costs: [1, 1], now: now)
        let offers = settled(&state, now).compactMap { effect -> (PollID, Int)? in
            if case .offer(let poll, let bytes) = effect { (poll, bytes) } else { nil }
        }
        let (poll, bytes) = try #require(offers.first)
        state.offered(poll, .granted, bytes: bytes, serial: 1, now: now, wallMs: 0)
        #expect(told(settled(&state, now)) == 0, "nobody waits for more")
        _ = try state.poll(PollRequest(consumer: name, wait: .seconds(30)), now: now)
        #expect(told(settled(&state, now)) == 1)
        _ = try state.poll(PollRequest(consumer: name, wait: .seconds(30)), now: now)
        #expect(told(settled(&state, now)) == 0, "it was told")
    }

    /// Every client that is refused may come back at once: what is logged of that must become less.
    @Test func failedCommits_AreCountedInARow_SoThatFewAreLogged() throws {
        var (state, _) = try polling()
        var told: [Int] = []
        for succeeds in [false, false, false, true, false] {
            _ = try state.enqueue(.seek([place: 0]))
            let numbers = settled(&state, now).compactMap {
                if case .commit(let number, _) = $0 { number } else { nil }
            }
            let number = try #require(numbers.first)
            let error = BrokerError(.processFatal, code: "sync_failed", detail: "as told by the test")
            state.committed(number: number, succeeds ? .success(()) : .failure(error), now: now)
            told += settled(&state, now).compactMap {
                if case .note(.commitFailed(_, let inARow)) = $0 { inARow } else { nil }
            }
        }
        #expect(told == [1, 2, 3, 1])
        #expect((1...20).filter(Backoff.isTold) == [1, 2, 4, 8, 16])
    }

    @Test func slot_IsGranted_ThoughTheOneBeforeIsGivenBackLater() {
        let slots = FetchSlots(limit: 1)
        let granted = Lock<[UInt64]>([])
        func key(_ number: UInt64) -> FetchSlots.Key {
            FetchSlots.Key(
                consumer: ObjectIdentifier(slots), slot: SlotID(poll: PollID(number: 1), number: number))
        }
        for number in UInt64(1)...3 {
            slots.acquire(key(number)) { granted.withLock { $0.append(number) } }
        }
        #expect(granted.withLock { $0 } == [1])
        slots.release(key(1))
        #expect(granted.withLock { $0 } == [1, 2])
        slots.release(key(2))
        #expect(granted.withLock { $0 } == [1, 2, 3])
    }

    @Test func session_IsLeftByItsNumber() throws {
        var (state, _) = try polling()
        for poll in state.polls { state.cancel(poll.id) }
        _ = settled(&state, now)
        let later = now + state.settings.idleClose
        let left = settled(&state, later).compactMap {
            if case .closeSubscription(let session) = $0 { session } else { nil }
        }
        #expect(left == [1])
        #expect(state.currentSession == nil)
        _ = try state.poll(PollRequest(consumer: name, wait: .seconds(30)), now: later)
        let opened = settled(&state, later).compactMap {
            if case .openSubscription(let session) = $0 { session } else { nil }
        }
        #expect(opened == [2])
        #expect(state.currentSession == 2)
    }
}
