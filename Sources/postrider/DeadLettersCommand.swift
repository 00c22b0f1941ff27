import ArgumentParser
import Client
import JSON
import Primitives

struct DeadLettersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead-letters", abstract: "Look at what was refused for good, send it again or discard it.",
        subcommands: [List.self, Show.self, Redeliver.self, Delete.self])

    private static func target(_ receipt: String) -> String { "/v1/dead-letters/\(percentEncoded(receipt))" }

    struct List: GatewayCommand {
        static let configuration = CommandConfiguration(abstract: "List dead letters, the oldest death first.")

        @Option(help: "Of this topic.")
        var topic: String?
        @Option(help: "With this reason.")
        var code: String?
        @Option(help: "Dead at that time or after it (2026-11-21T00:00:00Z).")
        var since: String?
        @Option(help: "Dead before that time.")
        var until: String?
        @OptionGroup var limit: ListOptions
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            let filter = [("topic", topic), ("code", code), ("since", since), ("until", until)]
            let query = filter.compactMap { name, value in value.map { (name: name, value: $0) } }
            let names = ["receipt", "topic", "partition", "at", "bytes", "code", "detail"]
            try output.list(
                calls, "/v1/dead-letters", "dead_letters", query: query, limit, names.map { $0.uppercased() }
            ) { letter in names.map { letter.cell($0) } }
            return .done
        }
    }

    struct Show: GatewayCommand {
        static let configuration = CommandConfiguration(abstract: "Show a dead letter with its content.")

        @Argument(help: "The record's receipt.")
        var receipt: String
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            let answer = try calls.call("GET", target(receipt))
            try output.write(answer) { () throws(ClientError) in
                let found = try answer.json()
                guard found.kind == .object, let members = found.members else {
                    throw .notAGateway("a dead letter is an object")
                }
                return members.map { "\($0.name) \(found.cell($0.name))" }
            }
            return .done
        }
    }

    struct Redeliver: GatewayCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send dead letters again, each once, and print their new receipts.")

        @Argument(help: "The records' receipts.")
        var receipts: [String]
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            for receipt in receipts {
                let answer = try calls.call("POST", target(receipt) + "/redeliver")
                try output.write(answer) { () throws(ClientError) in
                    let root = try answer.json()
                    let new = root.kind == .object ? root.member("receipts")?.elements.map(Array.init) ?? [] : []
                    return ["\(receipt) \(new.compactMap(\.string).map(plain).joined(separator: " "))"]
                }
            }
            return .done
        }
    }

    struct Delete: GatewayCommand {
        static let configuration = CommandConfiguration(abstract: "Discard dead letters for good.")

        @Argument(help: "The records' receipts.")
        var receipts: [String]
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            for receipt in receipts {
                _ = try calls.call("DELETE", target(receipt))
                try output.write(done: "discarded", "receipt", [receipt])
            }
            return .done
        }
    }
}
