import HTTPServer
import Primitives
import Records

/// `GET /v1/topics/{topic}/partitions/{partition}/records`: reading without a consumer. Nothing is leased or
/// remembered: whoever reads keeps `next_offset`.
struct ReadRoutes {
    private let api: API

    init(_ api: API) { self.api = api }

    var routes: [Route] {
        let api = api
        return [
            api.route(.get, "/v1/topics/{topic}/partitions/{partition}/records") {
                request, responder throws(Problem) in
                let parameters = try Parameters(request, ["offset", "max", "max_bytes", "wait", "values"])
                let wait = try parameters.seconds("wait", clampedTo: api.settings.waitMax) ?? .zero
                let max = try parameters.integer("max", in: 1...AnswerLimits.recordsMax) ?? AnswerLimits.recordsDefault
                // What nobody will read is not waited for.
                let isHead = request.method == .head
                let question = ReadState.Question(
                    partition: TopicPartition(topic: try request.topic(), partition: try request.partition()),
                    start: try Self.start(parameters), max: max,
                    maxBytes: try parameters.integer("max_bytes", in: 1...AnswerLimits.bytesMax)
                        ?? AnswerLimits.bytesDefault,
                    waits: wait > .zero && !isHead)
                PartitionRead(
                    question,
                    style: try AnswerStyle(request, parameters, max: max, responder),
                    source: api.records, responder: responder, clock: api.clock, wait: wait, mayPark: !isHead
                ).begin()
            }
        ]
    }

    private static func start(_ parameters: Parameters) throws(Problem) -> ReadState.Start {
        switch parameters.text("offset") {
        case nil, "earliest": return .earliest
        case "latest": return .latest
        case let text?:
            guard let offset = DecimalText.whole(text, as: Int64.self) else {
                throw .invalid("offset", "a whole number from 0 on, earliest or latest is expected")
            }
            return .offset(offset)
        }
    }
}

extension HTTPRequest {
    func partition() throws(Problem) -> Int32 {
        guard let number = DecimalText.whole(capture("partition"), as: Int32.self) else {
            throw .invalid("partition", "a whole number from 0 on is expected")
        }
        return number
    }
}
