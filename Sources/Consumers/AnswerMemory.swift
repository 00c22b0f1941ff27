public import Records

/// What a poll's answer costs whoever makes it, and where the memory comes from. It is taken before anything is leased,
/// so that no record is handed out to an answer that cannot be sent.
///
/// No closure may block. They are called without any lock of this module, but for `skippedBytes`.
public struct AnswerMemory: Sendable {
    /// Default of `answerBytesMax`.
    public static let answerBytesMaxDefault = 16 << 20

    /// Of an answer without records.
    public var emptyBytes = 0
    /// At least what this record adds to the answer, its delivery included; not less than key, value and headers.
    public var recordBytes: @Sendable (StoredRecord) -> Int = { $0.record.bytes + 64 }
    /// At least what a skipped range of this partition adds.
    public var skippedBytes: @Sendable (TopicPartition) -> Int = { _ in 64 }
    /// A batch ends before its answer costs more; one record is answered whatever it costs. An open answer that is
    /// repeated costs what it cost at first.
    public var answerBytesMax = AnswerMemory.answerBytesMaxDefault
    /// Takes so many bytes for this poll's answer; the caller frees them once it is done with the answer, or with the
    /// error. When false, the poll waits until the second argument is called, which says that they were taken later;
    /// that call may also come before `reserve` returns.
    public var reserve: @Sendable (Int, @escaping @Sendable () -> Void) -> Bool = { _, _ in true }
    /// Frees bytes that `reserve` took and that the poll does not need now: it goes on waiting.
    public var giveBack: @Sendable (Int) -> Void = { _ in }

    public init() {}
}
