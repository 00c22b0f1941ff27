public import Records

/// A record by its place.
public struct RecordPlace: Hashable, Sendable {
    public var partition: TopicPartition
    public var offset: Int64

    public init(partition: TopicPartition, offset: Int64) {
        self.partition = partition
        self.offset = offset
    }
}

/// Which leases a client speaks of; at most `ConsumersSettings.acknowledgementItemsMax` items.
public enum LeaseSelector: Hashable, Sendable {
    /// All records of the answer with this token.
    case answer(String)
    /// These deliveries.
    case deliveries([String])
    /// Each of these deliveries, and those before it in its partition in the same answer.
    case through([String])
    /// The same as `through`, by the record's offset, if it is leased to this client.
    case offsets([RecordPlace], client: String)

    var itemCount: Int {
        switch self {
        case .answer: 1
        case .deliveries(let ids), .through(let ids): ids.count
        case .offsets(let places, _): places.count
        }
    }
}

/// What became of one item.
public enum LeaseOutcome: String, Hashable, Sendable {
    /// Committed now, or by an earlier acknowledgement of the same delivery.
    case acknowledged
    /// Given back.
    case returned
    /// The deadline is the new one.
    case extended
    /// Past its deadline, given back, of an older generation, or never handed out; for anything but an
    /// acknowledgement also what is acknowledged. Nothing was done.
    case leaseLost = "lease_lost"
}

public struct LeaseResult: Equatable, Sendable {
    /// In the order of the items.
    public var outcomes: [LeaseOutcome]
    /// Committed offset (the next to read) of each partition that a good item is in.
    public var committed: [TopicPartition: Int64]

    public init(outcomes: [LeaseOutcome], committed: [TopicPartition: Int64]) {
        self.outcomes = outcomes
        self.committed = committed
    }
}

/// What is to be done with leases.
enum LeaseAction: Sendable {
    case acknowledge
    case giveBack(delay: Duration, reason: String?)
    case extend(by: Duration)

    var isAcknowledgement: Bool { if case .acknowledge = self { true } else { false } }

    /// What a good item is told.
    var done: LeaseOutcome {
        switch self {
        case .acknowledge: .acknowledged
        case .giveBack: .returned
        case .extend: .extended
        }
    }
}

/// A selector whose ids were read.
enum ParsedSelector: Sendable {
    case answer(AnswerToken)
    case deliveries([DeliveryID])
    case through([DeliveryID])
    case offsets([RecordPlace], client: String)

    init(_ selector: LeaseSelector, _ settings: ConsumersSettings) throws(ConsumerError) {
        guard selector.itemCount >= 1, selector.itemCount <= settings.acknowledgementItemsMax else {
            throw .invalid(field: "items", reason: "between 1 and \(settings.acknowledgementItemsMax) are expected")
        }
        switch selector {
        case .answer(let text):
            guard let token = AnswerToken(text) else { throw .invalid(field: "ack", reason: "is no ack token") }
            self = .answer(token)
        case .deliveries(let texts): self = .deliveries(try Self.read(texts, field: "deliveries"))
        case .through(let texts): self = .through(try Self.read(texts, field: "through"))
        case .offsets(let places, let client):
            if let index = places.firstIndex(where: { $0.offset < 0 }) {
                throw .invalid(field: "offsets/\(index)/offset", reason: "is negative")
            }
            self = .offsets(places, client: client)
        }
    }

    private static func read(_ texts: [String], field: String) throws(ConsumerError) -> [DeliveryID] {
        var ids: [DeliveryID] = []
        ids.reserveCapacity(texts.count)
        for (index, text) in texts.enumerated() {
            guard let id = DeliveryID(text) else {
                throw .invalid(field: "\(field)/\(index)", reason: "is no delivery id")
            }
            ids.append(id)
        }
        return ids
    }
}
