import GatewayTestSupport
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// `postrider produce`, `consume` and the commands that look at a gateway, as processes, while gateways and they
/// themselves are killed.
@Suite struct ClientCommandTests {
    private let shell: ShellCommands

    init() throws { shell = ShellCommands(try TemporaryDirectory()) }

    /// Everything in the one partition, in its order.
    private func stored(_ gateway: GatewayProcess) throws -> [String?] {
        let answer = try gateway.client().request("GET", "/v1/topics/orders/partitions/0/records?max=10000")
        return try answer.json()["records"]?.list.map { $0["value_text"]?.string } ?? []
    }

    private func waitUntilStored(_ count: Int, _ gateway: GatewayProcess) throws -> [String?] {
        let client = try gateway.client()
        _ = try eventually {
            let topic = try client.request("GET", "/v1/topics/orders").json()
            return (topic["partitions"]?[0]?["high_watermark"]?.int64 ?? 0) >= Int64(count)
        }
        return try stored(gateway)
    }

    @Test func lines_AreThereOnceInOrder_WhenTheGatewayIsKilledTwice() throws {
        var gateway = try shell.gateway()
        let port = try gateway.port()
        let all = (1...300).map { "line-\($0)" }
        try shell.write(all.joined(separator: "\n") + "\n", to: "input")
        let produce = try shell.run(
            "exec $P produce orders --batch 1 --receipts < input > receipts 2> errors", port: port)
        for kill in 1...2 {
            let goesOn = try eventually {
                try shell.lines("receipts").count >= kill * 60 || produce.waitForEnd(within: .zero) != nil
            }
            #expect(goesOn && produce.waitForEnd(within: .zero) == nil, "it ended before kill \(kill)")
            gateway.killNow()
            gateway = try shell.again(port)
        }
        #expect(produce.waitForEnd() == .exited(0), "\(shell.errors)")
        #expect(try shell.lines("receipts").count == 300 && Set(try shell.lines("receipts")).count == 300)
        #expect(try waitUntilStored(300, gateway) == all)
        #expect(try shell.text("errors").contains("trying again"))
    }

    @Test func lines_AreThereOnceInOrder_WhenProduceItselfIsKilledTwice() throws {
        let gateway = try shell.gateway()
        let all = (1...300).map { "line-\($0)" }
        try shell.write(all.joined(separator: "\n"), to: "input")
        let line =
            "exec $P produce orders --batch 1 --producer till-7 --progress progress --receipts "
            + "< input >> receipts 2>> errors"
        for kill in 1...2 {
            let produce = try shell.run(line, port: try gateway.port())
            let goesOn = try eventually {
                try shell.lines("receipts").count >= kill * 60 || produce.waitForEnd(within: .zero) != nil
            }
            #expect(goesOn && produce.waitForEnd(within: .zero) == nil, "it ended before kill \(kill)")
            produce.killNow()
        }
        #expect(try shell.run(line, port: try gateway.port()).waitForEnd() == .exited(0), "\(shell.errors)")
        #expect(try waitUntilStored(300, gateway) == all)
    }

