import Broker
import CRdkafka
import CoreMetrics
import Logging
import Primitives
import Records

/// Keeps the catalog of topics true, on a thread of its own: asks Kafka about one topic when somebody needs to know,
/// and about all of them every `metadataRefresh`; looks whether the cluster answers; writes the catalog to disk; warns
/// about topics that can lose data. One question after the other; what somebody waits for comes first.
///
/// Life: `start`, then `stop` once. Any thread may call.
final class TopicKeeper: Sendable {
    typealias Completion = @Sendable (TopicKnowledge) -> Void

    struct Work {
        /// In the order in which they were asked for.
        var asked: [TopicName] = []
        var waiting: [TopicName: [Completion]] = [:]
        var waitingCount = 0
        /// Kafka did not answer lately: nobody waits for it to do so.
        var awayUntil: MonotonicInstant?
        /// Something happened that health should know of.
        var probesNow = false
        var isStopping = false
        var hasEnded = false
    }

    let settings: KafkaBrokerSettings
    let admin: AdminClient
    let clock: any TimeSource
    let catalog: Lock<TopicCatalog>
    let log: Logger
    private let file: TopicFile
    private let work = Monitor(Work())
    private let healthState = Lock(KafkaHealth())

    private let verified = Counter(label: "postrider_kafka_topic_verifications_total")
    private let refused = Counter(label: "postrider_kafka_topic_verifications_refused_total")
    private let reachableGauge = Gauge(label: "postrider_kafka_reachable")
    private let knownGauge = Gauge(label: "postrider_kafka_topics_known")
    private let warnedGauge = Gauge(label: "postrider_kafka_topics_warned")
    private let ownWarningsGauge = Gauge(label: "postrider_kafka_own_topic_warnings")

    init(
        settings: KafkaBrokerSettings, admin: AdminClient, directory: String, fileSystem: any FileSystem,
        clock: any TimeSource, log: Logger
    ) {
        self.settings = settings
        self.admin = admin
        self.clock = clock
        self.log = log
        file = TopicFile(directory: directory, fileSystem: fileSystem)
        var catalog = TopicCatalog(topicsMax: settings.topicsMax)
        do throws(TopicFile.ReadError) {
            if let stored = try file.read() { catalog.restore(stored) }
        } catch {
            log.warning("what was known of topics is lost, and asked for again", metadata: ["error": "\(error)"])
        }
        self.catalog = Lock(catalog)
        healthState.withLock { [count = catalog.entries.count] in $0.topicsKnown = count }
    }

    func start() { _ = WorkerThread(name: "kafka-topics") { [self] in run() } }

    /// Tells whoever waits what is known, saves the catalog. Blocks until the question in progress is over, or the
    /// deadline: then it ends by itself.
    ///
    /// - Returns: whether it is over.
    func stop(until deadline: MonotonicInstant) -> Bool {
        work.withLock { $0.isStopping = true }
        work.broadcast()
        return work.wait(until: deadline) { $0.hasEnded ? true : nil } ?? false
    }

    // MARK: - Asking

    var health: KafkaHealth { healthState.withLock { $0 } }

    /// On the accept path of every request: memory only.
    func knowledge(of topic: TopicName) -> TopicKnowledge {
        let now = clock.now()
        return catalog.withLock { catalog in
            catalog.use(topic)
            return catalog.knowledge(of: topic, at: now)
        }
    }

    /// - Parameter completion: on the keeper's thread, or before this returns.
    func verify(_ topic: TopicName, completion: @escaping Completion) {
        let now = clock.now()
        let (fresh, remembered) = catalog.withLock { catalog in
            (catalog.fresh(topic, at: now), catalog.knowledge(of: topic, at: now))
        }
        if let fresh { return completion(fresh) }
        let isQueued = work.withLock { work in
            if work.isStopping || work.awayUntil.map({ now < $0 }) == true { return false }
            guard work.waitingCount < settings.verificationsMax else {
                refused.increment()
                Limit.kafkaVerifications.reached()
                return false
            }
            if work.waiting[topic] == nil { work.asked.append(topic) }
            work.waiting[topic, default: []].append(completion)
            work.waitingCount += 1
            return true
        }
        guard isQueued else { return completion(remembered) }
        verified.increment()
        work.broadcast()
    }

    /// - Returns: whether it ended early, because the keeper stops.
    func pause(until deadline: MonotonicInstant) -> Bool {
        work.wait(until: deadline) { $0.isStopping ? true : nil } != nil
    }

    func probeNow() {
        work.withLock { $0.probesNow = true }
        work.broadcast()
    }

    // MARK: - The thread

    /// When what is due next.
    private struct Agenda {
        var refresh: MonotonicInstant
        var probe: MonotonicInstant
        var save: MonotonicInstant
        var warning: MonotonicInstant
        var round: TopicRound?
    }

    private enum Step {
        case stop
        case verify(TopicName)
        case probe
    }

    /// librdkafka's own events are served at least so often.
    private static let pollInterval = Duration.seconds(1)
    private static let saveInterval = Duration.seconds(1)

    private func run() {
        let now = clock.now()
        var agenda = Agenda(refresh: now, probe: now, save: now, warning: now + settings.warningInterval)
        steps: while true {
            var until = min(agenda.refresh, agenda.probe, clock.now() + Self.pollInterval)
            if agenda.round != nil { until = clock.now() }
            let step = work.wait(until: until) { work -> Step? in
                if work.isStopping { return .stop }
                if !work.asked.isEmpty { return .verify(work.asked.removeFirst()) }
                guard work.probesNow else { return nil }
                work.probesNow = false
                return .probe
            }
            rd_kafka_poll(admin.client.handle, 0)
            switch step {
            case .stop: break steps
            case .verify(let topic): answer(topic)
            case .probe: probe(&agenda)
            case nil: routine(&agenda)
            }
            save(&agenda, force: false)
        }
        save(&agenda, force: true)
        answerAll()
        work.withLock { $0.hasEnded = true }
        work.broadcast()
    }

