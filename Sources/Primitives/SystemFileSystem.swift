import Glibc

let noSpaceErrno = ENOSPC
let quotaErrno = EDQUOT
let notFoundErrno = ENOENT

/// The text of an errno, as `strerror`.
func errorText(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(code, &buffer, buffer.count) == 0 else { return "errno \(code)" }
    return buffer.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
}

/// Linux.
public struct SystemFileSystem: FileSystem {
    public init() {}

    public func open(_ path: String, _ mode: OpenMode) throws(FileSystemError) -> any File {
        let flags: Int32
        switch mode {
        case .readOnly: flags = O_RDONLY
        case .readWrite: flags = O_RDWR
        case .createOrOpen: flags = O_RDWR | O_CREAT
        case .createOrTruncate: flags = O_RDWR | O_CREAT | O_TRUNC
        }
        let descriptor = try call("open", path) { Glibc.open(path, flags | O_CLOEXEC, 0o640) }
        return SystemFile(path: path, descriptor: descriptor)
    }

    public func createDirectory(_ path: String) throws(FileSystemError) {
        do {
            try call("mkdir", path) { mkdir(path, 0o750) }
        } catch  where error.errno == EEXIST {
            return
        }
    }

    public func list(_ directory: String) throws(FileSystemError) -> [String] {
        guard let stream = opendir(directory) else {
            throw FileSystemError(call: "opendir", path: directory, errno: errno)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw FileSystemError(call: "readdir", path: directory, errno: errno) }
                return names
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
    }

    public func exists(_ path: String) throws(FileSystemError) -> Bool {
        var info = stat()
        do {
            try call("stat", path) { stat(path, &info) }
            return true
        } catch  where error.isNotFound {
            return false
        }
    }

    public func rename(_ from: String, to: String) throws(FileSystemError) {
        try call("rename", from) { Glibc.rename(from, to) }
    }

    public func remove(_ path: String) throws(FileSystemError) {
        try call("unlink", path) { unlink(path) }
    }

    public func syncDirectory(_ path: String) throws(FileSystemError) {
        let descriptor = try call("open", path) { Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        defer { Glibc.close(descriptor) }
        try call("fsync", path) { fsync(descriptor) }
    }

    public func space(_ path: String) throws(FileSystemError) -> (total: Int64, available: Int64) {
        var info = statvfs()
        try call("statvfs", path) { statvfs(path, &info) }
        return (
            total: Int64(info.f_blocks) * Int64(info.f_frsize), available: Int64(info.f_bavail) * Int64(info.f_frsize)
        )
    }
}

/// The one place where EINTR is retried and errno captured.
@discardableResult
private func call<T: FixedWidthInteger & SignedInteger>(
    _ name: String, _ path: String, _ body: () -> T
) throws(FileSystemError) -> T {
    while true {
        let result = body()
        if result != -1 { return result }
        let code = errno
        if code != EINTR { throw FileSystemError(call: name, path: path, errno: code) }
    }
}

// SAFETY: `descriptor` is immutable; `closed` is guarded by its lock, and the owner does not use the file after close.
private final class SystemFile: File, @unchecked Sendable {
    let path: String
    private let descriptor: Int32
    private let closed = Lock(false)

    init(path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close() }

    func size() throws(FileSystemError) -> Int64 {
        var info = stat()
        try call("fstat", path) { fstat(descriptor, &info) }
        return Int64(info.st_size)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileSystemError) -> Int {
        try call("pread", path) { pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset)) }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileSystemError) -> Int {
        let count = try call("pwrite", path) { pwrite(descriptor, bytes.baseAddress, bytes.count, off_t(offset)) }
        // POSIX allows 0 for a non-empty write only on odd devices; going on would loop for ever.
        if count == 0, !bytes.isEmpty { throw FileSystemError(call: "pwrite", path: path, errno: EIO) }
        return count
    }

    func syncData() throws(FileSystemError) {
        // EINTR on fdatasync says nothing about what was written: it counts as a failure.
        if fdatasync(descriptor) == -1 { throw FileSystemError(call: "fdatasync", path: path, errno: errno) }
    }

    func allocate(_ length: Int64) throws(FileSystemError) {
        // Reports its error as the result. Where the file system has no fallocate, glibc writes a byte to each block.
        var result: Int32
        repeat { result = posix_fallocate(descriptor, 0, off_t(length)) } while result == EINTR
        if result != 0 { throw FileSystemError(call: "posix_fallocate", path: path, errno: result) }
    }

    func truncate(_ length: Int64) throws(FileSystemError) {
        try call("ftruncate", path) { ftruncate(descriptor, off_t(length)) }
    }

    func tryLock() throws(FileSystemError) -> Bool {
        do {
            try call("flock", path) { flock(descriptor, LOCK_EX | LOCK_NB) }
            return true
        } catch  where error.errno == EWOULDBLOCK {
            return false
        }
    }

    func close() {
        let first = closed.withLock { closed in
            defer { closed = true }
            return !closed
        }
        if first { Glibc.close(descriptor) }
    }
}
