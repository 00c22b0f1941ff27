import Primitives

/// The machine's files, but what is written stays in this process's memory until it is synced: what a power failure
/// does to a page cache, SIGKILL does here.
struct WithholdingFileSystem: FileSystem {
    private let base = SystemFileSystem()

    func open(_ path: String, _ mode: OpenMode) throws(FileSystemError) -> any File {
        WithholdingFile(try base.open(path, mode))
    }

    func createDirectory(_ path: String) throws(FileSystemError) { try base.createDirectory(path) }
    func list(_ directory: String) throws(FileSystemError) -> [String] { try base.list(directory) }
    func exists(_ path: String) throws(FileSystemError) -> Bool { try base.exists(path) }
    func rename(_ from: String, to: String) throws(FileSystemError) { try base.rename(from, to: to) }
    func remove(_ path: String) throws(FileSystemError) { try base.remove(path) }
    func syncDirectory(_ path: String) throws(FileSystemError) { try base.syncDirectory(path) }
    func space(_ path: String) throws(FileSystemError) -> (total: Int64, available: Int64) { try base.space(path) }
}

private final class WithholdingFile: File {
    private let base: any File
    /// Writes since the last sync, in order.
    private let withheld = Lock<[(offset: Int64, bytes: [UInt8])]>([])

    init(_ base: any File) { self.base = base }

    var path: String { base.path }
    func size() throws(FileSystemError) -> Int64 { try base.size() }
    func allocate(_ length: Int64) throws(FileSystemError) { try base.allocate(length) }
    func tryLock() throws(FileSystemError) -> Bool { try base.tryLock() }
    func close() { base.close() }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileSystemError) -> Int {
        withheld.withLock { $0.append((offset, Array(bytes))) }
        return bytes.count
    }

    func syncData() throws(FileSystemError) {
        let writes = withheld.withLock { withheld in
            defer { withheld = [] }
            return withheld
        }
        for write in writes { try base.writeAll(write.bytes, at: write.offset) }
        try base.syncData()
    }

    func truncate(_ length: Int64) throws(FileSystemError) {
        try syncData()
        try base.truncate(length)
    }

    /// The file with what is withheld laid over it.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileSystemError) -> Int {
        var count = try base.read(into: buffer, at: offset)
        for write in withheld.withLock({ $0 }) {
            let start = max(offset, write.offset)
            let end = min(offset + Int64(buffer.count), write.offset + Int64(write.bytes.count))
            guard start < end else { continue }
            for place in start..<end { buffer[Int(place - offset)] = write.bytes[Int(place - write.offset)] }
            count = max(count, Int(end - offset))
        }
        return count
    }
}
