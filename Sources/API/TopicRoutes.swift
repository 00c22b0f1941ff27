import Broker
import HTTPServer
import JSON
import Records

/// Listing and describing topics; creating and deleting them comes with the full interface.
struct TopicRoutes {
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
                    case .success(let description?): responder.respond(.json(Self.write(description)))
                    case .success(nil):
                        responder.respond(
                            Problem(404, "unknown_topic", "There is no such topic", "\(topic) does not exist").response)
                    case .failure(let error): responder.respond(Problem(error).response)
                    }
                }
            },
        ]
    }

    private static func write(_ topic: TopicDescription) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("name")
            writer.string(topic.name.text)
            writer.key("partitions")
            writer.array { writer in
                for partition in topic.partitions {
                    writer.object { writer in
                        writer.key("partition")
                        writer.integer(partition.partition)
                        writer.key("leader")
                        if let leader = partition.leader { writer.integer(leader) } else { writer.null() }
                        writer.key("replicas")
                        writer.array { writer in for id in partition.replicas { writer.integer(id) } }
                        writer.key("in_sync_replicas")
                        writer.array { writer in for id in partition.inSyncReplicas { writer.integer(id) } }
                        writer.key("low_watermark")
                        writer.integer(partition.lowWatermark)
                        writer.key("high_watermark")
                        writer.integer(partition.highWatermark)
                    }
                }
            }
            writer.key("warnings")
            writer.array { writer in for warning in topic.warnings { writer.string(warning) } }
        }
        return writer.bytes
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
