/// Names one answer of one process: the generation that delivery ids carry. Serials are not used twice within an epoch,
/// and epochs grow, so a token never means a later answer, not after a seek, a new definition or a crash.
struct AnswerToken: Hashable, Sendable, CustomStringConvertible {
    let epoch: UInt32
    let serial: UInt64

    init(epoch: UInt32, serial: UInt64) {
        self.epoch = epoch
        self.serial = serial
    }

    /// nil when the text is not what `description` writes.
    init?(_ text: String) {
        guard let numbers = readNumbers(text, count: 2), let epoch = UInt32(exactly: numbers[0]) else { return nil }
        self.init(epoch: epoch, serial: numbers[1])
    }

    var description: String { writeNumbers([UInt64(epoch), serial]) }
}

/// `<epoch>.<serial>.<topic index>.<partition>.<offset>.<attempt>` in base 36: opaque to clients, checked against the
/// lease table alone.
struct DeliveryID: Hashable, Sendable, CustomStringConvertible {
    /// Six numbers of at most 13 digits and five points.
    static let bytesMax = 6 * 13 + 5

    let answer: AnswerToken
    /// In the definition's sorted topics.
    let topicIndex: Int
    let partition: Int32
    let offset: Int64
    /// Hand-outs of the record up to and including this one.
    let attempt: UInt32

    init(answer: AnswerToken, topicIndex: Int, partition: Int32, offset: Int64, attempt: UInt32) {
        self.answer = answer
        self.topicIndex = topicIndex
        self.partition = partition
        self.offset = offset
        self.attempt = attempt
    }

    /// nil when the text is not what `description` writes.
    init?(_ text: String) {
        guard let numbers = readNumbers(text, count: 6), let epoch = UInt32(exactly: numbers[0]),
            let topicIndex = Int(exactly: numbers[2]), let partition = Int32(exactly: numbers[3]),
            let offset = Int64(exactly: numbers[4]), let attempt = UInt32(exactly: numbers[5])
        else { return nil }
        self.init(
            answer: AnswerToken(epoch: epoch, serial: numbers[1]), topicIndex: topicIndex, partition: partition,
            offset: offset, attempt: attempt)
    }

    var description: String {
        writeNumbers([
            UInt64(answer.epoch), answer.serial, UInt64(topicIndex), UInt64(partition), UInt64(offset), UInt64(attempt),
        ])
    }
}

private func writeNumbers(_ numbers: [UInt64]) -> String {
    numbers.map { String($0, radix: 36) }.joined(separator: ".")
}

/// Strict: one text for each value, so that ids can be compared as text.
private func readNumbers(_ text: String, count: Int) -> [UInt64]? {
    guard text.utf8.count <= DeliveryID.bytesMax else { return nil }
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == count else { return nil }
    let numbers = parts.compactMap { UInt64($0, radix: 36) }
    return numbers.count == count && writeNumbers(numbers) == text ? numbers : nil
}
