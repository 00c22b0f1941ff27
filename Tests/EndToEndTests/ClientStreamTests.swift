import GatewayTestSupport
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// Standard streams that are closed, full, or a terminal.
@Suite struct ClientStreamTests {
    private let shell: ShellCommands

    init() throws { shell = ShellCommands(try TemporaryDirectory()) }

    /// The numbers of closed streams go to what is opened next: the spool's files, and connections to a gateway.
    @Test func closedStreams_AreNothingElse() throws {
        let first = try shell.gateway()
        let port = try first.port()
        first.signal(SIGTERM)
        #expect(first.waitForEnd() == .exited(0))
        let serve = try shell.run(
            "exec $P serve --listen 127.0.0.1:\(port) --data-dir closed --set log.format=json <&- >&- 2>&-")
        // try?: it does not listen yet.
        #expect(eventually { (try? HTTPClient(port: port).request("GET", "/readyz").status) == 200 })
        let client = try HTTPClient(port: port, owner: serve)
        #expect(try shell.run("seq 20 | $P produce orders", port: port).waitForEnd() == .exited(0))

        #expect(try shell.run("exec $P produce orders <&-", port: port).waitForEnd() == .exited(4))
        #expect(try shell.run("echo | $P produce orders --receipts >&-", port: port).waitForEnd() == .exited(4))
        #expect(
            try shell.run("exec $P consume orders --consumer a --wait 1 >&-", port: port).waitForEnd() == .exited(4))
        let found = try client.request("GET", "/v1/consumers/a").json()
        let committed = found["partitions"]?.list.map { $0["committed"]?.int64 } ?? []
        #expect(!committed.isEmpty && committed.allSatisfy { $0 == 0 })

        serve.signal(SIGTERM)
        #expect(serve.waitForEnd() == .exited(0))
        // (grep ends with 1 where it finds nothing.)
        #expect(try shell.run("exec grep -r '\"message\":' closed").waitForEnd() == .exited(1))
    }

    @Test(arguments: ["config reference", "config check --all", "spool inspect --data-dir data"])
    func whatCannotBeWritten_IsAnError(command: String) throws {
        if command.hasPrefix("spool") {
            let gateway = try shell.gateway()
            gateway.signal(SIGTERM)
            #expect(gateway.waitForEnd() == .exited(0))
        }
        #expect(try shell.run("exec $P \(command) > /dev/full").waitForEnd() == .exited(4))
    }

    /// Over a restart of the gateway, until it is told to end.
    @Test func watch_GoesOn_WhileTheGatewayIsAway() throws {
        var gateway = try shell.gateway()
        let port = try gateway.port()
        let watch = try shell.run("exec $P status --watch 100ms --json > output 2> errors", port: port)
        #expect(try eventually { try shell.lines("output").count >= 2 })
        gateway.killNow()
        #expect(try eventually { try shell.lines("errors").count >= 2 })
        #expect(try shell.text("errors").contains("no answer"))
        let before = try shell.lines("output").count
        gateway = try shell.again(port)
        #expect(try eventually { try shell.lines("output").count >= before + 2 })
        // Each a line of its own.
        #expect(try shell.lines("output").allSatisfy { $0.hasPrefix("{") && $0.hasSuffix("}") })
        watch.signal(SIGTERM)
        #expect(watch.waitForEnd() == .exited(0))
    }

    @Test func watch_FitsTheTerminal_AndEndsWithItsReader() throws {
        let gateway = try shell.gateway()
        let port = try gateway.port()
        let terminal = try Terminal(columns: 40)
        let watch = try shell.run("exec $P status --watch 100ms > '\(terminal.path)'", port: port)
        #expect(eventually { terminal.read().components(of: "\u{1B}[H\u{1B}[2J").count >= 4 })
        let screen = terminal.read().components(of: "\u{1B}[H\u{1B}[2J")[1].split(separator: "\r\n")
        #expect(screen.first?.hasPrefix("gateway ") == true && screen.contains { $0.hasPrefix("accepting   yes") })
        #expect(screen.allSatisfy { $0.count <= 40 } && screen.contains { $0.count == 40 && $0.hasSuffix("…") })
        watch.signal(SIGINT)
        #expect(watch.waitForEnd() == .exited(0))

        let reader = try shell.run(
            "{ $P status --watch 100ms 2> errors; echo $? > code; } | head -n 1 > output", port: port)
        #expect(reader.waitForEnd() == .exited(0))
        #expect(try shell.text("code") == "4\n")
    }
}

/// What a process that writes to a terminal shows.
private final class Terminal {
    private let descriptor: Int32
    /// Held, so that it is there before and after who writes to it.
    private let held: Int32
    let path: String
    private var shown: [UInt8] = []

    init(columns: UInt16) throws {
        var ends: (Int32, Int32) = (-1, -1)
        var name = [CChar](repeating: 0, count: 64)
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        guard openpty(&ends.0, &ends.1, &name, nil, &size) == 0 else {
            throw HTTPClient.Failure("no terminal: errno \(errno)")
        }
        (descriptor, held) = ends
        for end in [descriptor, held] { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        path = name.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }

    deinit {
        close(held)
        close(descriptor)
    }

    /// Everything so far.
    func read() -> String {
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count <= 0 { return String(decoding: shown, as: UTF8.self) }
            shown += chunk[..<count]
        }
    }
}

extension String {
    /// What stands before, between and behind the separators.
    fileprivate func components(of separator: String) -> [String] {
        var parts = [""]
        var rest = self[...]
        while let character = rest.first {
            if rest.hasPrefix(separator) {
                parts.append("")
                rest = rest.dropFirst(separator.count)
            } else {
                parts[parts.count - 1].append(character)
                rest = rest.dropFirst()
            }
        }
        return parts
    }
}
