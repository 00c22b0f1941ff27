/// Whether the cluster answers, as far as the gateway knows: looked at every `probeInterval`, and at each call.
public struct KafkaHealth: Hashable, Sendable {
    /// nil: nobody has asked so far.
    public var isReachable: Bool?
    /// Why not, or why it was not when it last was not: code and words.
    public var lastError: String?
    /// nil: not known yet, or a cluster without one.
    public var clusterID: String?
    /// Brokers that the cluster counts as its own.
    public var brokers = 0
    /// Milliseconds since 1970 of the last answer; nil: none since the start.
    public var answeredAtMs: Int64?
    /// Topics that intake knows, from this cluster or from disk.
    public var topicsKnown = 0
    /// Topics that are written to and can lose data, Postrider's own included; nil: nobody has looked so far.
    public var topicsWarned: Int?
    /// What about the topics of checkpoints and definitions can lose what is kept there, in words for people.
    public var ownTopicWarnings: [String] = []

    public init() {}
}
