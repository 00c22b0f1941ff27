/// What is remembered of accepted requests, so that a repetition is known. Every limit has its default here.
public struct IdempotencySettings: Hashable, Sendable {
    /// For so long after its acceptance a key answers repetitions; then it is free again.
    public var lifetime = Duration.seconds(24 * 3600)
    /// Keys that are remembered at one time; at it a request with a new key is refused, rather than an older one
    /// forgotten before its time. 48 bytes of memory each, and 8 for each that this allows from the first one on.
    public var keysMax = 1_000_000
    /// Producers that are remembered at one time; at it a new one is refused. Up to 2 KiB of memory each.
    public var producersMax = 10_000
    /// A producer that sent nothing for so long is forgotten, and has to begin at 1 again.
    public var producerIdle = Duration.seconds(7 * 24 * 3600)

    /// What is new goes to the store this often,
    var saveInterval = Duration.seconds(5)
    /// or when there are so many keys of it,
    var unsavedKeysMax = 65_536
    /// or when the journal grew by about so much since: that is what the next start has to read.
    var unsavedBytesMax: Int64 = 64 << 20
    /// After the store refused, it is tried again this much later; twice as much after each further time, up to
    /// `saveRetryMax`.
    var saveRetry = Duration.seconds(5)
    var saveRetryMax = Duration.seconds(60)
    /// How often producers are looked through for those that are idle.
    static let producersLooked = Duration.seconds(60)

    public init() {}

    /// The last requests of a producer that keep their answers.
    public static let answersPerProducer = 64
}
