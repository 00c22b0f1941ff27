import Primitives

/// One request and its answer, as seen by everybody who may touch them: the connection's event loop, the threads that
/// answer, the timer and the sweep. A pure value behind the connection's lock.
///
///     idle ──begin──▶ receiving ──dispatch──▶ handling ──handlerReturned──▶ suspended
///       ▲                 │ refuse               │ answer                     │ answer, drop (resumes)
///       │                 ▼                      ▼                            ▼
///       └──complete── sending ◀──────────── answered ◀────────────────────────┘   (dropped: closed unanswered)
///
/// The race that libmicrohttpd leaves to its user is solved by two rules. A connection is suspended only after its
/// handler has returned without an answer, by the event loop, and under the lock; so an answer that comes earlier
/// finds `handling`, leaves itself in `answered` and resumes nothing. And a connection is resumed under the same lock,
/// by the one transition out of `suspended`; so it is resumed once, and never after it has gone.
///
/// Generations tell the requests of one connection apart: a responder of an earlier one changes nothing.
struct Exchange {
    enum Phase {
        /// Between requests.
        case idle
        /// From the request line to the end of the body.
        case receiving
        /// The handler runs on the event loop, and nobody has answered.
        case handling
        /// Waits for an answer; libmicrohttpd does not look at the socket.
        case suspended
        /// Waits for the event loop to send it.
        case answered(HTTPResponse)
        /// The client left while parked; waits for the event loop to close.
        case dropped
        case sending
        /// The socket may be closed and its number used again.
        case closed
    }

    /// What a parked request has beyond a suspended one.
    struct Parking {
        var until: MonotonicInstant
        var onTimeout: @Sendable () -> HTTPResponse
        var onClientGone: @Sendable () -> Void
        var timer: TimerToken?
    }

    private(set) var phase = Phase.idle
    private(set) var generation: UInt64 = 0
    /// When the request line came, or when the last request ended.
    private(set) var since: MonotonicInstant
    private(set) var headersComplete = false
    /// Of the body.
    var receivedBytes = 0
    private(set) var parking: Parking?
    /// When the handler got the request, when it was parked, and when it was answered.
    private var dispatchedAt: MonotonicInstant?
    private var parkedAt: MonotonicInstant?
    private var answeredAt: MonotonicInstant?

    var times: RequestMetrics.Times { RequestMetrics.Times(dispatched: dispatchedAt, parked: parkedAt) }

    /// Bytes of response memory that belong to this exchange.
    var reservedBytes = 0
    /// Bytes of body memory that belong to it, from the handler on.
    private var bodyBytes = 0
    /// The answer that was written past libmicrohttpd, and none may follow.
    var toldRaw: RequestLog.Told?

    init(now: MonotonicInstant) { since = now }

    /// The request line came. - Returns: the request's generation.
    mutating func begin(now: MonotonicInstant) {
        generation += 1
        phase = .receiving
        since = now
        headersComplete = false
        receivedBytes = 0
        toldRaw = nil
        (dispatchedAt, parkedAt, answeredAt) = (nil, nil, nil)
    }

    mutating func completeHeaders() { headersComplete = true }

    mutating func dispatch(bodyBytes: Int, now: MonotonicInstant) {
        phase = .handling
        dispatchedAt = now
        self.bodyBytes = bodyBytes
    }

    /// - Returns: what was charged for the body and is given back now.
    mutating func takeBodyBytes(_ generation: UInt64) -> Int {
        guard generation == self.generation else { return 0 }
        defer { bodyBytes = 0 }
        return bodyBytes
    }

    /// The server answers itself, on the event loop, before any handler.
    mutating func refuse(responseBytes: Int) {
        phase = .sending
        reservedBytes = responseBytes
    }

    enum Answer {
        /// Answered already, or of an earlier request.
        case ignored
        /// The event loop takes it when the handler returns.
        case taken(Parking?)
        /// Resume, before the lock is released.
        case resume(Parking?)
    }

