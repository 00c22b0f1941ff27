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
    /// It does not pass by itself: somebody must look, though it is tried again as its class says (lack of
    /// authorisation, or an error that nobody knew).
    public let alarm: Bool

    public init(_ class: Class, code: String, detail: String, alarm: Bool = false) {
        self.class = `class`
        self.code = code
        self.detail = detail
        self.alarm = alarm
    }

    public var description: String { "\(code) (\(`class`.rawValue)): \(detail)" }

    // MARK: - Codes that the forwarder decides by

    /// Class retriable: fresh metadata of the broker does not know a topic of the batch. A record that is refused alone
    /// for it dies after `forwarder.missing_topic_timeout`.
    public static let topicMissingCode = "topic_missing"
    /// Class sink-fatal or fenced: the broker gave the hand-over up because it took too long. The next one is smaller.
    public static let transactionTimedOutCode = "transaction_timed_out"
    /// Class record-fatal: the timestamp is outside what the topic allows.
    public static let invalidTimestampCode = "invalid_timestamp"
}
