import HTTPServer
import Records
import Spool

/// The 202 of a produce call, `{"durability":"fsync","receipts":["k3v9x2ab-1042"]}`: written by the journal's thread
/// for every request, so from parts that are ready, into memory of the right size. (A receipt needs no escapes.)
struct ProduceAnswer: Sendable {
    private let synced: [UInt8]
    private let buffered: [UInt8]
    /// From one LSN to the next.
    private let between: [UInt8]

    private static let end: StaticString = "\"]}"
    /// Of a 64-bit LSN in decimal.
    private static let digitsMax = 20

    init(shortID: String) {
        synced = Array(#"{"durability":"fsync","receipts":["\#(shortID)-"#.utf8)
        buffered = Array(#"{"durability":"buffered","receipts":["\#(shortID)-"#.utf8)
        between = Array(#"","\#(shortID)-"#.utf8)
    }

    static func durability(_ acceptance: Acceptance) -> String { acceptance.synced ? "fsync" : "buffered" }

    /// No answer for so many records is larger.
    func bytesMax(records: Int) -> Int {
        buffered.count + records * (Self.digitsMax + between.count) + Self.end.utf8CodeUnitCount
    }

    /// Of every answer to a request that was accepted before (draft-ietf-httpapi-idempotency-key-header names none).
    static let replayed = HTTPHeader("Idempotent-Replayed", "true")

    /// - Parameter isReplay: the request was accepted before, and its records are those.
    /// - Precondition: at least one record.
    func response(_ acceptance: Acceptance, isReplay: Bool = false) -> HTTPResponse {
        var body: [UInt8] = []
        body.reserveCapacity(bytesMax(records: acceptance.count))
        body.append(contentsOf: acceptance.synced ? synced : buffered)
        for index in 0..<UInt64(acceptance.count) {
            if index > 0 { body.append(contentsOf: between) }
            Self.append(acceptance.first.rawValue + index, to: &body)
        }
        body.append(contentsOf: UnsafeBufferPointer(start: Self.end.utf8Start, count: Self.end.utf8CodeUnitCount))
        var response = HTTPResponse.json(body, status: 202)
        if isReplay { response.headers.append(Self.replayed) }
        return response
    }

    private static func append(_ number: UInt64, to body: inout [UInt8]) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: digitsMax) { digits in
            var start = digitsMax
            var rest = number
            repeat {
                start -= 1
                digits[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest > 0
            body.append(contentsOf: UnsafeBufferPointer(rebasing: digits[start...]))
        }
    }
}
