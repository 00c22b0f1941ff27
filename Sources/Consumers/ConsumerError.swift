public import Broker
import Primitives
public import Records

/// Why a call on a consumer was not done. Nothing was leased or committed unless the case says so.
public enum ConsumerError: Error, Equatable, Sendable {
    case unknownConsumer(ConsumerName)
    case unknownTopic(TopicName)
    /// The consumer exists with other topics or another mode.
    case conflict(ConsumerName, reason: String)
    /// Some of the named deliveries are no longer the caller's. The others are committed; the result says which.
    case leasesLost(LeaseResult)
    /// A poll of this client name is waiting already.
    case clientBusy(String)
    /// The poll was cancelled, or its client was found gone. Nothing is leased.
    case clientLeft
    /// A field's value is malformed or outside its bounds.
    case invalid(field: String, reason: String)
    /// The stored definition is of a form this version does not know: delete or replace it, or run the newer version.
    case unreadable(ConsumerName)
    /// The broker did not do its part; whether a commit happened is unknown, and repeating the call is safe.
    case unavailable(BrokerError)
    /// The store has not said yet which consumers there are.
    case unverified
    /// Members of its group that are not this gateway's keep its offsets from being changed; nothing was changed.
    case activeElsewhere(ConsumerName)
    /// A limit of `ConsumersSettings` is reached, named by it; later it may not be.
    case limitReached(String)
    /// The gateway stops, or the definition is being replaced.
    case stopping

    /// Stable, snake_case; API maps it to a status.
    public var code: String {
        switch self {
        case .unknownConsumer: "unknown_consumer"
        case .unknownTopic: "unknown_topic"
        case .conflict: "consumer_conflict"
        case .leasesLost: "leases_lost"
        case .clientBusy: "client_busy"
        case .clientLeft: "client_left"
        case .invalid: "invalid_field"
        case .unreadable: "consumer_unreadable"
        case .unavailable: "broker_unavailable"
        case .unverified: "consumers_unverified"
        case .activeElsewhere: "consumer_active_elsewhere"
        case .limitReached: "limit_reached"
        case .stopping: "stopping"
        }
    }

    /// The same call may succeed later without anything being changed.
    public var isRetriable: Bool {
        switch self {
        case .unavailable(let error): error.class == .retriable
        case .clientBusy, .limitReached, .stopping, .unverified, .activeElsewhere: true
        case .unknownConsumer, .unknownTopic, .conflict, .leasesLost, .clientLeft, .invalid, .unreadable: false
        }
    }

    /// What the broker said of this consumer.
    init(_ error: BrokerError, _ name: ConsumerName) {
        self = error.code == "consumer_active_elsewhere" ? .activeElsewhere(name) : .unavailable(error)
    }

    /// Counts a limit that was reached, where it is made an answer.
    func countLimit() {
        if case .limitReached(let name) = self { Limit(rawValue: "consumers.\(name)")?.reached() }
    }

    /// With what only the consumer's owner can tell.
    func named(_ name: ConsumerName) -> ConsumerError {
        if case .unavailable(let error) = self { ConsumerError(error, name) } else { self }
    }
}
