import ArgumentParser
import Client
import JSON
import Primitives

struct ConsumersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consumers", abstract: "Look at named consumers, move and remove them.",
        subcommands: [List.self, Show.self, Delete.self, Seek.self])

    private static func target(_ consumer: String) -> String { "/v1/consumers/\(percentEncoded(consumer))" }

    struct List: GatewayCommand {
        static let configuration = CommandConfiguration(abstract: "List consumers with their lag.")

        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var limit: ListOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            let (names, hasMore) = try calls.list("/v1/consumers", "consumers", max: limit.limit)
            let consumers = try described(names, calls)
            if output.json {
                try output.write(JSONWriter.list("consumers", consumers, hasMore: hasMore))
            } else {
                try output.write(StatusScreen.table(ofConsumers: consumers).lines())
                if hasMore { complain("there are more; see --limit") }
            }
            return .done
        }
    }

    /// Their descriptions; one that was deleted meanwhile is left out.
    static func described(_ names: [JSONValue], _ calls: Calls) throws(ClientError) -> [JSONValue] {
        var consumers: [JSONValue] = []
        for name in names {
            do throws(ClientError) {
                consumers.append(try calls.get(target(name.member("name")?.string ?? "")))
            } catch {
                guard case .refused(let problem) = error, problem.code == "unknown_consumer" else { throw error }
            }
        }
        return consumers
    }

    struct Show: GatewayCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a consumer: committed offset, position, end and lag of each partition.")

        @Argument(help: "The consumer.")
        var consumer: String
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            let answer = try calls.call("GET", target(consumer))
            try output.write(answer) { () throws(ClientError) in
                let found = try answer.json()
                var lines: [String] = []
                let members = found.kind == .object ? found.members.map(Array.init) ?? [] : []
                for member in members where member.name != "partitions" && !member.value.isNull {
                    lines.append(plain("\(member.name) \(found.cell(member.name))"))
                }
                let names = ["topic", "partition", "committed", "position", "end", "lag", "leases"]
                return lines
                    + (try table(
                        found, "partitions",
                        names.map { ($0.uppercased(), $0) } + [("OLDEST UNACKNOWLEDGED", "oldest_unacknowledged")]))
            }
            return .done
        }
    }

    struct Delete: GatewayCommand {
        static let configuration = CommandConfiguration(abstract: "Forget a consumer and its committed offsets.")

        @Argument(help: "The consumer.")
        var consumer: String
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            _ = try calls.call("DELETE", target(consumer))
            try output.write(done: "deleted", "consumer", [consumer])
            return .done
        }
    }

    struct Seek: GatewayCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move committed offsets, of all partitions or of some. Leases of those partitions are void.")

        @Argument(help: "The consumer.")
        var consumer: String
        @Option(help: "All partitions: earliest, latest, or a time as 2026-11-21T00:00:00Z.")
        var to: String?
        @Option(help: "TOPIC:PARTITION:OFFSET, the next to read; may be repeated.")
        var offset: [TopicOffset] = []
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if (to == nil) == offset.isEmpty { throw ValidationError("give either --to or --offset") }
        }

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            var writer = JSONWriter()
            writer.object { writer in
                if let to {
                    writer.key("to")
                    writer.string(to)
                    return
                }
                writer.key("offsets")
                writer.array { writer in
                    for offset in offset {
                        writer.object { writer in
                            writer.key("topic")
                            writer.string(offset.topic)
                            offset.place.write(to: &writer)
                        }
                    }
                }
            }
            let answer = try calls.call("POST", target(consumer) + "/seek", writer.bytes)
            try output.write(answer) { () throws(ClientError) in
                try table(
                    try answer.json(), "committed",
                    [("TOPIC", "topic"), ("PARTITION", "partition"), ("COMMITTED", "offset")])
            }
            return .done
        }
    }
}

/// `TOPIC:PARTITION:OFFSET`; a topic's name has no colon.
struct TopicOffset: ExpressibleByArgument {
    let topic: String
    let place: PartitionOffset

    init?(argument: String) {
        guard let colon = argument.firstIndex(of: ":"), colon != argument.startIndex,
            let place = PartitionOffset(argument: String(argument[argument.index(after: colon)...]))
        else { return nil }
        topic = String(argument[..<colon])
        self.place = place
    }
}
