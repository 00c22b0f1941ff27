import GatewayTestSupport
import Primitives
import TestSupport
import Testing

/// Commands of the program in a directory of their own, and the gateway that they talk to.
struct ShellCommands {
    let directory: TemporaryDirectory

    init(_ directory: TemporaryDirectory) { self.directory = directory }

    /// A line for the shell, in which `$P` is the program.
    func run(_ line: String, port: UInt16 = 1) throws -> GatewayProcess {
        let setup =
            "P='\(try GatewayProcess.path(of: "postrider"))'; cd '\(directory.path)'; "
            + "export POSTRIDER_URL=http://127.0.0.1:\(port); "
        return try GatewayProcess(in: directory, program: "/bin/sh", ["-c", setup + line])
    }

    func text(_ name: String) throws -> String {
        let path = "\(directory.path)/\(name)"
        guard try SystemFileSystem().exists(path) else { return "" }
        let file = try SystemFileSystem().open(path, .readOnly)
        defer { file.close() }
        return String(decoding: try file.read(Int(try file.size()), at: 0), as: UTF8.self)
    }

    /// What a command complained about, for a failure's message.
    var errors: String {
        do { return try text("errors") } catch { return "\(error)" }
    }

    func log(_ process: GatewayProcess) -> String {
        do { return try process.log() } catch { return "\(error)" }
    }

    /// Those that end in a line feed.
    func lines(_ name: String) throws -> [String] {
        try text(name).split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    }

    func write(_ text: String, to name: String) throws {
        let file = try SystemFileSystem().open("\(directory.path)/\(name)", .createOrTruncate)
        defer { file.close() }
        try file.writeAll(Array(text.utf8), at: 0)
    }

    /// With a topic of one partition, so that there is one order.
    func gateway(_ topic: String = "orders") throws -> GatewayProcess {
        let gateway = try GatewayProcess(in: directory)
        #expect(try gateway.client().putJSON("/v1/topics/\(topic)", #"{"partitions":1}"#).status == 201)
        return gateway
    }

    func again(_ port: UInt16) throws -> GatewayProcess {
        let gateway = try GatewayProcess(in: directory, listen: "127.0.0.1:\(port)")
        _ = try gateway.port()
        return gateway
    }
}
