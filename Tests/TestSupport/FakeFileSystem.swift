import Glibc
public import Primitives

/// A file system in memory that behaves as the worst real one: what was not synced may be lost, names included.
///
/// It counts every call that changes something, can fail or stop at the Nth, and can lose power or have its process
/// killed at any moment.
public final class FakeFileSystem: FileSystem {
    /// What becomes of unsynced changes when the power goes.
    public enum PowerLoss: Sendable, CaseIterable {
        case losesEverythingUnsynced
        case keepsEverything
        /// Each name change and each sector of each write survives or not, by the seed.
        case keepsSome
    }

    public enum Fault: Sendable {
        case error(Int32)
        /// Writes half of the bytes, then reports only those.
        case shortWrite
        /// Writes everything, and then says that it failed.
        case errorAfterWrite(Int32)
        /// Does not return before `releaseHangs`.
        case hang
        /// The process dies before the call.
        case die
    }

    final class Node: Sendable {
        struct Content {
            /// What programs see.
            var current: [UInt8] = []
            /// What the platter holds.
            var durable: [UInt8] = []
            var pending: [Change] = []
            var locked = false
            /// A sync of it failed.
            var condemned = false
        }

        enum Change {
            case write(offset: Int, bytes: [UInt8])
            case resize(Int)
        }

        let content = Lock(Content())
    }

    struct State {
        var directories: Set<String> = []
        var names: [String: Node] = [:]
        var durableNames: [String: Node] = [:]
        /// Changes of names since the last directory sync, in order; what is in one happens together or not at all.
        var pendingNames: [[(name: String, node: Node?)]] = []
        var calls = 0
        var bytesRead = 0
        var log: [String] = []
        var faults: [Int: Fault] = [:]
        var dead = false
        var capacity = Int.max
        var failSyncs: Int32?
        var failWrites: (name: String, errno: Int32)?
        var failPaths: (suffix: String, errno: Int32)?
        var kind = FileSystemKind.local
        var noSpace: NoSpace?
        var syncedAfterFailure: [String] = []
        var losses = Losses()
    }

    /// What a loss of power took.
    public struct Losses: Sendable {
        /// Changes of names.
        public var names = 0
        /// Writes and resizes of which nothing is left.
        public var writes = 0
        /// Writes of which some sectors are left and some are not.
        public var torn = 0
        /// Writes that are there although an earlier one to the file is not, or not all of it.
        public var reordered = 0
    }

    private struct Plan {
        var fault: (@Sendable (_ call: String, _ path: String) -> Fault?)?
    }

    /// Calls that may need space, from one on, and only so many of them, find none.
    struct NoSpace {
        static let calls: Set = ["open", "posix_fallocate", "pwrite", "ftruncate", "rename", "unlink"]

        var errno: Int32
        var from: Int
        var left: Int
        var writingFirst: Bool
    }

    let state = Lock(State())
    private let plan = Lock(Plan())
    private let gate = Monitor(false)
    private let hangs = Monitor((now: false, released: false))

    public init() {}

    /// Changing calls so far: `pwrite`, `fdatasync`, `fallocate`, `ftruncate`, `open` that creates, `rename`, `unlink`,
    /// `fsync` of a directory.
    public var calls: Int { state.withLock { $0.calls } }

    /// Bytes that were read so far: the work of a search.
    public var bytesRead: Int { state.withLock { $0.bytesRead } }

    /// The names of the calls, in order.
    public var log: [String] { state.withLock { $0.log } }

    /// The `number`th changing call from now on (0 is the next) meets `fault`.
    public func inject(_ fault: Fault, atCall number: Int) {
        state.withLock { $0.faults[$0.calls + number] = fault }
    }

    /// Asked before every changing call and every `pread`, with the call's name and path; nil: nobody is.
    ///
    /// What it does itself happens while the call is on its way, as if other threads ran.
    public func setPlan(_ fault: (@Sendable (_ call: String, _ path: String) -> Fault?)?) {
        plan.withLock { $0.fault = fault }
    }

