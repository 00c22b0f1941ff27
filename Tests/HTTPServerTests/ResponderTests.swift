import HTTPServer
import Primitives
import Testing
import TestSupport

@Suite struct ResponderTests {
    private static let hold = "POST /hold HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nContent-Length: 2\r\n\r\nhi"

    private static func ok(_ text: String) -> HTTPResponse { HTTPResponse(status: 200, body: Array(text.utf8)) }

    @Test func answer_IsSent_WhenItComesFromAnotherThread() throws {
        try withServer { server in
            let client = try server.client()
            for round in 1...50 {
                try client.send(Self.hold)
                let held = try server.waitForHeld(round)
                #expect(held.request.header("X-One") == "1")
                let thread = WorkerThread(name: "answer") { held.responder.respond(Self.ok("\(round)")) }
                #expect(try client.response().body == "\(round)")
                thread.join()
                #expect(held.request.header("X-One") == nil)
                held.request.visitHeaders { field in
                    Issue.record("shown after the answer: \(field.lowercasedName)")
                }
                #expect(!held.responder.isOpen)
            }
        }
    }

    @Test func answer_IsSent_WhenTheClientHasClosedItsSendingSide() throws {
        try withServer { server in
            let client = try server.client()
            try client.send(Self.hold)
            client.closeWriting()
            let held = try server.waitForHeld()
            held.responder.respond(Self.ok("answer"))
            #expect(try client.response().body == "answer")
            #expect(client.isClosedByServer())
        }
    }

    /// The handler returns while others answer: the race that the state machine settles.
    @Test func answer_IsSentOnce_WhenManyThreadsRaceTheHandler() throws {
        try withServer { server in
            let client = try server.client()
            let stop = Lock(false)
            let wins = Lock(0)
            let threads = (0..<3).map { index in
                WorkerThread(name: "racer") {
                    var seen = 0
                    while !stop.withLock({ $0 }) {
                        let next = server.held.wait(until: SystemClock().now() + .milliseconds(20)) {
                            $0.count > seen ? $0[seen] : nil
                        }
                        guard let next else { continue }
                        seen += 1
                        if next.responder.respond(Self.ok("\(seen)")) { wins.withLock { $0 += 1 } }
                    }
                }
            }
            for round in 1...300 {
                #expect(try client.exchange(Self.hold).body == "\(round)")
            }
            stop.withLock { $0 = true }
            for thread in threads { thread.join() }
            #expect(wins.withLock { $0 } == 300)
        }
    }

    @Test func secondAnswer_IsIgnored_WhenTheFirstWasGiven() throws {
        try withServer { server in
            let client = try server.client()
            for _ in 0..<3 {
                #expect(try client.exchange("GET /twice HTTP/1.1\r\nHost: a\r\n\r\n").body == "first")
            }
            #expect(server.waitForEvents(3) == ["true false", "true false", "true false"])
        }
    }

    @Test func lateAnswer_ChangesNothing_WhenTheConnectionServesAnotherRequest() throws {
        try withServer { server in
            let client = try server.client()
            try client.send(Self.hold)
            let first = try server.waitForHeld(1)
            first.responder.respond(Self.ok("one"))
            #expect(try client.response().body == "one")
            try client.send(Self.hold)
            let second = try server.waitForHeld(2)
            #expect(!first.responder.respond(Self.ok("stale")))
            #expect(!first.responder.reserve(1))
            #expect(second.responder.isOpen)
            second.responder.respond(Self.ok("two"))
            #expect(try client.response().body == "two")
        }
    }

