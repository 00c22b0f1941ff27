import Broker
import GatewayTestSupport
import JSON
import Journal
import Primitives
import Records
import Spool
import TestSupport
import Testing

/// A topic that the broker does not take records for, and topics that it does.
@Suite struct ParkingTests {
    private static var settings: SpoolSettings {
        var settings = FakeGateway.spoolSettings
        settings.journal.segmentBytes = 64 << 10
        settings.journal.groupBytesMax = 16 << 10
        settings.journal.keeperInterval = .milliseconds(5)
        settings.journal.idleFrameDelay = .milliseconds(5)
        settings.bytesMax = 1 << 20
        settings.highWaterPercent = 40
        settings.parkAfter = .milliseconds(50)
        settings.parkInterval = .milliseconds(5)
        return settings
    }

    /// Topics of lane 0 and of lane 1.
    private static let names = (0..<2).map { lane in
        (0...).lazy.map { "topic-\($0)" }.first { Records.lane(of: TopicName($0)!, lanes: 2) == UInt8(lane) }!
    }

    private func hang(_ gateway: FakeGateway) {
        gateway.sinks.setPlan { $0.operation == .deliver && $0.lane == 0 && !$0.batch.isEmpty ? .hang : nil }
    }

    private func texts(_ gateway: FakeGateway, _ lane: Int) -> [String] {
        gateway.log.records(TopicName(Self.names[lane])!).map {
            String(decoding: ($0.spooled.record.value ?? []).prefix { $0 != UInt8(ascii: " ") }, as: UTF8.self)
        }
    }

    private func post(_ client: HTTPClient, _ topic: String, _ text: String) throws -> Answer {
        try client.request("POST", "/v1/topics/\(topic)", [], body: Array(text.utf8))
    }

    private func state(_ client: HTTPClient, _ receipt: String) throws -> String? {
        try client.request("GET", "/v1/receipts/\(receipt)").json()["state"]?.string
    }

    @Test func otherTopicsAreAccepted_WhileOneLaneHangs_AndItsTopicsAnswerTopicBacklog_AlsoAfterARestart() throws {
        let gateway = try FakeGateway(spool: Self.settings)
        hang(gateway)
        let client = try gateway.client()
        let padding = String(repeating: " ", count: 8 << 10)
        let (stuck, other) = (Self.names[0], Self.names[1])
        var receipts: [String] = []
        for number in 0..<40 {
            let answer = try post(client, stuck, "\(number)\(padding)")
            try #require(answer.status == 202)
            receipts.append(try answer.json()["receipts"]?.list.first?.string ?? "")
        }
        // Four times the quota, which it never comes near as long as the records of the lane that hangs are moved.
        let count = 512
        for number in 0..<count {
            let hasRoom = eventually { gateway.spool.usedBytes < Self.settings.bytesMax * 9 / 10 }
            try #require(hasRoom, "the lane that hangs pins the journal")
            try #require(try post(client, other, "\(number)\(padding)").status == 202)
        }
        let refusal = try post(client, stuck, "refused")
        expectProblem(refusal, 507, "topic_backlog", outcome: "not_accepted", retryable: true)
        #expect(refusal.header("Retry-After") == "30")
        let detail = try refusal.json()["detail"]?.string ?? ""
        #expect(detail.hasPrefix("\(stuck) belongs to lane 0,"))
        #expect(try state(client, receipts[20]) == "accepted")
        #expect(gateway.spool.parkedBytes > 40 << 13)
        gateway.sinks.die()
        gateway.stop()

        let next = try FakeGateway(holding: true, after: gateway, spool: Self.settings)
        let again = try next.client()
        expectProblem(try post(again, stuck, "refused"), 507, "topic_backlog", outcome: "not_accepted")
        #expect(try state(again, receipts[20]) == "accepted")
        next.release()
        let isDrained = eventually { (0..<2).allSatisfy { next.spool.lagRecords(lane: $0) == 0 } }
        #expect(isDrained)
        #expect(texts(next, 0) == (0..<40).map { "\($0)" })
        #expect(texts(next, 1) == (0..<count).map { "\($0)" })
        let isOpen = eventually { next.spool.parked(lane: 0) == nil }
        #expect(isOpen)
        #expect(try post(again, stuck, "after").status == 202)
        next.stop()
    }
}