    /// Whether the call fails on a disk without space, for one of the reasons that file systems have.
    public static func needsSpace(_ call: String) -> Bool { NoSpace.calls.contains(call) }

    func planned(_ call: String, _ path: String) -> Fault? { plan.withLock { $0 }.fault?(call, path) }

    /// Total bytes that files may take; beyond it ENOSPC.
    public func setCapacity(_ bytes: Int?) { state.withLock { $0.capacity = bytes ?? Int.max } }

    /// Every sync fails from now on, or none.
    public func failSyncs(_ errno: Int32?) { state.withLock { $0.failSyncs = errno } }

    /// Every write to the file of this name fails from now on; nil: none.
    public func failWrites(to name: String?, _ errno: Int32) {
        state.withLock { $0.failWrites = name.map { ($0, errno) } }
    }

    /// Every changing call on a path that ends so fails from now on, or none.
    public func failPaths(_ fault: (suffix: String, errno: Int32)?) { state.withLock { $0.failPaths = fault } }

    /// What it says that it is.
    public func setKind(_ kind: FileSystemKind) { state.withLock { $0.kind = kind } }

    /// From the `number`th changing call on, `count` calls that may need space fail: every one of them, as on the file
    /// systems that need space even to overwrite and to delete. nil: there is space again.
    ///
    /// - Parameter writingFirst: a write does all that it should before it fails.
    public func failSpace(_ errno: Int32?, atCall number: Int = 0, count: Int = .max, writingFirst: Bool = false) {
        state.withLock { state in
            state.noSpace = errno.map {
                NoSpace(errno: $0, from: state.calls + number, left: count, writingFirst: writingFirst)
            }
        }
    }

    /// Syncs of files of which a sync had failed: a program must not believe those.
    public var syncsOfCondemned: Int { syncedAfterFailure.count }

    /// The paths of those.
    public var syncedAfterFailure: [String] { state.withLock { $0.syncedAfterFailure } }

    /// Whether a call met `Fault.hang` and has not returned.
    public var isHanging: Bool { hangs.withLock { $0.now } }

    /// Ends every `Fault.hang`, also later ones.
    public func releaseHangs() {
        hangs.withLock { $0.released = true }
        hangs.broadcast()
    }

    /// Syncs hang until `release`.
    public func holdSyncs() { gate.withLock { $0 = true } }

    public func releaseSyncs() {
        gate.withLock { $0 = false }
        gate.broadcast()
    }

    /// SIGKILL: every later call of this object fails; what was written stays in the page cache.
    /// - Returns: the file system as the next process finds it.
    public func killed() -> FakeFileSystem {
        state.withLock { $0.dead = true }
        return copied()
    }

    /// Another file system with the same names, bytes and unsynced changes; nobody holds a lock there.
    public func copied() -> FakeFileSystem {
        let next = FakeFileSystem()
        let (directories, names, durableNames, pendingNames) = state.withLock { state in
            (state.directories, state.names, state.durableNames, state.pendingNames)
        }
        var copies: [ObjectIdentifier: Node] = [:]
        func copy(_ node: Node) -> Node {
            if let known = copies[ObjectIdentifier(node)] { return known }
            let new = Node()
            var content = node.content.withLock { $0 }
            content.locked = false
            content.condemned = false
            new.content.withLock { $0 = content }
            copies[ObjectIdentifier(node)] = new
            return new
        }
        next.state.withLock { state in
            state.directories = directories
            state.names = names.mapValues(copy)
            state.durableNames = durableNames.mapValues(copy)
            state.pendingNames = pendingNames.map { $0.map { ($0.name, $0.node.map(copy)) } }
        }
        return next
    }

