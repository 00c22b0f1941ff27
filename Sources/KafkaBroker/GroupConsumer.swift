import Broker
import CRdkafka
import Logging
import CoreMetrics
import Primitives
import Records

/// One named consumer's membership of its group: a librdkafka consumer and the thread that polls it, which is the only
/// one to touch what is not behind the lock. It always polls, however slow its readers are: partitions whose records
/// nobody takes are paused. Offsets move by `commit` only.
///
/// Life: created (nothing blocks) → joining → assigned and revoked any number of times → `close` → the thread leaves
/// the group, ends, and says so (`ended`).
// SAFETY: everything mutable is either behind `inbox`, or used by the poll thread only, on which librdkafka also calls
// the delegate's methods.
final class GroupConsumer: @unchecked Sendable {
    typealias FetchCompletion = @Sendable (Result<FetchResult, BrokerError>) -> Void
    typealias CommittedCompletion = @Sendable (Result<[TopicPartition: CommittedOffset]?, BrokerError>) -> Void
    typealias CommitCompletion = @Sendable (Result<Void, BrokerError>) -> Void

    enum Command: Sendable {
        case fetch(FetchRequest, FetchCompletion)
        /// Answers nil when it does not know all of them from memory.
        case committed([TopicPartition], CommittedCompletion)
        case commit([TopicPartition: CommittedOffset], CommitCompletion)
        /// What the cluster says of a partition whose position is gone.
        case watermarks(TopicPartition, assignment: UInt64, Result<FetchResult, BrokerError>)
    }

    private struct Inbox {
        var commands: [Command] = []
        var isClosing = false
        /// The consumer's, while it polls.
        var queue: OpaquePointer?
    }

    struct Waiting {
        let request: FetchRequest
        let completion: FetchCompletion
        let deadline: MonotonicInstant
    }

    /// Whether librdkafka is fetching, or stopped because there is nothing at the offset that it was to fetch.
    enum Position {
        case streaming
        case lost
        /// The cluster is asked where the partition begins and ends.
        case asking
    }

    /// One assigned partition.
    struct Stream {
        var buffer: PartitionBuffer
        /// Fetches whose records are on their way.
        var waiting: [Waiting] = []
        var isPaused = false
        /// Its committed offset was asked for since it was assigned. Commits that come before are of an older
        /// assignment.
        var isLoaded = false
        var position = Position.streaming
        /// The delegate was told of what is here and nobody has fetched since.
        var isTold = false
        /// Whoever fetched last was told that nothing is known yet.
        var isOwed = false

        /// The delegate has to hear of it.
        var isNews: Bool { !isTold && waiting.isEmpty && (buffer.unreadBytes > 0 || isOwed && buffer.isAtEnd) }
    }

    let name: ConsumerName
    let topics: Set<TopicName>
    let settings: KafkaBrokerSettings
    let readers: ReaderPool
    let clock = SystemClock()
    let log = Logger(label: "postrider.kafka.consumers")
    private let inbox = Monitor(Inbox())
    private let end = Monitor(false)
    private let shares: PrefetchShares
    private let share: Int
    /// Over all partitions, of what was not handed out yet: one is paused that has its part of the second half when the
    /// first half is full, so that a partition whose records nobody takes never keeps another from being read.
    private let bufferBytesMax: Int
    private let whenEnded: @Sendable (GroupConsumer) -> Void

    private(set) weak var delegate: (any SubscriptionDelegate)?
    private(set) var client: KafkaClient?
    var streams: [TopicPartition: Stream] = [:]
    /// Counts assignments, so that what was asked under an older one is told apart.
    var assignment: UInt64 = 0
    /// Assigned by the group, and not begun: their committed offsets are not known yet.
    var placing: TopicPartitionList?
    var placeRetryAt: MonotonicInstant?
    var placeBackoff: Backoff
    /// Of assigned partitions, as the group coordinator last confirmed.
    var committed: [TopicPartition: CommittedOffset] = [:]
    /// Assigned partitions with a commit that failed and may have been done.
    var inDoubt: Set<TopicPartition> = []
    var commitQueue: OpaquePointer?
    var commitsUnderWay: [ObjectIdentifier: CommitUnderWay] = [:]
    /// Why there is no client.
    private var failure: BrokerError?
    private var openAt: MonotonicInstant
    private var openBackoff = Backoff(initial: .milliseconds(100), cap: .seconds(5))

