import Client
import Glibc
import JSON
import Primitives
import TestSupport

/// A gateway's rules for repeated requests, in memory, and a network in front of it that fails as it is told.
final class FakeGateway: Transport {
    enum Fault {
        /// It never arrives.
        case before
        /// It is done, and the answer is lost.
        case after
        /// 503, done or not.
        case unavailable
        /// An earlier try is on its way.
        case inFlight
        /// It never arrives, and a proxy says 403.
        case proxy
    }

    /// Values in the order in which they were stored; of a key and a value, `key=value`.
    private(set) var stored: [String] = []
    /// Of each request that arrived.
    private(set) var names: [String] = []
    private var remembered: [String: (body: [UInt8], receipts: Int)] = [:]
    private var last: [String: Int] = [:]
    /// The next one's fault, and who decides.
    var faults: () -> Fault? = { nil }
    /// After so many stored requests it is gone, with or without the answer to the last: nothing comes through then.
    var deadAfter: (stored: Int, losesAnswer: Bool)?
    private var storedRequests = 0
    /// In each acceptance.
    var identity = "one"
    /// Values that it refuses.
    var refuses: Set<String> = []
    /// Told when the gateway is dead, so that whoever waits for it ends.
    var died: () -> Void = {}

    func send(_ request: Request, stop: StopFlag?) throws(ClientError) -> Answer {
        if let deadAfter, storedRequests >= deadAfter.stored {
            died()
            throw .noAnswer("dead")
        }
        let fault = faults()
        if fault == .before { throw .noAnswer("lost") }
        if fault == .unavailable { return Self.problem(503, "overloaded") }
        if fault == .proxy { return Answer(status: 403, body: Array("<html>".utf8)) }
        if fault == .inFlight { return Self.problem(409, "sequence_in_flight") }
        let answer = try handle(request)
        if let deadAfter, deadAfter.losesAnswer, storedRequests >= deadAfter.stored {
            died()
            throw .noAnswer("died")
        }
        if fault == .after { throw .noAnswer("cut") }
        return answer
    }

    private func handle(_ request: Request) throws(ClientError) -> Answer {
        func header(_ name: String) -> String? { request.headers.first { $0.name == name }?.value }
        let body = request.body ?? []
        let producer = header("Postrider-Producer")
        let number = header("Postrider-Sequence").flatMap { Int($0) }
        let name = header("Idempotency-Key") ?? "\(producer ?? "?")/\(number ?? 0)"
        names.append(name)
        if let found = remembered[name] {
            guard found.body == body else {
                return Self.problem(422, producer == nil ? "idempotency_key_reused" : "sequence_reused")
            }
            return accepted(found.receipts, isReplay: true)
        }
        if let producer, let number, number != (last[producer] ?? 0) + 1 {
            return Self.problem(409, "sequence_gap", more: #","expected":\#((last[producer] ?? 0) + 1)"#)
        }
        let isBatch = request.target.hasSuffix("/records")
        let lines = isBatch ? body.split(separator: UInt8(ascii: "\n")).map { Array($0) } : [body]
        var values: [String] = []
        for (index, line) in lines.enumerated() {
            let value = isBatch ? try Self.value(line) : String(decoding: line, as: UTF8.self)
            if refuses.contains(value) {
                return Self.problem(
                    400, "invalid_records",
                    more: #","errors":[{"pointer":"/records/\#(index)/value","reason":"bad (line \#(index + 1))"}]"#)
            }
            values.append(value)
        }
        stored += values
        storedRequests += 1
        remembered[name] = (body, values.count)
        if let producer, let number { last[producer] = number }
        return accepted(values.count, isReplay: false)
    }

    private static func value(_ line: [UInt8]) throws(ClientError) -> String {
        let record = try Answer(status: 200, body: line).json()
        let value = record.member("value_text")?.string ?? record.member("value_base64")?.string.map { "base64:\($0)" }
        let key = record.member("key")?.string
        return (key.map { "\($0)=" } ?? "")
            + (value ?? String(decoding: record.member("value")?.raw ?? [], as: UTF8.self))
    }

    private func accepted(_ count: Int, isReplay: Bool) -> Answer {
        let receipts = (0..<count).map { "\"r\($0)\"" }.joined(separator: ",")
        return Answer(
            status: 202,
            headers: [("postrider-gateway", identity)] + (isReplay ? [("idempotent-replayed", "true")] : []),
            body: Array(#"{"durability":"fsync","receipts":[\#(receipts)]}"#.utf8))
    }

    private static func problem(_ status: Int, _ code: String, more: String = "") -> Answer {
        Answer(
            status: status,
            body: Array(#"{"status":\#(status),"code":"\#(code)","title":"t","detail":"d"\#(more)}"#.utf8))
    }
}

/// A file to read from, as standard input is.
final class InputFile {
    let descriptor: Int32

    init(_ bytes: [UInt8], in directory: TemporaryDirectory) throws {
        let path = "\(directory.path)/input-\(UInt32.random(in: 0 ... .max))"
        let file = try SystemFileSystem().open(path, .createOrTruncate)
        try file.writeAll(bytes, at: 0)
        file.close()
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
    }

    convenience init(_ text: String, in directory: TemporaryDirectory) throws {
        try self.init(Array(text.utf8), in: directory)
    }

    deinit { close(descriptor) }
}