    /// The power goes: what was not synced is treated as `loss` says.
    public func withoutPower(_ loss: PowerLoss, seed: UInt64 = 1) -> FakeFileSystem {
        let next = killed()
        var random = SeededGenerator(seed: seed)
        let keeps: () -> Bool = {
            switch loss {
            case .losesEverythingUnsynced: false
            case .keepsEverything: true
            case .keepsSome: Bool.random(using: &random)
            }
        }
        next.state.withLock { state in
            var names = state.durableNames
            for changes in state.pendingNames {
                guard keeps() else {
                    state.losses.names += 1
                    continue
                }
                for change in changes { names[change.name] = change.node }
            }
            state.names = names
            state.durableNames = names
            state.pendingNames = []
            for (_, node) in names.sorted(by: { $0.key < $1.key }) {
                node.content.withLock { content in
                    var isBehindLost = false
                    for change in content.pending {
                        let sectors = change.sectors
                        let kept = sectors.filter { _ in keeps() }
                        for part in kept { part.apply(to: &content.durable) }
                        if kept.isEmpty { state.losses.writes += 1 }
                        if !kept.isEmpty, kept.count < sectors.count { state.losses.torn += 1 }
                        if !kept.isEmpty, isBehindLost { state.losses.reordered += 1 }
                        if kept.count < sectors.count { isBehindLost = true }
                    }
                    content.pending = []
                    content.current = content.durable
                }
            }
        }
        return next
    }

    /// What the loss of power took that this file system comes from.
    public var losses: Losses { state.withLock { $0.losses } }

    /// Paths of files whose name, or some of whose bytes, would not survive a loss of power.
    public var unsyncedPaths: [String] {
        state.withLock { state in
            state.names.filter { path, node in
                state.durableNames[path] !== node || node.content.withLock { !$0.pending.isEmpty }
            }.map(\.key)
        }
    }

    /// Bytes of a file as programs see them; nil when there is none.
    public func contents(_ path: String) -> [UInt8]? {
        state.withLock { $0.names[path] }?.content.withLock { $0.current }
    }

    /// Replaces a file's bytes on the platter, as a broken disk does.
    public func overwrite(_ path: String, _ change: (inout [UInt8]) -> Void) {
        state.withLock { $0.names[path] }?.content.withLock { content in
            change(&content.current)
            content.durable = content.current
            content.pending = []
        }
    }

    /// Paths of all files.
    public var paths: [String] { state.withLock { $0.names.keys.sorted() } }

    // MARK: - FileSystem

    public func open(_ path: String, _ mode: OpenMode) throws(FileSystemError) -> any File {
        let known = try alive("open", path).names[path]
        switch (mode, known) {
        case (.readOnly, let node?), (.readWrite, let node?), (.createOrOpen, let node?):
            return FakeFile(path: path, node: node, owner: self)
        case (.createOrTruncate, let node?):
            let file = FakeFile(path: path, node: node, owner: self)
            try file.truncate(0)
            return file
        case (.readOnly, nil), (.readWrite, nil):
            throw FileSystemError(call: "open", path: path, errno: ENOENT)
        case (.createOrOpen, nil), (.createOrTruncate, nil):
            try change("open", path)
            let node = Node()
            try whileAlive("open", path) { state in
                state.names[path] = node
                state.pendingNames.append([(path, node)])
            }
            return FakeFile(path: path, node: node, owner: self)
        }
    }

    public func createDirectory(_ path: String) throws(FileSystemError) {
        try whileAlive("mkdir", path) { _ = $0.directories.insert(path) }
    }

    public func list(_ directory: String) throws(FileSystemError) -> [String] {
        let prefix = directory + "/"
        // (Sorted, so that a seed meets the same calls again.)
        return try alive("opendir", directory).names.keys.filter { $0.hasPrefix(prefix) }
            .map { String($0.dropFirst(prefix.count)) }.sorted()
    }

    public func exists(_ path: String) throws(FileSystemError) -> Bool {
        let state = try alive("stat", path)
        return state.names[path] != nil || state.directories.contains(path)
    }

    public func rename(_ from: String, to: String) throws(FileSystemError) {
        try change("rename", from)
        let known = try whileAlive("rename", from) { state in
            guard let node = state.names.removeValue(forKey: from) else { return false }
            state.names[to] = node
            state.pendingNames.append([(to, node), (from, nil)])
            return true
        }
        if !known { throw FileSystemError(call: "rename", path: from, errno: ENOENT) }
    }

