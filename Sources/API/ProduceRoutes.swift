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
    private let answer: ProduceAnswer

    init(_ api: API) {
        self.api = api
        answer = ProduceAnswer(shortID: api.spool.shortID)
    }

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
        var headers: ProduceHeaders
        var topic: TopicName
        var known: KnownTopic
    }

    /// Refusals come in this order: what is wrong with the request whatever exists (name, parameters, headers),
    /// whether the topic may be written to, then the records.
    private func produce(
        _ pattern: String, _ allowed: [String], bodyBytesMax: Int,
        _ decode: @escaping @Sendable (borrowing Call) throws(Problem) -> [SpoolRecord]
    ) -> Route {
        let (api, answer) = (api, answer)
        return api.route(.post, pattern, bodyBytesMax: bodyBytesMax) { request, responder throws(Problem) in
            let records: [SpoolRecord]
            do throws(Problem) {
                let topic = try request.ownTopic()
                let parameters = try Parameters(request, allowed)
                let headers = try ProduceHeaders(request)
                let known = try Self.known(topic, api.topics)
                records = try decode(
                    Call(request: request, parameters: parameters, headers: headers, topic: topic, known: known))
                try Self.reserve(responder, answer, for: records.count)
            } catch {
                var problem = error
                problem.outcome = .notAccepted
                throw problem
            }
            api.spool.submit(records) { result in
                switch result {
                case .success(let acceptance): responder.respond(answer.response(acceptance))
                case .failure(let refusal): responder.respond(Problem(refusal).response)
                }
            }
        }
    }

    private static func known(_ topic: TopicName, _ topics: any TopicAdmin) throws(Problem) -> KnownTopic {
        switch topics.knowledge(of: topic) {
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

    /// The answer's memory is there before anything is promised: a 202 that cannot be sent helps nobody.
    private static func reserve(
        _ responder: Responder, _ answer: ProduceAnswer, for records: Int
    ) throws(Problem) {
        if records > unreservedRecordsMax, !responder.reserve(answer.bytesMax(records: records)) {
            throw Problem(
                503, "overloaded", "The gateway is out of memory for answers", "http.response_memory_max is used up",
                retryable: true, retryAfterSeconds: 1)
        }
    }

    /// The server sends an answer for so many without a reservation.
    private static let unreservedRecordsMax = 1_000

    // MARK: - One record

    private static let parameters = ["key", "key_base64", "partition"]

    /// The body, byte for byte.
    private func record(of call: borrowing Call) throws(Problem) -> SpoolRecord {
        var headers = call.headers.recordHeaders
        if let type = call.headers.contentType {
            headers.append(RecordHeader(name: "content-type", value: type[...]))
        }
        let record = Record(
            key: try key(of: call), value: call.request.body, headers: headers,
            timestampMs: api.clock.wallMilliseconds())
        let partition = try call.parameters.integer("partition", in: 0...(call.known.partitions - 1))
        try check(record, call.known, pointer: "")
        return SpoolRecord(topic: call.topic, partition: partition, timestampIsGateways: true, record: record)
    }

    private func key(of call: borrowing Call) throws(Problem) -> ByteSlice? {
        var keys: [ByteSlice] = []
        if let key = call.parameters.text("key") { keys.append(Array(key.utf8)[...]) }
        if let key = call.parameters.text("key_base64") {
            do throws(Base64Error) {
                keys.append(try Base64.decode(Array(key.utf8)[...])[...])
            } catch {
                throw .invalid("key_base64", error.description)
            }
        }
        if let key = call.headers.key { keys.append(key) }
        if keys.count > 1 { throw .invalid("key", "given more than once (key, key_base64, Postrider-Key)") }
        return keys.first
    }

    // MARK: - A batch

    private func records(of call: borrowing Call) throws(Problem) -> [SpoolRecord] {
        if call.headers.key != nil || !call.headers.recordHeaders.isEmpty {
            throw .invalid("Postrider-Key, Postrider-Header-*", "in a batch each record has its own key and headers")
        }
        let type = String(decoding: call.headers.contentType ?? [], as: UTF8.self).lowercased()
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
        if let reserved = record.headers.first(where: { Self.isReserved($0.name) }) {
            throw Problem(
                422, "reserved_header", "A record header's name is reserved",
                "\(reserved.name): names that begin with postrider- are the gateway's own",
                parts: [.init(pointer: pointer, reason: "reserved_header")])
        }
    }

    /// Whether a record header's name begins with `postrider-`, without regard to case.
    private static func isReserved(_ name: String) -> Bool {
        let (name, reserved) = (name.utf8, "postrider-".utf8)
        guard name.count >= reserved.count else { return false }
        return zip(name, reserved).allSatisfy { byte, lower in
            byte == lower || byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") && byte | 0x20 == lower
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