    /// Longest sleep without anything to do.
    private static let pollMax = Duration.seconds(1)
    /// Messages taken before waiting fetches are served.
    private static let messagesPerRound = 1_000
    /// Commands waiting; each caller has few under way, so it is never reached.
    static let commandsMax = 10_000

    /// - Parameter delegate: held weakly; called on the poll thread.
    init(
        name: ConsumerName, topics: [TopicName], settings: KafkaBrokerSettings, readers: ReaderPool,
        shares: PrefetchShares, delegate: any SubscriptionDelegate,
        whenEnded: @escaping @Sendable (GroupConsumer) -> Void
    ) {
        self.name = name
        self.topics = Set(topics)
        self.settings = settings
        self.readers = readers
        self.shares = shares
        self.whenEnded = whenEnded
        self.delegate = delegate
        share = shares.take()
        // The rest is librdkafka's: what is queued there, what is in flight, and what was handed out.
        bufferBytesMax = max(1, share / 4)
        placeBackoff = Backoff(initial: .milliseconds(50), cap: .seconds(2))
        openAt = clock.now()
    }

    /// Begins once `previous`, the same consumer's last membership, has ended or had its time for that.
    func start(after previous: GroupConsumer?) {
        _ = WorkerThread(name: "kafka-consumer") { [self] in
            if let previous { _ = previous.waitUntilEnded(within: settings.closeTimeout) }
            run()
            shares.giveBack(share)
            whenEnded(self)
            end.withLock { $0 = true }
            end.broadcast()
        }
    }

    /// - Returns: false when the time was not enough.
    func waitUntilEnded(within limit: Duration) -> Bool {
        end.wait(until: clock.now() + limit) { $0 ? true : nil } ?? false
    }

    /// Any thread. What cannot be queued is refused on the caller's thread.
    func send(_ command: Command) {
        let refusal = inbox.withLock { inbox -> BrokerError? in
            if inbox.isClosing { return .leftGroup(name) }
            guard inbox.commands.count < Self.commandsMax else {
                SourceMetrics.refusedCalls.increment()
                Limit.kafkaConsumerCalls.reached()
                return .tooMany("too_many_consumer_calls", Self.commandsMax)
            }
            inbox.commands.append(command)
            if let queue = inbox.queue { rd_kafka_queue_yield(queue) }
            return nil
        }
        guard let refusal else { return inbox.broadcast() }
        refuse(command, refusal)
    }

    /// Any thread; leaves the group soon. More than once does nothing more.
    func close() {
        inbox.withLock { inbox in
            inbox.isClosing = true
            if let queue = inbox.queue { rd_kafka_queue_yield(queue) }
        }
        inbox.broadcast()
    }

    var isClosing: Bool { inbox.withLock { $0.isClosing } }

    // MARK: The poll thread

    private func run() {
        while !isClosing {
            openIfDue()
            takeCommands()
            place()
            giveUpWaiting()
            poll()
            serveWaiting()
        }
        leave()
    }

    /// Without a client everything is refused. It is tried again: what the machine or a file lacks may come.
    private func openIfDue() {
        guard client == nil, clock.now() >= openAt else { return }
        do throws(BrokerError) {
            try open()
            failure = nil
        } catch {
            release()
            if failure == nil {
                log.error(
                    "a consumer cannot start, and tries again",
                    metadata: ["consumer": "\(name)", "error": "\(error)"])
            }
            failure = error
            openAt = clock.now() + openBackoff.nextDelay()
        }
    }

    private func open() throws(BrokerError) {
        var configuration = ClientConfiguration(
            settings: settings, role: .groupConsumer(group: settings.groupPrefix + name.text))
        configuration.prefetchBytes = share / 4
        let client = try KafkaClient(configuration, delegate: self)
        self.client = client
        let queue = rd_kafka_queue_get_consumer(client.handle)
        commitQueue = rd_kafka_queue_new(client.handle)
        // The answer to a commit ends the sleep in `poll`.
        rd_kafka_queue_cb_event_enable(
            commitQueue,
            { _, queue in
                if let queue { rd_kafka_queue_yield(OpaquePointer(queue)) }
            }, UnsafeMutableRawPointer(queue))
        inbox.withLock { $0.queue = queue }
        let list = TopicPartitionList(capacity: topics.count)
        for topic in topics { list.add(TopicPartition(topic: topic, partition: RD_KAFKA_PARTITION_UA)) }
        do throws(KafkaError) {
            try check(list.withPointer { rd_kafka_subscribe(client.handle, $0) })
        } catch {
            throw ErrorTable.brokerError(error)
        }
    }

