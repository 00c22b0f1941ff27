import Broker
import CoreMetrics
import HTTPServer
import JSON
import Primitives
import Records
import Spool

/// `POST /v1/topics/{topic}` and `POST /v1/topics/{topic}/records`: promises 1, 2, 4 and 6.
struct ProduceRoutes {
    private static let one = "/v1/topics/{topic}"
    private static let batch = "/v1/topics/{topic}/records"
    /// Routes whose errors say what became of the records.
    static let patterns: Set<String> = [one, batch, DeadLetterRoutes.redeliver]

    private let api: API
    private let answer: ProduceAnswer
    private let tracesSkipped = Counter(label: "postrider_produce_trace_headers_skipped_total")

    init(_ api: API) {
        self.api = api
        answer = ProduceAnswer(shortID: api.spool.shortID)
    }

    var routes: [Route] {
        [
            produce(.one, Self.one, bodyBytesMax: api.settings.recordBytesMax),
            produce(.batch, Self.batch, bodyBytesMax: api.settings.requestBytesMax),
        ]
    }

    /// Refusals come in this order: what is wrong with the request whatever exists (name, parameters, headers), what it
    /// is to those before it, whether the topic may be written to, then the records. So what was accepted is answered
    /// again though its topic is gone or nothing is accepted any more.
    private func produce(_ kind: ProduceCall.Kind, _ pattern: String, bodyBytesMax: Int) -> Route {
        let (api, routes) = (api, self)
        return api.route(.post, pattern, bodyBytesMax: bodyBytesMax) { request, responder throws(Problem) in
            do throws(Problem) {
                var call = try ProduceCall(kind, request, responder)
                if let identity = call.identity {
                    guard let claim = try routes.admit(identity, call) else { return }
                    call.claim = claim
                }
                routes.take(call)
            } catch {
                throw error.notAccepted
            }
        }
    }

    /// - Returns: nil when the request was accepted before, and is answered.
    private func admit(_ identity: RequestIdentity, _ call: borrowing ProduceCall) throws(Problem) -> RequestClaim? {
        let isKey = if case .key = identity { true } else { false }
        switch api.spool.admit(identity) {
        case .first(let claim): return claim
        case .repeated(let acceptance):
            try replay(acceptance, call)
            return nil
        case .inFlight: throw isKey ? .keyInFlight : .sequenceInFlight
        case .otherPayload: throw isKey ? .keyReused : .sequenceReused
        case .gap(let expected): throw .sequenceGap(expected: expected)
        case .tooOld: throw .sequenceTooOld
        case .full(let limit): throw .idempotencyFull(limit)
        }
    }

    /// As it was answered, or would have been; with `Prefer: wait`, with what became of the records.
    private func replay(_ acceptance: Acceptance, _ call: borrowing ProduceCall) throws(Problem) {
        do throws(Problem) {
            try Self.reserve(call.responder, answer, for: acceptance.count)
        } catch {
            var problem = error
            problem.outcome = .unknown
            throw problem
        }
        respond(call.responder, acceptance, wait(of: call, isReplay: true), isReplay: true)
    }

    private func take(_ call: ProduceCall) {
        switch api.topics.knowledge(of: call.topic) {
        case .known(let known), .creatable(let known):
            do throws(Problem) {
                try accept(call, known)
            } catch {
                if error.restsOnTopic { verify(call, refused: (error, known)) } else { call.refuse(error) }
            }
        case .missing: call.refuse(.unknownOnProduce(call.topic))
        case .unverified: verify(call, refused: nil)
        }
    }

    /// What is remembered of the topic does not allow the request: the broker may know better. The request is not
    /// parked; the broker answers within seconds, and bounds how many wait.
    private func verify(_ call: ProduceCall, refused: (problem: Problem, known: KnownTopic)?) {
        let (api, routes) = (api, self)
        api.topics.verify(call.topic) { knowledge in
            switch knowledge {
            case .known(let known), .creatable(let known):
                if let refused, refused.known == known { return call.refuse(refused.problem) }
                // A large body takes a while, and the broker's thread is everybody's.
                let isQueued = api.lookups.run {
                    do throws(Problem) {
                        try routes.accept(call, known)
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
    private func accept(_ call: borrowing ProduceCall, _ known: KnownTopic) throws(Problem) {
        let (routes, responder) = (self, call.responder)
        let rules = RecordRules(
            topic: call.topic, known: known, bytesMax: api.settings.recordBytesMax,
            headersMax: api.settings.headersMax, nowMs: api.clock.wallMilliseconds())
        var records = try records(of: call, rules)
        if api.settings.traceHeaders, let trace = call.headers.trace {
            let skipped = trace.add(to: &records, rules, bytesMax: api.settings.traceBytesMax)
            if skipped > 0 { tracesSkipped.increment(by: skipped) }
        }
        try Self.reserve(responder, answer, for: records.count)
        let wait = wait(of: call)
        api.spool.submit(records, claim: call.claim) { result in
            switch result {
            case .success(let acceptance): routes.respond(responder, acceptance, wait)
            case .failure(let refusal): responder.respond(routes.api.spool.problem(refusal).response)
            }
        }
    }

    private func wait(of call: borrowing ProduceCall, isReplay: Bool = false) -> ProduceWait? {
        let (topic, responder) = (call.topic, call.responder)
        return PreferredWait(call.headers.prefer, clampedTo: api.settings.waitMax).map {
            ProduceWait($0, topic, responder, answer, isReplay: isReplay, api)
        }
    }

    private func respond(
        _ responder: Responder, _ acceptance: Acceptance, _ wait: ProduceWait?, isReplay: Bool = false
    ) {
        if let wait {
            wait.begin(acceptance)
        } else {
            responder.respond(answer.response(acceptance, isReplay: isReplay))
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

    // MARK: - Records

    private func records(of call: borrowing ProduceCall, _ rules: RecordRules) throws(Problem) -> [SpoolRecord] {
        switch call.form {
        case .one(let key): return [try record(of: call, key, rules)]
        case .batch(let form):
            let decoder = BatchDecoder(record: RecordDecoder(rules: rules), recordsMax: api.settings.recordsMax)
            return try decoder.decode(call.request.body, form)
        }
    }

    /// The body, byte for byte.
    private func record(
        of call: borrowing ProduceCall, _ key: ByteSlice?, _ rules: RecordRules
    ) throws(Problem) -> SpoolRecord {
        var headers = call.headers.recordHeaders
        if let type = call.headers.contentType {
            headers.append(RecordHeader(name: "content-type", value: type[...]))
        }
        let record = Record(key: key, value: call.request.body, headers: headers, timestampMs: rules.nowMs)
        let partition = try partition(of: call, rules.known)
        do throws(RecordFault) {
            try rules.check(record, timestampIsGateways: true)
        } catch {
            throw error.problem
        }
        return SpoolRecord(topic: call.topic, partition: partition, timestampIsGateways: true, record: record)
    }

    private func partition(of call: borrowing ProduceCall, _ known: KnownTopic) throws(Problem) -> Int32? {
        do throws(Problem) {
            return try call.parameters.integer("partition", in: 0...(known.partitions - 1))
        } catch {
            var problem = error
            problem.restsOnTopic = true
            throw problem
        }
    }
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
