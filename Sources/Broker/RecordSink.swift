public import Records

/// What a sink promises about a batch and its checkpoint.
public enum Guarantee: String, Sendable {
    /// Both become visible together or not at all.
    case exactlyOnce = "exactly-once"
    /// The checkpoint follows the batch; a crash between them repeats at most that batch.
    case atLeastOnce = "at-least-once"
}

/// How far a lane of a spool was handed over, kept by the broker itself.
public struct SinkCheckpoint: Hashable, Sendable {
    /// Everything of the lane up to and including it is at the broker; `.zero`: nothing yet.
    public var lsn: LSN
    /// Epoch of the process that wrote it.
    public var epoch: UInt32
    /// Random, of the process that wrote it: tells our own earlier sink from a twin's.
    public var nonce: UInt64

    public init(lsn: LSN, epoch: UInt32, nonce: UInt64) {
        self.lsn = lsn
        self.epoch = epoch
        self.nonce = nonce
    }
}

/// A record that is handed over, with the LSN it has in the spool.
public struct OutgoingRecord: Sendable {
    public var lsn: LSN
    public var spooled: SpoolRecord

    public init(lsn: LSN, spooled: SpoolRecord) {
        self.lsn = lsn
        self.spooled = spooled
    }
}

/// Opens sinks.
public protocol RecordSinkFactory: Sendable {
    var guarantee: Guarantee { get }

    /// How many times the bytes of a hand-over are in memory while it is under way: 1 where the sink works on the
    /// records themselves, 2 where its client queues a copy. `forwarder.memory_max` counts by it. At least 1, constant.
    var memoryFactor: Int { get }

    /// Fences every older sink of the same spool and lane, then reads how far the last one got. Writes nothing that a
    /// later reader could take for a checkpoint: the caller claims with an empty `deliver` once it has checked
    /// `previous`. Blocks; called on the lane's thread.
    ///
    /// - Returns: the sink, and the last checkpoint; nil when the broker knows none.
    /// - Throws: never "no checkpoint" for a failed read.
    func openSink(spool: SpoolID, lane: Int) throws(BrokerError) -> (sink: any RecordSink, previous: SinkCheckpoint?)

    /// The process stops: openings that are under way, and later ones, end within about a second with a retriable
    /// error. Any thread; never blocks.
    func interrupt()
}

extension RecordSinkFactory {
    public var memoryFactor: Int { 1 }

    /// For brokers whose openings never take longer than that.
    public func interrupt() {}
}

/// The transactional hand-over of one lane. One thread at a time calls it; every call may block on the broker.
public protocol RecordSink: AnyObject, Sendable {
    /// Makes the batch and the checkpoint visible together, as far as the factory's guarantee goes. Records are
    /// appended in the batch's order within each partition. An empty batch writes the checkpoint alone.
    ///
    /// - Parameter prepared: called at most once, on this thread, by a broker that does not keep outcomes with its
    ///   hand-overs: with one delivery for each record, in the batch's order, after everything was flushed and before
    ///   the commit. What it throws ends the hand-over uncommitted, and is thrown on. A broker that keeps outcomes in
    ///   the hand-over's own transaction does not call it.
    /// - Returns: one delivery for each record, in the batch's order.
    /// - Throws: after any error it is unknown whether the batch was committed: close, re-open and read the checkpoint.
    func deliver(
        _ batch: [OutgoingRecord], checkpoint: SinkCheckpoint,
        prepared: (_ deliveries: [Delivery]) throws(BrokerError) -> Void
    ) throws(BrokerError) -> [Delivery]

    /// The process stops: a `deliver` that is under way, and every later one, ends within about a second, if need be
    /// with a retriable error. Any thread; never blocks.
    func interrupt()

    /// Releases what the sink holds; never blocks for longer than a few seconds.
    func close()
}

extension RecordSink {
    /// For sinks whose hand-overs never take longer than that.
    public func interrupt() {}
}
