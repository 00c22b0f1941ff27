import HTTPServer
import Primitives
import Records

/// A request's trace as record headers, under the names that HTTP has for them and that tracing libraries read from
/// records (W3C Trace Context; OpenTelemetry's conventions for messaging). Each record of the request gets them, unless
/// it names its own. They are no part of what a repeated request is compared by: a repetition has another span.
struct TraceHeaders {
    static let (parentName, stateName) = ("traceparent", "tracestate")
    /// Section 3.3.1.5 wants at least so much of it passed on; more is not, and neither is a part of it.
    static let stateBytesMax = 512
    /// Of a header in the journal.
    private static let lengthBytes = 6

    private let headers: [RecordHeader]

    /// - Parameter states: the values of all `tracestate` fields, in order; not passed on unless printable ASCII.
    /// - Returns: nil when the request belongs to no trace.
    init?(_ trace: TraceContext?, states: [[UInt8]]) {
        guard let trace else { return nil }
        var headers = [RecordHeader(name: Self.parentName, value: Array(trace.traceparent.utf8)[...])]
        // (Several fields are one list: RFC 9110, section 5.3.)
        let state = Array(states.joined(separator: [UInt8(ascii: ",")]))
        if (1...Self.stateBytesMax).contains(state.count), state.allSatisfy({ (0x20...0x7E).contains($0) }) {
            headers.append(RecordHeader(name: Self.stateName, value: state[...]))
        }
        self.headers = headers
    }

    /// Adds them to the records of one request, within `bytesMax` for all of them.
    ///
    /// - Returns: how many records there was no room for.
    func add(to records: inout [SpoolRecord], _ rules: RecordRules, bytesMax: Int) -> Int {
        let bytes = headers.reduce(0) { $0 + $1.name.utf8.count + ($1.value?.count ?? 0) + Self.lengthBytes }
        guard bytes * records.count <= bytesMax else { return records.count }
        var skipped = 0
        for index in records.indices where !add(to: &records[index].record, rules) { skipped += 1 }
        return skipped
    }

    /// Adds them where the record has none of its own and stays within its limits.
    ///
    /// - Returns: false when it would not: a record is never refused for what its client's tracing adds.
    private func add(to record: inout Record, _ rules: RecordRules) -> Bool {
        guard !record.headers.contains(where: { Self.isTrace($0.name) }) else { return true }
        var traced = record
        traced.headers += headers
        guard rules.takes(traced) else { return false }
        record = traced
        return true
    }

    /// Without regard to case: HTTP gave the names, and tracing libraries write them in lower case.
    private static func isTrace(_ name: String) -> Bool {
        switch name.utf8.count {
        case parentName.utf8.count: name.lowercased() == parentName
        case stateName.utf8.count: name.lowercased() == stateName
        default: false
        }
    }
}