    @Test func headers_NeverSplitTheResponse_WhenAHandlerPutsControlsIntoThem() throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("GET /unsafe HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.header("X-Split") == "a  Injected: yes z")
            #expect(response.header("Injected") == nil)
            #expect(response.header("Bad Name") == nil)
            #expect(response.headers.count { $0.name == "Content-Length" } == 1)
            #expect(response.body == "body")
        }
    }

    // MARK: Parked

    @Test func parkedRequest_GetsItsOwnAnswer_WhenItsWaitIsOver() throws {
        try withServer { server in
            let client = try server.client()
            let start = SystemClock().now()
            #expect(try client.exchange("GET /park/150 HTTP/1.1\r\nHost: a\r\n\r\n").body == "over")
            #expect(SystemClock().now() - start >= .milliseconds(150))
            let isOver = eventually { server.server.usage.parked == 0 }
            #expect(isOver)
        }
    }

    @Test(arguments: [0, 20]) func parkedRequest_GetsItsOwnAnswer_WhenItsWaitIsShortened(_ ms: Int) throws {
        try withServer { server in
            let client = try server.client()
            for _ in 0..<3 {
                #expect(try client.exchange("GET /shortened/\(ms) HTTP/1.1\r\nHost: a\r\n\r\n").body == "over")
            }
        }
    }

    @Test func parkedRequest_GetsTheAnswer_WhenItComesBeforeTheEnd() throws {
        try withServer { server in
            let client = try server.client()
            try client.send("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            let held = try server.waitForHeld()
            #expect(!held.responder.isClientGone())
            #expect(held.responder.respond(Self.ok("records")))
            #expect(try client.response().body == "records")
        }
    }

    @Test func parkedRequest_IsDropped_WhenItsClientLeaves() throws {
        try withServer { server in
            let client = try server.client()
            try client.send("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            let held = try server.waitForHeld()
            let parked = eventually { server.server.usage.parked == 1 }
            #expect(parked)
            client.close()
            #expect(server.waitForEvents(1) == ["gone"])
            #expect(held.responder.isClientGone())
            #expect(!held.responder.respond(Self.ok("late")))
            let quiet = eventually { server.server.usage.connections == 0 }
            #expect(quiet)
        }
    }

    @Test func parkedRequest_Stays_WhenItsClientPipelinesAnother() throws {
        try withServer { server in
            let client = try server.client()
            try client.send("GET /park/200 HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try client.response().body == "over")
            #expect(try client.response().body == "a")
        }
    }

    @Test func parkedRequest_Gets503_WhenThereAreTooMany() throws {
        try withServer({ $0.parkedMax = 2 }) { server in
            let clients = try (0..<2).map { _ in try server.client() }
            for client in clients { try client.send("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n") }
            let full = eventually { server.server.usage.parked == 2 }
            #expect(full)
            let response = try server.client().exchange("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.status == 503)
            #expect(response.body == "parked_limit true")
            #expect(response.header("Retry-After") == "1")
            try server.waitForHeld(1).responder.respond(Self.ok("done"))
            #expect(try server.client().exchange("GET /park/10 HTTP/1.1\r\nHost: a\r\n\r\n").body == "over")
        }
    }

    // MARK: Response memory

    @Test func reservation_IsRefusedAndThenGranted_WhenMemoryIsFreed() throws {
        try withServer({ $0.responseMemoryMax = 1_000_000 }) { server in
            let first = try server.client()
            let second = try server.client()
            try first.send(Self.hold)
            let one = try server.waitForHeld(1).responder
            try second.send(Self.hold)
            let two = try server.waitForHeld(2).responder
            #expect(one.reserve(600_000))
            #expect(!two.reserve(600_000))
            #expect(two.reserve(300_000))
            let granted = Monitor(0)
            let isReserved = two.reserve(600_000) {
                granted.withLock { $0 += 1 }
                granted.broadcast()
            }
            #expect(!isReserved)
            #expect(granted.withLock { $0 } == 0)
            one.respond(HTTPResponse(status: 200, body: [UInt8](repeating: 120, count: 500_000)))
            #expect(try first.response().body.utf8.count == 500_000)
            #expect(granted.wait(until: patienceEnd()) { $0 > 0 ? true : nil } == true)
            #expect(granted.withLock { $0 } == 1)
            let reserved = two.reservedBytes
            #expect(reserved == 900_000)
            two.giveBack(300_000)
            let isLess = eventually { server.server.usage.responseBytes == 600_000 }
            #expect(isLess)
            two.respond(Self.ok("small"))
            #expect(try second.response().body == "small")
            let free = eventually { server.server.usage.responseBytes == 0 }
            #expect(free)
        }
    }

    @Test func waitForMemory_EndsWithItsRequest() throws {
        try withServer({ $0.responseMemoryMax = 1_000_000 }) { server in
            let (holder, left, answered, live) = (
                try server.client(), try server.client(), try server.client(), try server.client()
            )
            try holder.send(Self.hold)
            let one = try server.waitForHeld(1).responder
            #expect(one.reserve(800_000))
            let granted = Monitor<[String]>([])
            func wait(_ responder: Responder, _ name: String, _ bytes: Int) {
                let isReserved = responder.reserve(bytes) {
                    granted.withLock { $0.append(name) }
                    granted.broadcast()
                }
                #expect(!isReserved)
            }
            try left.send("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait(try server.waitForHeld(2).responder, "left", 900_000)
            try answered.send(Self.hold)
            let three = try server.waitForHeld(3).responder
            wait(three, "answered", 900_000)
            try live.send(Self.hold)
            let four = try server.waitForHeld(4).responder
            wait(four, "live", 100_000)
            // Both that stand before it and do not fit go, and nothing is freed.
            three.respond(Self.ok("answered"))
            #expect(granted.withLock { $0 } == [])
            left.close()
            #expect(granted.wait(until: patienceEnd()) { $0.isEmpty ? nil : $0 } == ["live"])
            wait(three, "answered again", 900_000)
            one.respond(Self.ok("one"))
            four.respond(Self.ok("live"))
            let free = eventually { server.server.usage.responseBytes == 0 }
            #expect(free)
            #expect(granted.withLock { $0 } == ["live"])
        }
    }

    @Test func reservation_IsReturned_WhenTheConnectionDies() throws {
        try withServer { server in
            let client = try server.client()
            try client.send("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try server.waitForHeld().responder.reserve(1_000_000))
            #expect(server.server.usage.responseBytes == 1_000_000)
            client.close()
            let free = eventually { server.server.usage.responseBytes == 0 }
            #expect(free)
        }
    }

    @Test func largeAnswer_Gets503_WhenNobodyReservedAndMemoryIsUsedUp() throws {
        try withServer({ $0.responseMemoryMax = 100_000 }) { server in
            let client = try server.client()
            #expect(try client.exchange("GET /big/200000 HTTP/1.1\r\nHost: a\r\n\r\n").body == "overloaded true")
            #expect(try client.exchange("GET /big/90000 HTTP/1.1\r\nHost: a\r\n\r\n").body.utf8.count == 90_000)
        }
    }

    @Test(arguments: [0, 1, 32 << 10, (32 << 10) + 1, 100_000, 3_000_000])
    func answer_ArrivesWhole_WhateverItsSize(_ bytes: Int) throws {
        try withServer { server in
            let client = try server.client()
            for _ in 0..<2 {
                let response = try client.exchange("GET /big/\(bytes) HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(response.body == String(repeating: "x", count: bytes))
            }
        }
    }
}
