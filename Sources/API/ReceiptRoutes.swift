import HTTPServer
import JSON
import Primitives
import Records
import Spool

/// `GET /v1/receipts/{receipt}` and `POST /v1/receipts/query`: what became of records.
struct ReceiptRoutes {
    private static let noStore = [HTTPHeader("Cache-Control", "no-store")]
    /// Receipts in one query.
    private static let queryMax = 10_000
    /// Three times what they take without white space.
    private static let queryBytesMax = 1 << 20

    private let api: API

    init(_ api: API) { self.api = api }

    var routes: [Route] {
        let api = api
        return [
            api.route(.get, "/v1/receipts/{receipt}") { request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let lsn = try api.lsn(ofReceipt: request.capture("receipt"))
                let inquiry = Inquiry(request, responder, api) { outcomes throws(Problem) in
                    try Self.answer(outcomes[0], api.receipt(lsn))
                }
                try inquiry.begin([lsn])
            },
            api.route(.post, "/v1/receipts/query", bodyBytesMax: Self.queryBytesMax) {
                request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let lsns = try Self.query(request.body, api)
                let inquiry = Inquiry(request, responder, api) { outcomes throws(Problem) in
                    try Self.answer(outcomes, lsns, responder, api)
                }
                try inquiry.begin(lsns)
            },
        ]
    }

    private static func answer(_ outcome: ReceiptOutcome, _ receipt: Receipt) throws(Problem) -> HTTPResponse {
        switch outcome.state {
        case .expired:
            throw Problem(
                410, "receipt_expired", "This receipt's outcome is no longer kept", "the record was settled long ago")
        case .unknown:
            throw Problem(404, "unknown_receipt", "There is no such receipt", "this gateway never gave it out")
        case .damaged(let detail):
            throw Problem(500, "receipt_damaged", "What would tell this receipt's outcome is damaged", detail)
        case .accepted, .delivered, .dead:
            var writer = JSONWriter()
            writer.outcome(outcome, of: receipt)
            return .json(writer.bytes, headers: noStore)
        }
    }

    private static func answer(
        _ outcomes: [ReceiptOutcome], _ lsns: [LSN], _ responder: Responder, _ api: API
    ) throws(Problem) -> HTTPResponse {
        var writer = JSONWriter(capacity: 192 * lsns.count)
        writer.object { writer in
            writer.key("receipts")
            writer.array { writer in
                for (lsn, outcome) in zip(lsns, outcomes) { writer.outcome(outcome, of: api.receipt(lsn)) }
            }
        }
        guard responder.reserve(writer.bytes.count) else { throw .answerMemory }
        return .json(writer.bytes, headers: noStore)
    }

    /// `{"receipts":[…]}`
    private static func query(_ body: ByteSlice, _ api: API) throws(Problem) -> [LSN] {
        let root: JSONValue
        do throws(JSONError) {
            root = try JSONDocument(body, tapeDepth: 2).root
        } catch {
            throw Problem(error)
        }
        guard let members = root.members else { throw .invalid("body", "an object with receipts is expected") }
        var lsns: [LSN]?
        for member in members {
            guard member.has(name: "receipts") else {
                throw .invalid(member.name, "there is no such field; known is receipts")
            }
            guard let elements = member.value.elements else { throw .invalid("receipts", "an array is expected") }
            var found: [LSN] = []
            for element in elements {
                guard found.count < queryMax else { throw .invalid("receipts", "at most \(queryMax) are allowed") }
                guard let text = element.string else { throw .invalid("receipts", "strings are expected") }
                found.append(try api.lsn(ofReceipt: text))
            }
            lsns = found
        }
        guard let lsns, !lsns.isEmpty else { throw .invalid("receipts", "1 to \(queryMax) receipts are expected") }
        return lsns
    }
}

/// One question about receipts: looks them up, and waits as far as the client prefers to.
private struct Inquiry: Sendable {
    private let api: API
    private let responder: Responder
    private let preference: PreferredWait?
    private let until: MonotonicInstant
    /// Of outcomes in the order of the receipts asked for.
    private let answer: @Sendable ([ReceiptOutcome]) throws(Problem) -> HTTPResponse

