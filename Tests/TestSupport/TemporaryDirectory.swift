import Glibc
import Primitives

/// A directory of its own, removed with everything in it.
public final class TemporaryDirectory: Sendable {
    public let path: String

    public init() throws {
        var template = Array("/tmp/postrider-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw FileSystemError(call: "mkdtemp", path: "/tmp", errno: errno) }
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    deinit { Self.remove(path) }

    /// A new file in it. - Returns: its path.
    public func write(_ text: String, mode: UInt32 = 0o600) throws -> String {
        let file = "\(path)/\(UInt64.random(in: 0 ... .max))"
        try write(text, over: file)
        guard chmod(file, mode) == 0 else { throw FileSystemError(call: "chmod", path: file, errno: errno) }
        return file
    }

    /// A file of that path, new or with other contents, that its owner alone can read.
    public func write(_ text: String, over file: String) throws {
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        guard descriptor >= 0 else { throw FileSystemError(call: "open", path: file, errno: errno) }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw FileSystemError(call: "write", path: file, errno: errno)
        }
    }

    /// Best effort: what cannot be removed is left for the system to clean.
    private static func remove(_ path: String) {
        do {
            for name in try SystemFileSystem().list(path) {
                let inner = path + "/" + name
                if unlink(inner) != 0, errno == EISDIR || errno == EPERM { remove(inner) }
            }
        } catch {
            print("temporary directory: \(error)")
        }
        rmdir(path)
    }
}
