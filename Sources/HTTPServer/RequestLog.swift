public import Logging
import Primitives

/// Which requests the log tells of.
public struct RequestLogSettings: Hashable, Sendable {
    public enum Kept: String, Sendable, CaseIterable {
        case none
        /// Answers with a status from 400 on.
        case errors
        /// Those, and what took longer than `slow`.
        case slowAndErrors = "slow+errors"
        case all
    }

    public var kept = Kept.slowAndErrors
    /// From the last byte of the request to the answer. What a request was parked does not count.
    public var slow = Duration.seconds(2)

    public init() {}
}

/// One line for a request that is over: facts about it, never what it holds. Its settings may change at any time; any
/// thread may call.
final class RequestLog: Sendable {
    private let logger: Logger
    private let current: Lock<RequestLogSettings>

    init(_ logger: Logger, _ settings: RequestLogSettings) {
        self.logger = logger
        current = Lock(settings)
    }

    var settings: RequestLogSettings {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }

    /// What an answer was, however it got out.
    struct Told {
        /// Of the request, for its id.
        var number: UInt64
        var status: Int
        var code: String?
        var bytes: Int

        init(_ response: HTTPResponse, number: UInt64) {
            self.number = number
            status = response.status
            code = response.code
            bytes = response.body.count
        }
    }

    /// How a request is told of.
    struct Verdict: Equatable {
        var level: Logger.Level
        var message: String
    }

    /// - Parameters:
    ///   - status: nil: the client left before there was an answer.
    ///   - worked: what the gateway took for it.
    ///   - isWatch: of a route that watches over the server, which is asked every few seconds: its 503 is what it has
    ///     to say, and no failure.
    /// - Returns: nil when nothing is said.
    func verdict(status: Int?, worked: Duration, isWatch: Bool) -> Verdict? {
        let settings = settings
        if settings.kept == .none { return nil }
        let isError = !(isWatch && status == 503)
        if isError, let status, status >= 500 { return Verdict(level: .warning, message: "request failed") }
        let isSlow = settings.kept != .errors && worked > settings.slow
        if isError, let status, status >= 400 {
            return Verdict(level: isSlow ? .warning : .info, message: "request refused")
        }
        if isSlow { return Verdict(level: .warning, message: "slow request") }
        guard settings.kept == .all else { return nil }
        return Verdict(level: .info, message: status == nil ? "request ended early" : "request")
    }

    func write(_ verdict: Verdict, _ metadata: @autoclosure () -> Logger.Metadata) {
        logger.log(level: verdict.level, "\(verdict.message)", metadata: metadata())
    }
}

extension Connection {
    /// The request is over: says so where the settings want it. On the event loop, before the request is forgotten.
    func logEnd(_ told: RequestLog.Told?, _ ended: Exchange.Ended, now: MonotonicInstant, isComplete: Bool) {
        let log = core.requestLog
        let isWatch = upload.match.map { !core.router.isLimited($0.route) } ?? false
        guard let verdict = log.verdict(status: told?.status, worked: ended.worked, isWatch: isWatch) else { return }
        log.write(verdict, metadata(told, ended, now: now, isComplete: isComplete))
    }

    private func metadata(
        _ told: RequestLog.Told?, _ ended: Exchange.Ended, now: MonotonicInstant, isComplete: Bool
    ) -> Logger.Metadata {
        var metadata: Logger.Metadata = [
            "client": "\((upload.client ?? peer)?.text ?? "")",
            "bytes_in": .stringConvertible(upload.receivedBytes),
            "duration_ms": .stringConvertible((now - ended.begun).wholeMilliseconds),
            "gateway_ms": .stringConvertible(ended.worked.wholeMilliseconds),
        ]
        if let peer, let client = upload.client, client != peer { metadata["proxy"] = "\(peer.text)" }
        if ended.parked > .zero { metadata["parked_ms"] = .stringConvertible(ended.parked.wholeMilliseconds) }
        if let method = upload.method { metadata["method"] = "\(method.rawValue)" }
        if let match = upload.match {
            for (name, value) in zip(core.router.captureNames(match.route), match.captures) {
                metadata[name] = "\(value)"
            }
            metadata["route"] = "\(core.router.routes[match.route].pattern)"
        }
        if let told {
            metadata["status"] = .stringConvertible(told.status)
            metadata["bytes_out"] = .stringConvertible(told.bytes)
            if let code = told.code { metadata["code"] = "\(code)" }
            let id = RequestID(prefix: core.requestPrefix, number: told.number)
            metadata.merge(requestMetadata(id, upload.trace)) { $1 }
            if !isComplete { metadata["complete"] = "false" }
        } else if let trace = upload.trace {
            metadata.merge(traceMetadata(trace)) { $1 }
        }
        return metadata
    }
}

extension HTTPRequest {
    /// `base`, with what each line about this request says: `request_id`, and `trace_id` and `span_id` where the client
    /// told them.
    public func logger(_ base: Logger) -> Logger {
        var logger = base
        for (key, value) in requestMetadata(requestID, trace) { logger[metadataKey: key] = value }
        return logger
    }
}

private func requestMetadata(_ id: RequestID, _ trace: TraceContext?) -> Logger.Metadata {
    var metadata: Logger.Metadata = trace.map(traceMetadata) ?? [:]
    metadata["request_id"] = "\(id.text)"
    return metadata
}

private func traceMetadata(_ trace: TraceContext) -> Logger.Metadata {
    ["trace_id": "\(trace.traceID)", "span_id": "\(trace.spanID)"]
}
