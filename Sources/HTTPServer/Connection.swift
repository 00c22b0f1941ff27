import CMicrohttpd
import Glibc
import CoreMetrics
import Primitives

/// One client's connection and the request that is on it. Lives from libmicrohttpd's start to its close notification;
/// responders may keep it longer and then find it closed.
// SAFETY: `exchange` is reached with its lock held; `upload`, `requestNumber` and `told` only on the connection's event
// loop (one thread for the connection's whole life); `handle` is used on the event loop or under the lock while the
// phase says that the connection lives.
final class Connection: @unchecked Sendable {
    let core: ServerCore
    let handle: OpaquePointer
    let descriptor: Int32
    /// The other end, a proxy's perhaps; nil when it is not known.
    let peer: ClientAddress?
    private let exchange: Lock<Exchange>
    var upload = Upload()
    private var requestNumber: UInt64 = 0
    /// What the request on it was answered; nil: nothing yet.
    private var told: RequestLog.Told?

    init(core: ServerCore, handle: OpaquePointer, descriptor: Int32) {
        self.core = core
        self.handle = handle
        self.descriptor = descriptor
        peer = postrider_mhd_client_address(handle).flatMap { ClientAddress($0) }
        exchange = Lock(Exchange(now: core.clock.now()))
    }

    // MARK: On the event loop

    /// The request line came; `targetBytes` long is its target.
    func begin(targetBytes: Int, targetHasSpace: Bool) {
        upload.targetBytes = targetBytes
        upload.targetHasSpace = targetHasSpace
        let now = core.clock.now()
        exchange.withLock { $0.begin(now: now) }
    }

    func noteReceived(_ bytes: Int) { exchange.withLock { $0.receivedBytes += bytes } }

    func completeHeaders() { exchange.withLock { $0.completeHeaders() } }

    /// Hands the complete request over, and sends what was answered at once or suspends.
    func dispatch(_ match: Router.Match, method: HTTPMethod) -> MHD_Result {
        requestNumber = core.nextRequestNumber()
        let charged = upload.takeCharge()
        let now = core.clock.now()
        let generation = exchange.withLock { exchange in
            exchange.dispatch(bodyBytes: charged, now: now)
            return exchange.generation
        }
        let request = HTTPRequest(
            connection: self, generation: generation, number: requestNumber, method: method, routeIndex: match.route,
            captures: match.captures, trace: upload.trace, body: upload.takeBody())
        core.router.handler(match.route)(request, Responder(connection: self, generation: generation))
        return proceed()
    }

    /// After the handler, and after each resume.
    func proceed() -> MHD_Result {
        let (next, generation, bodyBytes) = exchange.withLock { exchange -> (Exchange.Next, UInt64, Int) in
            let next = exchange.next()
            let generation = exchange.generation
            switch next {
            case .suspend: MHD_suspend_connection(handle)
            case .send: return (next, generation, exchange.takeBodyBytes(generation))
            case .close: break
            }
            return (next, generation, 0)
        }
        switch next {
        case .send(let response, let reservedBytes):
            core.bodyMemory.release(bodyBytes)
            return send(response, reservedBytes: reservedBytes)
        case .close: return postrider_mhd_no
        case .suspend:
            // The stop answers what it finds suspended after it has raised its flag; what is suspended later sees it.
            if core.isEnding { answer(generation, core.response(to: .ending(reachedHandler: true))) }
            return postrider_mhd_yes
        }
    }

    /// The server's own answer, instead of a handler's.
    func refuse(_ problem: ServerProblem) -> MHD_Result {
        reply(core.response(to: problem), closes: problem.mustClose)
    }

    /// Answers without a handler.
    func reply(_ response: HTTPResponse, closes: Bool = false) -> MHD_Result {
        exchange.withLock { $0.refuse(responseBytes: response.body.count) }
        requestNumber = core.nextRequestNumber()
        return send(response, reservedBytes: 0, closes: closes)
    }

