import Broker
import HTTPServer
import JSON
import Records
import Spool

/// `/v1/topics`: list, describe, create and alter, delete, purge.
struct TopicRoutes {
    private static let bodyBytesMax = 4 << 10
    /// Room for the offsets of each partition of the largest topic that the embedded broker takes.
    private static let purgeBytesMax = 64 << 10

    private let api: API

    init(_ api: API) { self.api = api }

    var routes: [Route] {
        let api = api
        return [
            api.route(.get, "/v1/topics") { request, responder throws(Problem) in
                let page = try Page(request, api.settings.listMax)
                api.topics.topics { result in
                    switch result {
                    case .success(let topics):
                        responder.respond(page.response("topics", of: topics.map(\.text).sorted()))
                    case .failure(let error): responder.respond(Problem(error).response)
                    }
                }
            },
            api.route(.get, "/v1/topics/{topic}") { request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let topic = try request.topic()
                api.topics.describe(topic) { result in
                    switch result {
                    case .success(let description?): responder.respond(Self.answer(description, api))
                    case .success(nil): responder.respond(Problem.unknownTopic(topic).response)
                    case .failure(let error): responder.respond(Problem(topic: error).response)
                    }
                }
            },
            api.route(.put, "/v1/topics/{topic}", bodyBytesMax: Self.bodyBytesMax) {
                request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let put = TopicPut(
                    topics: api.topics, name: try request.ownTopic(),
                    settings: try TopicBodies.settings(
                        request.body, recordBytesMax: api.settings.recordBytesMax))
                put.run { result in
                    switch result {
                    case .success(let (isNew, description)):
                        responder.respond(Self.answer(description, api, status: isNew ? 201 : 200))
                    case .failure(let problem): responder.respond(problem.response)
                    }
                }
            },
            api.route(.delete, "/v1/topics/{topic}") { request, responder throws(Problem) in
                try Self.delete(request, responder, api)
            },
            api.route(.post, "/v1/topics/{topic}/purge", bodyBytesMax: Self.purgeBytesMax) {
                request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let topic = try request.ownTopic()
                api.topics.purge(topic, below: try TopicBodies.offsets(request.body)) { result in
                    switch result {
                    case .success(let lows): responder.respond(.json(TopicBodies.lowWatermarks(lows)))
                    case .failure(let error): responder.respond(Problem(topic: error).response)
                    }
                }
            },
        ]
    }

    private static func answer(_ topic: TopicDescription, _ api: API, status: Int = 200) -> HTTPResponse {
        .json(TopicBodies.description(topic, recordBytesMax: api.settings.recordBytesMax), status: status)
    }

    /// What is accepted for the topic between the look at its backlog and the deletion dies, as with `force`: closing
    /// intake for it meanwhile would make every request wait for the broker.
    private static func delete(_ request: HTTPRequest, _ responder: Responder, _ api: API) throws(Problem) {
        let parameters = try Parameters(request, ["force"])
        let topic = try request.ownTopic()
        let force = try parameters.flag("force")
        if api.topics.knowledge(of: topic) == .missing { throw Problem.unknownTopic(topic) }
        let backlog = api.spool.lagRecords(topic: topic)
        guard force || backlog == 0 else {
            throw Problem(
                409, "topic_has_backlog", "Accepted records of the topic are not delivered",
                "\(backlog) of \(topic) are waiting for the broker; wait for them, or let them die with ?force=true",
                retryable: true)
        }
        api.topics.delete(topic) { result in
            switch result {
            case .success(true): responder.respond(HTTPResponse(status: 204))
            case .success(false): responder.respond(Problem.unknownTopic(topic).response)
            case .failure(let error): responder.respond(Problem(topic: error).response)
            }
        }
    }
}

/// Makes a topic, or changes what is given of the one that is there. Each step is one of the broker's, so others may
/// delete or make the topic in between.
private struct TopicPut: Sendable {
    private static let roundsMax = 3

    let topics: any TopicAdmin
    let name: TopicName
    let settings: TopicSettings

    /// The topic, and whether this call made it.
    typealias Completion = @Sendable (Result<(isNew: Bool, TopicDescription), Problem>) -> Void

    func run(round: Int = 1, completion: @escaping Completion) {
        topics.create(name, settings: settings) { result in
            switch result {
            case .success(true): describe(round, completion) { completion(.success((true, $0))) }
            case .success(false): describe(round, completion) { configure($0, round, completion) }
            case .failure(let error): completion(.failure(Problem(topic: error)))
            }
        }
    }

    private func describe(
        _ round: Int, _ completion: @escaping Completion, then: @escaping @Sendable (TopicDescription) -> Void
    ) {
        topics.describe(name) { result in
            switch result {
            case .success(let topic?): then(topic)
            case .success(nil): again(round, completion)
            case .failure(let error): completion(.failure(Problem(topic: error)))
            }
        }
    }

    private func configure(_ topic: TopicDescription, _ round: Int, _ completion: @escaping Completion) {
        if let wanted = settings.partitions, wanted != topic.partitions.count {
            return completion(
                .failure(
                    Problem(
                        409, "partitions_differ", "The topic has another number of partitions",
                        "\(name) has \(topic.partitions.count), \(wanted) are asked for; the number never changes")))
        }
        topics.configure(name, settings: settings) { result in
            switch result {
            case .success(true): describe(round, completion) { completion(.success((false, $0))) }
            case .success(false): again(round, completion)
            case .failure(let error): completion(.failure(Problem(topic: error)))
            }
        }
    }

    private func again(_ round: Int, _ completion: @escaping Completion) {
        if round < Self.roundsMax { return run(round: round + 1, completion: completion) }
        let error = BrokerError(.retriable, code: "topic_changing", detail: "\(name) is being deleted meanwhile")
        completion(.failure(Problem(error)))
    }
}

/// One page of a list of names: `limit`, `page_token`, `next`. A token is the last name of the page before.
struct Page {
    private let limit: Int
    private let after: String?

    init(_ request: HTTPRequest, _ limitMax: Int) throws(Problem) {
        let parameters = try Parameters(request, ["limit", "page_token"])
        limit = try parameters.integer("limit", in: 1...limitMax) ?? min(100, limitMax)
        after = parameters.text("page_token")
    }

    /// - Parameter names: sorted.
    func response(_ key: String, of names: [String], headers: [HTTPHeader] = []) -> HTTPResponse {
        let rest = names.drop { name in after.map { name <= $0 } ?? false }
        var writer = JSONWriter()
        writer.object { writer in
            writer.key(key)
            writer.array { writer in
                for name in rest.prefix(limit) {
                    writer.object { writer in
                        writer.key("name")
                        writer.string(name)
                    }
                }
            }
            if rest.count > limit, let last = rest.prefix(limit).last {
                writer.key("next")
                writer.string(last)
            }
        }
        return .json(writer.bytes, headers: headers)
    }
}
