import Broker
import HTTPServer
import JSON
import Primitives
import Records
import Spool

/// `POST /v1/topics/{topic}` and `POST /v1/topics/{topic}/records`: promises 1, 2 and 6.
struct ProduceRoutes {
    private static let one = "/v1/topics/{topic}"
    private static let batch = "/v1/topics/{topic}/records"
    /// Routes whose errors say what became of the records.
    static let patterns: Set<String> = [one, batch]

    private let api: API

    init(_ api: API) { self.api = api }

    var routes: [Route] {
        [
            produce(Self.one, Self.parameters, bodyBytesMax: api.settings.recordBytesMax) { call throws(Problem) in
                [try record(of: call)]
            },
            produce(Self.batch, [], bodyBytesMax: api.settings.requestBytesMax) { call throws(Problem) in
                try records(of: call)
            },
        ]
    }

    /// A produce call whose own form is right so far.
    private struct Call {
        var request: HTTPRequest
        var parameters: Parameters
        var fields: PostriderFields
        var topic: TopicName
        var known: KnownTopic
    }

    /// Refusals come in this order: what is wrong with the request whatever exists (name, parameters, features),
    /// whether the topic may be written to, then the records.
    private func produce(
        _ pattern: String, _ allowed: [String], bodyBytesMax: Int,
        _ decode: @escaping @Sendable (Call) throws(Problem) -> [SpoolRecord]
    ) -> Route {
        let api = api
        return api.route(.post, pattern, bodyBytesMax: bodyBytesMax) { request, responder throws(Problem) in
            let records: [SpoolRecord]
            do throws(Problem) {
                let topic = try request.topic()
                let parameters = try Parameters(request, allowed)
                if request.header("Content-Encoding") != nil {
                    throw Problem(
                        415, "content_encoding_unsupported", "The body must not be encoded",
                        "send it without Content-Encoding")
                }
                let fields = try PostriderFields(request)
                let known = try Self.known(topic, api)
                let call = Call(
                    request: request, parameters: parameters, fields: fields, topic: topic, known: known)
                records = try decode(call)
                try Self.reserve(responder, for: records.count)
            } catch {
                var problem = error
                problem.outcome = .notAccepted
                throw problem
            }
            api.spool.submit(records) { result in
                switch result {
                case .success(let acceptance):
                    responder.respond(Self.accepted(acceptance, api.spool.shortID))
                case .failure(let refusal):
                    responder.respond(Problem(refusal).response)
                }
            }
        }
    }

    private static func known(_ topic: TopicName, _ api: API) throws(Problem) -> KnownTopic {
        switch api.topics.knowledge(of: topic) {
        case .known(let known), .creatable(let known): return known
        case .missing:
            throw Problem(
                404, "unknown_topic", "There is no such topic", "\(topic) does not exist and is not created on produce")
        case .unverified:
            throw Problem(
                503, "topic_unverified", "The topic cannot be checked now",
                "\(topic) was never seen, and the broker is away", retryable: true, retryAfterSeconds: 5)
        }
    }

    /// A client that asks for a promise must not get a weaker one in silence.
    private static func refuseIdempotency(_ header: String) throws(Problem) {
        throw Problem(
            501, "idempotency_unavailable", "This version has no idempotency",
            "\(header) is not understood yet: a repeated request would be a second record")
    }

    /// The answer's memory is there before anything is promised: a 202 that cannot be sent helps nobody.
    private static func reserve(_ responder: Responder, for records: Int) throws(Problem) {
        if records > unreservedRecordsMax, !responder.reserve(answerBytes(records)) {
            throw Problem(
                503, "overloaded", "The gateway is out of memory for answers", "http.response_memory_max is used up",
                retryable: true, retryAfterSeconds: 1)
        }
    }

    /// The server sends an answer for so many without a reservation.
    private static let unreservedRecordsMax = 1_000

    private static func answerBytes(_ records: Int) -> Int { 64 + 32 * records }

    /// `{"durability":"fsync","receipts":["k3v9x2ab-1042"]}`
    static func accepted(_ acceptance: Acceptance, _ shortID: String) -> HTTPResponse {
        var writer = JSONWriter(capacity: answerBytes(acceptance.count))
        writer.object { writer in
            writer.key("durability")
            writer.string(acceptance.synced ? "fsync" : "buffered")
            writer.key("receipts")
            writer.array { writer in
                for index in 0..<acceptance.count {
                    let lsn = LSN(rawValue: acceptance.first.rawValue + UInt64(index))
                    writer.string(Receipt(spool: shortID, lsn: lsn).description)
                }
            }
        }
        return .json(writer.bytes, status: 202)
    }

    // MARK: - One record

    private static let parameters = ["key", "key_base64", "partition"]

