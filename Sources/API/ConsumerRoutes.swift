import Consumers
import HTTPServer
import JSON
import Primitives
import Records

/// `/v1/consumers`: define, describe, acknowledge, give back, extend, seek; polls are `PollRoute`'s.
struct ConsumerRoutes {
    private static let noStore = [HTTPHeader("Cache-Control", "no-store")]

    private let api: API

    init(_ api: API) { self.api = api }

    var routes: [Route] {
        let api = api
        let body = api.settings.recordBytesMax
        return [
            api.route(.get, "/v1/consumers") { request, responder throws(Problem) in
                let page = try Page(request, api.settings.listMax)
                do throws(ConsumerError) {
                    let names = try api.consumers.list().map(\.text)
                    responder.respond(page.response("consumers", of: names, headers: Self.noStore))
                } catch {
                    throw Problem(error)
                }
            },
            api.route(.put, "/v1/consumers/{consumer}", bodyBytesMax: body) { request, responder throws(Problem) in
                try Self.define(request, responder, api)
            },
            api.route(.get, "/v1/consumers/{consumer}") { request, responder throws(Problem) in
                _ = try Parameters(request, [])
                api.consumers.describe(try request.consumer()) { result in
                    responder.respond(Self.answer(result) { ConsumerAnswers.description($0) })
                }
            },
            api.route(.delete, "/v1/consumers/{consumer}") { request, responder throws(Problem) in
                _ = try Parameters(request, [])
                api.consumers.delete(try request.consumer()) { result in
                    switch result {
                    case .success: responder.respond(HTTPResponse(status: 204, headers: Self.noStore))
                    case .failure(let error): responder.respond(Problem(error).response)
                    }
                }
            },
            PollRoute(api).route,
            api.route(.post, "/v1/consumers/{consumer}/acks", bodyBytesMax: body) {
                request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let acknowledgement = try ConsumerBodies.acknowledgement(request.body)
                api.consumers.acknowledge(try request.consumer(), acknowledgement) { result in
                    responder.respond(Self.answer(result) { ConsumerAnswers.committed($0.committed) })
                }
            },
            api.route(.post, "/v1/consumers/{consumer}/nacks", bodyBytesMax: body) {
                request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let nack = try ConsumerBodies.nack(request.body)
                api.consumers.giveBack(
                    try request.consumer(), nack.selector, delay: nack.delay, reason: nack.reason
                ) { result in
                    responder.respond(Self.answer(result) { ConsumerAnswers.committed($0.committed) })
                }
            },
            api.route(.post, "/v1/consumers/{consumer}/extensions", bodyBytesMax: body) {
                request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let wanted = try ConsumerBodies.extensionOfLeases(request.body)
                api.consumers.extend(try request.consumer(), wanted.selector, deadline: wanted.deadline) { result in
                    responder.respond(Self.answer(result) { ConsumerAnswers.committed($0.committed) })
                }
            },
            api.route(.post, "/v1/consumers/{consumer}/seek", bodyBytesMax: body) {
                request, responder throws(Problem) in
                _ = try Parameters(request, [])
                let target = try ConsumerBodies.seekTarget(request.body)
                api.consumers.seek(try request.consumer(), to: target) { result in
                    responder.respond(Self.answer(result) { ConsumerAnswers.committed($0) })
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
                        ConsumerAnswers.definition(name, definition), status: outcome == .created ? 201 : 200,
                        headers: noStore))
            case .failure(let error):
                responder.respond(Problem(error).response)
            }
        }
    }
}
