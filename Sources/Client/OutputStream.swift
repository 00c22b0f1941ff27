import Glibc
import Primitives

/// Writes whole pieces to a file descriptor. One thread. With SIGPIPE ignored (`StopFlag.setBySignals`) a reader that
/// went away is an error like a full disk.
public struct OutputStream: Sendable {
    /// A pipe that has room at all has room for so much: a write of it does not block (pipe(7), PIPE_BUF).
    private static let pieceBytes = 4096

    private let descriptor: Int32
    private let isFile: Bool

    public init(_ descriptor: Int32) {
        self.descriptor = descriptor
        var status = stat()
        isFile = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Returns when the kernel has all of it; of a file, when it is on disk.
    ///
    /// - Parameters:
    ///   - interval: how often `meanwhile` is called while a reader takes nothing; nil: never.
    public func write(
        _ bytes: [UInt8], every interval: Duration? = nil, meanwhile: () -> Void = {}
    ) throws(ClientError) {
        var done = 0
        while done < bytes.count {
            if !isFile {
                var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                let ready = poll(&entry, 1, interval.map { Int32(clamping: max(1, $0.wholeMilliseconds)) } ?? -1)
                if ready == 0 { meanwhile() }
                // An error is found by writing.
                if ready == 0 || (ready < 0 && errno == EINTR) { continue }
            }
            let count = bytes.withUnsafeBytes {
                let left = bytes.count - done
                return Glibc.write(
                    descriptor, $0.baseAddress.map { $0 + done }, isFile ? left : min(left, Self.pieceBytes))
            }
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard count > 0 else { throw Self.failure(errno) }
            done += count
        }
        if isFile, fdatasync(descriptor) != 0 { throw Self.failure(errno) }
    }

    /// Ends the last line of a file that is appended to, if a process that was killed or a full disk left it cut off:
    /// else the next line would be a part of that one.
    public func endCutLine() throws(ClientError) {
        guard isFile, fcntl(descriptor, F_GETFL) & O_APPEND != 0 else { return }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_size > 0 else { return }
        // The stream itself is open for writing only. Who may not read the file does not know.
        let file = open("/proc/self/fd/\(descriptor)", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        defer { close(file) }
        var last: UInt8 = 0
        guard pread(file, &last, 1, status.st_size - 1) == 1, last != UInt8(ascii: "\n") else { return }
        try write([UInt8(ascii: "\n")])
    }

    private static func failure(_ code: Int32) -> ClientError {
        .io("standard output: \(String(cString: strerror(code)))")
    }
}