    /// Writes the refusal to the socket past libmicrohttpd, which takes no response in the middle of a body, so that a
    /// client that is still sending sees it. Nothing else is being written then: earlier responses are out, and
    /// the interim 100 precedes the first byte of the body.
    func refuseRaw(_ problem: ServerProblem) {
        let (bytes, told) = rawAnswer(problem, limitHeaders + core.browsers.headers(corsOrigin: upload.corsOrigin))
        core.requestMetrics.count(
            route: upload.match?.route, method: upload.method, status: problem.status, RequestMetrics.Times(),
            now: core.clock.now())
        _ = exchange.withLock { $0.writeRaw(bytes, told, to: descriptor) }
    }

    /// Of the request that is on the connection.
    private func count(_ response: HTTPResponse) {
        core.requestMetrics.count(
            route: upload.match?.route, method: upload.method, status: response.status, exchange.withLock { $0.times },
            now: core.clock.now())
    }

    private func rawAnswer(
        _ problem: ServerProblem, _ headers: [HTTPHeader]
    ) -> (bytes: [UInt8], told: RequestLog.Told) {
        let id = RequestID(prefix: core.requestPrefix, number: core.nextRequestNumber())
        var response = core.response(to: problem)
        response.headers += headers
        let bytes = RawResponse.bytes(response, id: id, commonHeaders: core.settings.commonHeaders)
        return (bytes, RequestLog.Told(response, number: id.number))
    }

    /// - Parameter reservedBytes: charged for this response; the exchange has the body's size noted already.
    private func send(_ response: HTTPResponse, reservedBytes: Int, closes: Bool = false) -> MHD_Result {
        core.bodyMemory.release(upload.takeCharge())
        let wanted = response.body.count
        let closes = closes || core.isDraining
        if wanted <= reservedBytes {
            core.responseMemory.release(reservedBytes - wanted)
        } else if wanted <= core.settings.unreservedResponseBytesMax {
            core.responseMemory.chargeAlways(wanted - reservedBytes)
        } else if !core.responseMemory.charge(wanted - reservedBytes) {
            Limit.responseMemory.reached()
            exchange.withLock { $0.reservedBytes = reservedBytes }
            let problem = ServerProblem(.overloaded, "no memory for the response", reachedHandler: true)
            return queue(core.response(to: problem), closes: closes)
        }
        return queue(response, closes: closes)
    }

    private func queue(_ response: HTTPResponse, closes: Bool) -> MHD_Result {
        count(response)
        let id = RequestID(prefix: core.requestPrefix, number: requestNumber)
        told = RequestLog.Told(response, number: requestNumber)
        var response = response
        let added = limitHeaders + core.browsers.headers(corsOrigin: upload.corsOrigin)
        // (Even to add nothing would copy the array.)
        if !added.isEmpty { response.headers += added }
        let gzip = compress(&response)
        guard let prepared = PreparedResponse(response, gzip: gzip, id: id, core: core, closes: closes) else {
            return postrider_mhd_no
        }
        return prepared.queue(on: handle)
    }

    private var limitHeaders: [HTTPHeader] { upload.limit.map(core.addresses.headers) ?? [] }

    /// - Returns: what compresses the body, its memory charged to the exchange; nil when the body goes as it is, also
    ///   to a client that accepts neither form: what the answer reports has been done.
    private func compress(_ response: inout HTTPResponse) -> GzipBody? {
        guard core.settings.gzip, !response.body.isEmpty, !response.hasHeader("Content-Encoding") else { return nil }
        let isWorthIt =
            response.body.count >= ContentCoding.bytesMin && ContentCoding.isCompressible(response.contentType)
        guard isWorthIt || upload.codings.refusesIdentity else { return nil }
        response.headers.append(HTTPHeader("Vary", "Accept-Encoding"))
        guard upload.codings.prefersGzip, upload.method != .head, response.mayHaveBody else { return nil }
        guard core.responseMemory.charge(GzipBody.memoryBytes) else {
            core.metrics.gzipsSkipped.increment()
            return nil
        }
        exchange.withLock { $0.reservedBytes += GzipBody.memoryBytes }
        guard let gzip = GzipBody(response.body) else { return nil }
        response.headers.append(HTTPHeader("Content-Encoding", "gzip"))
        core.metrics.gzippedResponses.increment()
        return gzip
    }

