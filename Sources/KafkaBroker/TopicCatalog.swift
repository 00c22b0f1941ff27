import Broker
import Primitives
import Records

/// What is known of the cluster's topics. A value without effects: `TopicKeeper` asks Kafka, tells it here, and keeps a
/// copy on disk, so that intake works while Kafka is away.
struct TopicCatalog {
    struct Entry: Hashable {
        var partitions: Int32
        /// nil: not read so far, or not ours to read.
        var limits: TopicLimits?
        /// Records were accepted for it: it is worth a warning.
        var isUsed = false
        /// What about it can lose data.
        var warnings: [String] = []
        /// The last ones that were logged.
        var told: [String] = []
        /// When Kafka last said so; nil: it did not since the start.
        var verifiedAt: MonotonicInstant?
    }

    /// How long an answer of Kafka's is taken for the present state.
    static let answerLife = Duration.seconds(1)
    /// Names that do not exist and were asked for lately.
    static let absentMax = 10_000

    private(set) var entries: [TopicName: Entry] = [:]
    private var absentUntil: [TopicName: MonotonicInstant] = [:]
    /// Of the cluster that all of this is about; nil: not known yet.
    private(set) var clusterID: String?
    private let topicsMax: Int
    /// What is on disk is older.
    private(set) var isChanged = false
    private var overflowed = 0

    init(topicsMax: Int) { self.topicsMax = topicsMax }

    // MARK: - Asking

    /// - Returns: never `creatable`: a topic that may be created is, when it is verified.
    func knowledge(of topic: TopicName, at now: MonotonicInstant) -> TopicKnowledge {
        if let entry = entries[topic] { return .known(entry.known) }
        return absentUntil[topic].map { now < $0 } == true ? .missing : .unverified
    }

    /// What Kafka said within `answerLife`; nil: ask it.
    func fresh(_ topic: TopicName, at now: MonotonicInstant) -> TopicKnowledge? {
        if let entry = entries[topic] {
            return entry.verifiedAt.map { now < $0 + Self.answerLife } == true ? .known(entry.known) : nil
        }
        let knowledge = knowledge(of: topic, at: now)
        return knowledge == .missing ? knowledge : nil
    }

    // MARK: - What happens here

    /// Records are accepted for it.
    mutating func use(_ topic: TopicName) {
        guard entries[topic]?.isUsed == false else { return }
        entries[topic]?.isUsed = true
        isChanged = true
    }

    mutating func saved() { isChanged = false }

    // MARK: - What Kafka says

    /// - Returns: false when what was known was of another cluster: it is forgotten.
    mutating func isOf(cluster id: String?) -> Bool {
        guard let id else { return true }
        let isSame = clusterID == nil || clusterID == id
        if !isSame { (entries, absentUntil) = ([:], [:]) }
        if clusterID != id { isChanged = true }
        clusterID = id
        return isSame
    }

    /// The topic exists.
    ///
    /// - Parameter limits: nil leaves what is known of them.
    mutating func found(
        _ topic: TopicName, partitions: Int32, limits: TopicLimits? = nil, at now: MonotonicInstant
    ) {
        absentUntil[topic] = nil
        guard var entry = entries[topic] else {
            guard entries.count < topicsMax else {
                overflowed += 1
                return
            }
            entries[topic] = Entry(partitions: partitions, limits: limits, verifiedAt: now)
            isChanged = true
            return
        }
        let before = entry
        entry.partitions = partitions
        entry.limits = limits ?? entry.limits
        if entry.partitions != before.partitions || entry.limits != before.limits { isChanged = true }
        entry.verifiedAt = now
        entries[topic] = entry
    }

    /// There is no such topic.
    mutating func absent(_ topic: TopicName, at now: MonotonicInstant) {
        if entries.removeValue(forKey: topic) != nil { isChanged = true }
        if absentUntil.count >= Self.absentMax { absentUntil = absentUntil.filter { now < $0.value } }
        if absentUntil.count >= Self.absentMax { absentUntil = [:] }
        absentUntil[topic] = now + Self.answerLife
    }

    mutating func warn(_ topic: TopicName, _ warnings: [String]) { entries[topic]?.warnings = warnings }

    /// What is new among `warned` since the last time.
    mutating func takeNews() -> [(topic: TopicName, warnings: [String])] {
        let news = warned.filter { entries[$0.topic]?.told != $0.warnings }
        for (topic, warnings) in news { entries[topic]?.told = warnings }
        return news
    }

    /// How many topics found no place since the last time.
    mutating func takeOverflow() -> Int {
        defer { overflowed = 0 }
        return overflowed
    }

    /// Topics that are used and can lose data, by name.
    var warned: [(topic: TopicName, warnings: [String])] {
        entries.filter { $0.value.isUsed && !$0.value.warnings.isEmpty }.map { ($0.key, $0.value.warnings) }
            .sorted { $0.topic < $1.topic }
    }

    // MARK: - From disk

    mutating func restore(_ stored: StoredTopics) {
        clusterID = stored.clusterID
        for topic in stored.topics.prefix(topicsMax) {
            entries[topic.name] = Entry(partitions: topic.partitions, limits: topic.limits, isUsed: topic.isUsed)
        }
    }

    /// By name, so that the same knowledge is the same file.
    var stored: StoredTopics {
        StoredTopics(
            clusterID: clusterID,
            topics: entries.map { name, entry in
                StoredTopics.Topic(
                    name: name, partitions: entry.partitions, limits: entry.limits, isUsed: entry.isUsed)
            }.sorted { $0.name < $1.name })
    }
}

extension TopicCatalog.Entry {
    var known: KnownTopic {
        let bytes = limits?.messageBytesMax
        return KnownTopic(
            partitions: partitions,
            recordBytesMax: bytes.map { max(0, $0 - RecordBatchSize.overheadBytesMax) } ?? Int.max,
            messageBytesMax: bytes, timestampBounds: limits?.timestampBounds)
    }
}
