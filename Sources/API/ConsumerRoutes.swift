import Consumers
import HTTPServer
import JSON
import Primitives
import Records

/// `/v1/consumers`: define, describe, poll, acknowledge, seek.
struct ConsumerRoutes {
    private static let noStore = [HTTPHeader("Cache-Control", "no-store")]
    /// After a poll's wait is over and nothing was answered, by then something is wrong with the broker.
    private static let graceAfterWait = Duration.seconds(15)

    private let api: API

    init(_ api: API) { self.api = api }

    var routes: [Route] {
        let api = api
        let body = api.settings.recordBytesMax
        return [
            api.route(.get, "/v1/consumers") { request, responder throws(Problem) in
                let page = try Page(request, api.settings.listMax)
                responder.respond(
                    page.response("consumers", of: api.consumers.list().map(\.text), headers: Self.noStore))
            },
            api.route(.put, "/v1/consumers/{consumer}", bodyBytesMax: body) { request, responder throws(Problem) in
                try Self.define(request, responder, api)
            },
            api.route(.get, "/v1/consumers/{consumer}") { request, responder throws(Problem) in
                _ = try Parameters(request, [])
                api.consumers.describe(try request.consumer()) { result in
                    responder.respond(Self.answer(result) { ConsumerBodies.description($0) })
                }
            },
            api.route(.delete, "/v1/consumers/{consumer}") { request, responder throws(Problem) in
                _ = try Parameters(request, [])
                api.consumers.delete(try request.consumer()) { result in
                    switch result {
                    case .success: responder.respond(HTTPResponse(status: 204))
                    case .failure(let error): responder.respond(Problem(error).response)
                    }
                }
            },
            api.route(.post, "/v1/consumers/{consumer}/poll", bodyBytesMax: 4096) {
                request, responder throws(Problem) in
                try Self.poll(request, responder, api)
            },
            api.route(.post, "/v1/consumers/{consumer}/acks", bodyBytesMax: body) {
                request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let acknowledgement = try ConsumerBodies.acknowledgement(request.body)
                api.consumers.acknowledge(try request.consumer(), acknowledgement) { result in
                    responder.respond(Self.answer(result) { ConsumerBodies.committed($0.committed) })
                }
            },
            api.route(.post, "/v1/consumers/{consumer}/seek", bodyBytesMax: body) {
                request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let target = try ConsumerBodies.seekTarget(request.body)
                api.consumers.seek(try request.consumer(), to: target) { result in
                    responder.respond(Self.answer(result) { ConsumerBodies.committed($0) })
                }
            },
        ]
    }

    private static func answer<Value>(
        _ result: Result<Value, ConsumerError>, _ body: (Value) -> [UInt8]
    ) -> HTTPResponse {
        switch result {
        case .success(let value): .json(body(value), headers: noStore)
        case .failure(let error): Problem(error).response
        }
    }

    private static func define(_ request: HTTPRequest, _ responder: Responder, _ api: API) throws(Problem) {
        let parameters = try Parameters(request, ["replace"])
        let name = try request.consumer()
        let definition = try ConsumerBodies.definition(request.body)
        api.consumers.define(name, definition, replacing: try parameters.flag("replace")) { result in
            switch result {
            case .success(let outcome):
                responder.respond(
                    .json(
                        ConsumerBodies.definition(name, definition), status: outcome == .created ? 201 : 200,
                        headers: noStore))
            case .failure(let error):
                responder.respond(Problem(error).response)
            }
        }
    }

    private static func poll(_ request: HTTPRequest, _ responder: Responder, _ api: API) throws(Problem) {
        let parameters = try Parameters(
            request, ["max", "max_bytes", "wait", "client", "topic"], repeatable: "topic")
        let name = try request.consumer()
        var topics: [TopicName] = []
        for text in parameters.texts("topic") {
            guard let topic = TopicName(text) else { throw .invalid("topic", "not a topic's name") }
            topics.append(topic)
        }
        let wait = try parameters.seconds("wait", clampedTo: api.settings.waitMax) ?? .zero
        let handle = Lock<(poll: PollHandle?, cancelled: Bool)>((nil, false))
        let cancel: @Sendable () -> Void = {
            handle.withLock { handle in
                handle.cancelled = true
                return handle.poll
            }?.cancel()
        }
        if wait > .zero {
            let parked = responder.park(
                until: api.clock.now() + wait + graceAfterWait,
                onTimeout: {
                    cancel()
                    return .json(RecordWriter.answer(PollAnswer()), headers: noStore)
                },
                onClientGone: cancel)
            if !parked { return }
        }
        let consumers = api.consumers
        let poll = PollRequest(
            consumer: name, topics: topics, max: try parameters.integer("max", in: 1...10_000) ?? 100,
            maxBytes: try parameters.integer("max_bytes", in: 1...(16 << 20)) ?? 1 << 20, wait: wait,
            client: parameters.text("client"),
            reserve: { bytes in
                let needed = RecordWriter.answerBytes(recordBytes: bytes)
                if responder.reserve(needed) { return true }
                responder.whenMemoryIsFree(needed) { consumers.pollMemoryAvailable() }
                return false
            },
            isClientPresent: { !responder.isClientGone() })
        let started = consumers.poll(poll) { result in
            // Records that this answer carries and that nobody sees come again at their deadline, or at the client's
            // next poll.
            responder.respond(answer(result) { RecordWriter.answer($0) })
        }
        let cancelled = handle.withLock { handle in
            handle.poll = started
            return handle.cancelled
        }
        if cancelled { started.cancel() }
    }
}