    /// The body, byte for byte.
    private func record(of call: Call) throws(Problem) -> SpoolRecord {
        let (request, parameters, known) = (call.request, call.parameters, call.known)
        var keys: [ByteSlice] = []
        if let key = parameters.text("key") { keys.append(Array(key.utf8)[...]) }
        if let key = parameters.text("key_base64") {
            do throws(Base64Error) {
                keys.append(try Base64.decode(Array(key.utf8)[...])[...])
            } catch {
                throw .invalid("key_base64", error.description)
            }
        }
        let fields = call.fields
        if let key = fields.key { keys.append(key) }
        if keys.count > 1 { throw .invalid("key", "given more than once (key, key_base64, Postrider-Key)") }
        var headers = fields.recordHeaders
        if let type = request.header("Content-Type"), !Self.isFormType(type) {
            headers.append(RecordHeader(name: "content-type", value: Array(type.utf8)[...]))
        }
        let record = Record(
            key: keys.first, value: request.body, headers: headers, timestampMs: api.clock.wallMilliseconds())
        let partition = try parameters.integer("partition", in: 0...(known.partitions - 1))
        try check(record, known, pointer: "")
        return SpoolRecord(topic: call.topic, partition: partition, timestampIsGateways: true, record: record)
    }

    /// The request's own headers of ours, in one pass over all of them.
    private struct PostriderFields {
        var key: ByteSlice?
        var recordHeaders: [RecordHeader] = []

        init(_ request: HTTPRequest) throws(Problem) {
            if request.header("Idempotency-Key") != nil { try refuseIdempotency("Idempotency-Key") }
            let recordHeader = "postrider-header-"
            for (name, value) in request.headers(withPrefix: "postrider-") {
                switch name {
                case "postrider-key":
                    if key != nil { throw .invalid("Postrider-Key", "given more than once") }
                    key = value[...]
                case "postrider-producer", "postrider-sequence": try refuseIdempotency(name)
                case _ where name.hasPrefix(recordHeader):
                    let name = String(name.dropFirst(recordHeader.utf8.count))
                    guard !name.isEmpty else { throw .invalid("Postrider-Header-", "the record header has no name") }
                    recordHeaders.append(RecordHeader(name: name, value: value[...]))
                // Of a response, sent back by a client or a proxy.
                case "postrider-request-id", "postrider-gateway": continue
                // A misspelt one must not pass for the promise it asked for.
                default: throw .invalid(name, "there is no such request header", code: "unknown_header")
                }
            }
        }
    }

    /// What curl and browsers send when nobody said anything.
    private static func isFormType(_ type: String) -> Bool {
        let type = type.lowercased()
        return type.hasPrefix("application/x-www-form-urlencoded") || type.hasPrefix("multipart/form-data")
    }

    // MARK: - A batch

    private func records(of call: Call) throws(Problem) -> [SpoolRecord] {
        if call.fields.key != nil || !call.fields.recordHeaders.isEmpty {
            throw .invalid("Postrider-Key, Postrider-Header-*", "in a batch each record has its own key and headers")
        }
        let type = call.request.header("Content-Type")?.lowercased() ?? ""
        guard type.split(separator: ";").first.map({ $0.trimmingSpaces() }) == "application/json" else {
            throw Problem(
                415, "unsupported_media_type", "This content type is not understood here", "send application/json")
        }
        let decoder = BatchDecoder(
            topic: call.topic, partitions: call.known.partitions, recordsMax: api.settings.recordsMax,
            headersMax: api.settings.headersMax, nowMs: api.clock.wallMilliseconds())
        let records = try decoder.decode(call.request.body)
        for (index, record) in records.enumerated() {
            try check(record.record, call.known, pointer: "/records/\(index)")
        }
        return records
    }

    private func check(_ record: Record, _ known: KnownTopic, pointer: String) throws(Problem) {
        let bytesMax = min(api.settings.recordBytesMax, known.recordBytesMax)
        if record.bytes > bytesMax {
            throw Problem(
                413, "record_too_large", "A record is too large",
                "key, value and headers are \(record.bytes) bytes together; \(bytesMax) are allowed "
                    + "(limits.record_bytes_max, or the topic's)",
                parts: [.init(pointer: pointer, reason: "record_too_large")])
        }
        if record.headers.count > api.settings.headersMax {
            throw Problem(
                422, "too_many_headers", "A record has too many headers",
                "\(record.headers.count) headers; \(api.settings.headersMax) are allowed",
                parts: [.init(pointer: pointer, reason: "too_many_headers")])
        }
        if let reserved = record.headers.first(where: { $0.name.lowercased().hasPrefix("postrider-") }) {
            throw Problem(
                422, "reserved_header", "A record header's name is reserved",
                "\(reserved.name): names that begin with postrider- are the gateway's own",
                parts: [.init(pointer: pointer, reason: "reserved_header")])
        }
    }
}

extension StringProtocol {
    func trimmingSpaces() -> String {
        var rest = self[...]
        while rest.first == " " || rest.first == "\t" { rest = rest.dropFirst() }
        while rest.last == " " || rest.last == "\t" { rest = rest.dropLast() }
        return String(rest)
    }
}
