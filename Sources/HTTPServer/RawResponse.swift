import CMicrohttpd

/// A response as bytes, for the one case that libmicrohttpd has no place for: an answer in the middle of a body.
enum RawResponse {
    static func bytes(_ response: HTTPResponse, id: RequestID, commonHeaders: [HTTPHeader]) -> [UInt8] {
        let reason = MHD_get_reason_phrase_for(UInt32(response.status)).map { String(cString: $0) } ?? "Refused"
        var head = "HTTP/1.1 \(response.status) \(reason)\r\n"
        var headers = [HTTPHeader(RequestID.header, id.text)] + commonHeaders
        if let type = response.contentType { headers.append(HTTPHeader("Content-Type", type)) }
        headers += response.headers
        for header in headers where HTTPHeader.isToken(header.name) && !HTTPHeader.isServers(header.name) {
            head += "\(header.name): \(HTTPHeader.cleaned(header.value))\r\n"
        }
        head += "Content-Length: \(response.body.count)\r\nConnection: close\r\n\r\n"
        return Array(head.utf8) + response.body
    }
}
