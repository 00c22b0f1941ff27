import DeadLetters
import Primitives
import Records
import Store
import Telemetry
import TestSupport
import Testing

@Suite struct DeadLettersTests {
    @Test func addPending_IsFullAndRetriableAndKeepsNothing_PastTheLimit() throws {
        try withDirectory { directory in
            var settings = DeadLettersSettings()
            settings.bytesMax = 100_000
            let store = try DeadLetters(directory: directory, settings: settings)
            var kept = 0
            var refusal: StoreError?
            for sequence in 1...100 where refusal == nil {
                do throws(StoreError) {
                    try store.add(lsn(UInt32(sequence)), bytes: 4000)
                    kept += 1
                } catch {
                    refusal = error
                }
            }
            let error = try #require(refusal)
            #expect(error.isNoSpace && error.isRetriable)
            #expect(kept > 0)
            #expect(store.count(state: .pending) == kept)
            // Discarding what was looked at makes room.
            for sequence in 1...kept { #expect(try store.finalize(lsn: lsn(UInt32(sequence)))) }
            for sequence in 1...kept { #expect(try store.discard(lsn: lsn(UInt32(sequence)), atMs: 1).isDone) }
            try store.add(lsn(1000), bytes: 4000)
        }
    }

    @Test func reconcile_MakesFinalUpToTheCheckpointAndRemovesTheRest_OfThatLaneOnly() throws {
        try withDirectory { directory in
            do {
                let store = try DeadLetters(directory: directory)
                for sequence in 1...4 as ClosedRange<UInt32> { try store.add(lsn(sequence), lane: 0) }
                try store.add(lsn(5), lane: 1)
                #expect(try store.finalize(lsn: lsn(1)))
            }
            do {
                let store = try DeadLetters(directory: directory)
                #expect(try store.reconcile(lane: 0, recoveredCheckpoint: lsn(3)) == [lsn(2), lsn(3)])
            }
            let store = try DeadLetters(directory: directory)
            for sequence in 1...3 as ClosedRange<UInt32> {
                #expect(try store.lookup(lsn: lsn(sequence))?.state == .final)
            }
            #expect(try store.lookup(lsn: lsn(4)) == nil)
            #expect(try store.lookup(lsn: lsn(5))?.state == .pending)
            #expect(store.count(state: .final) == 3)
            #expect(store.count(state: .pending) == 1)
            #expect(try store.reconcile(lane: 0, recoveredCheckpoint: lsn(3)) == [])
        }
    }

    /// Each once, when it is decided: by the hand-over that passes it, or by what the next opening finds.
    @Test func deaths_AreCountedByReason() throws {
        try withDirectory { directory in
            let registry = MetricsRegistry()
            func deaths() -> [String] {
                String(decoding: registry.text(), as: UTF8.self).split(separator: "\n").map(String.init)
                    .filter { $0.hasPrefix("postrider_dead_letters_added_total") }
            }
            let store = try DeadLetters(directory: directory, metrics: registry)
            for sequence in 1...4 as ClosedRange<UInt32> { try store.add(lsn(sequence)) }
            #expect(deaths().isEmpty)
            #expect(try store.finalize(lsn: lsn(1)) && store.finalize(lsn: lsn(1)))
            let code = try #require(try store.lookup(lsn: lsn(1))?.code)
            #expect(deaths() == ["postrider_dead_letters_added_total{code=\"\(code)\"} 1"])
            #expect(try store.reconcile(lane: 0, recoveredCheckpoint: lsn(3)) == [lsn(2), lsn(3)])
            #expect(deaths() == ["postrider_dead_letters_added_total{code=\"\(code)\"} 3"])
        }
    }

    @Test func reconcile_KeepsTheOrderOfLSNs_AfterTheYear2038() throws {
        try withDirectory { directory in
            let store = try DeadLetters(directory: directory)
            let before = LSN(epoch: 0x7FFF_FFFF, sequence: 9)
            let after = LSN(epoch: 0x8000_0000, sequence: 1)
            try store.add(after)
            try store.add(before)
            #expect(try store.reconcile(lane: 0, recoveredCheckpoint: before) == [before])
            #expect(try store.lookup(lsn: after) == nil)
        }
    }

    @Test func addPending_LeavesAFinalOneAlone_AndReplacesAPendingOne() throws {
        try withDirectory { directory in
            let store = try DeadLetters(directory: directory)
            try store.add(lsn(1), code: "first")
            try store.add(lsn(1), code: "second")
            #expect(try store.lookup(lsn: lsn(1))?.code == "second")
            #expect(try store.finalize(lsn: lsn(1)))
            try store.add(lsn(1), code: "third")
            #expect(try store.lookup(lsn: lsn(1))?.code == "second")
            #expect(try store.lookup(lsn: lsn(1))?.state == .final)
            #expect(store.count(state: .pending) == 0)
        }
    }

    @Test func unknownLSNs_AreToldApart() throws {
        try withDirectory { directory in
            let store = try DeadLetters(directory: directory)
            #expect(try !store.finalize(lsn: lsn(1)))
            #expect(try !store.discard(lsn: lsn(1), atMs: 1).isDone)
            #expect(try store.lookup(lsn: lsn(1)) == nil)
            try store.add(lsn(1))
            // A pending one is not the user's to discard: its fate is not decided.
            #expect(try !store.discard(lsn: lsn(1), atMs: 1).isDone)
        }
    }

    @Test func deadLetter_ComesBackByteForByte_AfterReopening() throws {
        try withDirectory { directory in
            let topic = try #require(TopicName("orders"))
            let record = Record(
                key: [1], value: nil, headers: [RecordHeader(name: "h", value: [0, 255])], timestampMs: 12)
            let spooled = SpoolRecord(topic: topic, partition: 3, timestampIsGateways: true, record: record)
            do {
                let store = try DeadLetters(directory: directory)
                let detail = String(repeating: "ä", count: 5000)
                try store.addPending(
                    lsn: lsn(1), lane: 7, spooled, code: "record_too_large", detail: detail, atMs: 99)
            }
            let store = try DeadLetters(directory: directory)
            let letter = try #require(try store.lookup(lsn: lsn(1)))
            #expect(try store.record(lsn: lsn(1)) == spooled)
            #expect(letter.topic == topic && letter.partition == 3 && letter.timestampMs == 12 && letter.bytes == 4)
            #expect(letter.lane == 7 && letter.code == "record_too_large" && letter.atMs == 99)
            #expect(letter.detail == String(repeating: "ä", count: 2048))
        }
    }
}

func lsn(_ sequence: UInt32) -> LSN { LSN(epoch: 1_800_000_000, sequence: sequence) }

let orders = TopicName("orders")!

extension DeadLetters {
    func add(
        _ lsn: LSN, lane: Int = 0, bytes: Int = 10, code: String = "unknown_topic", topic: TopicName = orders,
        atMs: Int64 = 1, redelivers: LSN? = nil
    ) throws(StoreError) {
        let record = Record(key: nil, value: ByteSlice(repeating: 1, count: bytes), timestampMs: 7)
        let spooled = SpoolRecord(
            topic: topic, partition: nil, timestampIsGateways: true, record: record, redelivers: redelivers)
        try addPending(lsn: lsn, lane: lane, spooled, code: code, detail: "why", atMs: atMs)
    }

    /// Of all that are dead, oldest first.
    var listed: [LSN] { get throws(StoreError) { try list(DeadLetterQuery(limit: 1000)).map(\.lsn) } }
}

extension DeadLetterClaim {
    var isDone: Bool { if case .done = self { true } else { false } }
}

/// Runs `body` with a directory that does not exist yet and is removed afterwards.
func withDirectory(_ body: (String) throws -> Void) throws {
    let parent = try TemporaryDirectory()
    try body("\(parent.path)/dead")
    withExtendedLifetime(parent) {}
}
