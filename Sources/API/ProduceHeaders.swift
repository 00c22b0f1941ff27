import HTTPServer
import Primitives
import Records

/// What the header fields of a produce call say. They are looked at once, in one pass without copies: every request
/// that is accepted pays for it.
struct ProduceHeaders {
    /// `Postrider-Key`.
    private(set) var key: ByteSlice?
    /// Each `Postrider-Header-<name>`, in order.
    private(set) var recordHeaders: [RecordHeader] = []
    /// The values of all `Prefer` fields.
    let prefer: [String]
    /// The first `Content-Type`; nil without one, and for a form's.
    let contentType: [UInt8]?
    /// nil when a repetition of the request is another request.
    let requestName: RequestName?
    /// nil when the request belongs to no trace.
    let trace: TraceHeaders?

    /// - Throws: for a body that is encoded, and for a field of ours that is malformed or unknown.
    init(_ request: HTTPRequest) throws(Problem) {
        var found = Found()
        request.visitHeaders { found.add($0) }
        if found.hasContentEncoding {
            throw Problem(
                415, "content_encoding_unsupported", "The body must not be encoded", "send it without Content-Encoding")
        }
        contentType = found.contentType
        prefer = found.prefer
        trace = TraceHeaders(request.trace, states: found.traceStates)
        requestName = try RequestName.of(found.names)
        for (name, value) in found.ours { try take(name, value) }
    }

    /// The fields that matter here, before any is judged: refusals come in an order of their own.
    private struct Found {
        var hasContentEncoding = false
        var hasContentType = false
        var contentType: [UInt8]?
        var prefer: [String] = []
        var names = RequestName.Fields()
        var traceStates: [[UInt8]] = []
        /// Names in lower case.
        var ours: [(name: String, value: [UInt8])] = []

        mutating func add(_ field: HeaderField) {
            if field.nameBegins(with: "postrider-") {
                if field.isNamed("postrider-producer") {
                    names.producer.add(field.value)
                } else if field.isNamed("postrider-sequence") {
                    names.sequence.add(field.value)
                } else {
                    ours.append((field.lowercasedName, field.value))
                }
            } else if field.isNamed("content-type") {
                if !hasContentType, !Self.isForm(field) { contentType = field.textBytes }
                hasContentType = true
            } else if field.isNamed("prefer") {
                prefer.append(field.text)
            } else if field.isNamed("tracestate") {
                traceStates.append(field.value)
            } else if field.isNamed("content-encoding") {
                hasContentEncoding = true
            } else if field.isNamed("idempotency-key") {
                names.key.add(field.value)
            }
        }

        /// What curl and browsers send when nobody said anything.
        private static func isForm(_ contentType: HeaderField) -> Bool {
            contentType.valueBegins(with: "application/x-www-form-urlencoded")
                || contentType.valueBegins(with: "multipart/form-data")
        }
    }

    private static let recordHeader = "postrider-header-"

    private mutating func take(_ name: String, _ value: [UInt8]) throws(Problem) {
        switch name {
        case "postrider-key":
            if key != nil { throw .invalid("Postrider-Key", "given more than once") }
            key = value[...]
        case _ where name.hasPrefix(Self.recordHeader):
            let name = String(name.dropFirst(Self.recordHeader.utf8.count))
            guard !name.isEmpty else { throw .invalid("Postrider-Header-", "the record header has no name") }
            guard name.utf8.count <= Int(UInt16.max) else {
                throw .invalid("Postrider-Header-", "a name of 1 to 65,535 bytes is expected")
            }
            recordHeaders.append(RecordHeader(name: name, value: value[...]))
        // Of a response, sent back by a client or a proxy.
        case "postrider-request-id", "postrider-gateway": return
        // A misspelt one must not pass for the promise it asked for.
        default: throw .invalid(name, "there is no such request header", code: "unknown_header")
        }
    }
}
