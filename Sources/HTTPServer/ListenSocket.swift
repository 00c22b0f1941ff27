import CMicrohttpd
import Glibc

/// A listening TCP socket on a numeric address.
struct ListenSocket: Sendable {
    let descriptor: Int32
    /// The one in use, also when the system chose it.
    let port: UInt16

    init(address: String, port: UInt16, backlog: Int32) throws(HTTPServerError) {
        func failure(_ call: String, _ code: Int32) -> HTTPServerError {
            .cannotListen(address: address, port: port, detail: "\(call): errno \(code)")
        }
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE
        hints.ai_socktype = postrider_sock_stream
        var found: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(address, String(port), &hints, &found)
        guard result == 0, let info = found else {
            throw .cannotListen(address: address, port: port, detail: "not a numeric address")
        }
        defer { freeaddrinfo(info) }
        let type = info.pointee.ai_socktype | postrider_sock_cloexec | postrider_sock_nonblock
        let descriptor = socket(info.pointee.ai_family, type, 0)
        guard descriptor >= 0 else { throw failure("socket", errno) }
        var on: Int32 = 1
        // A restart must not wait for connections in TIME_WAIT.
        guard setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size)) == 0 else {
            defer { Glibc.close(descriptor) }
            throw failure("setsockopt", errno)
        }
        guard bind(descriptor, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 else {
            defer { Glibc.close(descriptor) }
            throw failure("bind", errno)
        }
        guard listen(descriptor, backlog) == 0 else {
            defer { Glibc.close(descriptor) }
            throw failure("listen", errno)
        }
        guard let port = Self.port(of: descriptor) else {
            defer { Glibc.close(descriptor) }
            throw failure("getsockname", errno)
        }
        self.descriptor = descriptor
        self.port = port
    }

    func close() { Glibc.close(descriptor) }

    private static func port(of descriptor: Int32) -> UInt16? {
        var address = sockaddr_in6()
        var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        return withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                guard getsockname(descriptor, generic, &size) == 0 else { return nil }
                // The port is at the same place for both families.
                return UInt16(bigEndian: address.pointee.sin6_port)
            }
        }
    }
}
