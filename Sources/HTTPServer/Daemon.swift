import CMicrohttpd
import Glibc
import Logging
import Primitives

/// libmicrohttpd's daemon: event loops without a listening socket.
// SAFETY: both pointers are immutable; libmicrohttpd's functions used here may be called from any thread, and `stop`
// is called once, after everything that calls `add`.
final class Daemon: @unchecked Sendable {
    private let handle: OpaquePointer
    private let logContext: UnsafeMutablePointer<postrider_mhd_log_context>
    private let context: Unmanaged<ServerCore>

    init(_ core: ServerCore) throws(HTTPServerError) {
        let settings = core.settings
        let context = Unmanaged.passRetained(core)
        let logContext = UnsafeMutablePointer<postrider_mhd_log_context>.allocate(capacity: 1)
        var options = postrider_mhd_options()
        options.threads = UInt32(settings.threads)
        // The acceptor keeps the limit; twice as much here, because the event loops share it out unevenly.
        options.connections_max = UInt32(settings.connectionsMax * 2)
        options.idle_timeout_seconds = UInt32(clamping: max(1, settings.idleTimeout.components.seconds))
        options.connection_memory_bytes = settings.connectionMemoryBytes
        options.cls = context.toOpaque()
        options.access = Callbacks.access
        options.completed = Callbacks.completed
        options.connection = Callbacks.connection
        options.request_line = Callbacks.requestLine
        options.unescape = Callbacks.unescape
        options.log_line = Callbacks.logLine
        guard let handle = postrider_mhd_start(&options, logContext) else {
            logContext.deallocate()
            context.release()
            throw .cannotStart
        }
        self.handle = handle
        self.logContext = logContext
        self.context = context
    }

    /// The socket belongs to the daemon from here on. - Returns: false when it was refused and closed.
    func add(_ socket: Int32, _ address: UnsafePointer<sockaddr>, _ size: socklen_t) -> Bool {
        MHD_add_connection(handle, socket, address, size) == postrider_mhd_yes
    }

    /// Closes every connection and joins the event loops. No connection may be suspended.
    func stop() {
        MHD_stop_daemon(handle)
        logContext.deallocate()
        context.release()
    }
}

/// The functions libmicrohttpd calls, on the event loops: each recovers its object and calls a method. In a type of
/// their own, because a closure written where an actor is inferred traps on a foreign thread.
enum Callbacks {
    static let access: MHD_AccessHandlerCallback = { _, handle, url, method, version, body, count, _ in
        guard let url, let method, let version, let count, let connection = reference(of: handle) else {
            return postrider_mhd_no
        }
        return connection._withUnsafeGuaranteedRef {
            $0.receive(url: url, method: method, version: version, body: body, count: &count.pointee)
        }
    }

    static let completed: MHD_RequestCompletedCallback = { _, handle, _, code in
        let ok = postrider_mhd_is_completed_ok(code) != 0
        reference(of: handle)?._withUnsafeGuaranteedRef { $0.complete(ok: ok) }
    }

    static let connection: MHD_NotifyConnectionCallback = { context, handle, slot, code in
        guard let context, let handle, let slot else { return }
        if postrider_mhd_is_start(code) != 0 {
            let core = Unmanaged<ServerCore>.fromOpaque(context).takeUnretainedValue()
            let connection = Connection(core: core, handle: handle, descriptor: postrider_mhd_descriptor(handle))
            slot.pointee = Unmanaged.passRetained(connection).toOpaque()
            core.insert(connection)
        } else if let pointer = slot.pointee {
            slot.pointee = nil
            let connection = Unmanaged<Connection>.fromOpaque(pointer).takeRetainedValue()
            connection.close()
            connection.core.remove(connection)
        }
    }

    static let requestLine:
        @convention(c) (
            UnsafeMutableRawPointer?, UnsafePointer<CChar>?, OpaquePointer?
        ) -> UnsafeMutableRawPointer? = { _, target, handle in
            let bytes = target.map { strlen($0) } ?? 0
            let hasSpace = target.map { memchr($0, Int32(UInt8(ascii: " ")), bytes) != nil } ?? false
            reference(of: handle)?._withUnsafeGuaranteedRef { $0.begin(targetBytes: bytes, targetHasSpace: hasSpace) }
            return nil
        }

    /// Nothing is decoded here: what stands for a slash or a NUL must be told apart from one.
    static let unescape:
        @convention(c) (
            UnsafeMutableRawPointer?, OpaquePointer?, UnsafeMutablePointer<CChar>?
        ) -> Int = { _, _, text in text.map { strlen($0) } ?? 0 }

    static let logLine: postrider_mhd_log_line = { context, line in
        guard let context, let line else { return }
        let core = Unmanaged<ServerCore>.fromOpaque(context).takeUnretainedValue()
        // Mostly broken requests: whoever looks into one turns this level on.
        let text = String(cString: line)
        core.logger.debug("libmicrohttpd", metadata: ["line": "\(text)"])
    }

    /// The connection lives until its close notification, which comes after every other call for it.
    private static func reference(of handle: OpaquePointer?) -> Unmanaged<Connection>? {
        guard let handle, let pointer = postrider_mhd_socket_context(handle) else { return nil }
        return Unmanaged<Connection>.fromOpaque(pointer)
    }
}
