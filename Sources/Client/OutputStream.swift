import Glibc
import Primitives

/// Writes whole pieces to a file descriptor. One thread. With SIGPIPE ignored (`StopFlag.setBySignals`) a reader that
/// went away is an error like a full disk.
public struct OutputStream: Sendable {
    private let descriptor: Int32
    private let isFile: Bool

    public init(_ descriptor: Int32) {
        self.descriptor = descriptor
        var status = stat()
        isFile = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Returns when the kernel has all of it; of a file, when it is on disk.
    public func write(_ bytes: [UInt8]) throws(ClientError) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done)
            }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&entry, 1, -1)
                continue
            }
            guard count > 0 else { throw Self.failure(errno) }
            done += count
        }
        if isFile, fdatasync(descriptor) != 0 { throw Self.failure(errno) }
    }

    private static func failure(_ code: Int32) -> ClientError {
        .io("standard output: \(String(cString: strerror(code)))")
    }
}
