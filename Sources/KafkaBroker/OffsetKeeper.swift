import Broker
import CRdkafka
import CoreMetrics
import Logging
import Primitives
import Records

/// Commits the offsets of consumers that nobody uses again, unchanged, every `offsetsRecommit`: a cluster forgets
/// those of groups without members (`offsets.retention.minutes`, counted from when the last member left). Several
/// gateways do it side by side; each writes what is there.
final class OffsetKeeper: Sendable {
    private let settings: KafkaBrokerSettings
    private let admin: GroupAdmin
    private let members: GroupConsumers
    private let follower: DefinitionsFollower
    private let stopping = Monitor(false)
    private let thread = Lock<WorkerThread?>(nil)
    private let log = Logger(label: "postrider.kafka.offsets")
    private let recommitted = Counter(label: "postrider_kafka_offsets_recommitted_total")
    private let failed = Counter(label: "postrider_kafka_offsets_recommit_errors_total")

    init(
        settings: KafkaBrokerSettings, admin: GroupAdmin, members: GroupConsumers, follower: DefinitionsFollower
    ) {
        self.settings = settings
        self.admin = admin
        self.members = members
        self.follower = follower
        let worker = WorkerThread(name: "kafka-keeper") { [weak self] in self?.run() }
        thread.withLock { $0 = worker }
    }

    private func run() {
        // Soon after the start: a gateway that is restarted every day must come to it, too.
        var pause = min(.seconds(600), settings.offsetsRecommit)
        while true {
            let isStopping = stopping.wait(until: SystemClock().now() + pause) { $0 ? true : nil }
            if isStopping != nil { return }
            for name in follower.names {
                if stopping.withLock({ $0 }) { return }
                recommit(name)
            }
            pause = settings.offsetsRecommit
        }
    }

    /// Between the reading and the writing somebody may use the consumer and leave it again: then what was
    /// acknowledged in that moment is delivered once more.
    private func recommit(_ name: ConsumerName) {
        guard members.live(name) == nil else { return }
        do throws(BrokerError) {
            let offsets = try admin.committed(name, of: nil)
            guard !offsets.isEmpty, members.live(name) == nil else { return }
            try admin.commit(name, offsets)
            recommitted.increment()
        } catch {
            // A group with members keeps its offsets by itself.
            if error.code == "consumer_active_elsewhere" { return }
            failed.increment()
            log.warning(
                "an idle consumer's offsets were not committed again",
                metadata: ["consumer": "\(name)", "error": "\(error)"])
        }
    }

    func stop() {
        stopping.withLock { $0 = true }
        stopping.broadcast()
        thread.withLock { $0 }?.join()
    }
}
