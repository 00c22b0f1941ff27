import Glibc
import Primitives

/// Runs a shell command for a record: the value on standard input, the rest in its environment.
public struct RecordCommand: Sendable {
    /// How it ended.
    public enum End: Sendable, Equatable, CustomStringConvertible {
        case exited(Int32)
        case killed(signal: Int32)

        public var description: String {
            switch self {
            case .exited(let code): "exit code \(code)"
            case .killed(let signal): "signal \(signal)"
            }
        }
    }

    /// Keys and headers that are longer are left out of the environment: Linux takes 128 KiB for a variable.
    public static let variableBytesMax = 96 << 10

    private let command: String

    public init(_ command: String) { self.command = command }

    /// Blocks until the command has ended.
    ///
    /// - Parameters:
    ///   - interval: how often `meanwhile` is called while it runs.
    ///   - value: nil: a tombstone; standard input is empty.
    /// - Throws: `io`: it could not be started.
    public func run(
        on record: DeliveredRecord, _ value: [UInt8]?, every interval: Duration, meanwhile: () -> Void
    ) throws(ClientError) -> End {
        let input = try Self.file(of: value ?? [])
        defer { close(input) }
        let process = try spawn(input, Self.environment(of: record, isTombstone: value == nil))
        let ended = Monitor<End?>(nil)
        let waiter = WorkerThread(name: "wait") {
            var status: Int32 = 0
            while waitpid(process, &status, 0) < 0, errno == EINTR {}
            // WIFEXITED and friends are macros.
            let signal = status & 0x7F
            ended.withLock { $0 = signal == 0 ? .exited(status >> 8 & 0xFF) : .killed(signal: signal) }
            ended.broadcast()
        }
        defer { waiter.join() }
        while true {
            if let end = ended.wait(until: SystemClock().now() + interval, for: { $0 }) { return end }
            meanwhile()
        }
    }

    /// A file without a name: a pipe would have to be fed by a thread that a command which reads nothing could hold.
    private static func file(of bytes: [UInt8]) throws(ClientError) -> Int32 {
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var path = Array("\(folder)/postrider-record-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        guard descriptor >= 0 else { throw failure("\(folder): a temporary file") }
        unlink(path)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                write(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                defer { close(descriptor) }
                throw failure("\(folder): a temporary file")
            }
            done += count
        }
        lseek(descriptor, 0, SEEK_SET)
        return descriptor
    }

    private static func failure(_ what: String, _ code: Int32 = errno) -> ClientError {
        .io("\(what): \(String(cString: strerror(code)))")
    }

    /// This process's, and what the record is.
    private static func environment(of record: DeliveredRecord, isTombstone: Bool) -> [String] {
        var variables = [
            ("TOPIC", record.topic), ("PARTITION", "\(record.partition)"), ("OFFSET", "\(record.offset)"),
            ("TIMESTAMP", record.timestamp), ("ATTEMPT", "\(record.attempt)"),
        ]
        if let key = record.keyText {
            variables.append(("KEY", key))
        } else if let key = record.keyBase64 {
            variables.append(("KEY_BASE64", key))
        }
        variables.append(("HEADERS", record.headersJSON))
        if isTombstone { variables.append(("TOMBSTONE", "1")) }
        let names = [
            "TOPIC", "PARTITION", "OFFSET", "TIMESTAMP", "ATTEMPT", "KEY", "KEY_BASE64", "HEADERS", "TOMBSTONE",
        ]
        var all: [String] = []
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            // A record has the variables that it has, and not an outer one's.
            if !names.contains(where: { text.hasPrefix("POSTRIDER_\($0)=") }) { all.append(text) }
            next += 1
        }
        // A variable cannot hold a zero byte.
        for (name, value) in variables where value.utf8.count <= variableBytesMax && !value.utf8.contains(0) {
            all.append("POSTRIDER_\(name)=\(value)")
        }
        return all
    }

    /// In a process group of its own, so that the terminal's Ctrl-C reaches this process alone, which waits for it;
    /// with the signals as a program expects them.
    private func spawn(_ input: Int32, _ environment: [String]) throws(ClientError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
        var arguments: [UnsafeMutablePointer<CChar>?] = []
        for argument in ["sh", "-c", command] { arguments.append(strdup(argument)) }
        arguments.append(nil)
        var variables: [UnsafeMutablePointer<CChar>?] = []
        for variable in environment { variables.append(strdup(variable)) }
        variables.append(nil)
        defer { for pointer in arguments + variables { free(pointer) } }
        var process = pid_t()
        let code = posix_spawn(&process, "/bin/sh", &actions, &attributes, &arguments, &variables)
        guard code == 0 else { throw Self.failure("/bin/sh", code) }
        return process
    }
}
