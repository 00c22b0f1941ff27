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