    @Test func consumedLines_AreThere_WhenConsumeAndTheGatewayAreKilled() throws {
        var gateway = try shell.gateway()
        let port = try gateway.port()
        let body = (0..<200).map { #"{"value":\#($0)}"# }.joined(separator: "\n")
        for _ in 0..<2 {
            let answer = try gateway.client().request(
                "POST", "/v1/topics/orders/records", [("Content-Type", "application/x-ndjson")], body: Array(body.utf8))
            #expect(answer.status == 202)
        }
        let line =
            "exec $P consume orders --consumer shop --client one --follow --wait 1 --batch 4 >> output 2>> errors"
        func offsets() throws -> Set<Int64> {
            Set(try shell.lines("output").map { try JSONDocument(Array($0.utf8)[...]).root["offset"]?.int64 ?? -1 })
        }
        func committed() throws -> Int64 {
            let found = try gateway.client().request("GET", "/v1/consumers/shop").json()
            return try #require(found["partitions"]?[0]?["committed"]?.int64)
        }
        let first = try shell.run(line, port: port)
        #expect(try eventually { try shell.lines("output").count >= 40 })
        first.killNow()
        let written = try offsets()
        // What is acknowledged is written; what is written may come again.
        #expect(try committed() > 0 && (0..<(try committed())).allSatisfy(written.contains))
        #expect(written.count < 400, "it was killed too late")

        let second = try shell.run(line, port: port)
        #expect(try eventually { try offsets().count >= written.count + 40 })
        gateway.killNow()
        gateway = try shell.again(port)
        #expect(try eventually { try offsets().count == 400 }, "\(shell.errors)")
        #expect(try eventually { try committed() == 400 })
        second.signal(SIGTERM)
        #expect(second.waitForEnd() == .exited(0))
        #expect(try offsets() == Set(0..<400))
    }

    @Test func nothing_IsAcknowledged_WhenTheReaderOfThePipeGoes() throws {
        let gateway = try shell.gateway()
        let value = String(repeating: "x", count: 4000)
        let body = (0..<100).map { _ in #"{"value_text":"\#(value)"}"# }.joined(separator: "\n")
        let answer = try gateway.client().request(
            "POST", "/v1/topics/orders/records", [("Content-Type", "application/x-ndjson")], body: Array(body.utf8))
        #expect(answer.status == 202)
        _ = try waitUntilStored(100, gateway)
        // One answer is more than a pipe holds.
        let reader = try shell.run(
            "{ $P consume orders --consumer shop 2> errors; echo $? > code; } | head -n 1 > output",
            port: try gateway.port())
        #expect(reader.waitForEnd() == .exited(0))
        #expect(try shell.lines("output").count == 1)
        #expect(try shell.text("code") == "4\n", "\(shell.errors)")
        let found = try gateway.client().request("GET", "/v1/consumers/shop").json()
        #expect(found["partitions"]?[0]?["committed"]?.int64 == 0 && found["leases"]?.int64 == 0)
    }

    /// The command takes longer than a lease lasts, and fails once.
    @Test func command_KeepsItsRecord_AndHasItAgainWhenItFails() throws {
        let gateway = try shell.gateway()
        let client = try gateway.client()
        for value in ["one", "two"] { try client.produce("orders", value) }
        _ = try waitUntilStored(2, gateway)
        let shop = try client.putJSON("/v1/consumers/shop", #"{"topics":["orders"],"ack_deadline_ms":3000}"#)
        #expect(shop.status == 201)
        let command =
            "echo $POSTRIDER_OFFSET $POSTRIDER_ATTEMPT $(cat); "
            + "[ $POSTRIDER_OFFSET$POSTRIDER_ATTEMPT != 01 ] || exit 3; [ $POSTRIDER_OFFSET != 1 ] || sleep 4"
        let consume = try shell.run(
            "exec $P consume --consumer shop --max 2 --follow --retry-delay 10ms --exec '\(command)' "
                + "> output 2> errors",
            port: try gateway.port())
        #expect(consume.waitForEnd() == .exited(0), "\(shell.errors)")
        #expect(try shell.lines("output") == ["0 1 one", "0 2 one", "1 1 two"])
        let found = try client.request("GET", "/v1/consumers/shop").json()
        #expect(found["partitions"]?[0]?["committed"]?.int64 == 2, "\(shell.errors)")
    }

    @Test func commands_PrintJSON_AndEndAsTheyShould() throws {
        let gateway = try shell.gateway()
        let port = try gateway.port()
        let receipt = try gateway.client().produce("orders", "hello")
        _ = try gateway.client().settled(receipt)
        // In this order.
        for (line, code) in [
            ("topics list --json", 0), ("topics show orders --json", 0), ("topics show nothing --json", 1),
            ("topics create bills --partitions 2 --retention 7d --json", 0), ("topics create bills --partitions 3", 1),
            ("consume orders --consumer shop --wait 1 --max 1", 0), ("consumers list --json", 0),
            ("consumers show shop --json", 0), ("consumers seek shop --to earliest --json", 0),
            ("consumers seek shop --offset orders:0:1 --json", 0), ("consumers seek shop", 64),
            ("consumers delete shop --json", 0), ("consumers show shop", 1),
            ("receipts show \(receipt) --json", 0), ("receipts query \(receipt) --json", 0),
            ("receipts show aaaaaaaa-1", 1), ("dead-letters list --json", 0),
            ("dead-letters show \(receipt)", 1), ("dead-letters redeliver \(receipt)", 1),
            ("topics purge orders --offset 0:1 --json", 0), ("topics delete bills --json", 0), ("status --json", 0),
            ("produce nothing --bad", 64), ("topics list --url nonsense", 1),
            ("topics list --url http://127.0.0.1:1", 2),
        ] {
            let process = try shell.run("exec $P \(line) > output", port: port)
            #expect(process.waitForEnd() == .exited(Int32(code)), "\(line): \(shell.log(process))")
            if code == 0 {
                #expect(try JSONDocument(Array(try shell.text("output").utf8)[...]).root.kind == .object, "\(line)")
            }
        }
        #expect(try shell.run("exec $P status > output", port: port).waitForEnd() == .exited(0))
        #expect(try shell.text("output").contains("accepting   yes"))
    }

    @Test func spoolInspect_ReadsAStoppedGatewaysHeaders() throws {
        let gateway = try shell.gateway()
        _ = try gateway.client().produce("orders", "hello")
        let line = "exec $P spool inspect --data-dir data --json > output"
        #expect(try shell.run(line).waitForEnd() == .exited(22))
        gateway.signal(SIGTERM)
        #expect(gateway.waitForEnd() == .exited(0))
        #expect(try shell.run(line).waitForEnd() == .exited(0))
        let found = try JSONDocument(Array(try shell.text("output").utf8)[...]).root
        #expect(found["lanes"]?.list.count == 2 && found["segments"]?.list.isEmpty == false)
        #expect((found["end_lsn"]?.int64 ?? 0) > 0 && found["torn_tail"]?.bool == false)
        #expect(try shell.run("exec $P spool inspect --data-dir data > output").waitForEnd() == .exited(0))
        #expect(try shell.text("output").contains("lane 1: delivered "))
        #expect(try shell.run("exec $P spool inspect --data-dir nowhere").waitForEnd() == .exited(1))
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func completion_IsMade(of name: String) throws {
        let process = try shell.run("exec $P --generate-completion-script \(name) > script")
        #expect(process.waitForEnd() == .exited(0))
        let script = try shell.text("script")
        #expect(script.contains("dead-letters") && script.contains("give-up-after"))
        if name == "bash" {
            let check = try shell.run("exec bash -n script")
            #expect(check.waitForEnd() == .exited(0), "\(shell.log(check))")
        }
    }

    /// docs/CLI.md has every command, and the man page is made of the same description.
    @Test func everyCommand_IsInTheDocumentation() throws {
        let process = try shell.run("exec $P --experimental-dump-help > help")
        #expect(process.waitForEnd() == .exited(0))
        let root = try JSONDocument(Array(try shell.text("help").utf8)[...]).root
        let repository = #filePath.dropLast("/Tests/EndToEndTests/ClientCommandTests.swift".count)
        let file = try SystemFileSystem().open("\(repository)/docs/CLI.md", .readOnly)
        defer { file.close() }
        let documentation = String(decoding: try file.read(Int(try file.size()), at: 0), as: UTF8.self)
        let names = Self.commands(try #require(root["command"]), "")
        #expect(names.contains("postrider consumers seek") && names.contains("postrider spool inspect"))
        for name in names { #expect(documentation.contains("`\(name)"), "\(name)") }
    }

    /// Those without subcommands.
    private static func commands(_ command: JSONValue, _ outer: String) -> [String] {
        let name = (outer.isEmpty ? "" : outer + " ") + (command["commandName"]?.string ?? "")
        let inner = (command["subcommands"]?.list ?? []).filter { $0["commandName"]?.string != "help" }
        return inner.isEmpty ? [name] : inner.flatMap { commands($0, name) }
    }
}
