/// What librdkafka's mock cluster cannot do, and which tests therefore need a real one.
public enum MockLimits {
    public static let all: [(what: String, why: String)] = [
        ("atomicity", "it shows aborted and open transactions to read_committed readers"),
        ("fencing", "a second producer with the same transactional id does not end the first"),
        ("timestamps of records", "its acknowledgements say 1234, as if the topic stamped them"),
        ("topics that are missing", "it makes every topic that is asked for, and answers no CreateTopics"),
        ("offsets in transactions", "TxnOffsetCommit is dropped"),
        ("large topics", "it keeps at most 5 MiB a partition"),
        ("idempotence without transactions", "it tells repeated sequences only with a transactional id"),
        ("administrative calls", "it knows neither CreateTopics, DeleteTopics, DeleteRecords nor any configuration"),
        ("missing topics", "asking for one by name creates it; and none can be deleted, or get more partitions"),
    ]
}
