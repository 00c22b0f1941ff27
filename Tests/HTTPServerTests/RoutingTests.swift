import HTTPServer
import Primitives
import Testing

@Suite struct RoutingTests {
    @Test(arguments: [
        "%2F", "a%2fb", "%00", "%zz", "%2", "%", "a%0Ab", "a%7F", "%FF", "%C3%28", "..", ".", "%2e%2E", "a%5Cb", "a\\b",
        "a#b",
    ])
    func path_IsRefused_WhenASegmentIsNotPlain(_ segment: String) throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("GET /v1/topics/\(segment) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.status == 400)
            #expect(response.body == "malformed_path false")
            // The framing is intact: the connection stays.
            #expect(try client.exchange("GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n").body == "a")
        }
    }

    @Test(arguments: [
        ("orders", "orders"), ("a%20b", "a b"), ("a+b", "a+b"), ("%C3%A9t%C3%A9", "été"), ("a.b-c_d~e", "a.b-c_d~e"),
        ("%6frders", "orders"), ("...", "..."), ("a;b=c,d", "a;b=c,d"), ("%25", "%"),
    ])
    func capture_IsDecoded_WhenItsEscapesAreGood(_ segment: String, _ expected: String) throws {
        try withServer { server in
            let client = try server.client()
            #expect(try client.exchange("GET /v1/topics/\(segment) HTTP/1.1\r\nHost: a\r\n\r\n").body == expected)
        }
    }

    @Test func captures_AreNamed_WhenThereAreSeveral() throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("GET /v1/topics/a/records/7?x=%zz HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.body == "a@7 /v1/topics/{topic}/records/{offset}")
        }
    }

    @Test func target_IsServed_WhenInAbsoluteForm() throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("GET http://gateway:80/v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.body == "a")
        }
    }

    @Test(arguments: ["/nothing", "/", "//", "/v1/topics/", "/v1/topics/a/", "/echo/", "/ECHO"])
    func path_Gets404_WhenThereIsNoRoute(_ path: String) throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.status == 404)
            #expect(response.header("Postrider-Gateway") == "test")
            #expect(try client.exchange("GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n").body == "a")
        }
    }

    @Test(arguments: [
        ("GET", "/echo", "POST, PUT"), ("DELETE", "/v1/topics/a", "GET, HEAD"), ("BREW", "/echo", "POST, PUT"),
        ("get", "/v1/topics/a", "GET, HEAD"), ("TRACE", "/small", "POST"), ("options", "/small", "POST"),
    ])
    func method_Gets405WithAllow_WhenTheResourceHasOthers(_ method: String, _ path: String, _ allow: String) throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("\(method) \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.status == 405)
            #expect(response.header("Allow") == allow)
        }
    }

    @Test func head_IsServedWithoutBody_WhenThereIsAGetRoute() throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("HEAD /v1/topics/orders HTTP/1.1\r\nHost: a\r\n\r\n", head: true)
            #expect(response.status == 200)
            #expect(response.header("Content-Length") == "6")
            // The next response begins right after the headers.
            #expect(try client.exchange("GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n").body == "a")
        }
    }

    @Test(arguments: [
        ("a=1", 200, "1"), ("b=2&a=1", 200, "1"), ("a", 200, ""), ("a=", 200, ""), ("", 200, "none"),
        ("b", 200, "none"),
        ("a=x%2Fy%20z+w", 200, "x/y z w"), ("%61=1", 200, "1"), ("a=b=c", 200, "b=c"), ("A=1", 200, "none"),
        ("a=1&a=2", 422, "duplicate(\"a\")"), ("a=%zz", 422, "malformed"), ("a=%00", 422, "malformed"),
        ("a=%FF", 422, "malformed"), ("%=1", 422, "malformed"),
    ])
    func query_IsDecodedStrictly_WhenAsked(_ query: String, _ status: Int, _ body: String) throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("GET /query?\(query) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.status == status)
            #expect(response.body == body)
        }
    }

    @Test func headers_AreFound_WhateverTheirCase() throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange(
                "GET /headers HTTP/1.1\r\nHost: a\r\nx-ONE: 1\r\nX-Two: a\r\nX-Two-B: no\r\nX-Two: b\r\n"
                    + "postrider-header-K: v\r\n\r\n")
            #expect(response.body == "1;[\"a\", \"b\"];postrider-header-k=v;127.0.0.1")
        }
    }

    @Test func router_RefusesTables_ThatServeOneRequestTwice() {
        let handler: HTTPHandler = { _, _ in }
        let bad: [[Route]] = [
            [Route(.get, "/a", handler: handler), Route(.get, "/a", handler: handler)],
            [Route(.get, "/{a}", handler: handler), Route(.get, "/{b}", handler: handler)],
            [Route(.get, "a", handler: handler)], [Route(.get, "/a{b}", handler: handler)],
            [Route(.head, "/a", handler: handler)], [Route(.get, "/{a}/{a}", handler: handler)],
        ]
        for routes in bad {
            #expect(throws: RouteTableError.self) { try Router(routes) }
        }
    }

    @Test func router_ListsItsRoutes() throws {
        let router = try Router([Route(.put, "/a/{b}", bodyBytesMax: 7) { _, _ in }])
        #expect(router.routes.map { "\($0.method.rawValue) \($0.pattern) \($0.bodyBytesMax)" } == ["PUT /a/{b} 7"])
    }
}
