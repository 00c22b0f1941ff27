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
    static let patterns: Set<String> = [one, batch, DeadLetterRoutes.redeliver]

    private let api: API
    private let answer: ProduceAnswer

    init(_ api: API) {
        self.api = api
        answer = ProduceAnswer(shortID: api.spool.shortID)
    }

    var routes: [Route] {
        [
            produce(Self.one, Self.parameters, bodyBytesMax: api.settings.recordBytesMax) {
                call, rules throws(Problem) in
                [try record(of: call, rules)]
            },
            produce(Self.batch, [], bodyBytesMax: api.settings.requestBytesMax) { call, rules throws(Problem) in
                try records(of: call, rules)
            },
        ]
    }

    /// A produce call whose own form is right so far.
    fileprivate struct Call: Sendable {
        var request: HTTPRequest
        var responder: Responder
        var parameters: Parameters
        var headers: ProduceHeaders
        var topic: TopicName
    }

    private typealias Decode = @Sendable (borrowing Call, RecordRules) throws(Problem) -> [SpoolRecord]

    /// Refusals come in this order: what is wrong with the request whatever exists (name, parameters, headers),
    /// whether the topic may be written to, then the records.
    private func produce(
        _ pattern: String, _ allowed: [String], bodyBytesMax: Int, _ decode: @escaping Decode
    ) -> Route {
        let (api, routes) = (api, self)
        return api.route(.post, pattern, bodyBytesMax: bodyBytesMax) { request, responder throws(Problem) in
            do throws(Problem) {
                let topic = try request.ownTopic()
                let call = Call(
                    request: request, responder: responder, parameters: try Parameters(request, allowed),
                    headers: try ProduceHeaders(request), topic: topic)
                switch api.topics.knowledge(of: topic) {
                case .known(let known), .creatable(let known):
                    do throws(Problem) {
                        try routes.accept(call, known, decode)
                    } catch {
                        guard error.restsOnTopic else { throw error }
                        routes.verify(call, decode, refused: (error, known))
                    }
                case .missing: throw .unknownOnProduce(topic)
                case .unverified: routes.verify(call, decode, refused: nil)
                }
            } catch {
                throw error.notAccepted
            }
        }
    }

    /// What is remembered of the topic does not allow the request: the broker may know better. The request is not
    /// parked; the broker answers within seconds, and bounds how many wait.
    private func verify(
        _ call: Call, _ decode: @escaping Decode, refused: (problem: Problem, known: KnownTopic)?
    ) {
        let (api, routes) = (api, self)
        api.topics.verify(call.topic) { knowledge in
            switch knowledge {
            case .known(let known), .creatable(let known):
                if let refused, refused.known == known { return call.refuse(refused.problem) }
                // A large body takes a while, and the broker's thread is everybody's.
                let isQueued = api.lookups.run {
                    do throws(Problem) {
                        try routes.accept(call, known, decode)
                    } catch {
                        call.refuse(error)
                    }
                }
                if !isQueued { call.refuse(.lookupsFull) }
            case .missing: call.refuse(.unknownOnProduce(call.topic))
            case .unverified: call.refuse(.unverified(call.topic))
            }
        }
    }

    /// Decodes, and hands over to the spool, which answers.
    private func accept(_ call: borrowing Call, _ known: KnownTopic, _ decode: Decode) throws(Problem) {
        let (answer, responder) = (answer, call.responder)
        let rules = RecordRules(
            topic: call.topic, known: known, bytesMax: api.settings.recordBytesMax,
            headersMax: api.settings.headersMax, nowMs: api.clock.wallMilliseconds())
        let records = try decode(call, rules)
        try Self.reserve(responder, answer, for: records.count)
        let wait = PreferredWait(call.headers.prefer, clampedTo: api.settings.waitMax).map {
            ProduceWait($0, call.topic, responder, answer, api)
        }
        api.spool.submit(records) { result in
            switch result {
            case .success(let acceptance):
                if let wait { wait.begin(acceptance) } else { responder.respond(answer.response(acceptance)) }
            case .failure(let refusal): responder.respond(Problem(refusal).response)
            }
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
    private func record(of call: borrowing Call, _ rules: RecordRules) throws(Problem) -> SpoolRecord {
        var headers = call.headers.recordHeaders
        if let type = call.headers.contentType {
            headers.append(RecordHeader(name: "content-type", value: type[...]))
        }
        let record = Record(
            key: try key(of: call), value: call.request.body, headers: headers,
            timestampMs: rules.nowMs)
        let partition = try partition(of: call, rules.known)
        do throws(RecordFault) {
            try rules.check(record, timestampIsGateways: true)
        } catch {
            throw error.problem
        }
        return SpoolRecord(topic: call.topic, partition: partition, timestampIsGateways: true, record: record)
    }

    private func partition(of call: borrowing Call, _ known: KnownTopic) throws(Problem) -> Int32? {
        do throws(Problem) {
            return try call.parameters.integer("partition", in: 0...(known.partitions - 1))
        } catch {
            var problem = error
            problem.restsOnTopic = true
            throw problem
        }
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

    private func records(of call: borrowing Call, _ rules: RecordRules) throws(Problem) -> [SpoolRecord] {
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
        let decoder = BatchDecoder(record: RecordDecoder(rules: rules), recordsMax: api.settings.recordsMax)
        return try decoder.decode(call.request.body, form)
    }
}

extension ProduceRoutes.Call {
    fileprivate func refuse(_ problem: Problem) { responder.respond(problem.notAccepted.response) }
}

extension Problem {
    static func unknownOnProduce(_ topic: TopicName) -> Problem {
        Problem(
            404, "unknown_topic", "There is no such topic", "\(topic) does not exist and is not created on produce")
    }

    static func unverified(_ topic: TopicName) -> Problem {
        Problem(
            503, "topic_unverified", "The topic cannot be checked now",
            "\(topic) was never seen, and the broker is away or does not show it", retryable: true,
            retryAfterSeconds: 5)
    }

    /// Of a call whose records are not stored, unless it says otherwise itself.
    var notAccepted: Problem {
        var problem = self
        problem.outcome = problem.outcome ?? .notAccepted
        return problem
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