    private func routine(_ agenda: inout Agenda) {
        let now = clock.now()
        if var round = agenda.round {
            agenda.round = round.step(self) ? round : nil
            if agenda.round == nil { roundIsOver(&agenda) }
        } else if now >= agenda.refresh {
            agenda.refresh = now + settings.metadataRefresh
            agenda.probe = now + settings.probeInterval
            agenda.round = TopicRound(self)
            // What failed is tried again with the probes.
            if agenda.round == nil { agenda.refresh = now + settings.probeInterval }
        } else if now >= agenda.probe {
            probe(&agenda)
        }
    }

    private func probe(_ agenda: inout Agenda) {
        agenda.probe = clock.now() + settings.probeInterval
        let wasReachable = health.isReachable == true
        // The answer about one topic that is there is short, and makes none.
        let topic = catalog.withLock { $0.entries.first?.key }
        guard metadata(of: topic) != nil else { return }
        // What happened meanwhile is not known.
        if !wasReachable { agenda.refresh = clock.now() }
    }

    // MARK: - Questions

    /// One question, which health learns from. nil: no answer.
    func metadata(of topic: TopicName?) -> KafkaMetadata? {
        let metadata: KafkaMetadata
        do throws(KafkaError) {
            metadata = try admin.client.metadata(of: topic, within: settings.socketTimeout)
        } catch {
            failed(error)
            return nil
        }
        let cluster = admin.client.clusterID
        let isSame = catalog.withLock { $0.isOf(cluster: cluster) }
        if !isSame {
            log.warning(
                "another cluster than before: what was known of its topics is forgotten",
                metadata: ["cluster": "\(cluster ?? "")"])
        }
        let wasReachable = healthState.withLock { health in
            defer {
                (health.isReachable, health.brokers, health.clusterID) = (true, metadata.brokers.count, cluster)
                health.answeredAtMs = clock.wallMilliseconds()
            }
            return health.isReachable
        }
        work.withLock { $0.awayUntil = nil }
        if wasReachable != true {
            log.notice(
                "Kafka answers", metadata: ["cluster": "\(cluster ?? "")", "brokers": "\(metadata.brokers.count)"])
        }
        reachableGauge.record(1)
        return metadata
    }

    /// The cluster did not answer.
    func failed(_ error: KafkaError) {
        let text = "\(ErrorTable.entry(for: error.code).label): \(error)"
        let before = healthState.withLock { health in
            defer { (health.isReachable, health.lastError) = (false, text) }
            return health.isReachable
        }
        work.withLock { $0.awayUntil = clock.now() + TopicCatalog.answerLife }
        reachableGauge.record(0)
        if before != false { log.warning("Kafka does not answer", metadata: ["error": "\(text)"]) }
    }

    private func answer(_ topic: TopicName) {
        let isAway = work.withLock { [now = clock.now()] work in work.awayUntil.map { now < $0 } == true }
        // One question about many topics would have told the same of each.
        if isAway || !ask(topic, creates: true) { answerAll() }
        complete([topic])
    }

    private func answerAll() {
        let topics = work.withLock { work in
            defer { work.asked = [] }
            return work.asked
        }
        complete(topics)
    }

    private func complete(_ topics: [TopicName]) {
        for topic in topics {
            let completions = work.withLock { work in
                let completions = work.waiting.removeValue(forKey: topic) ?? []
                work.waitingCount -= completions.count
                return completions
            }
            let now = clock.now()
            let knowledge = catalog.withLock { $0.knowledge(of: topic, at: now) }
            for completion in completions { completion(knowledge) }
        }
    }

    // MARK: - Disk and people

    private func save(_ agenda: inout Agenda, force: Bool) {
        let now = clock.now()
        guard force || now >= agenda.save else { return }
        let (stored, count) = catalog.withLock { ($0.isChanged ? $0.stored : nil, $0.entries.count) }
        guard let stored else { return }
        agenda.save = now + Self.saveInterval
        healthState.withLock { $0.topicsKnown = count }
        knownGauge.record(count)
        do throws(FileSystemError) {
            try file.write(stored)
            // Only this thread changes more than who is used, and that is seen again.
            catalog.withLock { $0.saved() }
        } catch {
            agenda.save = now + settings.metadataRefresh
            log.warning("what is known of topics cannot be kept", metadata: ["error": "\(error)"])
        }
    }

    /// Says what is new; the rest once in `warningInterval`.
    private func roundIsOver(_ agenda: inout Agenda) {
        let now = clock.now()
        let (news, all) = catalog.withLock { ($0.takeNews(), $0.warned) }
        let own = all.filter { OwnTopic($0.topic, settings) != nil }
            .flatMap { topic, warnings in warnings.map { "\(topic): \($0)" } }
        healthState.withLock { ($0.topicsWarned, $0.ownTopicWarnings) = (all.count, own) }
        warnedGauge.record(all.count)
        ownWarningsGauge.record(own.count)
        for (topic, warnings) in news.prefix(Self.namesShownMax) {
            log.warning(
                "topic can lose data",
                metadata: ["topic": "\(topic)", "warnings": "\(warnings.joined(separator: "; "))"])
        }
        guard now >= agenda.warning || news.count > Self.namesShownMax, !all.isEmpty else { return }
        agenda.warning = now + settings.warningInterval
        let names = all.prefix(Self.namesShownMax).map(\.topic.text).joined(separator: ", ")
        log.warning(
            "topics can lose data", metadata: ["number": "\(all.count)", "topics": "\(names)"])
    }

    private static let namesShownMax = 20
}
