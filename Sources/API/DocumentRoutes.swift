import COpenAPI
import HTTPServer

/// `GET /openapi.yaml` and `/openapi.json`: the contract of this very binary.
struct DocumentRoutes {
    private let api: API

    init(_ api: API) { self.api = api }

    var routes: [Route] {
        [
            route("/openapi.yaml", "application/yaml", OpenAPIDocument.yaml),
            route("/openapi.json", "application/json", OpenAPIDocument.json),
        ]
    }

    private func route(_ pattern: String, _ contentType: String, _ document: OpenAPIDocument) -> Route {
        api.route(.get, pattern) { request, responder throws(Problem) in
            _ = try Parameters(request, [])
            let isKnown = request.header("If-None-Match").map(document.isNamed(in:)) ?? false
            responder.respond(isKnown ? document.notModified : document.response(contentType))
        }
    }
}

/// One form of `OpenAPI/postrider.yaml`, compiled in. (JSON is written from it by Scripts/openapi, so that a process
/// that serves records neither parses YAML nor carries a parser.)
struct OpenAPIDocument: Sendable {
    static let yaml = OpenAPIDocument(postrider_openapi_yaml)
    static let json = OpenAPIDocument(postrider_openapi_json)

    let bytes: [UInt8]
    /// Strong: it follows from the bytes alone, so that every gateway of one version says the same.
    let etag: String

    private init(_ bytesOf: (UnsafeMutablePointer<Int>?) -> UnsafePointer<UInt8>?) {
        var count = 0
        let start = bytesOf(&count)
        bytes = Array(UnsafeBufferPointer(start: start, count: count))
        // FNV-1a, 64 bits: tells versions apart, and nobody gains by a collision.
        let hash = bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        etag = "\"\(String(hash, radix: 16))\""
    }

    /// RFC 9110, section 13.1.2: weak comparison, a list, or `*`.
    fileprivate func isNamed(in ifNoneMatch: String) -> Bool {
        ifNoneMatch.split(separator: ",").contains { item in
            let tag = item.trimmingSpaces()
            return tag == "*" || tag == etag || tag == "W/" + etag
        }
    }

    fileprivate func response(_ contentType: String) -> HTTPResponse {
        HTTPResponse(status: 200, contentType: contentType, headers: headers, body: bytes)
    }

    fileprivate var notModified: HTTPResponse { HTTPResponse(status: 304, headers: headers) }

    /// May be kept, and is asked for again each time: the next version of the gateway may say something else.
    private var headers: [HTTPHeader] { [HTTPHeader("Cache-Control", "no-cache"), HTTPHeader("ETag", etag)] }
}
