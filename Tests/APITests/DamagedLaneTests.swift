import GatewayTestSupport
import JSON
import Records
import Spool
import Testing

/// What clients and operators are told of a lane whose records are damaged.
@Suite struct DamagedLaneTests {
    @Test func damagedLane_RefusesItsTopics_AndReadinessNamesIt() throws {
        let gateway = try FakeGateway()
        let client = try gateway.client()
        #expect(try client.request("GET", "/readyz").json()["accepting"]?["warnings"] == nil)
        let topics = (0..<2).map { lane in
            (0...).lazy.map { "topic-\($0)" }.first { gateway.spool.lane(of: TopicName($0)!) == lane }!
        }
        gateway.spool.closeLane(1)
        let refusal = try client.request("POST", "/v1/topics/\(topics[1])", [], body: [1])
        expectProblem(refusal, 503, "spool_corruption", outcome: "not_accepted", retryable: true)
        #expect(refusal.header("Retry-After") == "60")
        #expect(try client.request("POST", "/v1/topics/\(topics[0])", [], body: [1]).status == 202)
        for path in ["/readyz", "/v1/status"] {
            let answer = try client.request("GET", path)
            #expect(answer.status == 200)
            let accepting = try answer.json()["accepting"]
            #expect(accepting?["ok"]?.bool == true)
            let warnings = accepting?["warnings"]?.list ?? []
            #expect(warnings.count == 1)
            #expect(warnings.first?["reason"]?.string == "spool_corruption")
            #expect(warnings.first?["lane"]?.int64 == 1)
        }
        gateway.stop()
    }
}
