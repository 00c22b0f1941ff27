import HTTPServer
import JSON
import Primitives
import Records
import Spool

/// `Prefer: wait` of one produce call, from its acceptance on: the records are stored, whatever happens here, so every
/// answer says so. Where nothing can be waited for, it is the ordinary 202.
struct ProduceWait: Sendable {
    private let api: API
    private let answer: ProduceAnswer
    private let responder: Responder
    private let preference: PreferredWait
    private let until: MonotonicInstant
    private let lane: Int
    private let isReplay: Bool

    /// - Parameter isReplay: the request was accepted before, and its records are those.
    init(
        _ preference: PreferredWait, _ topic: TopicName, _ responder: Responder, _ answer: ProduceAnswer,
        isReplay: Bool, _ api: API
    ) {
        self.isReplay = isReplay
        self.api = api
        self.answer = answer
        self.responder = responder
        self.preference = preference
        until = api.clock.now() + preference.duration
        lane = api.spool.lane(of: topic)
    }

    /// On the journal's thread, or that of a repetition.
    func begin(_ acceptance: Acceptance) {
        let ordinary = { @Sendable in self.ordinary(acceptance) }
        guard preference.duration > .zero else {
            responder.respond(ordinary())
            return
        }
        responder.releaseBody()
        let watch = OutcomeWatch((0..<acceptance.count).map { acceptance.first.advanced(by: $0) }, api)
        let isParked = responder.park(
            until: until,
            onTimeout: {
                watch.cancel()
                return watch.hasDead ? settled(acceptance, watch) : ordinary()
            },
            onClientGone: { watch.cancel() }, orAnswer: ordinary)
        guard isParked else { return }
        let last = acceptance.first.advanced(by: acceptance.count - 1)
        let waits = watch.start([AwaitedRecords(lane: lane, first: acceptance.first, last: last)]) {
            responder.respond(settled(acceptance, watch))
        }
        if !waits { responder.respond(ordinary()) }
    }

    private func ordinary(_ acceptance: Acceptance) -> HTTPResponse {
        preference.response(answer.response(acceptance, isReplay: isReplay))
    }

    /// By what is known of the records now.
    private func settled(_ acceptance: Acceptance, _ watch: OutcomeWatch) -> HTTPResponse {
        let outcomes = watch.outcomes()
        let ordinary = self.ordinary(acceptance)
        var response: HTTPResponse
        if outcomes.allSatisfy(\.isDelivered) {
            var writer = JSONWriter(capacity: ordinary.body.count + outcomes.count * Self.outcomeBytes)
            writer.object { writer in
                writer.key("durability")
                writer.string(ProduceAnswer.durability(acceptance))
                write(watch.lsns, outcomes, to: &writer)
            }
            response = preference.response(.json(writer.bytes))
        } else if outcomes.contains(where: \.isDead) {
            let dead = outcomes.count { $0.isDead }
            var problem = Problem(
                422, "records_dead_lettered", "The broker refused some of the records for good",
                "\(dead) of \(outcomes.count) records are dead letters; all were accepted, and the others are or will "
                    + "be delivered")
            problem.outcome = .accepted
            problem.extra = { write(watch.lsns, outcomes, to: &$0) }
            response = preference.response(problem.response)
        } else {
            // Settled so long ago that it was forgotten.
            return ordinary
        }
        if isReplay { response.headers.append(ProduceAnswer.replayed) }
        // The receipts tell the same: without memory for the larger answer it is the ordinary one.
        let more = response.body.count - responder.reservedBytes
        return more <= 0 || responder.reserve(more) ? response : ordinary
    }

    private func write(_ lsns: [LSN], _ outcomes: [ReceiptOutcome], to writer: inout JSONWriter) {
        writer.key("receipts")
        writer.array { writer in
            for lsn in lsns { writer.string(api.receipt(lsn).description) }
        }
        writer.key("outcomes")
        writer.array { writer in
            for (lsn, outcome) in zip(lsns, outcomes) { writer.outcome(outcome, of: api.receipt(lsn)) }
        }
    }

    /// Of a delivered record, in a topic whose name is not very long: a guess for the first allocation.
    private static let outcomeBytes = 192
}
