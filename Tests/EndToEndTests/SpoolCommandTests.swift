import TestSupport
import GatewayTestSupport
import Glibc
import JSON
import Primitives
import Testing

/// `postrider spool adopt`, on a spool that was restored from a backup.
@Suite struct SpoolCommandTests {
    @Test func restoredSpool_IsClosedUntilSomebodyDecides() throws {
        let first = try GatewayProcess()
        let directory = first.directory
        let spool = directory.path + "/data/spool"
        try first.client().produce("orders", "one")
        first.signal(SIGTERM)
        #expect(first.waitForEnd() == .exited(0))
        try copy(spool, to: directory.path + "/backup")

        let second = try GatewayProcess(in: directory)
        let client = try second.client()
        let receipt = try client.produce("orders", "two")
        _ = try client.settled(receipt)
        #expect(try adopt(directory, "--resend") == .exited(22))
        second.signal(SIGTERM)
        #expect(second.waitForEnd() == .exited(0))
        try copy(directory.path + "/backup", to: spool)
        // Epochs are seconds at least: the restored spool must not take the one that the broker knows from the second.
        let then = time(nil)
        #expect(eventually { time(nil) > then + 1 })

        let third = try GatewayProcess(in: directory)
        let closed = try third.client().request("GET", "/readyz")
        #expect(closed.status == 503)
        #expect(try closed.json()["accepting"]?["reason"]?.string == "spool_history_unknown")
        #expect(try adopt(directory, "--assume-delivered") == .exited(22))
        third.signal(SIGTERM)
        #expect(third.waitForEnd() == .exited(0))

        // A decision is one, and of a spool that is there.
        #expect(try adopt(directory) == .exited(64))
        #expect(try adopt(directory, "--resend", "--assume-delivered") == .exited(64))
        #expect(try adopt(directory, "--resend", data: "/nowhere") == .exited(1))
        #expect(try !SystemFileSystem().exists(directory.path + "/nowhere"))
        let decided = try GatewayProcess(
            in: directory,
            command: ["spool", "adopt", "--data-dir", directory.path + "/data", "--assume-delivered", "--json"])
        #expect(decided.waitForEnd() == .exited(0))
        let said = try JSONDocument(Array(try decided.log().utf8)[...]).root
        #expect(said["decision"]?.string == "assume_delivered" && (said["below_lsn"]?.int64 ?? 0) > 0)
        let fourth = try GatewayProcess(in: directory)
        let again = try fourth.client()
        #expect(try again.request("GET", "/readyz?require=forwarding").status == 200)
        try again.produce("orders", "three")
        let read = try again.read(3, as: "reader", from: "orders").map { $0["value_text"]?.string }
        #expect(Set(read) == ["one", "two", "three"])
    }

    private func adopt(
        _ directory: TemporaryDirectory, _ flags: String..., data: String = "/data"
    ) throws -> GatewayProcess.End? {
        let command = ["spool", "adopt", "--data-dir", directory.path + data] + flags
        return try GatewayProcess(in: directory, command: command).waitForEnd()
    }

    /// Makes `to` hold what `from` does, and nothing else.
    private func copy(_ from: String, to: String) throws {
        let disk = SystemFileSystem()
        try disk.createDirectory(to)
        for name in try disk.list(to) { try disk.remove("\(to)/\(name)") }
        for name in try disk.list(from) {
            let source = try disk.open("\(from)/\(name)", .readOnly)
            let copy = try disk.open("\(to)/\(name)", .createOrTruncate)
            try copy.writeAll(try source.read(Int(try source.size()), at: 0), at: 0)
            source.close()
            copy.close()
        }
    }
}
