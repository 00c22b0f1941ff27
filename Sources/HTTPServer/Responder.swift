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
    ///   - orAnswer: makes the answer for when too many are parked already; nil: 503 `parked_limit`.
    /// - Returns: false when it is not parked: answered before, parked before, or answered now for the limit.
    @discardableResult
    public func park(
        until: MonotonicInstant, onTimeout: @escaping @Sendable () -> HTTPResponse,
        onClientGone: @escaping @Sendable () -> Void = {}, orAnswer: (@Sendable () -> HTTPResponse)? = nil
    ) -> Bool {
        connection.park(
            generation, until: until, onTimeout: onTimeout, onClientGone: onClientGone, orAnswer: orAnswer)
    }

    /// Ends the wait of a parked request at `deadline`, if it would end later: it was parked for something that did not
    /// take as long. Nothing happens when it is not parked.
    public func endWait(at deadline: MonotonicInstant) { connection.endWait(generation, at: deadline) }

    /// The handler keeps nothing of the request's body any more: its memory is counted as free from now, and not only
    /// from the answer on. For what is done with the body and answers much later.
    public func releaseBody() { connection.releaseBody(generation) }

    /// Looks at the socket now. True also when the request was answered. Best effort: a client can leave right after.
    public func isClientGone() -> Bool { connection.isClientGone(generation) }

    /// Sets bytes of `responseMemoryMax` aside for this answer, in addition to earlier reservations; they are given
    /// back when the response is out or the connection broke, and what the response does not need when it is sent.
    /// Reserve before promising what only the response can tell.
    ///
    /// - Returns: false, and nothing is reserved, when there is not as much or the request was answered.
    public func reserve(_ bytes: Int) -> Bool { connection.reserve(generation, bytes) }

    /// As `reserve`, or waits for the bytes: first come, first served over all requests. `reserved` is called once,
    /// when they are reserved for this answer, on the thread that freed them or on the caller's; it must not block. It
    /// is never called when the request is answered first, when another such call of this request took its place, or
    /// when `bytes` is more than `responseMemoryMax`.
    ///
    /// - Returns: whether the bytes are reserved now; `reserved` is not called then.
    public func reserve(_ bytes: Int, orLater reserved: @escaping @Sendable () -> Void) -> Bool {
        connection.reserve(generation, bytes, orLater: reserved)
    }

    /// Bytes that were reserved and that this answer does not need after all, for others to use at once.
    /// - Precondition: reserved for this answer and not given back yet.
    public func giveBack(_ bytes: Int) { connection.giveBack(generation, bytes) }

    /// Reserved for this answer so far; 0 when it was answered.
    public var reservedBytes: Int { connection.reservedBytes(generation) }

    /// Bytes of header fields (names, values, four for each) that are sure to fit the answer beside the server's own:
    /// what is not, costs the client its connection. At least 0; 0 when it was answered.
    public var headerRoom: Int { connection.headerRoom(generation) }

    /// What all answers together may reserve.
    public var responseMemoryMax: Int { connection.core.responseMemory.bytesMax }
}
