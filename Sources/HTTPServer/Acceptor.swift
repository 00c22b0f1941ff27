import CMicrohttpd
import Glibc
import Logging
import Primitives

/// Accepts connections and hands them to the daemon's event loops, until it is stopped.
///
/// libmicrohttpd would accept itself, but 0.9.75's `MHD_quiesce_daemon` aborts the process when an event loop takes the
/// listening socket out of its epoll set at the same moment; with a socket of our own, to stop accepting is to close
/// it. Connections above the limit wait in the backlog.
final class Acceptor: Sendable {
    /// How long accepting rests when the connection limit or a limit of the system is reached.
    static let pauseMs: Int32 = 20

    /// The writing end of a pipe: closing it wakes the thread.
    private let stopper: Int32
    private let thread: WorkerThread
    private let stopped = Lock(false)

    init(_ socket: ListenSocket, _ daemon: Daemon, _ core: ServerCore) throws(HTTPServerError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw .cannotStart }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let wake = ends[0]
        stopper = ends[1]
        thread = WorkerThread(name: "http-accept") {
            Self.run(socket, wake, daemon, core)
            socket.close()
            Glibc.close(wake)
        }
    }

    /// Returns when the socket is closed and no connection is on its way to the daemon.
    func stop() {
        stopped.withLock { stopped in
            guard !stopped else { return }
            stopped = true
            Glibc.close(stopper)
            thread.join()
        }
    }

    private static func run(_ socket: ListenSocket, _ wake: Int32, _ daemon: Daemon, _ core: ServerCore) {
        var rests = false
        while true {
            // While resting only the wake-up is looked at.
            var entries = [
                pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
                pollfd(fd: rests ? -1 : socket.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            let ready = poll(&entries, nfds_t(entries.count), rests ? pauseMs : -1)
            if entries[0].revents != 0 { return }
            let rested = rests
            if ready < 0, errno != EINTR { rests = true } else { rests = !acceptOne(socket, daemon, core) }
            // Once, however long it rests.
            if rests, !rested, core.isFull { Limit.connections.reached() }
        }
    }

    /// - Returns: false when accepting should rest.
    private static func acceptOne(_ socket: ListenSocket, _ daemon: Daemon, _ core: ServerCore) -> Bool {
        guard core.takeConnectionSpace() else { return false }
        var address = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &address) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                let client = accept(socket.descriptor, address, &size)
                guard client >= 0 else {
                    let code = errno
                    core.returnConnectionSpace()
                    switch code {
                    case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                        core.logger.warning("cannot accept a connection", metadata: ["errno": "\(code)"])
                        return false
                    default: return true
                    }
                }
                // (The daemon makes it non-blocking.)
                _ = fcntl(client, F_SETFD, FD_CLOEXEC)
                let peer = ClientAddress(address)
                guard core.addresses.takeConnection(peer) else {
                    close(client)
                    core.returnConnectionSpace()
                    return true
                }
                // The daemon closes the socket also when it refuses.
                if !daemon.add(client, address, size) {
                    core.addresses.returnConnection(peer)
                    core.returnConnectionSpace()
                }
                return true
            }
        }
    }
}
