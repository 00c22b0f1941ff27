import Records

/// What is remembered of a producer: its last request, and the answers of the last ones.
struct Producer: Equatable {
    struct Answer: Equatable {
        var first: LSN
        var count: UInt32
        var payload: Digest

        /// One past its last LSN.
        var end: LSN { LSN(rawValue: first.rawValue + UInt64(count)) }
    }

    /// Number of the last accepted request.
    private(set) var last: UInt64 = 0
    /// Of the requests up to `last`, oldest first; at most `IdempotencySettings.answersPerProducer`.
    private(set) var answers: [Answer] = []
    /// When the last one was accepted: seconds since 1970 of the clock for requests.
    private(set) var seconds: UInt32 = 0

    init() {}

    /// - Parameter answers: of the requests up to `last`, at least one.
    init(last: UInt64, answers: [Answer], seconds: UInt32) {
        self.last = last
        self.answers = answers
        self.seconds = seconds
    }

    /// What is known of a request that was accepted.
    ///
    /// - Returns: nil when it is too old to be remembered. - Precondition: `1...last` holds the number.
    func answer(to number: UInt64) -> Answer? {
        let age = last - number
        return age < UInt64(answers.count) ? answers[answers.count - 1 - Int(age)] : nil
    }

    /// A request was accepted. Its number is the next one, unless something between was lost with a part of the
    /// journal: then only it is known, and its successors are to follow on it.
    mutating func accept(_ number: UInt64, _ answer: Answer, seconds: UInt32) {
        if number != last + 1 { answers = [] }
        if answers.count == IdempotencySettings.answersPerProducer { answers.removeFirst() }
        answers.append(answer)
        last = number
        self.seconds = max(self.seconds, seconds)
    }

    /// What of it lies below `end`; nil when nothing does.
    func prefix(below end: LSN) -> Producer? {
        if let newest = answers.last, newest.end <= end { return self }
        let below = answers.prefix { $0.end <= end }
        guard !below.isEmpty else { return nil }
        return Producer(last: last - UInt64(answers.count - below.count), answers: Array(below), seconds: seconds)
    }
}
