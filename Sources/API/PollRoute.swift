import Consumers
import HTTPServer
import Primitives
import Records

/// `POST /v1/consumers/{consumer}/poll`: records, leased to whoever polls.
struct PollRoute {
    /// After a poll's wait is over and nothing was answered, by then something is wrong with the broker.
    private static let graceAfterWait = Duration.seconds(15)

    private let api: API

    init(_ api: API) { self.api = api }

    var route: Route {
        let api = api
        return api.route(.post, "/v1/consumers/{consumer}/poll", bodyBytesMax: 4096) {
            request, responder throws(Problem) in
            try Self.poll(request, responder, api)
        }
    }

    private static func poll(_ request: HTTPRequest, _ responder: Responder, _ api: API) throws(Problem) {
        let parameters = try Parameters(
            request, ["max", "max_bytes", "wait", "values", "client", "topic"], repeatable: "topic")
        let name = try request.consumer()
        var topics: [TopicName] = []
        for text in parameters.texts("topic") {
            guard let topic = TopicName(text) else { throw .invalid("topic", "not a topic's name") }
            topics.append(topic)
        }
        let wait = try parameters.seconds("wait", clampedTo: api.settings.waitMax) ?? .zero
        let max = try parameters.integer("max", in: 1...AnswerLimits.recordsMax) ?? AnswerLimits.recordsDefault
        let maxBytes = try parameters.integer("max_bytes", in: 1...AnswerLimits.bytesMax) ?? AnswerLimits.bytesDefault
        let style = try AnswerStyle(request, parameters, max: max, responder)
        let parked = Lock(ParkedPoll())
        if wait > .zero {
            responder.releaseBody()
            let isParked = responder.park(
                until: api.clock.now() + wait + graceAfterWait,
                onTimeout: {
                    // Cancelled first, so that nothing is leased to an answer that says there is nothing; and what the
                    // cancelled poll says itself must not be faster than this answer.
                    ParkedPoll.cancel(parked)
                    return RecordAnswer.poll(PollAnswer()).response(style)
                },
                onClientGone: { ParkedPoll.cancel(parked) })
            if !isParked { return }
        }
        let poll = PollRequest(
            consumer: name, topics: topics, max: max, maxBytes: maxBytes, wait: wait,
            client: parameters.text("client"), memory: memory(of: responder, style.values),
            isClientPresent: { !responder.isClientGone() })
        let started = api.consumers.poll(poll) { result in
            if case .failure = result, parked.withLock({ $0.isCancelled }) { return }
            // Records that this answer carries and that nobody sees come again at their deadline, or at the client's
            // next poll.
            switch result {
            case .success(let answer):
                responder.respond(RecordAnswer.poll(answer).response(style, capacity: responder.reservedBytes))
            case .failure(let error): responder.respond(Problem(error).response)
            }
        }
        let isCancelled = parked.withLock { parked in
            parked.handle = started
            return parked.isCancelled
        }
        if isCancelled { started.cancel() }
    }

    private static func memory(of responder: Responder, _ values: ValueForm) -> AnswerMemory {
        var memory = AnswerMemory()
        memory.emptyBytes = AnswerBytes.emptyPoll
        memory.recordBytes = { AnswerBytes.of($0, values) }
        memory.skippedBytes = { AnswerBytes.ofSkipped($0) }
        memory.answerBytesMax = AnswerLimits.answerBytesMax(responder)
        memory.reserve = { responder.reserve($0, orLater: $1) }
        memory.giveBack = { responder.giveBack($0) }
        return memory
    }
}

/// A waiting poll between its three ends: records, the end of the wait, the client's leaving.
private struct ParkedPoll {
    var handle: PollHandle?
    /// Somebody else answers, or nobody listens: the poll's own failure is not sent.
    var isCancelled = false

    static func cancel(_ parked: Lock<ParkedPoll>) {
        parked.withLock { parked in
            parked.isCancelled = true
            return parked.handle
        }?.cancel()
    }
}
