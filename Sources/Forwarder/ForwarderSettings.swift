/// Sizes and times of the forwarder. Every limit has its default here.
public struct ForwarderSettings: Hashable, Sendable {
    /// Records in one hand-over.
    public var batchRecordsMax = 10_000
    /// Encoded bytes of records in one hand-over; a larger single record makes one of its own.
    public var batchBytesMax = 8 << 20
    /// After a hand-over of at least `pacedRecords` a lane begins the next one no sooner than this after it: under load
    /// hand-overs carry more records each, and cost the disk fewer syncs and the processor less. Where little comes,
    /// each record goes at once.
    public var handOverInterval = Duration.milliseconds(50)
    public var pacedRecords = 32
    /// Bytes of records in memory over all lanes; a lane's batch is at most its share.
    public var memoryMax = 64 << 20
    /// First and longest pause of the circuit breaker between tries: exponential, jittered.
    public var retryInitial = Duration.milliseconds(50)
    public var retryMax = Duration.seconds(2)

    public init() {}

    func batchBytes(lanes: Int) -> Int { max(1, min(batchBytesMax, memoryMax / max(1, lanes))) }
}
