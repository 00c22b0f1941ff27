import GatewayTestSupport
import JSON
import Testing

/// Holds an answer against what every error looks like: RFC 9457 with Postrider's members.
///
/// - Parameter outcome: of produce errors; nil expects that there is none.
func expectProblem(
    _ answer: Answer, _ status: Int, _ code: String, outcome: String? = nil, retryable: Bool? = nil,
    _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(answer.status == status, comment, sourceLocation: sourceLocation)
    #expect(answer.header("Content-Type") == "application/problem+json", comment, sourceLocation: sourceLocation)
    #expect(answer.code == code, comment, sourceLocation: sourceLocation)
    #expect(answer.header("Cache-Control") == "no-store", comment, sourceLocation: sourceLocation)
    guard answer.code != nil, let problem = try? answer.json() else {  // try?: the expectations above have failed
        return
    }
    #expect(problem["type"]?.string == "/problems/\(code)", comment, sourceLocation: sourceLocation)
    #expect(problem["status"]?.int64 == Int64(status), comment, sourceLocation: sourceLocation)
    #expect(problem["title"]?.string?.isEmpty == false, comment, sourceLocation: sourceLocation)
    #expect(problem["detail"]?.string?.isEmpty == false, comment, sourceLocation: sourceLocation)
    #expect(problem["outcome"]?.string == outcome, comment, sourceLocation: sourceLocation)
    if let retryable {
        #expect(problem["retryable"]?.bool == retryable, comment, sourceLocation: sourceLocation)
    }
    let waits = [429, 503, 507].contains(status) || code.hasSuffix("_in_flight")
    #expect((answer.header("Retry-After") != nil) == waits, comment, sourceLocation: sourceLocation)
}

/// A gateway for each test.
class GatewayTest {
    let local: LocalGateway
    let client: HTTPClient

    init() throws {
        local = try LocalGateway()
        client = try local.client()
    }

    func post(_ target: String, _ headers: [(String, String)] = [], _ body: [UInt8] = [120]) throws -> Answer {
        try client.request("POST", target, headers, body: body)
    }

    func batch(_ topic: String, _ body: String) throws -> Answer {
        try client.postJSON("/v1/topics/\(topic)/records", body)
    }
}
