import Broker
import Gateway
import GatewayTestSupport
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// The process's own ends, in children of these tests, because the faults need a fake file system or a fake broker.
@Suite struct SyncFailureTests {
    @Test func failedSync_EndsTheProcess_WithItsOwnCode() async throws {
        // This process's, so that it is removed.
        let directory = try TemporaryDirectory()
        await #expect(processExitsWith: .exitCode(20)) { [path = directory.path as String] in
            try serveUntilASyncFails(in: path)
        }
        withExtendedLifetime(directory) {}
    }

    @Test func twin_EndsTheProcess_WithItsOwnCode() async throws {
        let directory = try TemporaryDirectory()
        await #expect(processExitsWith: .exitCode(23)) { [path = directory.path as String] in
            try serveUntilTheBrokerEndsIt(in: path, .twin(epoch: 1, nonce: 1))
        }
        withExtendedLifetime(directory) {}
    }

    @Test func brokerThatRefusesForGood_EndsTheProcess_WithItsOwnCode() async throws {
        let directory = try TemporaryDirectory()
        await #expect(processExitsWith: .exitCode(24)) { [path = directory.path as String] in
            let error = BrokerError(.processFatal, code: "refused", detail: "as told by the test")
            try serveUntilTheBrokerEndsIt(in: path, .refuse(error))
        }
        withExtendedLifetime(directory) {}
    }
}

/// Never returns: the process ends at the hand-over of a record that was accepted.
private func serveUntilTheBrokerEndsIt(in directory: String, _ fault: FakeSinks.Fault) throws {
    var settings = Settings.small
    settings.dataDirectory = directory
    let port = try unusedPort()
    try settings.listen(on: "127.0.0.1:\(port)")
    let sinks = FakeSinks(FakeLog(), plan: { $0.operation == .deliver && !$0.batch.isEmpty ? fault : nil })
    let client = client(port) {
        // It is in the spool, and the spool stays for whoever is right.
        try HTTPClient(port: port).request("POST", "/v1/topics/t", body: [1]).status == 202
    }
    defer { client.join() }
    ServeProcess.run(settings, sinks: { _ in sinks })
}

/// Never returns: the process ends.
private func serveUntilASyncFails(in directory: String) throws {
    let disk = FakeFileSystem()
    var settings = Settings.small
    settings.dataDirectory = directory
    let port = try unusedPort()
    try settings.listen(on: "127.0.0.1:\(port)")
    let client = client(port) {
        disk.failSyncs(EIO)
        // The answer gets out before the process goes.
        let answer = try HTTPClient(port: port).request("POST", "/v1/topics/t", body: [1])
        return try answer.json()["outcome"]?.string == "unknown"
    }
    defer { client.join() }
    ServeProcess.run(settings, fileSystem: disk)
}

/// Waits until the gateway serves, and makes a call; when that is not answered as it should be, the process ends at
/// once.
private func client(_ port: UInt16, _ isAnsweredWell: @escaping @Sendable () throws -> Bool) -> WorkerThread {
    WorkerThread(name: "client") {
        do {
            let isServing = eventually {
                do {
                    return try HTTPClient(port: port).request("GET", "/readyz").status == 200
                } catch {
                    return false
                }
            }
            if isServing, try isAnsweredWell() { return }
        } catch {
            ServeProcess.complain("\(error)")
        }
        _exit(99)
    }
}

/// Of the loopback address, free a moment ago.
private func unusedPort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw HTTPClient.Failure("socket: errno \(errno)") }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            bind(descriptor, address, length) == 0 ? getsockname(descriptor, address, &length) : -1
        }
    }
    guard result == 0 else { throw HTTPClient.Failure("bind: errno \(errno)") }
    return UInt16(bigEndian: address.sin_port)
}
