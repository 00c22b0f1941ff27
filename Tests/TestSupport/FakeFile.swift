import Primitives

extension FakeFileSystem.Node.Change {
    private static let sectorBytes = 512

    /// What a disk writes as one: a write is cut at the sectors' bounds.
    var sectors: [Self] {
        guard case .write(let offset, let bytes) = self else { return [self] }
        var parts: [Self] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + Self.sectorBytes - (offset + start) % Self.sectorBytes)
            parts.append(.write(offset: offset + start, bytes: Array(bytes[start..<end])))
            start = end
        }
        return parts
    }

    func apply(to bytes: inout [UInt8]) {
        switch self {
        case .resize(let length):
            if length < bytes.count { bytes.removeLast(bytes.count - length) }
            if length > bytes.count { bytes += [UInt8](repeating: 0, count: length - bytes.count) }
        case .write(let offset, let new):
            let end = offset + new.count
            if end > bytes.count { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
            // (Element by element is slow in a debug build.)
            bytes.withUnsafeMutableBytes { target in
                new.withUnsafeBytes {
                    target.baseAddress!.advanced(by: offset).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
                }
            }
        }
    }
}

final class FakeFile: File {
    let path: String
    let node: FakeFileSystem.Node
    let owner: FakeFileSystem

    init(path: String, node: FakeFileSystem.Node, owner: FakeFileSystem) {
        self.path = path
        self.node = node
        self.owner = owner
    }

    func size() throws(FileSystemError) -> Int64 { Int64(node.content.withLock { $0.current.count }) }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileSystemError) -> Int {
        if case .error(let code) = owner.planned("pread", path) {
            throw FileSystemError(call: "pread", path: path, errno: code)
        }
        let count = node.content.withLock { content in
            let start = min(Int(offset), content.current.count)
            let count = min(buffer.count, content.current.count - start)
            content.current.withUnsafeBytes { source in
                if count > 0 {
                    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[start..<start + count]))
                }
            }
            return count
        }
        owner.state.withLock { $0.bytesRead += count }
        return count
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileSystemError) -> Int {
        let fault = try owner.change("pwrite", path)
        if let (name, code) = owner.state.withLock({ $0.faults.writes }), path.hasSuffix("/" + name) {
            throw FileSystemError(call: "pwrite", path: path, errno: code)
        }
        var count = bytes.count
        if case .shortWrite = fault { count = max(1, count / 2) }
        let size = node.content.withLock { $0.current.count }
        try owner.reserve(Int(offset) + count - size, call: "pwrite", path: path)
        // SAFETY: all `count` bytes are copied.
        let copy = [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
            UnsafeMutableRawPointer(target.baseAddress!).copyMemory(from: bytes.baseAddress!, byteCount: count)
            initialized = count
        }
        try apply(.write(offset: Int(offset), bytes: copy), "pwrite")
        if case .errorAfterWrite(let code) = fault {
            throw FileSystemError(call: "pwrite", path: path, errno: code)
        }
        return count
    }

    func syncData() throws(FileSystemError) {
        if node.content.withLock({ $0.condemned }) { owner.state.withLock { $0.syncedAfterFailure.append(path) } }
        do throws(FileSystemError) {
            try owner.change("fdatasync", path)
            try owner.holdOrFailSync("fdatasync", path)
        } catch {
            // As Linux does: the pages count as clean, and no later sync writes them (Rebello et al., USENIX ATC 2020).
            // (A process that died in the call leaves its page cache as it was.)
            if !owner.state.withLock({ $0.dead }) {
                node.content.withLock { content in
                    content.pending = []
                    content.condemned = true
                }
            }
            throw error
        }
        try owner.whileAlive("fdatasync", path) { _ in
            node.content.withLock { content in
                for change in content.pending { change.apply(to: &content.durable) }
                content.pending = []
            }
        }
    }

    func allocate(_ length: Int64) throws(FileSystemError) {
        try owner.change("posix_fallocate", path)
        let size = node.content.withLock { $0.current.count }
        guard Int(length) > size else { return }
        try owner.reserve(Int(length) - size, call: "posix_fallocate", path: path)
        try apply(.resize(Int(length)), "posix_fallocate")
    }

    func truncate(_ length: Int64) throws(FileSystemError) {
        try owner.change("ftruncate", path)
        try apply(.resize(Int(length)), "ftruncate")
    }

    func tryLock() throws(FileSystemError) -> Bool {
        node.content.withLock { content in
            if content.locked { return false }
            content.locked = true
            lock.withLock { $0 = true }
            return true
        }
    }

    func close() {
        let held = lock.withLock { held in
            defer { held = false }
            return held
        }
        if held { node.content.withLock { $0.locked = false } }
    }

    private let lock = Lock(false)

    private func apply(_ change: FakeFileSystem.Node.Change, _ call: String) throws(FileSystemError) {
        try owner.whileAlive(call, path) { _ in
            node.content.withLock { content in
                change.apply(to: &content.current)
                content.pending.append(change)
            }
        }
    }
}
