import Glibc
import Primitives
import TestSupport

/// An HTTP server that fails as it is told: each request takes the next step of its script, then it answers 200 `{}`.
final class FakeServer: Sendable {
    enum Step: Sendable {
        case answer(Int, headers: String = "", body: String = "{}")
        /// Reads the request and closes: the answer is lost.
        case lose
        /// Promises more than it sends, and closes.
        case half
        /// Reads the request and never answers, until the client is gone.
        case hang
    }

    struct Seen: Sendable, Equatable {
        var head: String
        var body: String
        /// Counted from 0.
        var connection: Int
    }

    private struct State {
        var script: [Step]
        var seen: [Seen] = []
        var connections = 0
        /// The one that is served; -1: none.
        var current: Int32 = -1
    }

    let port: UInt16
    private let listener: Int32
    private let state: Monitor<State>
    private let thread: WorkerThread

    /// - Parameter path: of a Unix socket; nil: a port of loopback.
    init(_ script: [Step], path: String? = nil) throws {
        let listener = socket(path == nil ? AF_INET : AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        self.listener = listener
        port = try path.map { try Self.bind(listener, path: $0) } ?? Self.bind(listener)
        guard listen(listener, 16) == 0 else { throw Failure("listen: errno \(errno)") }
        let state = Monitor(State(script: script))
        self.state = state
        thread = WorkerThread(name: "fake-server") {
            while true {
                let connection = accept(listener, nil, nil)
                if connection < 0 { return }
                let number = state.withLock { state in
                    defer { state.connections += 1 }
                    state.current = connection
                    return state.connections
                }
                while let seen = Self.read(connection, number) {
                    let step = state.withLock { state in
                        state.seen.append(seen)
                        return state.script.isEmpty ? Step.answer(200) : state.script.removeFirst()
                    }
                    state.broadcast()
                    guard Self.answer(connection, step) else { break }
                }
                state.withLock { state in
                    state.current = -1
                    close(connection)
                }
            }
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        // The client may still hold its connection.
        state.withLock { state in
            if state.current >= 0 { shutdown(state.current, Int32(SHUT_RDWR)) }
        }
        close(listener)
        thread.join()
    }

    struct Failure: Error {
        init(_ description: String) {}
    }

    var seen: [Seen] { state.withLock { $0.seen } }

    /// - Returns: whether so many requests came in time.
    func waitForRequests(_ count: Int) -> Bool {
        state.wait(until: patienceEnd()) { $0.seen.count >= count ? true : nil } ?? false
    }

    private static func bind(_ listener: Int32) throws -> UInt16 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(listener, $0, size) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard result else { throw Failure("bind: errno \(errno)") }
        return UInt16(bigEndian: address.sin_port)
    }

    private static func bind(_ listener: Int32, path: String) throws -> UInt16 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { room in
            guard path.utf8.count < room.count else { return false }
            room.copyBytes(from: path.utf8)
            return true
        }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard fits, result == 0 else { throw Failure("bind: errno \(errno)") }
        return 0
    }

    /// One request; nil at the end of the connection.
    private static func read(_ connection: Int32, _ number: Int) -> Seen? {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while !bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            guard recv(connection, &byte, 1, 0) == 1 else { return nil }
            bytes.append(byte)
        }
        let head = String(decoding: bytes, as: UTF8.self)
        let field = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
        let length = field.flatMap { Int($0.split(separator: " ").last ?? "") } ?? 0
        var body: [UInt8] = []
        while body.count < length {
            guard recv(connection, &byte, 1, 0) == 1 else { return nil }
            body.append(byte)
        }
        return Seen(head: head, body: String(decoding: body, as: UTF8.self), connection: number)
    }

    /// - Returns: whether the connection goes on.
    private static func answer(_ connection: Int32, _ step: Step) -> Bool {
        let text: String
        switch step {
        case .answer(let status, let headers, let body):
            text = "HTTP/1.1 \(status) Word\r\n\(headers)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
        case .half: text = "HTTP/1.1 202 Word\r\nContent-Length: 100\r\n\r\n{\"receipts\":["
        case .lose: return false
        case .hang:
            var byte: UInt8 = 0
            _ = recv(connection, &byte, 1, 0)
            return false
        }
        let bytes = Array(text.utf8)
        _ = send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        if case .half = step { return false }
        return true
    }
}
