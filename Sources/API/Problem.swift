import HTTPServer
import JSON

/// Whether what a failed produce call sent is stored.
enum ProduceOutcome: String, Sendable {
    /// It is; what failed came later.
    case accepted
    case notAccepted = "not_accepted"
    case unknown
}

/// An error as RFC 9457 `application/problem+json`, with Postrider's members: `code` (stable, snake_case),
/// `retryable`, for produce `outcome`, and `errors` for each bad part of a request.
///
/// `type` is the URI reference `/problems/<code>`: it names the kind of problem and, being relative, does not depend
/// on where the gateway is reached. Clients compare it, or `code`; there need be nothing to fetch (RFC 9457,
/// section 3.1.1).
struct Problem: Error, Sendable {
    /// What is wrong with one part of a request.
    struct Part: Sendable {
        /// RFC 6901.
        var pointer: String
        var reason: String
    }

    /// Parts reported; the rest is counted in the detail.
    static let partsMax = 100

    var status: Int
    var code: String
    var title: String
    var detail: String
    var retryable = false
    var retryAfterSeconds: Int?
    var outcome: ProduceOutcome?
    var parts: [Part] = []
    var headers: [HTTPHeader] = []
    /// What is known of the topic may be too old for this refusal; not told.
    var restsOnTopic = false
    /// More members, written by whoever made the problem.
    var extra: (@Sendable (inout JSONWriter) -> Void)?

    init(
        _ status: Int, _ code: String, _ title: String, _ detail: String, retryable: Bool = false,
        retryAfterSeconds: Int? = nil, outcome: ProduceOutcome? = nil, parts: [Part] = []
    ) {
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.retryable = retryable
        self.retryAfterSeconds = retryAfterSeconds
        self.outcome = outcome
        self.parts = parts
    }

    /// Nothing is promised whose answer cannot be sent.
    static let answerMemory = Problem(
        503, "overloaded", "The gateway is out of memory for answers", "http.response_memory_max is used up",
        retryable: true, retryAfterSeconds: 1)

    static let lookupsFull = Problem(
        503, "overloaded", "Too many look-ups are waiting", "ask again", retryable: true, retryAfterSeconds: 1)

    /// A field or parameter that is malformed or out of bounds.
    static func invalid(_ field: String, _ reason: String, code: String = "invalid_parameter") -> Problem {
        Problem(400, code, "A parameter is not valid", "\(field.clipped): \(reason)")
    }

    var response: HTTPResponse {
        var writer = JSONWriter(capacity: 256)
        writer.object { writer in
            writer.key("type")
            writer.string("/problems/\(code)")
            writer.key("title")
            writer.string(title)
            writer.key("status")
            writer.integer(status)
            writer.key("detail")
            writer.string(detail)
            writer.key("code")
            writer.string(code)
            writer.key("retryable")
            writer.bool(retryable)
            if let outcome {
                writer.key("outcome")
                writer.string(outcome.rawValue)
            }
            if !parts.isEmpty {
                writer.key("errors")
                writer.array { writer in
                    for part in parts.prefix(Self.partsMax) {
                        writer.object { writer in
                            writer.key("pointer")
                            writer.string(part.pointer)
                            writer.key("reason")
                            writer.string(part.reason)
                        }
                    }
                }
            }
            extra?(&writer)
        }
        // Caches may keep a 404 or 410 otherwise (RFC 9111, section 4.2.2), and it may be over by the next call.
        var headers = headers + [HTTPHeader("Cache-Control", "no-store")]
        if let retryAfterSeconds { headers.append(HTTPHeader("Retry-After", String(retryAfterSeconds))) }
        var response = HTTPResponse(
            status: status, contentType: "application/problem+json", headers: headers, body: writer.bytes)
        response.code = code
        return response
    }

    /// What the server itself refuses. On a produce route nothing was accepted, unless the handler had the request.
    static func of(_ problem: ServerProblem) -> Problem {
        let title =
            switch problem.code {
            case .malformedRequest: "The request is malformed"
            case .malformedPath: "The path is malformed"
            case .hostNotAllowed: "The gateway does not go by this name"
            case .originNotAllowed: "Pages of this origin may not call the gateway"
            case .notFound: "There is nothing here"
            case .methodNotAllowed: "This method is not allowed here"
            case .requestTimeout: "The request took too long to arrive"
            case .bodyTooLarge: "The body is too large"
            case .rateLimited: "Too many requests a second"
            case .tooManyRequests: "Too many requests under way"
            case .overloaded: "The gateway is out of memory for requests"
            case .parkedLimit: "Too many requests are waiting"
            case .stopping: "The gateway is stopping"
            case .deadlineExceeded: "The request took too long"
            }
        var made = Problem(
            problem.status, problem.code.rawValue, title, problem.detail, retryable: problem.retryAfterSeconds != nil,
            retryAfterSeconds: problem.retryAfterSeconds)
        let concernsRecords = problem.route.map { problem.method == .post && ProduceRoutes.patterns.contains($0) }
        if concernsRecords ?? mayConcernRecords(problem.code) {
            made.outcome = problem.reachedHandler ? .unknown : .notAccepted
        }
        return made
    }

    /// Refusals that do not say which route they were for: a produce call must learn its outcome from them too, and to
    /// others it says nothing.
    private static func mayConcernRecords(_ code: ServerProblem.Code) -> Bool {
        switch code {
        case .stopping, .deadlineExceeded, .requestTimeout, .overloaded, .malformedRequest, .malformedPath,
            .hostNotAllowed, .originNotAllowed:
            true
        case .notFound, .methodNotAllowed, .bodyTooLarge, .parkedLimit, .rateLimited, .tooManyRequests: false
        }
    }
}

extension StringProtocol {
    /// The beginning, to name in a message what a client wrote: that may be megabytes, and one character of it too.
    var clipped: String { String(String.UnicodeScalarView(unicodeScalars.prefix(128))) }
}