    init(
        _ request: HTTPRequest, _ responder: Responder, _ api: API,
        _ answer: @escaping @Sendable ([ReceiptOutcome]) throws(Problem) -> HTTPResponse
    ) {
        self.api = api
        self.responder = responder
        self.answer = answer
        preference = PreferredWait(request.headers(named: "prefer"), clampedTo: api.settings.waitMax)
        until = api.clock.now() + (preference?.duration ?? .zero)
    }

    func begin(_ lsns: [LSN]) throws(Problem) {
        try api.lookUp { look(up: lsns) }
    }

    /// Reads the disk.
    private func look(up lsns: [LSN]) {
        let outcomes: [ReceiptOutcome]
        let awaited: [AwaitedRecords]
        do {
            outcomes = try api.outcomes(of: lsns)
            awaited = preference == nil ? [] : try self.awaited(lsns, outcomes)
        } catch {
            responder.respond(
                Problem(
                    503, "receipt_unreadable", "The outcome cannot be read now", "\(error)", retryable: true,
                    retryAfterSeconds: 5
                ).response)
            return
        }
        if let preference, preference.duration > .zero, !awaited.isEmpty {
            wait(lsns, outcomes, awaited)
        } else {
            respond(outcomes)
        }
    }

    /// For each lane, from the first to the last record that is not settled.
    private func awaited(_ lsns: [LSN], _ outcomes: [ReceiptOutcome]) throws -> [AwaitedRecords] {
        var lanes: [Int: AwaitedRecords] = [:]
        let open = Set(zip(lsns, outcomes).filter { $0.1.isAccepted }.map { $0.1.redeliveredAs ?? $0.0 }).sorted()
        for (lsn, place) in zip(open, try api.spool.places(of: open)) {
            // What is not synced yet has no lane that could be read.
            guard case .lane(let number) = place, number < api.spool.settings.lanes else { continue }
            let lane = Int(number)
            let known = lanes[lane]
            lanes[lane] = AwaitedRecords(
                lane: lane, first: min(known?.first ?? lsn, lsn), last: max(known?.last ?? lsn, lsn))
        }
        return Array(lanes.values)
    }

    private func wait(_ lsns: [LSN], _ outcomes: [ReceiptOutcome], _ awaited: [AwaitedRecords]) {
        // Of a dead letter that was sent again, the record that took its place.
        let open = zip(lsns, outcomes).filter { $0.1.isAccepted }.map { $0.1.redeliveredAs ?? $0.0 }
        let watch = OutcomeWatch(Set(open).sorted(), api)
        let now = { @Sendable in
            let news = Dictionary(uniqueKeysWithValues: zip(watch.lsns, watch.outcomes()))
            return zip(lsns, outcomes).map { lsn, outcome in
                guard var newer = news[outcome.redeliveredAs ?? lsn] else { return outcome }
                newer.redeliveredAs = newer.redeliveredAs ?? outcome.redeliveredAs
                return newer
            }
        }
        responder.releaseBody()
        let isParked = responder.park(
            until: until,
            onTimeout: {
                watch.cancel()
                return response(now())
            },
            onClientGone: { watch.cancel() }, orAnswer: { response(outcomes) })
        guard isParked else { return }
        if !watch.start(awaited, settled: { respond(now()) }) { respond(outcomes) }
    }

    private func respond(_ outcomes: [ReceiptOutcome]) { responder.respond(response(outcomes)) }

    private func response(_ outcomes: [ReceiptOutcome]) -> HTTPResponse {
        let response: HTTPResponse
        do throws(Problem) {
            response = try answer(outcomes)
        } catch {
            response = error.response
        }
        return preference?.response(response) ?? response
    }
}

extension API {
    /// - Throws: for a text that is no receipt, and for another gateway's.
    func lsn(ofReceipt text: String) throws(Problem) -> LSN {
        guard let receipt = Receipt(text) else {
            throw .invalid("receipt", "the form is <8 characters>-<number>", code: "invalid_receipt")
        }
        guard receipt.spool == spool.shortID else {
            throw Problem(
                404, "receipt_held_elsewhere", "Another gateway gave out this receipt",
                "this is \(spool.shortID); ask \(receipt.spool)")
        }
        return receipt.lsn
    }
}
