import Primitives
import Records
import Store
import TestSupport

@testable import Spool

/// A store of requests in one file of the fake disk, so that it shares the disk's fate: written anew by each save.
final class FakeRequestStore: RequestStore {
    static let path = "/spool/requests"
    static let newPath = path + ".new"

    private struct Content {
        var head: RequestHead?
        var keys: [[KeyEntry]] = []
        var producers: [Digest: Producer] = [:]
    }

    private let disk: FakeFileSystem
    private let content = Lock(Content())
    private let refusal = Lock<StoreError?>(nil)
    /// What has to be empty before it can be read: as SQLite may need space for that.
    let needsSpaceOf: String?
    let saves = Lock(0)
    /// Those that were tried.
    let replacements = Lock(0)

    init(_ disk: FakeFileSystem, needsSpaceOf: String? = nil) {
        self.disk = disk
        self.needsSpaceOf = needsSpaceOf
    }

    /// What every save throws from now on; nil: none.
    func refuse(_ error: StoreError?) { refusal.withLock { $0 = error } }

    func head() throws(StoreError) -> RequestHead? {
        if let needsSpaceOf, disk.contents(needsSpaceOf)?.isEmpty == false {
            throw StoreError(.full, operation: "requests", detail: "as told by the test")
        }
        let read = try onDisk { () throws(FileSystemError) -> [UInt8]? in
            guard try disk.exists(Self.path) else { return nil }
            let file = try disk.open(Self.path, .readOnly)
            return try file.read(Int(try file.size()), at: 0)
        }
        guard let read else { return nil }
        do throws(MalformedBytes) {
            var decoded = Content()
            var reader = ByteReader(read[...])
            while reader.remaining > 0 {
                let kind = try reader.integer(UInt8.self)
                let bytes = try reader.optionalSlice() ?? []
                switch kind {
                case 0: decoded.head = try RequestRows.head(bytes)
                case 1: decoded.keys.append(try RequestRows.keys(bytes))
                default:
                    let producer = try RequestRows.producer(bytes)
                    decoded.producers[producer.name] = producer.state
                }
            }
            content.withLock { $0 = decoded }
            return decoded.head
        } catch {
            throw .malformed("requests", error.what)
        }
    }

    func forEachRow(_ visit: (RequestRow) -> Void) throws(StoreError) {
        let content = content.withLock { $0 }
        for row in content.keys { visit(.keys(row)) }
        for (name, state) in content.producers { visit(.producer(name, state)) }
    }

    func save(_ change: RequestChange) throws(StoreError) {
        if let refusal = refusal.withLock({ $0 }) { throw refusal }
        var new = change.replacesAll ? Content() : content.withLock { $0 }
        new.head = change.head
        new.keys.removeAll { $0.last.map { $0.first < change.keysFrom } ?? true }
        new.keys += change.keys.map { Array($0) }
        for name in change.forgotten { new.producers[name] = nil }
        for (name, state) in change.producers { new.producers[name] = state }
        var writer = ByteWriter()
        func add(_ kind: UInt8, _ bytes: [UInt8]) {
            writer.integer(kind)
            writer.optionalSlice(bytes[...])
        }
        add(0, RequestRows.encode(change.head))
        for row in new.keys { add(1, RequestRows.encode(row[...])) }
        for (name, state) in new.producers { add(2, RequestRows.encode(name, state)) }
        let bytes = writer.bytes
        try onDisk { () throws(FileSystemError) in
            let file = try disk.open(Self.newPath, .createOrTruncate)
            try file.writeAll(bytes, at: 0)
            try file.syncData()
            try disk.rename(file.path, to: Self.path)
            try disk.syncDirectory("/spool")
        }
        content.withLock { $0 = new }
        saves.withLock { $0 += 1 }
    }

    func replace(with change: RequestChange) throws(StoreError) {
        replacements.withLock { $0 += 1 }
        try save(change)
    }

    func setAside() throws(StoreError) {
        content.withLock { $0 = Content() }
        try onDisk { () throws(FileSystemError) in
            if try disk.exists(Self.path) { try disk.rename(Self.path, to: Self.path + ".broken") }
        }
    }

    func close() {}

    private func onDisk<Result>(_ body: () throws(FileSystemError) -> Result) throws(StoreError) -> Result {
        do throws(FileSystemError) {
            return try body()
        } catch {
            throw StoreError(error.isNoSpace ? .full : .other, operation: "requests", detail: error.description)
        }
    }
}
