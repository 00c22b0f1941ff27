import GatewayTestSupport
import HTTPServer
import JSON
import Logging
import Primitives
import Records
import TestSupport
import Testing

@testable import API

/// A stateless read between a server and a broker that does what the test says.
@Suite struct PartitionReadTests {
    private static let orders = TopicName("orders")!
    private static let place = TopicPartition(topic: orders, partition: 0)
    private static let memoryMax = 1 << 20

    /// `/read` waits for 60 s, HEAD does not; `/short` for hardly any time, but for ever for memory; `/hold` takes
    /// nearly all memory and answers when the test says.
    private final class Fixture {
        let callbacks = PendingCallbacks()
        let source: FakeRecordSource
        let server: HTTPServer
        let held = Monitor<Responder?>(nil)
        private let timers = TimerThread(clock: SystemClock())

        init() throws {
            let source = FakeRecordSource(callbacks)
            source.create(orders, partitions: 1)
            let held = held
            let routes = [
                Route(.get, "/read") { request, responder in
                    let isHead = request.method == .head
                    let question = ReadState.Question(
                        partition: place, start: .earliest, max: 100, maxBytes: 1 << 20, waits: !isHead)
                    PartitionRead(
                        question, style: AnswerStyle(), source: source, responder: responder, clock: SystemClock(),
                        wait: .seconds(60), mayPark: !isHead
                    ).begin()
                },
                Route(.get, "/short") { _, responder in
                    let question = ReadState.Question(
                        partition: place, start: .latest, max: 100, maxBytes: 1 << 20, waits: true)
                    PartitionRead(
                        question, style: AnswerStyle(), source: source, responder: responder, clock: SystemClock(),
                        wait: .milliseconds(1), mayPark: true, memoryWait: testPatience * 4
                    ).begin()
                },
                Route(.get, "/hold") { _, responder in
                    #expect(responder.reserve(memoryMax - 1000))
                    held.withLock { $0 = responder }
                    held.signal()
                },
            ]
            self.source = source
            var settings = HTTPServerSettings()
            settings.responseMemoryMax = memoryMax
            settings.sweepInterval = .milliseconds(20)
            server = try HTTPServer(
                settings: settings, router: Router(routes), timers: timers, logger: Logger(label: "test"),
                problems: { API.response(to: $0) })
        }

        deinit {
            server.stop(deadline: SystemClock().now() + .seconds(5))
            timers.stop()
        }

        /// Lets the broker answer what it is asked until `condition` holds.
        func run(until condition: () -> Bool) throws {
            try #require(
                eventually {
                    callbacks.runAll()
                    return condition()
                })
        }

        /// A client whose read waits for a record.
        func waitingReader() throws -> HTTPClient {
            let client = try HTTPClient(port: server.port, isGateway: false)
            try client.send("GET", "/read")
            try run { source.watchCount == 1 }
            return client
        }
    }

    @Test func read_IsAnswered404AtOnce_WhenItsTopicIsDeletedWhileItWaits() throws {
        let fixture = try Fixture()
        let client = try fixture.waitingReader()
        fixture.source.delete(Self.orders) { _ in }
        fixture.callbacks.runAll()
        let answer = try client.answer()
        #expect(answer.status == 404 && answer.code == "unknown_topic")
    }

    @Test func read_ThatWaitsForRecords_HoldsNoMemory_AndGoesOnBehindAGap() throws {
        let fixture = try Fixture()
        let client = try fixture.waitingReader()
        #expect(fixture.server.usage.responseBytes == 0)
        // It is woken for nothing, and waits again.
        fixture.source.appendGap(Self.place, 3)
        try fixture.run { fixture.source.fetchCount == 2 && fixture.source.watchCount == 1 }
        #expect(client.isSilent(for: .milliseconds(20)))
        fixture.source.append(Self.place)
        fixture.callbacks.runAll()
        let answer = try client.answer().json()
        #expect(answer["records"]?.list.map { $0["offset"]?.int64 } == [3])
        #expect(answer["next_offset"]?.int64 == 4)
    }

    @Test func read_WaitsForMemory_BeforeItFetches_AndHEADDoesNot() throws {
        let fixture = try Fixture()
        fixture.source.append(Self.place)
        let holder = try HTTPClient(port: fixture.server.port, isGateway: false)
        try holder.send("GET", "/hold")
        let deadline = patienceEnd()
        let responder = try #require(fixture.held.wait(until: deadline) { $0 })
        let client = try HTTPClient(port: fixture.server.port, isGateway: false)
        let head = try client.request("HEAD", "/read")
        #expect(head.status == 503 && head.header("Retry-After") == "1")
        try client.send("GET", "/read")
        #expect(client.isSilent(for: .milliseconds(50)))
        #expect(fixture.callbacks.count == 0)
        responder.respond(HTTPResponse(status: 200))
        try fixture.run { fixture.source.fetchCount == 1 }
        #expect(try client.answer().json()["records"]?.list.count == 1)
    }

    /// Once it waits for records it does so for as long as it asked, however long it might have waited for memory.
    @Test func read_ThatGotItsMemory_WaitsNoLongerThanItAsked() throws {
        let fixture = try Fixture()
        let holder = try HTTPClient(port: fixture.server.port, isGateway: false)
        try holder.send("GET", "/hold")
        let deadline = patienceEnd()
        let responder = try #require(fixture.held.wait(until: deadline) { $0 })
        let client = try HTTPClient(port: fixture.server.port, isGateway: false)
        try client.send("GET", "/short")
        #expect(client.isSilent(for: .milliseconds(50)))
        responder.respond(HTTPResponse(status: 200))
        try fixture.run { fixture.source.fetchCount == 1 }
        fixture.callbacks.runAll()
        let answer = try client.answer(within: testPatience)
        #expect(answer.status == 200)
        #expect(try answer.json()["records"]?.list.isEmpty == true)
    }

    @Test func clientThatLeaves_IsForgotten() throws {
        let fixture = try Fixture()
        let client = try fixture.waitingReader()
        client.close()
        #expect(eventually { fixture.source.watchCount == 0 })
        #expect(eventually { fixture.server.usage.parked == 0 })
    }
}
