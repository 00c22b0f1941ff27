import GatewayTestSupport
import Glibc
import JSON
import TestSupport
import Primitives

/// `postrider serve` as a process of its own: the binary that was built beside these tests.
final class GatewayProcess: Sendable {
    /// How a process ended.
    enum End: Equatable {
        case exited(Int32)
        case killed(signal: Int32)
    }

    /// Sizes that a test can reach; a test's own come after them.
    private static let small = [
        "log.format=json", "spool.lanes=2", "spool.segment_bytes=4MiB", "spool.bytes_max=32MiB",
        "spool.reserve_bytes=64KiB", "limits.request_bytes_max=1MiB", "limits.records_max=200",
        "http.stop_timeout=3s",
    ]

    let directory: TemporaryDirectory
    private let process: pid_t
    private let logPath: String
    private let end = Lock<End?>(nil)

    /// - Parameters:
    ///   - directory: of an earlier process, to start again on it.
    ///   - executable: beside the test bundle.
    init(
        in directory: TemporaryDirectory? = nil, listen: String = "127.0.0.1:0", _ assignments: [String] = [],
        arguments: [String] = [], executable: String = "postrider"
    ) throws {
        let directory = try directory ?? TemporaryDirectory()
        self.directory = directory
        logPath = "\(directory.path)/log-\(UInt32.random(in: 0 ... .max))"
        var all = ["serve", "--listen", listen, "--data-dir", directory.path + "/data"] + arguments
        for assignment in Self.small + assignments { all += ["--set", assignment] }
        process = try Self.spawn(try Self.path(of: executable), all, errorsTo: logPath)
    }

    /// Another command than `serve`, which ends by itself.
    convenience init(in directory: TemporaryDirectory, command: [String]) throws {
        try self.init(in: directory, program: try Self.path(of: "postrider"), command)
    }

    /// Any command. - Parameter environment: `NAME=VALUE`, besides that of the tests.
    convenience init(in directory: TemporaryDirectory, environment: [String], command: [String]) throws {
        try self.init(
            in: directory, program: "/usr/bin/env", environment + [try Self.path(of: "postrider")] + command)
    }

    /// Another program, which ends by itself. - Parameter program: its path.
    init(in directory: TemporaryDirectory, program: String, _ arguments: [String]) throws {
        self.directory = directory
        logPath = "\(directory.path)/log-\(UInt32.random(in: 0 ... .max))"
        process = try Self.spawn(program, arguments, errorsTo: logPath)
    }

    deinit {
        if waitForEnd(within: .zero) == nil {
            kill(process, SIGKILL)
            _ = waitForEnd()
        }
    }

    /// Beside the test bundle.
    static func path(of executable: String) throws -> String {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        guard count > 0 else { throw HTTPClient.Failure("/proc/self/exe: errno \(errno)") }
        let bundle = path.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        return bundle[...(bundle.lastIndex(of: "/") ?? bundle.startIndex)] + executable
    }

    private static func spawn(_ path: String, _ arguments: [String], errorsTo log: String) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO)
        // Sockets of other tests must not live on in the child: their peers would miss the end of the stream.
        let highest = try SystemFileSystem().list("/proc/self/fd").compactMap { Int32($0) }.max() ?? STDERR_FILENO
        // Some more, for those that are being opened now; closing what is not open is no error.
        for descriptor in STDERR_FILENO + 1...highest + 64 {
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        var vector: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) }
        vector.append(nil)
        defer { for pointer in vector { free(pointer) } }
        var process = pid_t()
        let result = posix_spawn(&process, path, &actions, nil, vector, environ)
        guard result == 0 else { throw HTTPClient.Failure("posix_spawn \(path): errno \(result)") }
        return process
    }

    /// Everything written to standard error and output so far.
    func log() throws -> String {
        let file = try SystemFileSystem().open(logPath, .readOnly)
        defer { file.close() }
        return String(decoding: try file.read(Int(try file.size()), at: 0), as: UTF8.self)
    }

    /// The last log line with that message.
    func logged(_ message: String) throws -> JSONValue? {
        for line in try log().split(separator: "\n").reversed() where line.contains("\"message\":\"\(message)\"") {
            return try JSONDocument(Array(line.utf8)[...]).root
        }
        return nil
    }

    /// Waits until it serves. - Returns: its port.
    func port(within: Duration = HTTPClient.patience) throws -> UInt16 {
        var port: UInt16?
        let found = try eventually(within: within) {
            if let end = waitForEnd(within: .zero) { throw HTTPClient.Failure("ended: \(end): \(try log())") }
            port = try logged("serving")?["port"]?.string.flatMap { UInt16($0) }
            return port != nil
        }
        guard found, let port else { throw HTTPClient.Failure("does not serve: \(try log())") }
        return port
    }

    func client() throws -> HTTPClient { try HTTPClient(port: try port(), owner: self) }

    /// Whether it has a thread of that name.
    func hasThread(_ name: String) -> Bool {
        let tasks = "/proc/\(process)/task"
        let system = SystemFileSystem()
        // try?: a thread or the process that has ended meanwhile.
        return ((try? system.list(tasks)) ?? []).contains { task in
            guard let file = try? system.open("\(tasks)/\(task)/comm", .readOnly),
                let bytes = try? file.read(64, at: 0)
            else { return false }
            return String(decoding: bytes, as: UTF8.self) == name + "\n"
        }
    }

    func signal(_ number: Int32) { kill(process, number) }

    /// SIGKILL, and its end.
    func killNow() {
        signal(SIGKILL)
        _ = waitForEnd()
    }

    /// How it ended; nil when it runs on.
    func waitForEnd(within: Duration = HTTPClient.patience) -> End? {
        _ = eventually(within: within) { poll() }
        return end.withLock { $0 }
    }

    private func poll() -> Bool {
        end.withLock { end in
            if end != nil { return true }
            var status: Int32 = 0
            guard waitpid(process, &status, WNOHANG) == process else { return false }
            // WIFEXITED and friends are macros.
            let signal = status & 0x7F
            end = signal == 0 ? .exited(status >> 8 & 0xFF) : .killed(signal: signal)
            return true
        }
    }
}
