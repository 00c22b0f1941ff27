import Testing

@testable import HTTPServer

@Suite struct TraceContextTests {
    private static let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")

    private func parse(_ text: String) -> TraceContext? {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { TraceContext($0) }
    }

    /// What it says, and what is passed on.
    @Test(arguments: [
        ("00-\(trace)-\(span)-01", "01"), ("00-\(trace)-\(span)-00", "00"), ("  00-\(trace)-\(span)-03\t", "03"),
        // Flags that have no meaning yet are passed on as 0.
        ("00-\(trace)-\(span)-ff", "03"),
        // A later version is read as far as 00 goes.
        ("cc-\(trace)-\(span)-01", "01"), ("cc-\(trace)-\(span)-01-what-else", "01"), ("01-\(trace)-\(span)-09", "01"),
    ])
    func validValue_IsRead(text: String, flags: String) {
        let context = parse(text)
        #expect(context?.traceID == Self.trace)
        #expect(context?.spanID == Self.span)
        #expect(context?.traceparent == "00-\(Self.trace)-\(Self.span)-\(flags)")
        #expect(context?.traceparent.utf8.count == TraceContext.traceparentBytes)
    }

    @Test(arguments: [
        "", "-", "00", "00-", "00-\(trace)", "00-\(trace)-\(span)", "00-\(trace)-\(span)-", "00-\(trace)-\(span)-0",
        // Version 00 has nothing behind its flags, and ff is no version.
        "00-\(trace)-\(span)-01-", "00-\(trace)-\(span)-01-x", "00-\(trace)-\(span)-011", "ff-\(trace)-\(span)-01",
        "cc-\(trace)-\(span)-01x", "cc-\(trace)-\(span)-01.x",
        // Digits are in lower case.
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-\(span)-01", "00-\(trace)-00F067AA0BA902B7-01", "0A-\(trace)-\(span)-01",
        "00-\(trace)-\(span)-0G", "00-\(trace)-\(span)-+1",
        // No trace, no span.
        "00-00000000000000000000000000000000-\(span)-01", "00-\(trace)-0000000000000000-01",
        "00_\(trace)-\(span)-01", "00-\(trace)\(span)-01", "0-\(trace)-\(span)-01", "000-\(trace)-\(span)-01",
        "00-\(trace)é-\(span)-01",
    ])
    func invalidValue_IsIgnored(text: String) {
        #expect(parse(text) == nil)
    }
}