    /// The response is out, or the connection broke.
    func complete(ok: Bool) {
        let now = core.clock.now()
        let rest = exchange.withLock { exchange in
            core.responseMemory.leave(ObjectIdentifier(self))
            return exchange.complete(now: now)
        }
        core.bodyMemory.release(upload.takeCharge() + rest.bodyBytes)
        logEnd(rest.toldRaw ?? told, rest, now: now, isComplete: ok)
        if let limit = upload.limit { core.addresses.end(limit) }
        upload = Upload()
        told = nil
        core.responseMemory.release(rest.reservedBytes)
        core.responseMemory.serveWaiting()
        if let parking = rest.parking { core.unpark(parking) }
        if !ok { core.metrics.brokenRequests.increment() }
        core.noteProgress()
    }

    /// Before libmicrohttpd closes the socket.
    func close() {
        exchange.withLock { $0.close() }
        core.noteProgress()
    }

    // MARK: From any thread

    @discardableResult
    func answer(_ generation: UInt64, _ response: HTTPResponse) -> Bool {
        let now = core.clock.now()
        let answer = exchange.withLock { exchange -> Exchange.Answer in
            let answer = exchange.answer(generation, response, now: now)
            switch answer {
            case .ignored: break
            case .taken: core.responseMemory.leave(ObjectIdentifier(self))
            case .resume:
                core.responseMemory.leave(ObjectIdentifier(self))
                MHD_resume_connection(handle)
            }
            return answer
        }
        switch answer {
        case .ignored:
            core.metrics.ignoredResponses.increment()
            return false
        case .taken(let parking), .resume(let parking):
            if let parking { core.unpark(parking) }
            core.responseMemory.serveWaiting()
            return true
        }
    }

    func releaseBody(_ generation: UInt64) {
        core.bodyMemory.release(exchange.withLock { $0.takeBodyBytes(generation) })
    }

    func isOpen(_ generation: UInt64) -> Bool { exchange.withLock { $0.isOpen(generation) } }

    /// Runs `body` while libmicrohttpd keeps the request's headers; nil afterwards.
    func reading<Result>(_ generation: UInt64, _ body: (OpaquePointer) -> Result) -> Result? {
        exchange.withLock { $0.isReadable(generation) ? body(handle) : nil }
    }

    func reserve(_ generation: UInt64, _ bytes: Int) -> Bool {
        precondition(bytes >= 0)
        let isReserved = exchange.withLock { exchange -> Bool? in
            guard exchange.isOpen(generation) else { return nil }
            guard core.responseMemory.charge(bytes) else { return false }
            exchange.reservedBytes += bytes
            return true
        }
        if isReserved == false { Limit.responseMemory.reached() }
        return isReserved ?? false
    }

    /// As `reserve`, or in line for it: at most one place for each connection.
    func reserve(_ generation: UInt64, _ bytes: Int, orLater reserved: @escaping @Sendable () -> Void) -> Bool {
        precondition(bytes >= 0)
        let memory = core.responseMemory
        // Under the lock, so that a request that is over never takes a place that nobody would give up.
        let isReserved = exchange.withLock { exchange -> Bool? in
            guard exchange.isOpen(generation) else { return nil }
            let isCharged = memory.chargeOrWait(bytes, for: ObjectIdentifier(self)) { [self] in
                if keep(generation, bytes) { reserved() } else { memory.release(bytes) }
            }
            if isCharged { exchange.reservedBytes += bytes }
            return isCharged
        }
        if isReserved == false { Limit.responseMemory.reached() }
        if isReserved != true { memory.serveWaiting() }
        return isReserved ?? false
    }

