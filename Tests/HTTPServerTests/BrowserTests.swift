import Testing

@testable import HTTPServer

/// Whom the server talks to when browsers are about.
@Suite struct BrowserTests {
    private static let page = "https://app.example.com"

    private static func cors(_ settings: inout HTTPServerSettings) { settings.corsOrigins = [page] }

    /// Status and, for refusals, code.
    private func call(
        _ server: TestServer, _ head: String, method: String = "POST", path: String = "/echo"
    ) throws -> String {
        let response = try server.client().exchange("\(method) \(path) HTTP/1.1\r\n\(head)\r\n", head: method == "HEAD")
        return response.status < 400 ? "\(response.status)" : "\(response.status) \(response.body)"
    }

    // MARK: Host

    @Test func host_IsServed_WhenItIsOfLoopback() throws {
        try withServer({ $0.allowedHosts = [] }) { server in
            for host in [
                "localhost", "LOCALHOST:8080", "localhost.:1", "app.localhost", "127.0.0.1", "127.255.3.4:80", "[::1]",
                "[::1]:8080", "127.0.0.1:",
            ] {
                let answer = try call(server, "Host: \(host)\r\n")
                #expect(answer == "200", "\(host)")
            }
            // No browser leaves it out.
            let response = try server.client().exchange("GET /v1/topics/a HTTP/1.0\r\n\r\n")
            #expect(response.status == 200)
        }
    }

