import API
import Broker
import EmbeddedBroker
import Primitives
import Spool

/// A broker behind its protocols, whichever it is: what the gateway needs of it.
struct BrokerParts: Sendable {
    var sinks: any RecordSinkFactory
    var outcomes: any OutcomeSource
    var source: any RecordSource
    var offsets: any OffsetStore
    var topics: any TopicAdmin
    /// For status pages: from memory, never blocks.
    var health: @Sendable () -> GatewayView.Broker
    /// After the lanes and the consumers stopped. Blocks no longer than a few seconds.
    var close: @Sendable () -> Void
}

extension BrokerParts {
    /// The one that the settings name. Blocks on the disk; never on a cluster, which may be away.
    static func open(_ settings: Settings, clock: any TimeSource, timers: any Timers) throws(BrokerError) -> Self {
        switch settings.brokerKind {
        case .embedded: try embedded(settings, clock: clock, timers: timers)
        case .kafka: throw BrokerError(.processFatal, code: "not_built", detail: "broker.kind=kafka is not there yet")
        }
    }

    /// SQLite in the data directory. Blocks on the disk.
    static func embedded(_ settings: Settings, clock: any TimeSource, timers: any Timers) throws(BrokerError) -> Self {
        let directory = settings.dataDirectory + "/broker"
        do throws(FileSystemError) {
            try SystemFileSystem().createDurableDirectory(directory)
        } catch {
            throw BrokerError(.processFatal, code: "directory", detail: error.description)
        }
        let broker = try EmbeddedBroker(
            directory: directory, settings: settings.broker, clock: clock, timers: timers)
        let guarantee = broker.guarantee.rawValue
        return Self(
            sinks: broker, outcomes: broker, source: broker, offsets: broker, topics: broker,
            health: { GatewayView.Broker(kind: BrokerKind.embedded.rawValue, guarantee: guarantee, reachable: true) },
            close: { broker.close() })
    }
}
