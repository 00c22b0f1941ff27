import Glibc
import Primitives
import TestSupport

/// What came back for one request.
struct RawResponse: Equatable {
    var status: Int
    var headers: [(name: String, value: String)]
    var bytes: [UInt8]

    var body: String { String(decoding: bytes, as: UTF8.self) }

    func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    static func == (a: Self, b: Self) -> Bool { a.status == b.status && a.body == b.body }
}

/// A socket and nothing else: sends exactly the bytes it is told to, and reads with a deadline.
final class RawClient {
    struct Failure: Error {
        let what: String
    }

    static let patience = testPatience

    private var descriptor: Int32
    private var received: [UInt8] = []

    /// - Parameter receiveBytes: the socket's receive buffer, for clients that read slowly.
    init(port: UInt16, receiveBytes: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(1), 0)
        guard descriptor >= 0 else { throw Failure(what: "socket: \(errno)") }
        if var receiveBytes {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBytes, socklen_t(MemoryLayout<Int32>.size))
        }
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure(what: "connect: \(errno)") }
    }

    deinit { close() }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    func closeWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure(what: "send: \(errno)") }
            done += count
        }
    }

    /// - Returns: false when nothing more can be sent, because the peer closed or does not read.
    func trySend(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        } == bytes.count
    }

    /// Waits for bytes. - Returns: false at the end of the stream (also when it was reset).
    private func fill(until deadline: MonotonicInstant, atMost: Int = 65536) throws -> Bool {
        let left = (deadline - SystemClock().now()).wholeMilliseconds
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard left > 0, poll(&entry, 1, Int32(left)) > 0 else { throw Failure(what: "nothing came in time") }
        var buffer = [UInt8](repeating: 0, count: atMost)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count <= 0 { return false }
        received += buffer[..<count]
        return true
    }

    /// The next response; interim ones (100) count. - Parameter head: it answers HEAD and has no body.
    func response(head: Bool = false, within: Duration = patience) throws -> RawResponse {
        let deadline = SystemClock().now() + within
        while true {
            if let response = takeResponse(head: head) { return response }
            guard try fill(until: deadline) else {
                throw Failure(what: "closed; so far: \(String(decoding: received, as: UTF8.self).prefix(200))")
            }
        }
    }

    private func takeResponse(head: Bool) -> RawResponse? {
        guard let end = received.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let lines = String(decoding: received[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
        guard let status = lines.first?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else { return nil }
        let headers = lines.dropFirst().map { line in
            let parts = line.split(separator: ":", maxSplits: 1)
            return (name: String(parts[0]), value: parts.count > 1 ? String(parts[1].drop { $0 == " " }) : "")
        }
        let length = headers.first { $0.name.lowercased() == "content-length" }.flatMap { Int($0.value) } ?? 0
        let isChunked = headers.contains { $0.name.lowercased() == "transfer-encoding" && $0.value == "chunked" }
        if isChunked, !head {
            guard let (bytes, next) = chunks(from: end.upperBound) else { return nil }
            received.removeSubrange(..<next)
            return RawResponse(status: status, headers: headers, bytes: bytes)
        }
        let bodyBytes = head || status < 200 ? 0 : length
        guard received.count >= end.upperBound + bodyBytes else { return nil }
        let bytes = Array(received[end.upperBound..<end.upperBound + bodyBytes])
        received.removeSubrange(..<(end.upperBound + bodyBytes))
        return RawResponse(status: status, headers: headers, bytes: bytes)
    }

    /// A chunked body without trailers, and where it ends; nil while some of it is to come.
    private func chunks(from start: Int) -> (bytes: [UInt8], next: Int)? {
        var bytes: [UInt8] = []
        var position = start
        while let line = received[position...].firstRange(of: [13, 10]) {
            guard let size = Int(String(decoding: received[position..<line.lowerBound], as: UTF8.self), radix: 16),
                received.count >= line.upperBound + size + 2
            else { return nil }
            bytes += received[line.upperBound..<line.upperBound + size]
            position = line.upperBound + size + 2
            if size == 0 { return (bytes, position) }
        }
        return nil
    }

    /// Reads a few bytes and keeps the rest waiting.
    func readSlowly(_ count: Int) throws -> Bool {
        try fill(until: SystemClock().now() + Self.patience, atMost: count)
    }

    /// - Returns: whether the server closed in time, having sent nothing but what was read.
    func isClosedByServer(within: Duration = patience) -> Bool {
        let deadline = SystemClock().now() + within
        do {
            while try fill(until: deadline) {}
            return true
        } catch {
            return false
        }
    }

    /// - Returns: whether nothing came for that long and the connection is open.
    func isSilent(for time: Duration) -> Bool {
        do {
            _ = try fill(until: SystemClock().now() + time)
            return false
        } catch {
            return true
        }
    }

    func exchange(_ text: String, head: Bool = false) throws -> RawResponse {
        try send(text)
        return try response(head: head)
    }
}