    @Test func host_Gets421_WhenItIsNoneOfTheServers() throws {
        try withServer({ $0.allowedHosts = [] }) { server in
            for host in [
                "evil.example", "localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example", "127.0.0", "127.1",
                "127.0.0.256", "127.0.0.0001", "0127.0.0.1", "2130706433", "128.0.0.1", "0.0.0.0", "[::2]", "::1",
                "[::1", "[::1]x", "localhost:80x", "localhost@evil.example", "", ".", ":80", "a",
                "[::1].x", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1%25lo]", "user@localhost",
                "evil@.localhost", "evil.example/.localhost", "evil.example#.localhost", "evil.example,.localhost",
                "localhost:80:80", "127.0.0.1:80@evil.example", "localhost..", "\u{FF4C}ocalhost",
            ] {
                let answer = try call(server, "Host: \(host)\r\n")
                #expect(answer == "421 host_not_allowed false", "\(host)")
            }
        }
    }

    @Test func host_IsServed_WhenItIsNamed() throws {
        try withServer({ $0.allowedHosts = ["Gateway.example", "10.0.0.7", "[2001:db8::1]"] }) { server in
            for host in ["gateway.example", "GATEWAY.example:80", "10.0.0.7", "[2001:DB8::1]:443", "localhost"] {
                let answer = try call(server, "Host: \(host)\r\n")
                #expect(answer == "200", "\(host)")
            }
            let other = try call(server, "Host: b.gateway.example\r\n")
            #expect(other == "421 host_not_allowed false")
        }
        try withServer({ $0.allowedHosts = ["*"] }) { server in
            let answer = try call(server, "Host: evil.example\r\n")
            #expect(answer == "200")
        }
    }

    /// The network decides there who reaches the server, under whatever name.
    @Test func host_IsNotChecked_WhenTheServerListensBeyondLoopback() throws {
        var settings = HTTPServerSettings()
        settings.address = "0.0.0.0"
        func refusal(_ host: String) -> ServerProblem? {
            Array(host.utf8).withUnsafeBytes {
                BrowserPolicy(settings).refusal(of: RequestSender(host: $0), authority: nil, isReading: true)
            }
        }
        #expect(refusal("evil.example") == nil)
        settings.allowedHosts = ["gateway.example"]
        #expect(refusal("evil.example")?.code == .hostNotAllowed)
        #expect(refusal("gateway.example:8080") == nil)
        #expect(refusal("127.0.0.1:8080") == nil)
    }

    /// RFC 9112, section 3.2.2: the target's authority counts.
    @Test func authority_CountsInsteadOfHost_WhenTheTargetIsAbsolute() throws {
        try withServer { server in
            let own = "Host: evil.example\r\n"
            let served = try call(server, own, method: "GET", path: "http://gateway:80/v1/topics/a")
            #expect(served == "200")
            for target in [
                "http://evil.example/v1/topics/a", "HTTP://a@evil.example/v1/topics/a", "http:///v1/topics/a",
            ] {
                let answer = try call(server, "Host: a\r\n", method: "GET", path: target)
                #expect(answer == "421 host_not_allowed false", "\(target)")
            }
        }
    }

    @Test func connection_IsKept_AfterARefusal() throws {
        try withServer { server in
            let client = try server.client()
            let refused = try client.exchange(
                "POST /echo HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5\r\n\r\nhello")
            #expect(refused.status == 421)
            #expect(refused.header("Postrider-Gateway") == "test")
            #expect(try client.exchange("GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n").body == "a")
        }
    }

    // MARK: Pages of other origins

    @Test(arguments: [
        // A form, or a fetch in mode no-cors: sent without a preflight request.
        "Origin: https://evil.example\r\nContent-Type: text/plain\r\n",
        "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
        "Origin: null\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n", "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: Cross-Site\r\nSec-Fetch-Mode: navigate\r\n",
        // Another port is another origin, though the same site.
        "Origin: http://a:3000\r\nSec-Fetch-Site: same-site\r\n", "Origin: http://a:3000\r\n", "Origin: a\r\n",
        "Origin:\r\n", "Sec-Fetch-Site: bogus\r\n",
    ])
    func request_Gets403_WhenItComesFromAForeignPage(_ fields: String) throws {
        for configure in [{ _ in }, Self.cors] as [(inout HTTPServerSettings) -> Void] {
            try withServer(configure) { server in
                let response = try server.client().exchange(
                    "POST /echo HTTP/1.1\r\nHost: a\r\n\(fields)Content-Length: 5\r\n\r\nhello")
                #expect(response.status == 403)
                #expect(response.body == "origin_not_allowed false")
                #expect(response.header("Access-Control-Allow-Origin") == nil)
            }
        }
    }

    @Test(arguments: [
        "", "Origin: http://a\r\n", "Origin: https://A\r\n", "Origin: http://a\r\nSec-Fetch-Site: same-origin\r\n",
        // Typed by its user, or a proxy in front changed Host.
        "Sec-Fetch-Site: none\r\n", "Origin: https://gw.example\r\nSec-Fetch-Site: same-origin\r\n",
    ])
    func request_IsServed_WhenItIsNoForeignPages(_ fields: String) throws {
        try withServer { server in
            let answer = try call(server, "Host: a\r\n\(fields)")
            #expect(answer == "200")
        }
    }

    @Test func link_IsFollowed_WhenItOnlyReads() throws {
        let link = "Host: a\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"
        let image = "Host: a\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"
        try withServer { server in
            let read = try call(server, link, method: "GET", path: "/v1/topics/a")
            #expect(read == "200")
            let looked = try call(server, link, method: "HEAD", path: "/v1/topics/a")
            #expect(looked == "200")
            let answer = try call(server, image, method: "GET", path: "/v1/topics/a")
            #expect(answer == "403 origin_not_allowed false")
        }
    }

    @Test func secondOrigin_IsRefused() throws {
        try withServer { server in
            let answer = try call(server, "Host: a\r\nOrigin: http://a\r\nOrigin: https://evil.example\r\n")
            #expect(answer == "400 malformed_request false")
        }
    }

    // MARK: CORS

    @Test func page_MayReadTheAnswer_WhenItsOriginIsAllowed() throws {
        try withServer(Self.cors) { server in
            let head = "Host: a\r\nOrigin: \(Self.page)\r\nSec-Fetch-Site: cross-site\r\n"
            // Refusals too: a page must learn why.
            for (path, status) in [("/v1/topics/a", 200), ("/nothing", 404)] {
                let response = try server.client().exchange("GET \(path) HTTP/1.1\r\n\(head)\r\n")
                #expect(response.status == status)
                #expect(response.header("Access-Control-Allow-Origin") == Self.page)
                #expect(response.header("Access-Control-Expose-Headers") == "*")
                #expect(response.header("Access-Control-Allow-Credentials") == nil)
                #expect(response.header("Vary") == "Origin")
            }
            // Caches must not give one origin's answer to another.
            let plain = try server.client().exchange("GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(plain.header("Vary") == "Origin")
            #expect(plain.header("Access-Control-Allow-Origin") == nil)
        }
    }

    @Test func page_MayReadTheAnswer_WhenEveryOriginIs() throws {
        try withServer({ $0.corsOrigins = ["*"] }) { server in
            for origin in ["https://any.example", "null"] {
                let response = try server.client().exchange(
                    "GET /v1/topics/a HTTP/1.1\r\nHost: a\r\nOrigin: \(origin)\r\nSec-Fetch-Site: cross-site\r\n\r\n")
                #expect(response.status == 200)
                #expect(response.header("Access-Control-Allow-Origin") == "*")
            }
        }
    }

    @Test func answer_SaysNothingOfCORS_WhenItIsOff() throws {
        try withServer { server in
            let response = try server.client().exchange(
                "GET /v1/topics/a HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nSec-Fetch-Site: same-origin\r\n\r\n")
            #expect(response.status == 200)
            let names = response.headers.map { $0.name.lowercased() }
            #expect(!names.contains { $0.hasPrefix("access-control") || $0 == "vary" })
        }
    }

    @Test func preflight_IsAnswered_ForThePathsMethodsAndKnownHeaders() throws {
        try withServer(Self.cors) { server in
            let client = try server.client()
            let response = try client.exchange(
                "OPTIONS /v1/topics/a HTTP/1.1\r\nHost: a\r\nOrigin: \(Self.page)\r\n"
                    + "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: "
                    + "Content-Type, prefer,  postrider-header-trace , x-evil, idempotency-key, post rider-\r\n\r\n",
                head: true)
            #expect(response.status == 204)
            #expect(response.header("Access-Control-Allow-Origin") == Self.page)
            #expect(response.header("Access-Control-Allow-Methods") == "GET, HEAD")
            let allowed = "content-type, prefer, postrider-header-trace, idempotency-key"
            #expect(response.header("Access-Control-Allow-Headers") == allowed)
            #expect(response.header("Access-Control-Max-Age") == "600")
            #expect(response.header("Allow") == "GET, HEAD")
            // However many are asked for, the answer fits.
            let many = (0..<200).map { "postrider-\($0)" }.joined(separator: ",")
            let bounded = try client.exchange(
                "OPTIONS /echo HTTP/1.1\r\nHost: a\r\nOrigin: \(Self.page)\r\nAccess-Control-Request-Method: POST\r\n"
                    + "Access-Control-Request-Headers: \(many)\r\n\r\n", head: true)
            #expect(bounded.header("Access-Control-Allow-Headers")?.split(separator: ",").count == 32)
            let unknown = try client.exchange(
                "OPTIONS /nothing HTTP/1.1\r\nHost: a\r\nOrigin: \(Self.page)\r\n"
                    + "Access-Control-Request-Method: GET\r\n\r\n"
            )
            #expect(unknown.status == 404)
        }
    }

    @Test func preflight_Gets403_WhenTheOriginIsNotAllowed() throws {
        try withServer(Self.cors) { server in
            let response = try server.client().exchange(
                "OPTIONS /echo HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\n"
                    + "Access-Control-Request-Method: POST\r\n\r\n")
            #expect(response.status == 403)
            #expect(response.header("Access-Control-Allow-Origin") == nil)
            #expect(response.header("Access-Control-Allow-Methods") == nil)
        }
    }

    @Test func options_TellsTheMethods_WithoutCORS() throws {
        try withServer { server in
            let client = try server.client()
            for (path, allow) in [
                ("/echo", "POST, PUT"), ("/v1/topics/a", "GET, HEAD"), ("*", "DELETE, GET, HEAD, POST, PUT"),
            ] {
                let response = try client.exchange(
                    "OPTIONS \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", head: true)
                #expect(response.status == 204)
                #expect(response.header("Allow") == allow)
                #expect(response.header("Access-Control-Allow-Methods") == nil)
            }
            #expect(try client.exchange("OPTIONS /nothing HTTP/1.1\r\nHost: a\r\n\r\n").status == 404)
            #expect(try client.exchange("GET * HTTP/1.1\r\nHost: a\r\n\r\n").status == 400)
        }
    }

    // MARK: Settings

    @Test func originsAndHosts_AreRefused_WhenMalformed() {
        for good in [["*"], [], ["http://a", "https://b.example:8443"], ["http://[::1]:80", "http://127.0.0.1:3000"]] {
            #expect(HTTPServerSettings.areOrigins(good), "\(good)")
        }
        for bad in [
            "", "a", "null", "*", "http://", "http://a/", "http://a:", "http://a:99999", "ftp://a", "http://a b",
        ] {
            #expect(!HTTPServerSettings.areOrigins(["http://a", bad]), "\(bad)")
        }
        for good in [["*"], [], ["a", "b-c.example", "10.0.0.1", "[::1]"]] {
            #expect(HTTPServerSettings.areHosts(good), "\(good)")
        }
        for bad in ["", "*", "a:80", "-a", "a-", "a..b", "a/b", "[a]", "::1", "1.2", "a b", "é"] {
            #expect(!HTTPServerSettings.areHosts(["a", bad]), "\(bad)")
        }
    }
}