    public func remove(_ path: String) throws(FileSystemError) {
        try change("unlink", path)
        let known = try whileAlive("unlink", path) { state in
            state.pendingNames.append([(path, nil)])
            return state.names.removeValue(forKey: path) != nil
        }
        if !known { throw FileSystemError(call: "unlink", path: path, errno: ENOENT) }
    }

    public func syncDirectory(_ path: String) throws(FileSystemError) {
        try change("fsync", path)
        try holdOrFailSync("fsync", path)
        try whileAlive("fsync", path) { state in
            for change in state.pendingNames.joined() { state.durableNames[change.name] = change.node }
            state.pendingNames = []
        }
    }

    public func space(_ path: String) throws(FileSystemError) -> (total: Int64, available: Int64) {
        let state = try alive("statvfs", path)
        let used = state.names.values.reduce(0) { $0 + $1.content.withLock { $0.current.count } }
        return (Int64(clamping: state.capacity), Int64(clamping: state.capacity - used))
    }

    public func kind(_ path: String) throws(FileSystemError) -> FileSystemKind { try alive("statfs", path).kind }

    // MARK: - For the files

    private func alive(_ call: String, _ path: String) throws(FileSystemError) -> State {
        let state = state.withLock { $0 }
        if state.dead { throw FileSystemError(call: call, path: path, errno: EIO) }
        return state
    }

    /// Does what a call is for. A call that is on its way when the process dies changes nothing any more and is not
    /// answered: `killed` ends the process under the same lock, and what it copies then is all that anybody was told.
    func whileAlive<Result>(
        _ call: String, _ path: String, _ body: (inout State) -> Result
    ) throws(FileSystemError) -> Result {
        try state.withLock { (state) throws(FileSystemError) in
            if state.dead { throw FileSystemError(call: call, path: path, errno: EIO) }
            return body(&state)
        }
    }

    /// Counts a changing call and lets the fault that waits for it happen.
    @discardableResult
    func change(_ call: String, _ path: String) throws(FileSystemError) -> Fault? {
        let planned = planned(call, path)
        let fault = try state.withLock { (state) throws(FileSystemError) -> Fault? in
            if state.dead { throw FileSystemError(call: call, path: path, errno: EIO) }
            defer { state.calls += 1 }
            state.log.append(call)
            let fault = state.faults.removeValue(forKey: state.calls) ?? planned
            if case .die = fault { state.dead = true }
            if let failing = state.failPaths, path.hasSuffix(failing.suffix) { return .error(failing.errno) }
            if let failing = state.noSpace, NoSpace.calls.contains(call), state.calls >= failing.from, failing.left > 0
            {
                state.noSpace?.left -= 1
                return failing.writingFirst ? .errorAfterWrite(failing.errno) : .error(failing.errno)
            }
            return fault
        }
        switch fault {
        case .hang:
            hangs.withLock { $0.now = true }
            _ = hangs.wait { $0.released ? true : nil }
            hangs.withLock { $0.now = false }
            return nil
        case .errorAfterWrite(let code) where call != "pwrite":
            throw FileSystemError(call: call, path: path, errno: code)
        case .error(let code): throw FileSystemError(call: call, path: path, errno: code)
        case .die: throw FileSystemError(call: call, path: path, errno: EIO)
        case .shortWrite, .errorAfterWrite, nil: return fault
        }
    }

    func holdOrFailSync(_ call: String, _ path: String) throws(FileSystemError) {
        _ = gate.wait { $0 ? nil : true }
        if let code = state.withLock({ $0.failSyncs }) { throw FileSystemError(call: call, path: path, errno: code) }
    }

    /// ENOSPC when files would grow past the capacity.
    func reserve(_ growth: Int, call: String, path: String) throws(FileSystemError) {
        guard growth > 0 else { return }
        let space = try space(path)
        if Int64(growth) > space.available { throw FileSystemError(call: call, path: path, errno: ENOSPC) }
    }
}
