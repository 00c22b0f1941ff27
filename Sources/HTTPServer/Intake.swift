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
        case .collecting, .discarding, .refused: break
        }
        guard count > 0 else { return receiveEnd() }
        let bytes = UnsafeRawBufferPointer(start: body, count: count)
        count = 0
        return receiveBody(bytes)
    }

    private func receiveHeaders(
        _ url: UnsafePointer<CChar>, _ method: UnsafePointer<CChar>, _ version: UnsafePointer<CChar>
    ) -> MHD_Result {
        completeHeaders()
        let checksLayout = core.checksLayout
        let framing = RequestFraming(handle, method: method, version: version, checksLayout: checksLayout)
        if let fault = framing.fault { return refuse(ServerProblem(.malformedRequest, fault)) }
        // A NUL would hide the rest of the target.
        if checksLayout, Int(bitPattern: url) + upload.targetBytes + 1 != Int(bitPattern: version) {
            return refuse(ServerProblem(.malformedRequest, "a malformed request line"))
        }
        upload.contentLength = framing.contentLength
        upload.method = Self.method(method)
        guard let problem = route(url, framing) else {
            upload.stage = .collecting
            return postrider_mhd_yes
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

    /// Everything that can be known from the headers. - Returns: why the request is refused.
    private func route(_ url: UnsafePointer<CChar>, _ framing: RequestFraming) -> ServerProblem? {
        if core.isRefusing { return .ending(reachedHandler: false) }
        do throws(ServerProblem) {
            let match = try core.router.match(Self.path(url), upload.method)
            let route = core.router.routes[match.route]
            upload.match = match
            upload.route = route.pattern
            upload.bodyBytesMax = min(route.bodyBytesMax, core.settings.bodyBytesMax)
            if let length = framing.contentLength, length > upload.bodyBytesMax {
                return Upload.tooLarge(upload.bodyBytesMax, route: route.pattern)
            }
            return nil
        } catch {
            return error
        }
    }

    private func receiveBody(_ bytes: UnsafeRawBufferPointer) -> MHD_Result {
        switch upload.stage {
        case .collecting:
            if let problem = upload.append(bytes, core.bodyMemory) {
                upload.discard(problem, core.bodyMemory)
            }
        case .discarding(let problem):
            upload.skip(bytes.count)
            // Half is left for the client to see the answer while it sends.
            if upload.contentLength == nil, upload.receivedBytes > core.settings.discardBytesMax / 2 {
                refuseRaw(problem)
                upload.stage = .refused
            }
        case .refused:
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
        case .refused, .headers, .dispatched: return postrider_mhd_no
        }
    }

    /// nil: one that no route has.
    private static func method(_ text: UnsafePointer<CChar>) -> HTTPMethod? {
        let bytes = UnsafeBufferPointer(start: text, count: strnlen(text, 8)).lazy.map { UInt8(bitPattern: $0) }
        switch bytes.first {
        case UInt8(ascii: "G"): return bytes.elementsEqual("GET".utf8) ? .get : nil
        case UInt8(ascii: "H"): return bytes.elementsEqual("HEAD".utf8) ? .head : nil
        case UInt8(ascii: "D"): return bytes.elementsEqual("DELETE".utf8) ? .delete : nil
        case UInt8(ascii: "P"):
            return bytes.elementsEqual("POST".utf8) ? .post : bytes.elementsEqual("PUT".utf8) ? .put : nil
        default: return nil
        }
    }

    /// The path's bytes; of a target in absolute form what follows the authority (RFC 9112, section 3.2.2).
    private static func path(_ url: UnsafePointer<CChar>) -> UnsafeBufferPointer<UInt8> {
        let count = strlen(url)
        let whole = UnsafeRawBufferPointer(start: url, count: count).bindMemory(to: UInt8.self)
        guard whole.first != UInt8(ascii: "/") else { return whole }
        for scheme in ["http://", "https://"] where whole.count > scheme.utf8.count {
            let prefix = UnsafeBufferPointer(rebasing: whole[..<scheme.utf8.count])
            guard String(decoding: prefix, as: UTF8.self).lowercased() == scheme else { continue }
            guard let slash = whole[scheme.utf8.count...].firstIndex(of: UInt8(ascii: "/")) else { break }
            return UnsafeBufferPointer(rebasing: whole[slash...])
        }
        return whole
    }
}
