import DeadLetters
import HTTPServer
import JSON
import Primitives
import Records
import Spool
import Telemetry

/// `GET /v1/receipts/{receipt}`: what became of a record.
struct ReceiptRoutes {
    private let api: API

    init(_ api: API) { self.api = api }

    var routes: [Route] {
        let api = api
        return [
            api.route(.get, "/v1/receipts/{receipt}") { request, responder throws(Problem) in
                _ = try Parameters(request, [])
                guard let receipt = Receipt(request.capture("receipt")) else {
                    throw .invalid("receipt", "the form is <8 characters>-<number>", code: "invalid_receipt")
                }
                guard receipt.spool == api.spool.shortID else {
                    throw Problem(
                        404, "receipt_held_elsewhere", "Another gateway gave out this receipt",
                        "this is \(api.spool.shortID); ask \(receipt.spool)")
                }
                try api.lookUp { responder.respond(Self.answer(receipt, api)) }
            }
        ]
    }

    /// Reads the disk.
    private static func answer(_ receipt: Receipt, _ api: API) -> HTTPResponse {
        do {
            if let dead = try dead(receipt, api) { return dead }
            switch try api.spool.outcome(of: receipt.lsn) {
            case .accepted:
                return answer(receipt, "accepted") { _ in }
            case .delivered(let delivery):
                return answer(receipt, "delivered") { writer in
                    writer.place(delivery.partition)
                    writer.key("offset")
                    writer.integer(delivery.offset)
                    writer.key("timestamp")
                    writer.string(rfc3339(milliseconds: delivery.timestampMs))
                }
            case .expired:
                // It may have died between the two looks.
                if let dead = try dead(receipt, api) { return dead }
                return Problem(
                    410, "receipt_expired", "This receipt's outcome is no longer kept",
                    "the record was settled long ago"
                ).response
            case .unknown:
                return Problem(
                    404, "unknown_receipt", "There is no such receipt", "this gateway never gave it out"
                ).response
            }
        } catch {
            return Problem(
                503, "receipt_unreadable", "The outcome cannot be read now", "\(error)", retryable: true,
                retryAfterSeconds: 5
            ).response
        }
    }

    /// nil unless the record is among the dead letters for good.
    private static func dead(_ receipt: Receipt, _ api: API) throws -> HTTPResponse? {
        guard let dead = try api.deadLetters.lookup(lsn: receipt.lsn), dead.state == .final else { return nil }
        return answer(receipt, "dead") { writer in
            writer.key("reason")
            writer.object { writer in
                writer.key("code")
                writer.string(dead.code)
                writer.key("detail")
                writer.string(dead.detail)
                writer.key("at")
                writer.string(rfc3339(milliseconds: dead.atMs))
            }
        }
    }

    private static func answer(
        _ receipt: Receipt, _ state: String, _ more: (inout JSONWriter) -> Void
    ) -> HTTPResponse {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("receipt")
            writer.string(receipt.description)
            writer.key("state")
            writer.string(state)
            more(&writer)
        }
        return .json(writer.bytes, headers: [HTTPHeader("Cache-Control", "no-store")])
    }
}
