/// What tests need of a broker, where not every one has it.
public enum BrokerAbility: CaseIterable, Sendable {
    /// A `read_committed` reader sees no record of an open or aborted transaction.
    case atomicity
    /// A second producer of a `transactional.id` ends the first.
    case fencing
    /// A producer without transactions may repeat itself, and is not written twice.
    case idempotence
    /// Receipts and deliveries tell a record's own timestamp.
    case deliveryTimestamps
    /// The first record at or after a time is found.
    case offsetsByTime
    case creatingTopics
    case deletingTopics
    /// Limits, retention and warnings of topics.
    case topicSettings
    case purging
    /// A topic that nobody made is not there.
    case missingTopics
    /// A consumer that is defined anew begins anew.
    case forgettingGroups
    /// Changing a consumer's topics, which deletes the offsets of others.
    case listingGroupOffsets
    /// Moving offsets of a group that had members and has none.
    case offsetsOfLeftGroups
    /// More than 5 MiB in a partition.
    case largePartitions
}

/// What librdkafka's mock cluster (2.0.2) cannot do, and why: the one list of what needs a real cluster.
public enum MockLimits {
    public static let reasons: [BrokerAbility: String] = [
        .atomicity: "the mock cluster shows open and aborted transactions to everybody",
        .fencing: "the mock cluster lets two producers with one transactional id go on side by side",
        .idempotence: "the mock cluster knows repeated sequences by transactional ids only",
        .deliveryTimestamps: "the mock cluster acknowledges every record with timestamp 1234",
        .offsetsByTime: "the mock cluster finds the beginning and the end only",
        .creatingTopics: "the mock cluster has no controller and no CreateTopics",
        .deletingTopics: "the mock cluster has no controller and no DeleteTopics",
        .topicSettings: "the mock cluster has neither DescribeConfigs nor AlterConfigs",
        .purging: "the mock cluster has no DeleteRecords",
        .missingTopics: "the mock cluster makes every topic that it is asked about",
        .forgettingGroups: "the mock cluster has no DeleteGroups, and the library aborts over it",
        .listingGroupOffsets: "the mock cluster tells offsets of partitions that are named, and has no OffsetDelete",
        .offsetsOfLeftGroups: "the mock cluster takes offsets from members only once a group had one",
        .largePartitions: "the mock cluster keeps 5 MiB a partition",
    ]
}