    /// - Returns: false when the request for which the bytes were charged was answered meanwhile.
    private func keep(_ generation: UInt64, _ bytes: Int) -> Bool {
        exchange.withLock { exchange in
            guard exchange.isOpen(generation) else { return false }
            exchange.reservedBytes += bytes
            return true
        }
    }

    /// libmicrohttpd has one block of memory for request line, headers and header fields of the response, and closes
    /// the connection when these do not fit. Measured with 0.9.75: room is lost byte for byte to the request's headers,
    /// with `fieldOverheadBytes` for each field and query parameter; and to bytes of a next request that came along,
    /// which stay in its read buffer of half the block.
    func headerRoom(_ generation: UInt64) -> Int {
        reading(generation) { handle in
            let kinds = [postrider_mhd_header_kind, postrider_mhd_argument_kind]
            let fields = kinds.reduce(0) { $0 + Int(MHD_get_connection_values_n(handle, $1, nil, nil)) }
            let memory = core.settings.connectionMemoryBytes
            let readBytes = max(memory / 2, postrider_mhd_header_bytes(handle) + Self.readIncrementBytes)
            return max(0, memory - readBytes - fields * Self.fieldOverheadBytes - Self.ownHeaderBytes)
        } ?? 0
    }

    private static let readIncrementBytes = 1536
    private static let fieldOverheadBytes = 64
    /// Status line, and what the server and those who wrap handlers add: some 300 bytes as it is.
    private static let ownHeaderBytes = 1024

    func reservedBytes(_ generation: UInt64) -> Int {
        exchange.withLock { $0.isOpen(generation) ? $0.reservedBytes : 0 }
    }

    func giveBack(_ generation: UInt64, _ bytes: Int) {
        let given = exchange.withLock { exchange -> Int in
            guard exchange.isOpen(generation) else { return 0 }
            precondition(bytes >= 0 && bytes <= exchange.reservedBytes)
            exchange.reservedBytes -= bytes
            return bytes
        }
        core.responseMemory.release(given)
    }

    func park(
        _ generation: UInt64, until: MonotonicInstant, onTimeout: @escaping @Sendable () -> HTTPResponse,
        onClientGone: @escaping @Sendable () -> Void, orAnswer: (@Sendable () -> HTTPResponse)?
    ) -> Bool {
        guard core.takeParkingSpace() else {
            if let orAnswer {
                answer(generation, orAnswer())
            } else if isOpen(generation) {
                let problem = ServerProblem(.parkedLimit, "too many requests are waiting", reachedHandler: true)
                answer(generation, core.response(to: problem))
            }
            return false
        }
        let now = core.clock.now()
        let deadline = exchange.withLock { exchange -> MonotonicInstant? in
            guard exchange.isOpen(generation), exchange.parking == nil else { return nil }
            let deadline = min(until, exchange.since + core.settings.requestTimeout)
            exchange.park(
                Exchange.Parking(until: deadline, onTimeout: onTimeout, onClientGone: onClientGone, timer: nil),
                now: now)
            return deadline
        }
        guard let deadline else {
            core.returnParkingSpace()
            return false
        }
        let timer = core.timers.schedule(at: deadline) { [self] in endWait(generation) }
        if !exchange.withLock({ $0.setTimer(generation, timer) }) { core.timers.cancel(timer) }
        // A stop that began meanwhile may have looked at this connection too early.
        if core.isRefusing { endWait(generation) }
        return true
    }

    /// The wait of a parked request ends earlier than it was said.
    func endWait(_ generation: UInt64, at deadline: MonotonicInstant) {
        guard let former = exchange.withLock({ $0.shorten(generation, to: deadline) }) else { return }
        if let timer = former.timer { core.timers.cancel(timer) }
        let timer = core.timers.schedule(at: deadline) { [self] in endWait(generation) }
        if !exchange.withLock({ $0.setTimer(generation, timer) }) { core.timers.cancel(timer) }
    }

    /// The wait of a parked request is over: its own answer for that goes out.
    func endWait(_ generation: UInt64) {
        let parking = exchange.withLock { $0.isOpen(generation) ? $0.parking : nil }
        guard let parking else { return }
        answer(generation, parking.onTimeout())
    }

