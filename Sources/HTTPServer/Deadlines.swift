import CMicrohttpd
import Glibc
import Primitives

/// Deadlines are looked at by the sweep, a few times a minute for each connection, so that an ordinary fast request
/// costs no timer. Only parked requests have one.
extension Exchange {
    enum Overdue {
        /// Nobody answered: the server does.
        case answer
        /// The request does not arrive: say so, and end the connection.
        case closeWithAnswer(Part)
        /// Nothing that could be said would be understood, or the client does not read it.
        case close(Part)
    }

    /// What a client is slow with.
    enum Part: String, CaseIterable {
        case requestLine = "request_line"
        case headers, body, response
    }

    func overdue(now: MonotonicInstant, _ settings: HTTPServerSettings) -> Overdue? {
        switch phase {
        case .idle:
            // libmicrohttpd closes what is silent; this is a request line that comes byte by byte.
            return now > since + settings.idleTimeout + settings.headerTimeout ? .close(.requestLine) : nil
        case .receiving:
            if !headersComplete {
                let limit = min(settings.headerTimeout, settings.requestTimeout)
                return now > since + limit ? .closeWithAnswer(.headers) : nil
            }
            return now > since + settings.requestTimeout || isBodyTooSlow(now: now, settings)
                ? .closeWithAnswer(.body) : nil
        case .suspended:
            return now > since + settings.requestTimeout ? .answer : nil
        case .sending:
            return now > since + settings.requestTimeout ? .close(.response) : nil
        case .handling, .answered, .dropped, .closed:
            // The event loop has it in its hands.
            return nil
        }
    }

    /// A body that trickles in holds its memory and its connection for the whole of `requestTimeout` otherwise.
    private func isBodyTooSlow(now: MonotonicInstant, _ settings: HTTPServerSettings) -> Bool {
        let elapsed = now - since
        guard elapsed > settings.headerTimeout else { return false }
        return receivedBytes < Int(elapsed.components.seconds) * settings.bodyRateMin
    }

    /// It is for the client to go on.
    var awaitsClient: Bool {
        switch phase {
        case .idle, .receiving: true
        case .handling, .suspended, .answered, .dropped, .sending, .closed: false
        }
    }

    /// Whether the sweep looks if the client is there. What began just now is left to the event loop.
    func isWatched(now: MonotonicInstant, _ settings: HTTPServerSettings) -> Bool {
        isParkedAndSuspended || awaitsClient && now > since + settings.sweepInterval
    }

    var isQuiet: Bool {
        switch phase {
        case .idle, .closed: true
        case .receiving, .handling, .suspended, .answered, .dropped, .sending: false
        }
    }

    /// Once for an exchange. What the kernel does not take at once is lost: the connection is about to close.
    ///
    /// - Returns: false when something else was answered before.
    mutating func writeRaw(_ bytes: [UInt8], _ told: RequestLog.Told, to descriptor: Int32) -> Bool {
        guard toldRaw == nil, case .receiving = phase else { return false }
        toldRaw = told
        _ = bytes.withUnsafeBytes {
            send(descriptor, $0.baseAddress, $0.count, rawFlags)
        }
        return true
    }
}

private let rawFlags = postrider_msg_dontwait | postrider_msg_nosignal
