import Primitives

/// Serves the producers of open sinks twice a second: a lane's own thread polls only while it hands over, and what
/// librdkafka reports meanwhile (brokers that come and go) would pile up. Ends when its owner is gone.
final class IdlePoller: Sendable {
    private static let period = Duration.milliseconds(500)

    private struct Weak { weak var producer: SinkProducer? }

    private struct State {
        var producers: [Weak] = []
        var isStopping = false
    }

    private let monitor: Monitor<State>
    private let thread: WorkerThread

    init() {
        let monitor = Monitor(State())
        self.monitor = monitor
        thread = WorkerThread(name: "kafka-idle") {
            while true {
                let stopping = monitor.wait(until: SystemClock().now() + Self.period) { $0.isStopping ? true : nil }
                if stopping != nil { return }
                let producers = monitor.withLock { state in
                    state.producers.removeAll { $0.producer == nil }
                    return state.producers.compactMap(\.producer)
                }
                for producer in producers { producer.serve() }
            }
        }
    }

    /// Held weakly.
    func add(_ producer: SinkProducer) { monitor.withLock { $0.producers.append(Weak(producer: producer)) } }

    deinit {
        monitor.withLock { $0.isStopping = true }
        monitor.broadcast()
    }
}
