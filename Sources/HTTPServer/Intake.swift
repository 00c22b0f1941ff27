import CMicrohttpd
import Glibc
import Primitives

/// libmicrohttpd's calls for one request: the headers, the body in pieces, its end, and again after each resume.
extension Connection {
    func receive(
        url: UnsafePointer<CChar>, method: UnsafePointer<CChar>, version: UnsafePointer<CChar>,
        body: UnsafePointer<CChar>?, count: inout Int
    ) -> MHD_Result {
        switch upload.stage {
        case .headers: return receiveHeaders(url, method, version)
        case .dispatched: return proceed()
        case .collecting, .discarding, .options, .refused: break
        }
        guard count > 0 else { return receiveEnd() }
        let bytes = UnsafeRawBufferPointer(start: body, count: count)
        count = 0
        noteReceived(bytes.count)
        return receiveBody(bytes)
    }

    private func receiveHeaders(
        _ url: UnsafePointer<CChar>, _ method: UnsafePointer<CChar>, _ version: UnsafePointer<CChar>
    ) -> MHD_Result {
        completeHeaders()
        let checksLayout = core.checksLayout
        let framing = RequestFraming(handle, method: method, version: version, checksLayout: checksLayout)
        if let fault = framing.fault { return refuse(ServerProblem(.malformedRequest, fault)) }
        upload.client = peer.map { core.addresses.client(of: $0, handle) }
        // A NUL would hide the rest of the target.
        if upload.targetHasSpace
            || checksLayout && Int(bitPattern: url) + upload.targetBytes + 1 != Int(bitPattern: version)
        {
            return refuse(ServerProblem(.malformedRequest, "a malformed request line"))
        }
        upload.contentLength = framing.contentLength
        upload.method = Self.method(method)
        upload.codings = framing.codings
        upload.trace = framing.trace
        upload.corsOrigin = core.browsers.corsOrigin(of: framing.sender)
        let problem: ServerProblem
        do throws(ServerProblem) {
            let target = RequestTarget(url)
            try admit(target, framing)
            if upload.method == nil, strcmp(method, "OPTIONS") == 0 {
                try limit()
                upload.stage = .options(try options(target))
            } else {
                try route(target, framing)
                upload.stage = .collecting
            }
            return postrider_mhd_yes
        } catch {
            problem = error
        }
        upload.stage = .discarding(problem)
        // A client that asks first has sent no body: it sees the refusal. libmicrohttpd closes then.
        if problem.mustClose || framing.hasBody && framing.expectsContinue { return refuse(problem) }
        if let length = framing.contentLength, length > core.settings.discardBytesMax {
            refuseRaw(problem)
            upload.stage = .refused
        }
        return postrider_mhd_yes
    }

    /// Whether the server talks to this sender, now.
    private func admit(_ target: RequestTarget, _ framing: RequestFraming) throws(ServerProblem) {
        if core.isRefusing { throw .ending(reachedHandler: false) }
        let isReading = upload.method == .get || upload.method == .head
        if let problem = core.browsers.refusal(
            of: framing.sender, authority: target.authority, isReading: isReading)
        {
            throw problem
        }
    }

    /// Takes the request from what is left to its client.
    private func limit(_ route: Int? = nil) throws(ServerProblem) {
        guard let verdict = core.addresses.begin(upload.client) else { return }
        upload.limit = verdict
        if case .taken = verdict { return }
        if let problem = AddressLimits.problem(verdict, of: route.map { core.router.routes[$0] }) { throw problem }
    }

    /// Everything else that can be known from the headers.
    private func route(_ target: RequestTarget, _ framing: RequestFraming) throws(ServerProblem) {
        let match: Router.Match
        do throws(ServerProblem) {
            match = try core.router.match(target.path, upload.method)
        } catch {
            try limit()
            throw error
        }
        upload.match = match
        if core.router.isLimited(match.route) { try limit(match.route) }
        upload.bodyBytesMax = min(core.router.bodyBytesMax(match.route), core.settings.bodyBytesMax)
        if let length = framing.contentLength, length > upload.bodyBytesMax {
            throw Upload.tooLarge(upload.bodyBytesMax, route: core.router.routes[match.route])
        }
    }

    /// The server's own answer to OPTIONS (RFC 9110, section 9.3.7), with what a preflight request asks for.
    private func options(_ target: RequestTarget) throws(ServerProblem) -> HTTPResponse {
        let allow = target.isAsterisk ? Router.everyMethod : try core.router.allow(target.path)
        var headers = [HTTPHeader("Allow", allow)]
        if upload.corsOrigin != nil, headerText(of: handle, "Access-Control-Request-Method") != nil {
            let requested = headerText(of: handle, "Access-Control-Request-Headers")
            headers += BrowserPolicy.preflightHeaders(allow: allow, requestHeaders: requested)
        }
        return HTTPResponse(status: 204, headers: headers)
    }

    private func receiveBody(_ bytes: UnsafeRawBufferPointer) -> MHD_Result {
        switch upload.stage {
        case .collecting:
            if let refusal = upload.append(bytes, core.bodyMemory) {
                if case .noMemory = refusal { Limit.bodyMemory.reached() }
                let route = upload.match.map { core.router.routes[$0.route] }
                upload.discard(refusal.problem(upload, route: route), core.bodyMemory)
            }
        case .discarding(let problem):
            upload.skip(bytes.count)
            // Half is left for the client to see the answer while it sends.
            if upload.contentLength == nil, upload.receivedBytes > core.settings.discardBytesMax / 2 {
                refuseRaw(problem)
                upload.stage = .refused
            }
        case .options, .refused:
            upload.skip(bytes.count)
            if upload.receivedBytes > core.settings.discardBytesMax { return postrider_mhd_no }
        case .headers, .dispatched: return postrider_mhd_no
        }
        return postrider_mhd_yes
    }

    private func receiveEnd() -> MHD_Result {
        switch upload.stage {
        case .collecting:
            guard let match = upload.match, let method = upload.method else { return postrider_mhd_no }
            upload.stage = .dispatched
            return dispatch(match, method: method)
        case .discarding(let problem): return refuse(problem)
        case .options(let response): return reply(response)
        case .refused, .headers, .dispatched: return postrider_mhd_no
        }
    }

    /// nil: one that no route has.
    private static func method(_ text: UnsafePointer<CChar>) -> HTTPMethod? {
        switch UInt8(bitPattern: text[0]) {
        case UInt8(ascii: "G"): strcmp(text, "GET") == 0 ? .get : nil
        case UInt8(ascii: "H"): strcmp(text, "HEAD") == 0 ? .head : nil
        case UInt8(ascii: "D"): strcmp(text, "DELETE") == 0 ? .delete : nil
        case UInt8(ascii: "P"): strcmp(text, "POST") == 0 ? .post : strcmp(text, "PUT") == 0 ? .put : nil
        default: nil
        }
    }
}
