/// Why a broker did not do what it was asked; the case says what to do, the code and detail what happened.
public struct BrokerError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Class: String, Sendable, CaseIterable {
        /// Try again, for ever, with back-off: nothing is wrong with the record.
        case retriable
        /// This very record will never be taken. Only believed when it was handed over alone.
        case recordFatal
        /// The sink is of no more use: close it, open another, read its checkpoint.
        case sinkFatal
        /// A newer sink of the same spool and lane was opened: close, re-open once, look at the nonce.
        case fenced
        /// No retry helps: the process stops and says what to change.
        case processFatal
    }

    public let `class`: Class
    /// Stable, snake_case: a metric label and a log field.
    public let code: String
    public let detail: String

    public init(_ class: Class, code: String, detail: String) {
        self.class = `class`
        self.code = code
        self.detail = detail
    }

    public var description: String { "\(code) (\(`class`.rawValue)): \(detail)" }
}
