import Glibc

let noSpaceErrno = ENOSPC
let quotaErrno = EDQUOT
let notFoundErrno = ENOENT
let deniedErrno = EACCES
let notPermittedErrno = EPERM
let readOnlyErrno = EROFS

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

    /// By the device in `/proc/self/mountinfo` (proc(5)); `local` where that does not tell. (glibc's statfs has only
    /// numbers, of which each file system brings its own.)
    public func kind(_ path: String) throws(FileSystemError) -> FileSystemKind {
        var info = stat()
        try call("stat", path) { stat(path, &info) }
        let device = UInt64(info.st_dev)
        // As gnu_dev_major(3) and gnu_dev_minor(3).
        let major = device >> 8 & 0xFFF | device >> 32 & ~0xFFF
        let minor = device & 0xFF | device >> 12 & ~0xFF
        return FileSystemKind(device: "\(major):\(minor)", mounts: try Self.mounts())
    }

    private static func mounts() throws(FileSystemError) -> String {
        let file: any File
        do throws(FileSystemError) {
            file = try SystemFileSystem().open("/proc/self/mountinfo", .readOnly)
        } catch {
            // Without /proc nobody can tell.
            if error.isNotFound { return "" }
            throw error
        }
        // Its size is 0 before it is read.
        return String(decoding: try file.read(mountBytesMax, at: 0), as: UTF8.self)
    }

    private static let mountBytesMax = 4 << 20
}

extension FileSystemKind {
    /// - Parameters:
    ///   - device: `major:minor`.
    ///   - mounts: lines of `mountinfo`: `36 35 98:0 /root /point options … - type source options`.
    package init(device: String, mounts: String) {
        self = .local
        for line in mounts.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count > 3, words[2] == device, let dash = words.firstIndex(of: "-"), dash + 1 < words.count
            else { continue }
            self = FileSystemKind(type: words[dash + 1])
            return
        }
    }

    private init(type: Substring) {
        self =
            switch type {
            case "nfs", "nfs4": .network(name: "NFS")
            case "cifs", "smb3", "smbfs": .network(name: "SMB")
            case "ceph": .network(name: "Ceph")
            case "afs": .network(name: "AFS")
            case "coda": .network(name: "Coda")
            case "lustre": .network(name: "Lustre")
            case "gpfs": .network(name: "GPFS")
            case "9p": .network(name: "9P")
            case "tmpfs", "ramfs": .memory
            default: type.hasPrefix("fuse") ? .userSpace : .local
            }
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
