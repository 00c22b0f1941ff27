import Primitives
import Records
import Store
import TestSupport
import Testing

@testable import DeadLetters

@Suite struct RedeliveryTests {
    private static let epoch: UInt32 = 7

    /// A store with one final dead letter.
    private func withLetter(_ body: (DeadLetters) throws -> Void) throws {
        try withDirectory { directory in
            let store = try DeadLetters(directory: directory)
            try store.add(lsn(1), bytes: 100)
            #expect(try store.finalize(lsn: lsn(1)))
            try body(store)
        }
    }

    private func claim(_ store: DeadLetters, _ sequence: UInt32 = 1) throws -> DeadLetterClaim<SpoolRecord> {
        try store.claimForRedelivery(lsn: lsn(sequence), epoch: Self.epoch)
    }

    @Test func claim_IsGrantedOnce_AndCarriesTheLSN() throws {
        try withLetter { store in
            guard case .done(let spooled) = try claim(store) else { return #expect(Bool(false), "refused") }
            #expect(spooled.redelivers == lsn(1) && spooled.record.value?.count == 100)
            guard case .redelivering = try claim(store) else { return #expect(Bool(false), "granted twice") }
            guard case .redelivering = try store.discard(lsn: lsn(1), atMs: 5) else {
                return #expect(Bool(false), "discarded while it is sent")
            }
            guard case .unknown = try claim(store, 2) else { return #expect(Bool(false), "of nothing") }
            try store.add(lsn(3))
            guard case .pending = try claim(store, 3) else { return #expect(Bool(false), "of a pending one") }
            // Its receipt is dead until the new record is in the spool, and it stays in the list.
            #expect(
                try store.fate(of: lsn(1)) == .dead(code: "unknown_topic", detail: "why", atMs: 1, discardedAtMs: nil))
            #expect(try store.listed == [lsn(1)])
            try store.giveBack(lsn: lsn(1))
            #expect(try claim(store).isDone)
        }
    }

    @Test func link_FreesThePayload_AndReceiptsFollowToTheLast() throws {
        try withLetter { store in
            for (old, new) in [(1, 2), (2, 5), (5, 9)] as [(UInt32, UInt32)] {
                #expect(try claim(store, old).isDone)
                for _ in 0..<2 { try store.link([(dead: lsn(old), successor: lsn(new))]) }
                #expect(try store.lookup(lsn: lsn(old)) == nil && store.record(lsn: lsn(old)) == nil)
                guard new < 9 else { continue }
                try store.add(lsn(new), redelivers: lsn(old))
                #expect(try store.finalize(lsn: lsn(new)))
            }
            for old in [1, 2, 5] as [UInt32] { #expect(try store.fate(of: lsn(old)) == .redelivered(as: lsn(9))) }
            #expect(try store.fate(of: lsn(9)) == nil)
            #expect(store.count(state: .final) == 0 && store.count(state: .redelivering) == 0)
            guard case .unknown = try claim(store) else { return #expect(Bool(false), "sent again twice") }
        }
    }

    @Test func release_GivesBackWhatEarlierProcessesClaimed_InThatLaneOnly() throws {
        try withDirectory { directory in
            let store = try DeadLetters(directory: directory)
            for (sequence, lane, epoch) in [(1, 0, 6), (2, 1, 6), (3, 0, 7)] as [(UInt32, Int, UInt32)] {
                try store.add(lsn(sequence), lane: lane)
                #expect(try store.finalize(lsn: lsn(sequence)))
                #expect(try store.claimForRedelivery(lsn: lsn(sequence), epoch: epoch).isDone)
            }
            try store.release(lane: 0, before: 7)
            #expect(try store.lookup(lsn: lsn(1))?.state == .final)
            #expect(try store.lookup(lsn: lsn(2))?.state == .redelivering)
            #expect(try store.lookup(lsn: lsn(3))?.state == .redelivering)
            #expect(store.count(state: .final) == 1 && store.count(state: .redelivering) == 2)
        }
    }

    @Test func discarded_StaysDeadForItsReceipt() throws {
        try withLetter { store in
            #expect(try store.discard(lsn: lsn(1), atMs: 99).isDone)
            #expect(try store.lookup(lsn: lsn(1)) == nil && store.listed.isEmpty)
            #expect(
                try store.fate(of: lsn(1)) == .dead(code: "unknown_topic", detail: "why", atMs: 1, discardedAtMs: 99))
            guard case .unknown = try store.discard(lsn: lsn(1), atMs: 100) else {
                return #expect(Bool(false), "discarded twice")
            }
        }
    }

    @Test func ends_AreForgotten_OldestFirst() throws {
        try withDirectory { directory in
            var settings = DeadLettersSettings()
            settings.endsKept = 3
            let store = try DeadLetters(directory: directory, settings: settings)
            for sequence in [9, 1, 5, 2, 7] as [UInt32] {
                try store.add(lsn(sequence))
                #expect(try store.finalize(lsn: lsn(sequence)))
                #expect(try store.discard(lsn: lsn(sequence), atMs: 1).isDone)
            }
            let known = try [9, 1, 5, 2, 7].map { try store.fate(of: lsn($0)) != nil }
            #expect(known == [false, false, true, true, true])
        }
    }

    /// The totals that are kept along, against a count, whatever is done.
    @Test func totals_AreWhatACountSays() throws {
        try withDirectory { directory in
            let store = try DeadLetters(directory: directory)
            var random = SeededGenerator(printingFor: "dead-letter totals")
            for _ in 0..<300 {
                let sequence = UInt32.random(in: 1...12, using: &random)
                switch Int.random(in: 0..<8, using: &random) {
                case 0, 1: try store.add(lsn(sequence), lane: 0, bytes: Int.random(in: 0...90, using: &random))
                case 2: _ = try store.finalize(lsn: lsn(sequence))
                case 3: _ = try store.claimForRedelivery(lsn: lsn(sequence), epoch: 1)
                case 4: try store.giveBack(lsn: lsn(sequence))
                case 5: try store.link([(dead: lsn(sequence), successor: lsn(sequence + 100))])
                case 6: _ = try store.discard(lsn: lsn(sequence), atMs: 1)
                default: _ = try store.reconcile(lane: 0, recoveredCheckpoint: lsn(sequence))
                }
                let (kept, counted) = try store.file.withLock { (file) throws(StoreError) in
                    let kept = file.totals
                    try file.count()
                    return (kept, file.totals)
                }
                for state in DeadLetter.State.allCases { #expect(kept[state] == counted[state], "\(state)") }
                if store.count(state: .pending) == 12 { try store.release(lane: 0, before: 2) }
            }
        }
    }
}

@Suite struct DeadLetterListTests {
    /// A hundred letters over three topics and two codes, with equal times among them.
    private func filled(_ directory: String) throws -> (store: DeadLetters, all: [DeadLetter]) {
        let store = try DeadLetters(directory: directory)
        let topics = ["a", "b", "c"].compactMap { TopicName($0) }
        for number in 0..<100 as Range<UInt32> {
            let sequence = number * 37 % 101
            try store.add(
                lsn(sequence), code: number % 2 == 0 ? "even" : "odd", topic: topics[Int(number) % 3],
                atMs: Int64(number / 4))
            if number % 10 != 9 { #expect(try store.finalize(lsn: lsn(sequence))) }
        }
        return (store, try store.list(DeadLetterQuery(limit: 1000)))
    }

    @Test func list_PagesThroughWhatMatches_OldestFirst() throws {
        try withDirectory { directory in
            let (store, all) = try filled(directory)
            #expect(all.count == 90)
            #expect(all.map { [UInt64($0.atMs), $0.lsn.rawValue] }.isSortedByFirstThenSecond)
            #expect(all.allSatisfy { $0.state == .final })
            let queries = [
                DeadLetterQuery(limit: 7), DeadLetterQuery(topic: TopicName("b"), limit: 7),
                DeadLetterQuery(code: "odd", limit: 7), DeadLetterQuery(topic: TopicName("c"), code: "even", limit: 3),
                DeadLetterQuery(sinceMs: 5, untilMs: 9, limit: 4), DeadLetterQuery(topic: TopicName("none"), limit: 4),
                DeadLetterQuery(topic: TopicName("a"), code: "odd", sinceMs: 3, untilMs: 20, limit: 2),
            ]
            for query in queries {
                let expected = all.filter { letter in
                    (query.topic.map { $0 == letter.topic } ?? true) && (query.code.map { $0 == letter.code } ?? true)
                        && letter.atMs >= query.sinceMs ?? .min && letter.atMs < query.untilMs ?? .max
                }
                var query = query
                var seen: [DeadLetter] = []
                while true {
                    let page = try store.list(query)
                    #expect(page.count <= query.limit)
                    seen += page
                    guard let last = page.last else { break }
                    query.after = .init(atMs: last.atMs, lsn: last.lsn)
                }
                #expect(seen == expected)
            }
            #expect(try store.list(DeadLetterQuery(limit: -1)).isEmpty)
        }
    }

    /// A page must cost what it holds, however many letters there are and however large.
    @Test func list_UsesTheIndexOfItsFilter() throws {
        try withDirectory { directory in
            let store = try DeadLetters(directory: directory)
            let cases = [
                (false, false, "dead_letters_at"), (true, false, "dead_letters_topic"),
                (false, true, "dead_letters_code"), (true, true, "dead_letters_topic_code"),
            ]
            for (topic, code, index) in cases {
                let plan = try store.file.withLock { (file) throws(StoreError) in
                    var plan = ""
                    let sql = "EXPLAIN QUERY PLAN " + DeadLetterFile.list(topic: topic, code: code)
                    let values = (0..<4 + (topic ? 1 : 0) + (code ? 1 : 0)).map { _ in Value.integer(1) }
                    try Statement(file.connection, sql).forEach(values) { row throws(StoreError) in
                        plan += (try row.text(3) ?? "") + "\n"
                        return .next
                    }
                    return plan
                }
                #expect(plan.contains("USING INDEX \(index) ("), "\(plan)")
                #expect(!plan.contains("SCAN") && !plan.contains("B-TREE"), "\(plan)")
            }
        }
    }

    @Test func fileOfTheFirstVersion_Opens_WithEverythingInIt() throws {
        try withDirectory { directory in
            try SystemFileSystem().createDirectory(directory)
            let topic = try #require(TopicName("orders"))
            let record = Record(key: [1, 2], value: [3], headers: [], timestampMs: 12)
            let spooled = SpoolRecord(topic: topic, partition: 3, timestampIsGateways: false, record: record)
            var writer = ByteWriter()
            SpoolRecordCodec.encode(spooled, lane: 7, to: &writer)
            do {
                let first = Schema(
                    applicationID: DeadLetters.schema.applicationID,
                    migrations: [DeadLetters.schema.migrations[0]])
                let connection = try Connection.open(path: "\(directory)/\(DeadLetters.fileName)", schema: first)
                let insert = try Statement(connection, "INSERT INTO dead_letters VALUES (?, 7, ?, 99, 'c', 'd', ?)")
                for state in 0...1 as ClosedRange<UInt32> {
                    try insert.run(Value(lsn: lsn(state)), .integer(Int64(state)), .blob(writer.bytes[...]))
                }
            }
            for _ in 0..<2 {
                let store = try DeadLetters(directory: directory)
                let letter = try #require(try store.list(DeadLetterQuery(topic: topic, limit: 10)).first)
                #expect(letter.lsn == lsn(1) && letter.state == .final && letter.lane == 7)
                #expect(letter.partition == 3 && letter.timestampMs == 12 && letter.bytes == 3)
                #expect(letter.code == "c" && letter.detail == "d" && letter.atMs == 99)
                #expect(try store.record(lsn: lsn(1)) == spooled)
                #expect(store.count(state: .pending) == 1 && store.count(state: .final) == 1)
            }
            let store = try DeadLetters(directory: directory)
            #expect(try store.reconcile(lane: 7, recoveredCheckpoint: lsn(0)) == [lsn(0)])
        }
    }
}

extension [[UInt64]] {
    fileprivate var isSortedByFirstThenSecond: Bool {
        zip(self, dropFirst()).allSatisfy { ($0[0], $0[1]) < ($1[0], $1[1]) }
    }
}
