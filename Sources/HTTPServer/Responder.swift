public import Primitives

/// Answers one request, once. A copy is the same responder. Any thread may call any method; none blocks. One that is
/// dropped without an answer leaves its client to the request's total deadline.
public struct Responder: Sendable {
    private let connection: Connection
    private let generation: UInt64

    init(connection: Connection, generation: UInt64) {
        self.connection = connection
        self.generation = generation
    }

    /// - Returns: false when the request was answered before (by another thread, the end of its wait, the server's
    ///   deadline or stop) or its client is known to be gone: nobody will see this response, and what it hands out
    ///   should be taken back. Counted in `postrider_http_responses_ignored_total`.
    @discardableResult
    public func respond(_ response: HTTPResponse) -> Bool { connection.answer(generation, response) }

    /// Whether an answer is still awaited, as far as the server knows.
    public var isOpen: Bool { connection.isOpen(generation) }

    /// Declares that the answer may take long: from now the request counts against `parkedMax`, its client is looked
    /// after, and its wait ends at `until` (or at the request's total deadline, if that is earlier, or when the server
    /// stops). Once for a request.
    ///
    /// - Parameters:
    ///   - onTimeout: makes the answer for when the wait is over; dropped when another answer was faster. Runs on the
    ///     timer's thread or the one that stops the server.
    ///   - onClientGone: runs once, on the sweep's thread, when the client was seen to have left before any answer.
    ///     Best effort, within `sweepInterval`; a client that shuts its sending side down counts as gone.
    /// - Returns: false when it is not parked: answered before, parked before, or answered now with 503 `parked_limit`.
    @discardableResult
    public func park(
        until: MonotonicInstant, onTimeout: @escaping @Sendable () -> HTTPResponse,
        onClientGone: @escaping @Sendable () -> Void = {}
    ) -> Bool {
        connection.park(generation, until: until, onTimeout: onTimeout, onClientGone: onClientGone)
    }

    /// Looks at the socket now. True also when the request was answered. Best effort: a client can leave right after.
    public func isClientGone() -> Bool { connection.isClientGone(generation) }

    /// Sets bytes of `responseMemoryMax` aside for this answer, in addition to earlier reservations; they are given
    /// back when the response is out or the connection broke, and what the response does not need when it is sent.
    /// Reserve before promising what only the response can tell.
    ///
    /// - Returns: false, and nothing is reserved, when there is not as much or the request was answered.
    public func reserve(_ bytes: Int) -> Bool { connection.reserve(generation, bytes) }

    /// Calls `wake` once, when `bytes` of response memory may be free; first come, first served. It reserves nothing:
    /// call `reserve` again. `wake` may run at once on this thread, or later on one that freed memory, and must not
    /// block.
    public func whenMemoryIsFree(_ bytes: Int, _ wake: @escaping @Sendable () -> Void) {
        connection.core.responseMemory.whenFree(bytes, wake)
    }
}
