import DeadLetters
import HTTPServer
import JSON
import Primitives
import Records
import Spool
import Telemetry

/// `/v1/dead-letters`: look at what the broker refused for good, send it again, discard it.
struct DeadLetterRoutes {
    private static let one = "/v1/dead-letters/{receipt}"
    static let redeliver = "/v1/dead-letters/{receipt}/redeliver"
    private static let noStore = [HTTPHeader("Cache-Control", "no-store")]

    private let api: API

    init(_ api: API) { self.api = api }

    var routes: [Route] {
        let api = api
        return [
            api.route(.get, "/v1/dead-letters") { request, responder throws(Problem) in
                let query = try Self.query(request, api)
                try api.look(responder) { () throws(Problem) in
                    let page = try api.stored { () throws in try api.deadLetters.list(query) }
                    return try Self.answer(page, query, responder, api)
                }
            },
            api.route(.get, Self.one) { request, responder throws(Problem) in
                let values = try Parameters(request, ["values"]).valueForm()
                let lsn = try api.lsn(ofReceipt: request.capture("receipt"))
                try api.look(responder) { () throws(Problem) in
                    let letter = try api.deadLetter(lsn)
                    let record = try api.stored { () throws in try api.deadLetters.record(lsn: lsn) }
                    guard let record else { throw .unknownDeadLetter }
                    return try Self.answer(letter, record.record, values, responder, api)
                }
            },
            api.route(.delete, Self.one) { request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let lsn = try api.lsn(ofReceipt: request.capture("receipt"))
                try api.look(responder) { () throws(Problem) in
                    try api.claimed { () throws in
                        try api.deadLetters.discard(lsn: lsn, atMs: api.clock.wallMilliseconds())
                    }
                    return HTTPResponse(status: 204, headers: Self.noStore)
                }
            },
            api.route(.post, Self.redeliver) { request, responder throws(Problem) in
                do throws(Problem) {
                    _ = try Parameters(request, [])
                    let lsn = try api.lsn(ofReceipt: request.capture("receipt"))
                    let redelivery = Redelivery(
                        api: api, lsn: lsn, responder: responder, log: request.logger(api.log))
                    try api.lookUp {
                        do throws(Problem) {
                            try redelivery.begin()
                        } catch {
                            responder.respond(error.notAccepted.response)
                        }
                    }
                } catch {
                    throw error.notAccepted
                }
            },
        ]
    }

    // MARK: - The list

    private static let parameters = ["topic", "code", "since", "until", "limit", "page_token"]

    private static func query(_ request: HTTPRequest, _ api: API) throws(Problem) -> DeadLetterQuery {
        let parameters = try Parameters(request, parameters)
        let listMax = api.settings.listMax
        let limit = try parameters.integer("limit", in: 1...listMax) ?? min(100, listMax)
        // One more tells whether there is a next page.
        var query = DeadLetterQuery(limit: limit + 1)
        if let text = parameters.text("topic") {
            guard let topic = TopicName(text) else { throw .invalid("topic", "not a topic's name") }
            query.topic = topic
        }
        query.code = parameters.text("code")
        query.sinceMs = try time(parameters, "since")
        query.untilMs = try time(parameters, "until")
        if let token = parameters.text("page_token") {
            guard let position = DeadLetterQuery.Position(token: token) else {
                throw .invalid("page_token", "not the next of an answer")
            }
            query.after = position
        }
        return query
    }

    private static func time(_ parameters: Parameters, _ name: String) throws(Problem) -> Int64? {
        guard let text = parameters.text(name) else { return nil }
        guard let time = millisecondsSince1970(rfc3339: text) else {
            throw .invalid(name, "a time as RFC 3339 is expected")
        }
        return time
    }

    private static func answer(
        _ found: [DeadLetter], _ query: DeadLetterQuery, _ responder: Responder, _ api: API
    ) throws(Problem) -> HTTPResponse {
        let page = found.prefix(query.limit - 1)
        var writer = JSONWriter(capacity: 256 * page.count)
        writer.object { writer in
            writer.key("dead_letters")
            writer.array { writer in
                for letter in page { writer.object { $0.summary(letter, api.receipt(letter.lsn)) } }
            }
            if found.count > page.count, let last = page.last {
                writer.key("next")
                writer.string(DeadLetterQuery.Position(atMs: last.atMs, lsn: last.lsn).token)
            }
        }
        return try reserved(writer, responder)
    }

