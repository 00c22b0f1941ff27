/// Limits of named consumers. Every queue and table of this module is bounded by one of them.
public struct ConsumersSettings: Sendable {
    /// For definitions that name none.
    public var ackDeadlineDefault: Duration = .seconds(30)
    public var ackDeadlineMin: Duration = .seconds(1)
    /// Of a deadline and of each extension of one, from now; as SQS's visibility time-out.
    public var ackDeadlineMax: Duration = .seconds(12 * 3600)
    /// For nacks that name no delay.
    public var nackDelayDefault: Duration = .zero
    public var nackDelayMax: Duration = .seconds(12 * 3600)
    /// Of a nack's reason, UTF-8.
    public var reasonBytesMax = 1_024
    /// What one dead-letter round fetches and submits: records, and bytes (one record may be larger).
    public var deadLettersPerRoundMax = 100
    public var deadLetterBytesPerRoundMax = 1 << 20
    /// Longest pause between tries of the dead-letter topic; the first is `retryInitial`.
    public var deadLetterRetryMax: Duration = .seconds(30)
    /// For definitions that name none. Bounds what is remembered of records, about 56 bytes each.
    public var maxInFlightDefault = 1_000
    public var maxInFlightMax = 100_000
    public var consumersMax = 10_000
    public var topicsPerConsumerMax = 100
    /// Over all consumers.
    public var pollsWaitingMax = 10_000
    public var pollsWaitingPerConsumerMax = 1_000
    /// Longer waits are shortened to this.
    public var pollWaitMax: Duration = .seconds(60)
    public var pollRecordsMax = 10_000
    public var pollBytesMax = 16 << 20
    public var clientNameBytesMax = 128
    /// Polls that hold fetched records at one time, over all consumers: with `pollBytesMax` this bounds the memory of
    /// records that are fetched and not yet covered by `PollRequest.reserve`.
    public var pollsFetchingMax = 16
    /// One poll's fetches: it answers with what it has, or goes on waiting.
    public var fetchesPerPollMax = 256
    /// Acknowledgements and seeks that wait for the commit before theirs, for each consumer.
    public var commitsWaitingPerConsumerMax = 1_000
    public var acknowledgementItemsMax = 10_000
    /// Definitions, updates and deletions of one name that wait for the one before.
    public var administrationsWaitingMax = 1_000
    /// Answers whose every record was acknowledged and whose acknowledgement may be repeated, for each consumer.
    public var finishedAnswersMax = 128
    /// Without polls and leases a consumer leaves its group after this time.
    public var idleClose: Duration = .seconds(300)
    /// How long a poll whose wait is over goes on for a fetch, or for joining the group, before it answers 503.
    public var brokerTimeout: Duration = .seconds(10)
    /// Between tries of the broker: from, and up to.
    public var retryInitial: Duration = .milliseconds(50)
    public var retryMax: Duration = .seconds(2)

    public init() {}

    func check() {
        precondition(ackDeadlineMin > .zero && ackDeadlineMin <= ackDeadlineDefault)
        precondition(ackDeadlineDefault <= ackDeadlineMax)
        precondition(nackDelayDefault >= .zero && nackDelayDefault <= nackDelayMax && reasonBytesMax >= 0)
        precondition(deadLettersPerRoundMax > 0 && deadLetterBytesPerRoundMax > 0)
        precondition(deadLetterRetryMax >= retryInitial)
        precondition(maxInFlightDefault > 0 && maxInFlightDefault <= maxInFlightMax && maxInFlightMax <= Int(Int32.max))
        precondition(consumersMax > 0 && topicsPerConsumerMax > 0 && topicsPerConsumerMax <= Int(UInt16.max))
        precondition(pollsWaitingPerConsumerMax > 0 && pollsWaitingPerConsumerMax <= pollsWaitingMax)
        precondition(pollRecordsMax > 0 && pollBytesMax > 0 && pollsFetchingMax > 0 && fetchesPerPollMax > 0)
        precondition(commitsWaitingPerConsumerMax > 0 && acknowledgementItemsMax > 0 && administrationsWaitingMax > 0)
        precondition(finishedAnswersMax >= 0 && pollWaitMax >= .zero && idleClose > .zero && brokerTimeout > .zero)
        precondition(retryInitial > .zero && retryInitial <= retryMax)
    }
}
