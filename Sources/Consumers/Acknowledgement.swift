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

/// What a client says it is done with; at most `ConsumersSettings.acknowledgementItemsMax` items.
public enum Acknowledgement: Hashable, Sendable {
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

/// What became of one item of an acknowledgement.
public enum AcknowledgementOutcome: String, Hashable, Sendable {
    /// Committed now, or by an earlier acknowledgement of the same delivery.
    case acknowledged
    /// Past its deadline, of an older generation, or never handed out: nothing was done.
    case leaseLost = "lease_lost"
}

public struct AcknowledgementResult: Equatable, Sendable {
    /// In the order of the items.
    public var outcomes: [AcknowledgementOutcome]
    /// Committed offset (the next to read) of each partition that an acknowledged item is in.
    public var committed: [TopicPartition: Int64]

    public init(outcomes: [AcknowledgementOutcome], committed: [TopicPartition: Int64]) {
        self.outcomes = outcomes
        self.committed = committed
    }
}

/// An acknowledgement whose ids were read.
enum ParsedAcknowledgement: Sendable {
    case answer(AnswerToken)
    case deliveries([DeliveryID])
    case through([DeliveryID])
    case offsets([RecordPlace], client: String)

    init(_ acknowledgement: Acknowledgement, _ settings: ConsumersSettings) throws(ConsumerError) {
        guard acknowledgement.itemCount >= 1, acknowledgement.itemCount <= settings.acknowledgementItemsMax else {
            throw .invalid(field: "acks", reason: "between 1 and \(settings.acknowledgementItemsMax) items")
        }
        switch acknowledgement {
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
