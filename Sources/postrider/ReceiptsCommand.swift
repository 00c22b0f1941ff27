import ArgumentParser
import Client
import Glibc
import JSON
import Primitives

struct ReceiptsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "receipts", abstract: "What became of records.",
        discussion: """
            Exit code 0: all of them are accepted or delivered; 1: one is unknown, expired or damaged; 3: one is a \
            dead letter.
            """,
        subcommands: [Show.self, Query.self])

    private static func exit(_ receipts: [JSONValue]) -> ClientExit {
        let states = Set(receipts.map { $0.cell("state") })
        if !states.isSubset(of: ["accepted", "delivered", "dead"]) { return .refused }
        return states.contains("dead") ? .dead : .done
    }

    private static func table(_ receipts: [JSONValue]) -> [String] {
        var table = Table(["RECEIPT", "STATE", "TOPIC", "PARTITION", "OFFSET", "TIMESTAMP", "REASON"])
        for receipt in receipts {
            let reason = receipt.member("reason")
            table.add(
                ["receipt", "state", "topic", "partition", "offset", "timestamp"].map { receipt.cell($0) }
                    + [reason.map { "\($0.cell("code")): \($0.cell("detail"))" } ?? "-"])
        }
        return table.lines()
    }

    struct Show: GatewayCommand {
        static let configuration = CommandConfiguration(abstract: "Show what became of one record.")

        @Argument(help: "The receipt.")
        var receipt: String
        @Option(help: "Wait so long until it is settled.")
        var wait = Time(.zero)
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            let answer = try calls.call("GET", "/v1/receipts/\(percentEncoded(receipt))", wait: wait.duration)
            let found = try answer.json()
            try output.write(answer) { () throws(ClientError) in table([found]) }
            return ReceiptsCommand.exit([found])
        }
    }

    struct Query: GatewayCommand {
        static let configuration = CommandConfiguration(abstract: "Show what became of many records.")

        /// In one call.
        private static let callMax = 10_000

        @Argument(help: "Receipts; none: from standard input, one a line.")
        var receipts: [String] = []
        @Option(help: "Wait so long until all of them are settled.")
        var wait = Time(.zero)
        @OptionGroup var gateway: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
            var worst = ClientExit.done
            var input = InputLines(STDIN_FILENO, stop: StopFlag())
            var given = receipts[...]
            while true {
                var names = Array(given.prefix(Self.callMax))
                given = given.dropFirst(Self.callMax)
                while receipts.isEmpty, names.count < Self.callMax, let line = try input.next() {
                    if !line.bytes.isEmpty { names.append(String(decoding: line.bytes, as: UTF8.self)) }
                }
                if names.isEmpty { return worst }
                let exit = try ask(names, calls)
                if exit == .refused || worst == .done { worst = exit }
            }
        }

        private func ask(_ names: [String], _ calls: Calls) throws(ClientError) -> ClientExit {
            var writer = JSONWriter()
            writer.object { writer in
                writer.key("receipts")
                writer.array { writer in for name in names { writer.string(name) } }
            }
            let answer = try calls.call("POST", "/v1/receipts/query", writer.bytes, wait: wait.duration)
            let root = try answer.json()
            guard root.kind == .object, let found = root.member("receipts")?.elements.map(Array.init) else {
                throw .notAGateway("the answer has receipts")
            }
            try output.write(answer) { () throws(ClientError) in table(found) }
            return ReceiptsCommand.exit(found)
        }
    }
}
