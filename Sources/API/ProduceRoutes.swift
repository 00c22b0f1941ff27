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
            let wait: ProduceWait?
            do throws(Problem) {
                let topic = try request.ownTopic()
                let parameters = try Parameters(request, allowed)
                let headers = try ProduceHeaders(request)
                let known = try Self.known(topic, api.topics)
                records = try decode(
                    Call(request: request, parameters: parameters, headers: headers, topic: topic, known: known))
                try Self.reserve(responder, answer, for: records.count)
                wait = PreferredWait(headers.prefer, clampedTo: api.settings.waitMax).map {
                    ProduceWait($0, topic, responder, answer, api)
                }
            } catch {
                var problem = error
                problem.outcome = .notAccepted
                throw problem
            }
            api.spool.submit(records) { result in
                switch result {
                case .success(let acceptance):
                    if let wait { wait.begin(acceptance) } else { responder.respond(answer.response(acceptance)) }
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
            throw .answerMemory
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
        do throws(RecordFault) {
            try rules(of: call.known).check(record)
        } catch {
            throw error.problem
        }
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
        let media = String(type.prefix { $0 != ";" }).trimmingSpaces()
        guard let form = BatchDecoder.Form(rawValue: media) else {
            throw Problem(
                415, "unsupported_media_type", "This content type is not understood here",
                "send application/json or application/x-ndjson")
        }
        let decoder = BatchDecoder(
            record: RecordDecoder(
                topic: call.topic, partitions: call.known.partitions, rules: rules(of: call.known),
                nowMs: api.clock.wallMilliseconds()),
            recordsMax: api.settings.recordsMax)
        return try decoder.decode(call.request.body, form)
    }

    private func rules(of topic: KnownTopic) -> RecordRules {
        RecordRules(
            bytesMax: min(api.settings.recordBytesMax, topic.recordBytesMax), headersMax: api.settings.headersMax)
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
