import ArgumentParser
import Client
import JSON
import Primitives

struct Topics: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at topics, make and remove them.",
        subcommands: [List.self, Show.self, Create.self, Delete.self, Purge.self])

    private static func target(_ topic: String) -> String { "/v1/topics/\(percentEncoded(topic))" }

    /// A topic in words.
    private static func lines(_ topic: JSONValue) throws(ClientError) -> [String] {
        guard topic.kind == .object, let partitions = topic.member("partitions")?.elements else {
            throw .notAGateway("a topic has partitions")
        }
        var lines = ["topic \(topic.cell("name"))"]
        for setting in topic.member("settings")?.members.map(Array.init) ?? [] {
            lines.append(plain("\(setting.name) \(String(decoding: setting.value.raw, as: UTF8.self))"))
        }
        for warning in topic.member("warnings")?.elements.map(Array.init) ?? [] {
            lines.append("warning: \(plain(warning.string ?? ""))")
        }
        var table = Table(["PARTITION", "LEADER", "REPLICAS", "IN SYNC", "LOW WATERMARK", "HIGH WATERMARK"])
        for partition in partitions {
            table.add(
                ["partition", "leader", "replicas", "in_sync_replicas", "low_watermark", "high_watermark"]
                    .map { partition.cell($0) })
        }
        return lines + table.lines()
    }

    struct List: GatewayCommand {
        static let configuration = CommandConfiguration(abstract: "List topics.")

        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var limit: ListOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            try output.list(calls, "/v1/topics", "topics", limit, ["TOPIC"]) { [$0.cell("name")] }
            return .done
        }
    }

    struct Show: GatewayCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a topic: partitions, watermarks, settings, warnings.")

        @Argument(help: "The topic.")
        var topic: String
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            let answer = try calls.call("GET", target(topic))
            try output.write(answer) { () throws(ClientError) in try lines(try answer.json()) }
            return .done
        }
    }

    struct Create: GatewayCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a topic, or change the settings of one that is there.",
            discussion:
                "What is left out is the broker's default in a new topic, and stays as it is in one that is there.")

        @Argument(help: "The topic.")
        var topic: String
        @OptionGroup var gateway: ConnectionOptions

        @Option(help: "Partitions; they never change afterwards.")
        var partitions: Int?
        @Option(help: "Age at which records go (7d, 12h), or none.")
        var retention: Limit?
        @Option(help: "Bytes of a partition past which its oldest records go, or none.")
        var retentionBytes: String?
        @Option(help: "Key, value and headers of one record.")
        var recordBytesMax: Int?
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if let retentionBytes, retentionBytes != "none", Int(retentionBytes) == nil {
                throw ValidationError("--retention-bytes is a number, or none")
            }
        }

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            let fields: [(String, Int64?)] = [
                ("partitions", partitions.map { Int64($0) }), ("retention_ms", retention?.milliseconds),
                ("retention_bytes", retentionBytes.map { Int64($0) ?? -1 }),
                ("record_bytes_max", recordBytesMax.map { Int64($0) }),
            ]
            var writer = JSONWriter()
            writer.object { writer in
                for case (let name, let value?) in fields {
                    writer.key(name)
                    writer.integer(value)
                }
            }
            let answer = try calls.call("PUT", target(topic), writer.bytes)
            try output.write(answer) { () throws(ClientError) in
                [answer.status == 201 ? "created" : "was there"] + (try lines(try answer.json()))
            }
            return .done
        }
    }

    /// A time, or none.
    struct Limit: ExpressibleByArgument {
        /// -1: none.
        let milliseconds: Int64

        init?(argument: String) {
            if argument == "none" {
                milliseconds = -1
            } else if let time = Time(argument: argument) {
                milliseconds = time.duration.wholeMilliseconds
            } else {
                return nil
            }
        }
    }

    struct Delete: GatewayCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a topic with its records and committed offsets.")

        @Argument(help: "The topic.")
        var topic: String
        @OptionGroup var gateway: ConnectionOptions
        @Flag(help: "Also while accepted records are not delivered: they become dead letters.")
        var force = false
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            _ = try calls.call("DELETE", target(topic) + (force ? "?force=true" : ""))
            try output.write(done: "deleted", "topic", [topic])
            return .done
        }
    }

    struct Purge: GatewayCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove the records below an offset, for every reader.")

        @Argument(help: "The topic.")
        var topic: String
        @Option(help: "PARTITION:OFFSET, the first that stays; may be repeated.")
        var offset: [PartitionOffset]
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            var writer = JSONWriter()
            writer.object { writer in
                writer.key("offsets")
                writer.array { writer in for offset in offset { writer.object { offset.write(to: &$0) } } }
            }
            let answer = try calls.call("POST", target(topic) + "/purge", writer.bytes)
            try output.write(answer) { () throws(ClientError) in
                try table(
                    try answer.json(), "low_watermarks", [("PARTITION", "partition"), ("LOW WATERMARK", "offset")])
            }
            return .done
        }
    }
}

/// `PARTITION:OFFSET`.
struct PartitionOffset: ExpressibleByArgument {
    let partition: Int64
    let offset: Int64

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map { Int64($0) }
        guard parts.count == 2, let partition = parts[0], let offset = parts[1], partition >= 0, offset >= 0 else {
            return nil
        }
        self.partition = partition
        self.offset = offset
    }

    func write(to writer: inout JSONWriter) {
        writer.key("partition")
        writer.integer(partition)
        writer.key("offset")
        writer.integer(offset)
    }
}

/// A list in an answer as a table.
func table(
    _ answer: JSONValue, _ name: String, _ columns: [(title: String, member: String)]
) throws(ClientError) -> [String] {
    guard answer.kind == .object, let rows = answer.member(name)?.elements else {
        throw .notAGateway("the answer has \(name)")
    }
    var table = Table(columns.map(\.title))
    for row in rows { table.add(columns.map { row.cell($0.member) }) }
    return table.lines()
}

extension OutputOptions {
    /// What an answer without a body means.
    func write(done word: String, _ name: String, _ items: [String]) throws(ClientError) {
        guard json else {
            try write(items.map { "\(word) \($0)" })
            return
        }
        var writer = JSONWriter()
        writer.object { writer in
            writer.key(word)
            writer.array { writer in for item in items { writer.string(item) } }
        }
        try write(writer.bytes + [UInt8(ascii: "\n")])
    }
}
