/// Sizes and times of the forwarder. Every limit has its default here.
public struct ForwarderSettings: Hashable, Sendable {
    /// Records in one hand-over.
    public var batchRecordsMax = 10_000
    /// Encoded bytes of records in one hand-over; a larger single record makes one of its own.
    public var batchBytesMax = 8 << 20
    /// The same while a lane drains a backlog: hand-overs double up to it. At least the ordinary sizes.
    public var drainRecordsMax = 40_000
    public var drainBytesMax = 32 << 20
    /// After a hand-over of at least `pacedRecords` a lane begins the next one no sooner than this after it, unless
    /// more is waiting than it could take: under load hand-overs carry more records each, and cost the disk fewer syncs
    /// and the processor less. Where little comes, each record goes at once.
    public var handOverInterval = Duration.milliseconds(50)
    public var pacedRecords = 32
    /// Bytes of records in memory over all lanes, with the copies that the broker's client makes.
    public var memoryMax = 64 << 20
    /// First and longest pause of the circuit breaker between tries: exponential, jittered.
    public var retryInitial = Duration.milliseconds(50)
    public var retryMax = Duration.seconds(2)
    /// For so long the broker must have said that a topic is missing before a record of it, refused alone, dies.
    public var missingTopicTimeout = Duration.seconds(600)
    /// How long a stop goes on handing over what the spool holds, as far as the broker takes it.
    public var drainTimeout = Duration.seconds(10)
    /// How long a stop lets hand-overs end by themselves before it interrupts them.
    public var stopTimeout = Duration.seconds(5)

    public init() {}
}