    private func takeCommands() {
        let commands = inbox.withLock { inbox in
            defer { inbox.commands = [] }
            return inbox.commands
        }
        for command in commands {
            if let failure {
                refuse(command, failure)
                continue
            }
            switch command {
            case .fetch(let request, let completion): fetch(request, completion)
            case .committed(let partitions, let completion): answerCommitted(partitions, completion)
            case .commit(let offsets, let completion): commit(offsets, completion)
            case .watermarks(let partition, let assignment, let result):
                if assignment == self.assignment { relocate(partition, result) }
            }
        }
        serveCommits(waiting: .zero)
    }

    private func refuse(_ command: Command, _ error: BrokerError) {
        switch command {
        case .fetch(_, let completion): completion(.failure(error))
        case .committed(_, let completion): completion(.failure(error))
        case .commit(_, let completion): completion(.failure(error))
        case .watermarks: break
        }
    }

    private func poll() {
        guard let client else {
            _ = inbox.wait(until: openAt) { $0.isClosing || !$0.commands.isEmpty ? true : nil }
            return
        }
        let now = clock.now()
        var wait = Self.pollMax
        if let placeRetryAt, placing != nil { wait = min(wait, max(.zero, placeRetryAt - now)) }
        for stream in streams.values {
            for waiting in stream.waiting { wait = min(wait, max(.zero, waiting.deadline - now)) }
        }
        var timeout = Int32(wait.wholeMilliseconds)
        for _ in 0..<Self.messagesPerRound {
            guard let message = rd_kafka_consumer_poll(client.handle, timeout) else { return }
            timeout = 0
            received(FetchedMessage(consuming: message))
        }
    }

    private func leave() {
        defer {
            // What came meanwhile.
            let commands = inbox.withLock { inbox in
                defer { inbox.commands = [] }
                return inbox.commands
            }
            for command in commands { refuse(command, .leftGroup(name)) }
        }
        guard let client else { return }
        serveCommits(waiting: settings.revocationDrain)
        stopWaking()
        if placing != nil { decline() }
        // Calls `rebalance` for what is still assigned.
        _ = rd_kafka_consumer_close(client.handle)
        endStreams(isLost: true)
        release()
    }

    /// A wake-up while the consumer is being closed would end that before it has left its group.
    private func stopWaking() {
        let queue = inbox.withLock { inbox in
            defer { inbox.queue = nil }
            return inbox.queue
        }
        if let commitQueue { rd_kafka_queue_cb_event_enable(commitQueue, nil, nil) }
        if let queue { rd_kafka_queue_destroy(queue) }
    }

    private func release() {
        stopWaking()
        abandonCommits()
        if let commitQueue { rd_kafka_queue_destroy(commitQueue) }
        commitQueue = nil
        client?.close(within: settings.closeTimeout)
        client = nil
    }

    // MARK: Messages

    private func received(_ message: FetchedMessage) {
        guard let place = message.partition, streams[place] != nil else {
            if message.code != RD_KAFKA_RESP_ERR_NO_ERROR { failed(message.error) }
            return
        }
        switch message.code {
        case RD_KAFKA_RESP_ERR_NO_ERROR:
            streams[place]?.buffer.append(
                StoredRecord(partition: place, offset: message.offset, record: message.record))
            pauseIfFull(place)
        case RD_KAFKA_RESP_ERR__PARTITION_EOF: streams[place]?.buffer.reachedEnd(at: message.offset)
        case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: locate(place)
        default:
            let error = ErrorTable.brokerError(message.error)
            log.warning("fetching failed", metadata: ["partition": "\(place)", "error": "\(error)"])
            failWaiting(place, error)
        }
    }

    private var unreadBytes: Int { streams.values.reduce(0) { $0 + $1.buffer.unreadBytes } }

    private var partOfOne: Int { bufferBytesMax / 2 / max(1, streams.count) }

    private func pauseIfFull(_ place: TopicPartition) {
        guard let client, let stream = streams[place], !stream.isPaused, stream.buffer.unreadBytes >= partOfOne,
            unreadBytes >= bufferBytesMax / 2
        else { return }
        let list = TopicPartitionList([place])
        let code = list.withPointer { rd_kafka_pause_partitions(client.handle, $0) }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { return }
        streams[place]?.isPaused = true
        SourceMetrics.pauses.increment()
    }

