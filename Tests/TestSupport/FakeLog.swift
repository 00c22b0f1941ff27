public import Broker
import Primitives
public import Records

/// A broker in memory that outlives the processes that hand records over to it. A hand-over and its checkpoint become
/// visible together or not at all; opening a sink fences every older one of the same spool and lane.
///
/// Every record goes to its explicit partition, or to partition 0. Any thread may call.
public final class FakeLog: Sendable {
    public struct LaneKey: Hashable, Sendable {
        public var spool: SpoolID
        public var lane: Int

        public init(spool: SpoolID, lane: Int) {
            self.spool = spool
            self.lane = lane
        }
    }

    /// What a process left in a lane.
    public struct LaneState: Sendable {
        var generation = 0
        public var checkpoint: SinkCheckpoint?
    }

    public struct State: Sendable {
        public var partitions: [TopicPartition: [OutgoingRecord]] = [:]
        public var lanes: [LaneKey: LaneState] = [:]

        /// - Returns: where each of them is.
        mutating func append(_ batch: [OutgoingRecord]) -> [Delivery] {
            var deliveries: [Delivery] = []
            for outgoing in batch {
                let partition = TopicPartition(
                    topic: outgoing.spooled.topic, partition: outgoing.spooled.partition ?? 0)
                let offset = Int64(partitions[partition]?.count ?? 0)
                partitions[partition, default: []].append(outgoing)
                deliveries.append(
                    Delivery(
                        lsn: outgoing.lsn, partition: partition, offset: offset,
                        timestampMs: outgoing.spooled.record.timestampMs))
            }
            return deliveries
        }
    }

    private let state = Monitor(State())

    public init() {}

    /// Everything as it is now.
    public var snapshot: State { state.withLock { $0 } }

    /// A partition's records, by offset.
    public func records(_ topic: TopicName, _ partition: Int32 = 0) -> [OutgoingRecord] {
        state.withLock { $0.partitions[TopicPartition(topic: topic, partition: partition)] ?? [] }
    }

    public func checkpoint(spool: SpoolID, lane: Int) -> SinkCheckpoint? {
        state.withLock { $0.lanes[LaneKey(spool: spool, lane: lane)]?.checkpoint }
    }

    /// As a twin, an older process or a loss of data leaves it. Fences as opening a sink does.
    public func setCheckpoint(spool: SpoolID, lane: Int, _ checkpoint: SinkCheckpoint?) {
        state.withLock { state in
            let key = LaneKey(spool: spool, lane: lane)
            state.lanes[key, default: LaneState()].generation += 1
            state.lanes[key, default: LaneState()].checkpoint = checkpoint
        }
        state.broadcast()
    }

    /// Another program writes to a partition.
    public func append(_ record: OutgoingRecord) {
        state.withLock { _ = $0.append([record]) }
        state.broadcast()
    }

    /// What a sink does that is opened and never used.
    public func fence(spool: SpoolID, lane: Int) { _ = open(LaneKey(spool: spool, lane: lane)) }

    /// Waits for a hand-over that makes `condition` true.
    ///
    /// - Returns: false when the deadline passed first.
    public func wait(for duration: Duration = .seconds(20), _ condition: (State) -> Bool) -> Bool {
        state.wait(until: SystemClock().now() + duration) { condition($0) ? true : nil } ?? false
    }

    // MARK: - For sinks

    func open(_ key: LaneKey) -> (generation: Int, previous: SinkCheckpoint?) {
        state.withLock { state in
            state.lanes[key, default: LaneState()].generation += 1
            let lane = state.lanes[key] ?? LaneState()
            return (lane.generation, lane.checkpoint)
        }
    }

    /// - Returns: nil when a newer sink was opened.
    func handOver(
        _ key: LaneKey, generation: Int, _ batch: [OutgoingRecord], _ checkpoint: SinkCheckpoint
    ) -> [Delivery]? {
        defer { state.broadcast() }
        return state.withLock { state in
            guard state.lanes[key]?.generation == generation else { return nil }
            let deliveries = state.append(batch)
            state.lanes[key]?.checkpoint = checkpoint
            return deliveries
        }
    }

    /// Where the records of a hand-over that is about to be committed will be. (Each partition is one lane's, so nobody
    /// gets in between.)
    func places(_ batch: [OutgoingRecord]) -> [Delivery] {
        state.withLock { state in
            var copy = state
            return copy.append(batch)
        }
    }
}
