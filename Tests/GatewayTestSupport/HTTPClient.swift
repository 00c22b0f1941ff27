import Glibc
import Primitives

/// One connection to a gateway, and the requests on it. Blocking; for one thread at a time.
///
/// Sends exactly what it is told to and reads with a deadline, so that a test sees the bytes of an answer and can lose
/// one on purpose.
public final class HTTPClient {
    /// What a test could not do, in words.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String

        public init(_ description: String) { self.description = description }
    }

    /// Longest wait for an answer that a test did not limit itself. Less than the longest wait that a request may ask
    /// for (60 s): an answer that comes only because that is over is none.
    public static let patience = Duration.seconds(50)
    /// Longer answers are a failure of the test.
    private static let answerBytesMax = 64 << 20

    private var descriptor: Int32
    /// Lives as long as the connection: the gateway that a test only talks to.
    private let owner: AnyObject?
    private var received: [UInt8] = []
    /// Requests whose answers did not come yet, in order; nil once bytes were sent that nobody here understands.
    private var awaited: [(method: String, target: String)]? = []

    /// - Parameters:
    ///   - receiveBytes: of the socket's receive buffer, for clients that read slowly.
    ///   - isGateway: false: a server with other routes, whose answers no contract describes.
    public init(
        port: UInt16, receiveBytes: Int32? = nil, owner: AnyObject? = nil, isGateway: Bool = true
    ) throws {
        self.owner = owner
        if !isGateway { awaited = nil }
        // Not inherited: a child that another test starts meanwhile would keep this connection open.
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("socket: errno \(errno)") }
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
        guard result == 0 else { throw Failure("connect to port \(port): errno \(errno)") }
    }

    deinit { close() }

    public func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    /// Sends a request and does not wait for its answer.
    ///
    /// - Parameter body: nil sends neither body nor `Content-Length`, except that POST and PUT say zero.
    public func send(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], body: [UInt8]? = nil
    ) throws {
        var head = "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if body != nil || method == "POST" || method == "PUT" { head += "Content-Length: \(body?.count ?? 0)\r\n" }
        awaited?.append((method, target))
        try write(Array((head + "\r\n").utf8) + (body ?? []))
    }

    /// Sends these very bytes. From here on the answers of this connection are not held against the contract.
    public func send(_ bytes: [UInt8]) throws {
        awaited = nil
        try write(bytes)
    }

    private func write(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure("send: errno \(errno)") }
            done += count
        }
    }

    /// The next answer; interim ones (1xx) are skipped. It must be one that the contract has for its request.
    ///
    /// - Parameter head: it answers HEAD and has no body.
    public func answer(head: Bool = false, within: Duration = patience) throws -> Answer {
        let deadline = SystemClock().now() + within
        while true {
            if let answer = try Answer.take(from: &received, head: head) {
                if answer.status < 200 { continue }
                if let request = awaited?.first {
                    awaited?.removeFirst()
                    try Contract.shared.get().check(answer, to: request.method, request.target)
                }
                return answer
            } else if !(try fill(until: deadline)) {
                throw Failure("closed; so far: \(String(decoding: received.prefix(200), as: UTF8.self))")
            }
        }
    }

    public func request(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], body: [UInt8]? = nil,
        within: Duration = patience
    ) throws -> Answer {
        try send(method, target, headers, body: body)
        return try answer(head: method == "HEAD", within: within)
    }

    /// - Returns: whether nothing came for that long and the connection is open.
    public func isSilent(for time: Duration) -> Bool {
        do {
            _ = try fill(until: SystemClock().now() + time)
            return false
        } catch {
            return true
        }
    }

    /// - Returns: whether the peer closed in time; what it sent before is read.
    public func isClosedByServer(within: Duration = patience) -> Bool {
        let deadline = SystemClock().now() + within
        do {
            while try fill(until: deadline) {}
            return true
        } catch {
            return false
        }
    }

    /// Waits for bytes. - Returns: false at the end of the stream, also when it was reset.
    private func fill(until deadline: MonotonicInstant) throws -> Bool {
        guard received.count < Self.answerBytesMax else { throw Failure("an answer beyond all bounds") }
        let left = (deadline - SystemClock().now()).wholeMilliseconds
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard left > 0, poll(&entry, 1, Int32(left)) > 0 else { throw Failure("nothing came in time") }
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count <= 0 { return false }
        received += buffer[..<count]
        return true
    }
}
