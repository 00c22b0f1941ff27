import Glibc
public import Primitives

/// A file system in memory that behaves as the worst real one: what was not synced may be lost, names included.
///
/// It counts every call that changes something, can fail or stop at the Nth (`FakeFileSystem+Faults.swift`), and can
/// lose power or have its process killed at any moment.
public final class FakeFileSystem: FileSystem {
    /// What becomes of unsynced changes when the power goes.
    public enum PowerLoss: Sendable, CaseIterable {
        case losesEverythingUnsynced
        case keepsEverything
        /// Each name change and each sector of each write survives or not, by the seed.
        case keepsSome
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
        var faults = Faults()
        var dead = false
        var capacity = Int.max
        var kind = FileSystemKind.local
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

    let state = Lock(State())
    let plan = Lock(Plan())
    let gate = Monitor(false)
    let hangs = Monitor((now: false, released: false))

    public init() {}

    /// Changing calls so far: `pwrite`, `fdatasync`, `fallocate`, `ftruncate`, `open` that creates, `rename`, `unlink`,
    /// `fsync` of a directory.
    public var calls: Int { state.withLock { $0.calls } }

    /// Bytes that were read so far: the work of a search.
    public var bytesRead: Int { state.withLock { $0.bytesRead } }

    /// The names of the calls, in order.
    public var log: [String] { state.withLock { $0.log } }

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
}
