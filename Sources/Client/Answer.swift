public import JSON
import Primitives

/// What a gateway said. A value.
public struct Answer: Sendable {
    public let status: Int
    /// In their order; names in lower case.
    public let headers: [(name: String, value: String)]
    public let body: [UInt8]

    public init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    public var isSuccess: Bool { (200..<300).contains(status) }

    /// The first field of that name, which is in lower case.
    public func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    /// Whole seconds only, as gateways write it; nil for dates.
    public var retryAfter: Duration? {
        guard let seconds = header("retry-after").flatMap({ Int64($0) }), seconds >= 0 else { return nil }
        return .seconds(min(seconds, 3600))
    }

    /// - Parameter tapeDepth: values inside more than this many containers cannot be walked, and cost no memory.
    /// - Throws: it is no JSON, so not of a gateway.
    public func json(tapeDepth: Int = JSONLimits.depthMax) throws(ClientError) -> JSONValue {
        do throws(JSONError) {
            let limits = JSONLimits(tokens: JSONLimits.countMax, keys: JSONLimits.countMax)
            return try JSONDocument(body[...], limits: limits, tapeDepth: tapeDepth).root
        } catch {
            throw .notAGateway("status \(status), and a body that is no JSON: \(error)")
        }
    }

    /// What a refusal says.
    public var problem: Problem { Problem(self) }
}

/// A refusal (RFC 9457), as far as the answer has one: a proxy's has only a status.
public struct Problem: Sendable, CustomStringConvertible {
    /// Of one record of the request.
    public struct Fault: Sendable, Equatable {
        /// The record's place in the request; nil when the pointer names none.
        public let record: Int?
        public let reason: String
    }

    public let status: Int
    /// Stable; empty when it is no gateway's.
    public let code: String
    public let title: String
    public let detail: String
    /// `expected` of a sequence gap.
    public let expected: Int64?
    /// At most 100, as gateways send.
    public let faults: [Fault]

    init(_ answer: Answer) {
        status = answer.status
        // try?: an answer that is no JSON is a proxy's, and has no fields.
        let root = try? JSONDocument(answer.body[...]).root
        let isProblem = root?.kind == .object
        code = isProblem ? root?.member("code")?.string ?? "" : ""
        title = isProblem ? root?.member("title")?.string ?? "" : ""
        detail = isProblem ? root?.member("detail")?.string ?? "" : ""
        expected = isProblem ? root?.member("expected")?.int64 : nil
        let errors = isProblem ? root?.member("errors")?.elements : nil
        faults = (errors.map(Array.init) ?? []).map { error in
            let steps = (error.member("pointer")?.string ?? "").split(separator: "/")
            let isRecord = steps.count >= 2 && steps[0] == "records"
            return Fault(record: isRecord ? Int(steps[1]) : nil, reason: error.member("reason")?.string ?? "")
        }
    }

    /// One line, without control characters: it goes to a terminal.
    public var description: String {
        if code.isEmpty { return "status \(status), not of a gateway" }
        return plain("\(title): \(detail) (\(status) \(code))")
    }
}

/// Without control characters, so that nothing a server sends can steer a terminal.
public func plain(_ text: String) -> String {
    String(
        String.UnicodeScalarView(
            text.unicodeScalars.map { scalar in
                scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) ? "\u{FFFD}" : scalar
            }))
}

/// Why a call of a client came to nothing.
public enum ClientError: Error, Sendable, CustomStringConvertible {
    /// No whole answer: nobody knows whether the request had its effect.
    case noAnswer(String)
    /// Ended on purpose (`StopFlag`): nobody knows, either.
    case stopped
    /// The gateway said no.
    case refused(Problem)
    /// An answer that no gateway gives.
    case notAGateway(String)
    /// A file or stream of this process.
    case io(String)
    /// What was given to the command does not do.
    case input(String)
    /// Repeated until there was no time left; the last reason.
    case gaveUp(String)

    public var description: String {
        switch self {
        case .noAnswer(let reason): "no answer: \(reason)"
        case .stopped: "stopped"
        case .refused(let problem): problem.description
        case .notAGateway(let reason): "this is no gateway's answer: \(plain(reason))"
        case .io(let reason), .input(let reason): reason
        case .gaveUp(let reason): "gave up: \(reason)"
        }
    }
}