    private static func answer(
        _ letter: DeadLetter, _ record: Record, _ values: ValueForm, _ responder: Responder, _ api: API
    ) throws(Problem) -> HTTPResponse {
        var writer = JSONWriter(capacity: letter.bytes + 512)
        writer.object { writer in
            writer.summary(letter, api.receipt(letter.lsn))
            RecordWriter(values: values).content(of: record, to: &writer)
        }
        return try reserved(writer, responder)
    }

    private static func reserved(_ writer: JSONWriter, _ responder: Responder) throws(Problem) -> HTTPResponse {
        guard responder.reserve(writer.bytes.count) else { throw .answerMemory }
        return .json(writer.bytes, headers: noStore)
    }
}

extension DeadLetterQuery.Position {
    /// `<time>-<LSN>`; one text for each position.
    fileprivate var token: String { "\(atMs)-\(lsn)" }

    fileprivate init?(token: String) {
        let parts = token.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let atMs = DecimalText.whole(parts[0], as: Int64.self),
            let lsn = DecimalText.whole(parts[1], as: UInt64.self)
        else { return nil }
        self.init(atMs: atMs, lsn: LSN(rawValue: lsn))
        if self.token != token { return nil }
    }
}

extension JSONWriter {
    /// All but the record's content, as members of the object that is open.
    fileprivate mutating func summary(_ letter: DeadLetter, _ receipt: Receipt) {
        key("receipt")
        string(receipt.description)
        key("topic")
        string(letter.topic.text)
        key("partition")
        if let partition = letter.partition { integer(partition) } else { null() }
        key("timestamp")
        string(rfc3339(milliseconds: letter.timestampMs))
        key("code")
        string(letter.code)
        key("detail")
        string(letter.detail)
        key("at")
        string(rfc3339(milliseconds: letter.atMs))
        key("bytes")
        integer(letter.bytes)
    }
}

extension Problem {
    fileprivate static let unknownDeadLetter = Problem(
        404, "unknown_dead_letter", "There is no such dead letter",
        "it never was one, or was sent again or discarded; its receipt tells")

    private static let pendingDeadLetter = Problem(
        409, "dead_letter_pending", "Whether the record is dead is not decided yet",
        "the broker refused it; the lane is about to go on without it", retryable: true)

    private static let redelivering = Problem(
        409, "redelivery_in_progress", "The dead letter is being sent again", "its receipt tells what comes of it",
        retryable: true)

    fileprivate static func of<Value>(_ claim: DeadLetterClaim<Value>) throws(Problem) -> Value {
        switch claim {
        case .done(let value): return value
        case .unknown: throw .unknownDeadLetter
        case .pending: throw .pendingDeadLetter
        case .redelivering: throw .redelivering
        }
    }
}

// For calls that read or write the disk of the dead letters.
extension API {
    /// Answers with what the call makes on `lookups`.
    func look(
        _ responder: Responder, _ call: @escaping @Sendable () throws(Problem) -> HTTPResponse
    ) throws(Problem) {
        try lookUp {
            do throws(Problem) {
                responder.respond(try call())
            } catch {
                responder.respond(error.response)
            }
        }
    }

    func stored<Value>(_ call: () throws -> Value) throws(Problem) -> Value {
        do {
            return try call()
        } catch {
            throw Problem(
                503, "dead_letters_unavailable", "The dead letters cannot be reached now", "\(error)", retryable: true,
                retryAfterSeconds: 5)
        }
    }

    @discardableResult
    func claimed<Value>(_ call: () throws -> DeadLetterClaim<Value>) throws(Problem) -> Value {
        try Problem.of(try stored(call))
    }

    /// One that is dead for good, and perhaps being sent again.
    func deadLetter(_ lsn: LSN) throws(Problem) -> DeadLetter {
        let letter = try stored { () throws in try deadLetters.lookup(lsn: lsn) }
        guard let letter else { throw .unknownDeadLetter }
        if letter.state == .pending { try Problem.of(DeadLetterClaim<Void>.pending) }
        return letter
    }
}