    /// A partition whose records are all taken is fetched again whatever others hold: whoever asks for its next one
    /// would wait for them.
    private func resumeIfRoom() {
        let hasMuchRoom = unreadBytes < bufferBytesMax / 4
        let paused = streams.filter { $1.isPaused && (hasMuchRoom || $1.buffer.unreadBytes <= partOfOne / 2) }
        guard let client, !paused.isEmpty else { return }
        let list = TopicPartitionList(capacity: paused.count)
        for (place, stream) in paused { list.add(place, offset: stream.buffer.next) }
        let code = list.withPointer { rd_kafka_resume_partitions(client.handle, $0) }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { return }
        // To where the partition stands already: a resumed one is fetched when its broker's thread next looks around,
        // up to a second later, and a seek wakes it.
        let error = list.withPointer { rd_kafka_seek_partitions(client.handle, $0, 0) }
        if let error { failed(KafkaError(consuming: error)) }
        for place in paused.keys { streams[place]?.isPaused = false }
    }

    // MARK: Fetching

    private func fetch(_ request: FetchRequest, _ completion: @escaping FetchCompletion) {
        let place = request.partition
        guard let stream = streams[place] else { return completion(.failure(.notAssigned(place, name))) }
        if request.offset == .max { return readers.fetch(request, completion: completion) }
        guard request.endOffset == nil else {
            // Again: from memory, or from the cluster; the stream stays where it is.
            guard case .found(let result) = stream.buffer.takeAgain(request) else {
                return readers.fetch(request, completion: completion)
            }
            return completion(.success(result))
        }
        streams[place]?.isTold = false
        streams[place]?.isOwed = false
        var buffer = stream.buffer
        switch buffer.takeNext(request) {
        case .found(let result):
            streams[place]?.buffer = buffer
            completion(.success(result))
            resumeIfRoom()
        case .notYet:
            streams[place]?.buffer = buffer
            if stream.position == .streaming, hasUnread(besides: place) {
                streams[place]?.isOwed = true
                completion(.success(buffer.nothingYet(at: request.offset)))
            } else {
                wait(request, completion)
            }
            if stream.position == .lost { locate(place) }
            resumeIfRoom()
        case .elsewhere:
            // A little back: what an earlier fetch brought was not taken after all.
            if request.offset < buffer.first, buffer.first - request.offset <= settings.rereadOffsetsMax {
                var part = request
                part.endOffset = buffer.first
                return readers.fetch(part, completion: completion)
            }
            do throws(BrokerError) {
                try move([place: request.offset])
                wait(request, completion)
            } catch {
                completion(.failure(error))
            }
        }
    }

    /// Another partition has records that nobody took.
    private func hasUnread(besides place: TopicPartition) -> Bool {
        streams.contains { $0 != place && $1.buffer.unreadBytes > 0 }
    }

    /// Records are on their way, or their leader does not answer. Whoever fetches waits for them as long as there is
    /// nothing else to be had: only then it is known whether there are records.
    private func wait(_ request: FetchRequest, _ completion: @escaping FetchCompletion) {
        streams[request.partition]?.waiting.append(
            Waiting(request: request, completion: completion, deadline: clock.now() + settings.readTimeout))
    }

    private func serveWaiting() {
        for place in streams.keys {
            guard let stream = streams[place], !stream.waiting.isEmpty else { continue }
            streams[place]?.waiting = []
            for waiting in stream.waiting { fetch(waiting.request, waiting.completion) }
        }
        // After the answers: what they did not bring is told.
        let news = Set(streams.filter(\.value.isNews).keys)
        guard !news.isEmpty else { return }
        for place in news { streams[place]?.isTold = true }
        delegate?.available(news)
    }

    private func giveUpWaiting() {
        let now = clock.now()
        for (place, stream) in streams where stream.waiting.contains(where: { $0.deadline <= now }) {
            failWaiting(place, .noRecordsInTime(place))
        }
    }

    func failWaiting(_ place: TopicPartition, _ error: BrokerError) {
        let waiting = streams[place]?.waiting ?? []
        streams[place]?.waiting = []
        for waiting in waiting { waiting.completion(.failure(error)) }
    }
}