    func endWait() { endWait(exchange.withLock { $0.generation }) }

    /// A peer that closed, or will send nothing more, counts as gone: clients that await a response keep their side
    /// open.
    func isClientGone(_ generation: UInt64) -> Bool {
        exchange.withLock { exchange in
            guard exchange.isOpen(generation) else { return true }
            var entry = pollfd(fd: descriptor, events: postrider_poll_rdhup, revents: 0)
            return poll(&entry, 1, 0) > 0 && entry.revents & clientGoneEvents != 0
        }
    }

    func drop(_ generation: UInt64) {
        let parking = exchange.withLock { exchange -> Exchange.Parking? in
            guard let parking = exchange.drop(generation) else { return nil }
            core.responseMemory.leave(ObjectIdentifier(self))
            MHD_resume_connection(handle)
            return parking
        }
        guard let parking else { return }
        core.unpark(parking)
        core.responseMemory.serveWaiting()
        core.metrics.clientsGone.increment()
        parking.onClientGone()
    }

    // MARK: For sweep and stop

    /// Acts on what is overdue. - Returns: the generation, when the client is to be looked after.
    func sweep(now: MonotonicInstant) -> UInt64? {
        let (overdue, generation, watched) = exchange.withLock {
            ($0.overdue(now: now, core.settings), $0.generation, $0.isWatched(now: now, core.settings))
        }
        switch overdue {
        case nil: return watched ? generation : nil
        case .answer:
            let problem = ServerProblem(
                .deadlineExceeded, "the request was not answered in time", reachedHandler: true)
            answer(generation, core.response(to: problem))
        case .closeWithAnswer(let part):
            let problem = ServerProblem(.requestTimeout, "the request did not arrive in time")
            // (What the page's origin was, what is left to the client, and its route only the event loop knows.)
            let (bytes, told) = rawAnswer(problem, core.browsers.headers(corsOrigin: nil))
            var isTold = false
            cut(generation, part) { isTold = $0.writeRaw(bytes, told, to: descriptor) }
            if isTold {
                core.requestMetrics.count(
                    route: nil, method: nil, status: problem.status, RequestMetrics.Times(), now: now)
            }
        case .close(let part): cut(generation, part) { _ in }
        }
        return nil
    }

    /// The peer has closed its side. A parked request is dropped. A connection that waits for more of a request is
    /// ended, unless bytes are still to be read: libmicrohttpd 0.9.75 misses an end of the stream that arrived together
    /// with the last bytes, and would keep the connection until it is idle for too long.
    func clientLeft(_ generation: UInt64) {
        drop(generation)
        exchange.withLock { exchange in
            guard exchange.generation == generation, exchange.awaitsClient else { return }
            var byte: UInt8 = 0
            guard recv(descriptor, &byte, 1, postrider_msg_peek | postrider_msg_dontwait) == 0 else { return }
            shutdown(descriptor, Int32(SHUT_RDWR))
        }
    }

    /// Ends the connection from outside the event loop, which sees the end of the stream and closes. Under the lock,
    /// and unless closed before, the descriptor is still this connection's.
    private func cut(_ generation: UInt64, _ part: Exchange.Part, _ before: (inout Exchange) -> Void) {
        exchange.withLock { exchange in
            guard exchange.generation == generation else { return }
            if case .closed = exchange.phase { return }
            before(&exchange)
            shutdown(descriptor, Int32(SHUT_RDWR))
        }
        core.metrics.countSlow(part)
    }

    /// The stop's last word to whoever waits.
    func end(_ response: HTTPResponse) {
        let generation = exchange.withLock { $0.isOpen($0.generation) ? $0.generation : nil }
        if let generation { answer(generation, response) }
    }

    /// No request is on the connection.
    var isQuiet: Bool { exchange.withLock { $0.isQuiet } }
}

let clientGoneEvents = postrider_poll_rdhup | Int16(POLLHUP) | Int16(POLLERR) | Int16(POLLNVAL)
