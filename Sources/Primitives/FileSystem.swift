/// What a system call on files refused. Callers decide on `isNoSpace`; everything else about files is fatal to
/// the operation.
public struct FileSystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The system call's name, for example `fdatasync`.
    public let call: String
    public let path: String
    public let errno: Int32

    public init(call: String, path: String, errno: Int32) {
        self.call = call
        self.path = path
        self.errno = errno
    }

    public var description: String { "\(call) \(path): \(errorText(errno))" }
}

/// How a file is opened.
public enum OpenMode: Sendable {
    /// Must exist.
    case readOnly
    /// Must exist.
    case readWrite
    /// Created empty when missing.
    case createOrOpen
    /// Created empty; an existing file is emptied.
    case createOrTruncate
}

/// Where a directory's bytes are, as far as it matters to who syncs them.
public enum FileSystemKind: Hashable, Sendable {
    /// On a disk of this machine, or of a kind that is not known.
    case local
    /// On a server: locks and syncs are as good as its word, and two machines can reach it.
    case network(name: String)
    /// A program's (FUSE): what a sync does is up to it.
    case userSpace
    /// In memory: gone with the power.
    case memory
}

/// The one door to the disk of what Postrider keeps itself (SQLite has its own). Replaced by a fake in tests.
///
/// Any thread may call; every call may block on the disk. EINTR is handled inside.
public protocol FileSystem: Sendable {
    func open(_ path: String, _ mode: OpenMode) throws(FileSystemError) -> any File
    /// Creates the directory when missing; its parent must exist.
    func createDirectory(_ path: String) throws(FileSystemError)
    /// Names (not paths) in no order, without `.` and `..`.
    func list(_ directory: String) throws(FileSystemError) -> [String]
    func exists(_ path: String) throws(FileSystemError) -> Bool
    /// Atomic; replaces `to`. Durable only after `syncDirectory`.
    func rename(_ from: String, to: String) throws(FileSystemError)
    func remove(_ path: String) throws(FileSystemError)
    /// Makes created, renamed and removed names in the directory durable.
    func syncDirectory(_ path: String) throws(FileSystemError)
    /// Size of the file system and bytes available to this user.
    func space(_ path: String) throws(FileSystemError) -> (total: Int64, available: Int64)
    /// Of what kind the file system of the path is; `local` where an implementation does not say.
    func kind(_ path: String) throws(FileSystemError) -> FileSystemKind
}

extension FileSystem {
    public func kind(_ path: String) throws(FileSystemError) -> FileSystemKind { .local }
}

/// An open file, closed when the last reference goes or by `close`. Positions and lengths are in bytes.
public protocol File: AnyObject, Sendable {
    var path: String { get }
    func size() throws(FileSystemError) -> Int64
    /// One `pread`: may read fewer bytes than asked; 0 at the end of the file.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileSystemError) -> Int
    /// One `pwrite`: may write fewer bytes than asked, at least one.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileSystemError) -> Int
    /// `fdatasync`. After an error the file's unsynced bytes are in an unknown state: never call it again to make
    /// sure (fsyncgate; Rebello et al., USENIX ATC 2020).
    func syncData() throws(FileSystemError)
    /// `posix_fallocate`: reserves blocks up to `length`; new bytes read as zeros.
    func allocate(_ length: Int64) throws(FileSystemError)
    func truncate(_ length: Int64) throws(FileSystemError)
    /// `flock(LOCK_EX | LOCK_NB)`. - Returns: false when another process holds it.
    func tryLock() throws(FileSystemError) -> Bool
    func close()
}

extension FileSystemError {
    /// No space now, may be better later (`ENOSPC`, `EDQUOT`).
    public var isNoSpace: Bool { errno == noSpaceErrno || errno == quotaErrno }
    public var isNotFound: Bool { errno == notFoundErrno }
    /// This user may not (`EACCES`, `EPERM`).
    public var isDenied: Bool { errno == deniedErrno || errno == notPermittedErrno }
    public var isReadOnly: Bool { errno == readOnlyErrno }
}

extension FileSystem {
    /// Creates the directory when missing, and makes its name durable.
    public func createDurableDirectory(_ path: String) throws(FileSystemError) {
        try createDirectory(path)
        let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        try syncDirectory(parent)
    }
}

extension File {
    /// Writes all bytes, going on after short writes. On an error an unknown part was written.
    public func writeAll(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileSystemError) {
        var done = 0
        while done < bytes.count {
            done += try write(UnsafeRawBufferPointer(rebasing: bytes[done...]), at: offset + Int64(done))
        }
    }

    public func writeAll(_ bytes: [UInt8], at offset: Int64) throws(FileSystemError) {
        // (withUnsafeBytes does not have typed throws.)
        try bytes.withUnsafeBufferPointer { (buffer) throws(FileSystemError) -> Void in
            try writeAll(UnsafeRawBufferPointer(buffer), at: offset)
        }
    }

    /// Reads until `buffer` is full or the file ends. - Returns: bytes read.
    public func readAll(
        into buffer: UnsafeMutableRawBufferPointer, at offset: Int64
    ) throws(FileSystemError) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = try read(into: rest, at: offset + Int64(done))
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Up to `count` bytes from `offset`; fewer at the end of the file.
    public func read(_ count: Int, at offset: Int64) throws(FileSystemError) -> [UInt8] {
        // An array made without capacity writes its count into the one empty array that all share.
        guard count > 0 else { return [] }
        var failure: FileSystemError?
        // SAFETY: the initialized count is what readAll reported.
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do throws(FileSystemError) {
                initialized = try readAll(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// The same into the beginning of `bytes`, whose count stays. - Returns: bytes read.
    /// - Precondition: `bytes` holds at least `count`.
    public func read(_ count: Int, at offset: Int64, into bytes: inout [UInt8]) throws(FileSystemError) -> Int {
        precondition(count >= 0 && count <= bytes.count)
        var result = Result<Int, FileSystemError>.success(0)
        bytes.withUnsafeMutableBytes { buffer in
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
            result = Result { () throws(FileSystemError) in try readAll(into: part, at: offset) }
        }
        return try result.get()
    }
}
