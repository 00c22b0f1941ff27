import Gateway
import GatewayTestSupport
import JSON
import Testing

/// Health, index, and what every answer has in common.
@Suite final class OperationTests: GatewayTest {
    @Test func everyAnswer_NamesGatewayAndRequest() throws {
        var ids: Set<String> = []
        var gateways: Set<String> = []
        let calls = [
            ("GET", "/"), ("GET", "/nowhere"), ("POST", "/v1/topics/t"), ("POST", "/v1/topics/t?bogus"),
            ("DELETE", "/healthz"), ("GET", "/v1/consumers"), ("GET", "/metrics"),
        ]
        for (method, path) in calls {
            let answer = try client.request(method, path, body: method == "POST" ? [1] : nil)
            ids.insert(try #require(answer.header("Postrider-Request-Id"), "\(method) \(path)"))
            gateways.insert(try #require(answer.header("Postrider-Gateway"), "\(method) \(path)"))
        }
        #expect(ids.count == calls.count)
        #expect(gateways.count == 1)
        #expect(gateways.first?.utf8.count == 8)
    }

    @Test func head_AnswersAsGetWithoutABody() throws {
        for path in ["/healthz", "/", "/v1/topics", "/v1/consumers", "/nowhere"] {
            let (get, head) = (try client.request("GET", path), try client.request("HEAD", path))
            #expect(head.status == get.status)
            #expect(head.body.isEmpty)
            #expect(head.header("Content-Length") == get.header("Content-Length"))
            #expect(head.header("Content-Type") == get.header("Content-Type"))
        }
    }

    @Test func otherMethods_GetThoseThatAreAllowed() throws {
        let cases = [
            ("PATCH", "/v1/topics/t", "DELETE, GET, HEAD, POST, PUT"), ("GET", "/v1/topics/t/purge", "POST"),
            ("GET", "/v1/topics/t/records", "POST"),
            ("POST", "/v1/topics", "GET, HEAD"), ("POST", "/v1/consumers/c", "DELETE, GET, HEAD, PUT"),
            ("GET", "/v1/consumers/c/poll", "POST"), ("GET", "/v1/consumers/c/acks", "POST"),
            ("DELETE", "/v1/consumers/c/seek", "POST"), ("POST", "/healthz", "GET, HEAD"),
            ("PATCH", "/readyz", "GET, HEAD"), ("POST", "/v1/receipts/r", "GET, HEAD"), ("PUT", "/", "GET, HEAD"),
        ]
        for (method, path, allow) in cases {
            let answer = try client.request(method, path)
            expectProblem(answer, 405, "method_not_allowed", retryable: false, "\(method) \(path)")
            #expect(answer.header("Allow") == allow, "\(method) \(path)")
        }
        for path in ["/v1", "/v1/topics/", "/v1/topics/a/b", "/v2/topics", "/healthz/"] {
            expectProblem(try client.request("GET", path), 404, "not_found", retryable: false, "\(path)")
        }
        expectProblem(try client.request("GET", "/v1/topics/a%2Fb"), 400, "malformed_path", outcome: "not_accepted")
    }
}
