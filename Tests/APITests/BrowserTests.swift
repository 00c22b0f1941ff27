import Gateway
import GatewayTestSupport
import JSON
import Testing

/// What web pages can do to a gateway on their visitor's machine: nothing, unless they are allowed to.
@Suite final class BrowserTests: GatewayTest {
    /// No preflight request comes before these: a form, a fetch in mode no-cors, a beacon.
    @Test func foreignPage_ProducesNothing() throws {
        let pages = [
            [("Origin", "https://evil.example")], [("Origin", "null")],
            [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
        ]
        let forms = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
        for page in pages {
            for type in forms {
                let answer = try post("/v1/topics/orders", page + [("Content-Type", type)])
                expectProblem(answer, 403, "origin_not_allowed", outcome: "not_accepted", retryable: false)
            }
            expectProblem(
                try post("/v1/consumers/c/poll?topic=orders", page), 403, "origin_not_allowed", outcome: "not_accepted")
        }
        #expect(try client.request("GET", "/v1/topics/orders").status == 404)
        #expect(try post("/v1/topics/orders", [("Sec-Fetch-Site", "same-origin")]).status == 202)
    }

    @Test func reboundName_ReachesNothing() throws {
        let raw = "POST /v1/topics/orders HTTP/1.1\r\nHost: evil.example:8080\r\nOrigin: http://evil.example:8080\r\n"
        try client.send(Array("\(raw)Sec-Fetch-Site: same-origin\r\nContent-Length: 1\r\n\r\nx".utf8))
        expectProblem(try client.answer(), 421, "host_not_allowed", outcome: "not_accepted", retryable: false)
        #expect(try client.request("GET", "/v1/topics/orders").status == 404)
    }

    @Test func allowedPage_SeesItsAnswer() throws {
        let gateway = try LocalGateway {
            try $0.set("http.cors_origins=https://app.example,http://localhost:3000")
            try $0.set("http.allowed_hosts=gateway.example")
        }
        let page = ("Origin", "http://localhost:3000")
        let preflight = try gateway.request(
            "OPTIONS", "/v1/topics/orders/records",
            [
                page, ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "content-type,prefer"),
            ])
        #expect(preflight.status == 204)
        #expect(preflight.header("Access-Control-Allow-Origin") == "http://localhost:3000")
        #expect(preflight.header("Access-Control-Allow-Methods") == "POST")
        #expect(preflight.header("Access-Control-Allow-Headers") == "content-type, prefer")
        let accepted = try gateway.request("POST", "/v1/topics/orders", [page], body: [120])
        #expect(accepted.status == 202)
        #expect(accepted.header("Access-Control-Allow-Origin") == "http://localhost:3000")
        expectProblem(
            try gateway.request("POST", "/v1/topics/orders", [("Origin", "https://other.example")], body: [120]), 403,
            "origin_not_allowed", outcome: "not_accepted")
    }
}
