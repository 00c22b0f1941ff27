import Journal
import Logging
import Primitives
import Records
import Store
import TestSupport
import Testing

@testable import Spool

/// The store of requests on a real disk.
@Suite struct RequestFileTests {
    private func entry(_ number: UInt64, epoch: UInt32 = 5) -> KeyEntry {
        KeyEntry(
            scope: Digest(high: 1, low: number), payload: Digest(high: number, low: 2),
            first: LSN(epoch: epoch, sequence: UInt32(number)), count: 1, seconds: UInt32(number))
    }

    private func producer(_ number: UInt64) -> (name: Digest, state: Producer) {
        var state = Producer()
        for answer in 1...number {
            state.accept(
                answer,
                Producer.Answer(
                    first: LSN(rawValue: answer), count: UInt32(answer), payload: Digest(high: answer, low: number)),
                seconds: UInt32(answer))
        }
        return (Digest(high: 3, low: number), state)
    }

    private func change(_ generation: UInt64, _ keys: [KeyEntry] = [], from: LSN = .zero) -> RequestChange {
        let head = RequestHead(
            spool: SpoolID(high: .max, low: 7), mark: RequestMark(covered: LSN(rawValue: .max), generation: generation),
            clockMs: -1, wallMs: .max, gapMs: 4)
        return RequestChange(
            head: head, replacesAll: false, keysFrom: from, forgotten: [], keys: keys.isEmpty ? [] : [keys[...]],
            producers: [])
    }

    private func rows(_ file: RequestFile) throws -> (keys: [KeyEntry], producers: [Digest: Producer]) {
        var keys: [KeyEntry] = []
        var producers: [Digest: Producer] = [:]
        try file.forEachRow { row in
            switch row {
            case .keys(let entries): keys += entries
            case .producer(let name, let state): producers[name] = state
            case .unreadable: break
            }
        }
        return (keys, producers)
    }

    /// Nothing is allocated on the disk to read it, and a replacement is complete before it is there.
    @Test func file_IsReplacedAsAWhole_AndNeedsNoSpaceToBeRead() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path
        let file = RequestFile(directory: path, fileSystem: SystemFileSystem())
        try file.save(change(1, [entry(1), entry(2)]))
        #expect(try SystemFileSystem().list(path).sorted() == [RequestFile.name, RequestFile.name + "-wal"])
        try file.replace(with: change(2, [entry(3)]))
        #expect(try SystemFileSystem().list(path) == [RequestFile.name])
        #expect(try file.head()?.mark.generation == 2)
        #expect(try rows(file).keys == [entry(3)])
        try file.save(change(3, [entry(4)]))
        file.close()
        #expect(try rows(file).keys == [entry(3), entry(4)])
        file.close()
    }

    /// One bad row takes nothing else with it.
    @Test func damagedRow_IsNamed_AndTheOthersAreRead() throws {
        let directory = try TemporaryDirectory()
        let file = RequestFile(directory: directory.path, fileSystem: SystemFileSystem())
        try file.save(change(1, [entry(1)]))
        var second = change(2, [entry(2)])
        second.producers = [producer(3)]
        try file.save(second)
        file.close()
        do {
            let connection = try Connection.open(
                path: directory.path + "/" + RequestFile.name,
                schema: Schema(applicationID: 0x5052_7271, migrations: [""]))
            try connection.execute("UPDATE keys SET entries = x'0102' WHERE last = (SELECT min(last) FROM keys)")
        }
        var unreadable = 0
        try file.forEachRow { if case .unreadable = $0 { unreadable += 1 } }
        #expect(unreadable == 1)
        #expect(try rows(file).keys == [entry(2)])
        #expect(try rows(file).producers.count == 1)
        file.close()
    }

    @Test func file_KeepsWhatWasSaved_InOrder_AndForgetsWhatItIsTold() throws {
        let directory = try TemporaryDirectory()
        let file = RequestFile(directory: directory.path, fileSystem: SystemFileSystem())
        #expect(try file.head() == nil)
        #expect(try SystemFileSystem().list(directory.path).isEmpty, "nobody needs it yet")
        // From 2038 on an LSN's top bit is set.
        let late = entry(9, epoch: 0x8000_0001)
        let (first, second) = ((1...4).map { entry($0) }, [entry(7), late])
        try file.save(change(1, first))
        var more = change(2, second)
        more.producers = [producer(3), producer(64)]
        try file.save(more)
        file.close()

        let again = RequestFile(directory: directory.path, fileSystem: SystemFileSystem())
        #expect(try again.head() == more.head)
        #expect(try rows(again).keys == first + second)
        #expect(try rows(again).producers == Dictionary(uniqueKeysWithValues: more.producers.map { ($0, $1) }))
        var less = change(3, from: entry(5).first)
        less.forgotten = [producer(3).name]
        less.producers = [producer(64), producer(70)]
        try again.save(less)
        #expect(try rows(again).keys == second)
        #expect(try rows(again).producers.keys.map(\.low).sorted() == [64, 70])
        #expect(try rows(again).producers[producer(70).name]?.answers.count == 64)
        var all = change(4, [late])
        all.replacesAll = true
        try again.save(all)
        #expect(try rows(again).keys == [late])
        #expect(try rows(again).producers.isEmpty)
        try again.setAside()
        #expect(try again.head() == nil)
        #expect(try SystemFileSystem().list(directory.path) == [RequestFile.asideName])
        try again.save(change(1, first))
        #expect(try rows(again).keys == first)
        again.close()
    }

    @Test func rows_AreRefused_WhenAnyBitIsAnother() throws {
        for bytes in [
            RequestRows.encode(change(1).head), RequestRows.encode([entry(1), entry(2)]),
            RequestRows.encode(producer(2).name, producer(2).state),
        ] {
            for index in bytes.indices {
                var broken = bytes
                broken[index] ^= 1 << UInt8(index % 8)
                #expect(throws: MalformedBytes.self) { try RequestRows.head(broken[...]) }
                #expect(throws: MalformedBytes.self) { try RequestRows.keys(broken[...]) }
                #expect(throws: MalformedBytes.self) { try RequestRows.producer(broken[...]) }
            }
        }
    }

    /// Through the public door, on the disk of this machine.
    @Test func spool_KnowsItsRequests_AfterAnOrderlyEnd() throws {
        let directory = try TemporaryDirectory()
        let timers = TimerThread()
        defer { timers.stop() }
        var settings = SpoolHarness.settings
        settings.journal.segmentBytes = 64 << 10
        var accepted: LSN?
        for _ in 0..<2 {
            let spool = try Spool.open(
                directory: directory.path + "/spool", settings: settings, timers: timers,
                log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }), failed: { _ in })
            if let accepted {
                #expect(Told(spool.admit(key(1))) == .repeated(accepted, 1))
            } else if case .first(let claim) = spool.admit(key(1)) {
                let answer = waitForAnswer { spool.submit([record(0, "x")], claim: claim, completion: $0) }
                accepted = try #require(answer).get().first
            }
            spool.close()
        }
        #expect(try SystemFileSystem().exists(directory.path + "/spool/" + RequestFile.name))
    }
}