    mutating func answer(_ generation: UInt64, _ response: HTTPResponse, now: MonotonicInstant) -> Answer {
        guard generation == self.generation else { return .ignored }
        switch phase {
        case .handling:
            phase = .answered(response)
            answeredAt = now
            return .taken(takeParking())
        case .suspended:
            phase = .answered(response)
            answeredAt = now
            return .resume(takeParking())
        case .idle, .receiving, .answered, .dropped, .sending, .closed:
            return .ignored
        }
    }

    enum Next {
        /// `reservedBytes` were set aside for it; from now the exchange holds as many as its body has.
        case send(HTTPResponse, reservedBytes: Int)
        /// Suspend, before the lock is released.
        case suspend
        case close
    }

    /// On the event loop: the handler returned, or the connection was resumed.
    mutating func next() -> Next {
        switch phase {
        case .answered(let response):
            phase = .sending
            defer { reservedBytes = response.body.count }
            return .send(response, reservedBytes: reservedBytes)
        case .handling, .suspended:
            phase = .suspended
            return .suspend
        case .idle, .receiving, .dropped, .sending, .closed:
            return .close
        }
    }

    /// Whether the request's own data may be read and its answer is still awaited.
    func isOpen(_ generation: UInt64) -> Bool {
        guard generation == self.generation else { return false }
        switch phase {
        case .handling, .suspended: return true
        case .idle, .receiving, .answered, .dropped, .sending, .closed: return false
        }
    }

    /// Whether libmicrohttpd still keeps the request's headers.
    func isReadable(_ generation: UInt64) -> Bool {
        if case .answered = phase { return generation == self.generation }
        return isOpen(generation)
    }

    mutating func park(_ parking: Parking, now: MonotonicInstant) {
        self.parking = parking
        parkedAt = now
    }

    mutating func setTimer(_ generation: UInt64, _ timer: TimerToken) -> Bool {
        guard isOpen(generation), parking != nil else { return false }
        parking?.timer = timer
        return true
    }

    /// - Returns: how it was parked; nil when it is not, or not for longer.
    mutating func shorten(_ generation: UInt64, to deadline: MonotonicInstant) -> Parking? {
        guard isOpen(generation), let former = parking, deadline < former.until else { return nil }
        parking?.until = deadline
        parking?.timer = nil
        return former
    }

    var isParkedAndSuspended: Bool {
        if case .suspended = phase { return parking != nil }
        return false
    }

    /// The client of a parked request left. - Returns: nil when it is parked no more; else resume, before the lock is
    /// released.
    mutating func drop(_ generation: UInt64) -> Parking? {
        guard generation == self.generation, isParkedAndSuspended else { return nil }
        phase = .dropped
        return takeParking()
    }

    /// A request that is over: what it still held, and what it took.
    struct Ended {
        var reservedBytes: Int
        var bodyBytes: Int
        var parking: Parking?
        var toldRaw: RequestLog.Told?
        var begun: MonotonicInstant
        /// From the end of the request to its answer, without the time for which it was parked.
        var worked: Duration
        var parked: Duration
    }

    /// The response is out, or never will be.
    mutating func complete(now: MonotonicInstant) -> Ended {
        let answered = answeredAt ?? now
        let ended = Ended(
            reservedBytes: reservedBytes, bodyBytes: takeBodyBytes(generation), parking: takeParking(),
            toldRaw: toldRaw, begun: since, worked: dispatchedAt.map { (parkedAt ?? answered) - $0 } ?? .zero,
            parked: parkedAt.map { answered - $0 } ?? .zero)
        generation += 1
        phase = .idle
        since = now
        reservedBytes = 0
        return ended
    }

    mutating func close() { phase = .closed }

    private mutating func takeParking() -> Parking? {
        defer { parking = nil }
        return parking
    }
}
