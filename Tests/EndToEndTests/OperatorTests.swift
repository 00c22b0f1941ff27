import Gateway
import GatewayTestSupport
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// What operators do to a data directory: docs/OPERATIONS.md, "The data directory".
@Suite struct OperatorTests {
    /// The reason why a gateway does not start on this disk.
    private func refusal(_ disk: FakeFileSystem, _ assignments: String...) throws -> StartError? {
        do {
            let local = try LocalGateway(fileSystem: disk) { for text in assignments { try $0.set(text) } }
            local.stop()
            return nil
        } catch let error as StartError {
            return error
        }
    }

    @Test func networkFileSystem_IsRefused_UnlessItIsAllowed() throws {
        let disk = FakeFileSystem()
        disk.setKind(.network(name: "NFS"))
        let error = try #require(try refusal(disk))
        #expect(error.reason == .cannotStart)
        #expect(error.description.contains("network file system (NFS)"))
        #expect(error.description.contains("spool.allow_network_file_system=true"))
        #expect(disk.paths.isEmpty, "nothing is made there")
        #expect(try refusal(disk, "spool.allow_network_file_system=true") == nil)
    }

    @Test(arguments: [FileSystemKind.userSpace, .memory]) func oddFileSystem_Starts(kind: FileSystemKind) throws {
        let disk = FakeFileSystem()
        disk.setKind(kind)
        #expect(try refusal(disk) == nil)
    }

    @Test(arguments: [(EACCES, "uid \(geteuid())"), (EROFS, "has to write")])
    func directoryThatCannotBeWritten_IsRefusedInWords(code: Int32, words: String) throws {
        let disk = FakeFileSystem()
        disk.failPaths(("LOCK", code))
        let error = try #require(try refusal(disk))
        #expect(error.reason == .cannotStart)
        #expect(error.description.contains("open") && error.description.contains("LOCK"))
        #expect(error.description.contains(words), "\(error.description)")
    }

    @Test func movedDirectory_GoesOnAsTheSameGateway() throws {
        let first = try GatewayProcess(["broker.embedded.bytes_max=1"])
        let client = try first.client()
        let receipt = try client.produce("orders", "before", partition: 0)
        let name = try client.request("GET", "/healthz").header("Postrider-Gateway")
        first.signal(SIGTERM)
        #expect(first.waitForEnd() == .exited(0))
        let elsewhere = try TemporaryDirectory()
        try SystemFileSystem().rename(first.directory.path + "/data", to: elsewhere.path + "/data")
        let second = try GatewayProcess(in: elsewhere)
        let again = try second.client()
        #expect(try again.request("GET", "/healthz").header("Postrider-Gateway") == name)
        #expect(try again.settled(receipt)["state"]?.string == "delivered")
        try again.produce("orders", "after", partition: 0)
        let values = try again.read(2, as: "reader", from: "orders").map { $0["value_text"]?.string }
        #expect(values == ["before", "after"])
    }
}
