import Broker
import CRdkafka
import Primitives

/// What became of the messages of one hand-over: a slot for each, which is the message's opaque. Reports come on
/// whichever thread polls the producer.
final class DeliveryReports: KafkaClientDelegate {
    struct Failure {
        var slot: Int
        var error: KafkaError
    }

    struct Placed {
        var offset: Int64
        var timestampMs: Int64
    }

    private struct State {
        var placed: [Placed] = []
        var outstanding = 0
        var failure: Failure?
        var clientError: KafkaError?
        var endTransactions = 0
    }

    private let state = Lock(State())

    /// Forgets the last hand-over, of which no report may be outstanding.
    ///
    /// - Parameter slots: messages that will be produced. Their number is told beforehand because a report may come at
    ///   once; where one is not taken no report comes, and the hand-over has failed.
    func begin(slots: Int) {
        state.withLock { state in
            state.placed = Array(repeating: Placed(offset: -1, timestampMs: -1), count: slots)
            state.outstanding = slots
            state.failure = nil
            state.clientError = nil
        }
    }

    /// Messages of this hand-over without a report.
    var outstanding: Int { state.withLock { $0.outstanding } }

    /// The first message that was refused; what failed with it or was purged because of it does not count.
    var failure: Failure? { state.withLock { $0.failure } }

    /// The last error of the client as a whole since `begin`: why nothing happens.
    var clientError: KafkaError? { state.withLock { $0.clientError } }

    /// How many EndTxn requests went out to the cluster, ever: copies that librdkafka sent again by itself, too.
    var endTransactions: Int { state.withLock { $0.endTransactions } }

    /// By slot. Of a hand-over that was acknowledged as a whole.
    var placed: [Placed] { state.withLock { $0.placed } }

    static func opaque(slot: Int) -> UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: slot + 1) }

    // MARK: - KafkaClientDelegate

    func delivered(_ message: UnsafePointer<rd_kafka_message_t>) {
        let slot = Int(bitPattern: message.pointee._private) - 1
        let timestampMs = rd_kafka_message_timestamp(message, nil)
        state.withLock { state in
            guard state.placed.indices.contains(slot) else { return }
            state.outstanding -= 1
            let code = message.pointee.err
            if code == RD_KAFKA_RESP_ERR_NO_ERROR {
                state.placed[slot] = Placed(offset: message.pointee.offset, timestampMs: timestampMs)
            } else if state.failure.map({ Self.isConsequence($0.error.code) }) ?? true {
                state.failure = Failure(slot: slot, error: KafkaError(code))
            }
        }
    }

    func failed(_ error: KafkaError) {
        state.withLock { $0.clientError = error }
    }

    func requestSent(_ apiKey: Int16) {
        guard apiKey == Self.endTransactionKey else { return }
        state.withLock { $0.endTransactions += 1 }
    }

    /// EndTxn's API key in Kafka's protocol.
    private static let endTransactionKey: Int16 = 26

    /// Given up because of another error.
    private static func isConsequence(_ code: rd_kafka_resp_err_t) -> Bool {
        code == RD_KAFKA_RESP_ERR__PURGE_QUEUE || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT
    }
}
