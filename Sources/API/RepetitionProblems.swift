import JSON
import Records
import Spool

// What a request is told that cannot be the first with its key or sequence, and is no repetition either.

extension Problem {
    /// Another request with this key is not answered yet, or it is not known what became of it.
    static var keyInFlight: Problem {
        Problem(
            409, "idempotency_in_flight", "The first request with this key is not answered yet",
            "what became of it is not certain yet; repeat this one", retryable: true, retryAfterSeconds: 1,
            outcome: .unknown)
    }

    static var keyReused: Problem {
        Problem(
            422, "idempotency_key_reused", "The key was used for another request",
            "a request with the same Idempotency-Key and another content was accepted on this route",
            outcome: .notAccepted)
    }

    static var sequenceInFlight: Problem {
        Problem(
            409, "sequence_in_flight", "A request of this producer is not answered yet",
            "one at a time; what became of the other is not certain yet; repeat this one", retryable: true,
            retryAfterSeconds: 1, outcome: .unknown)
    }

    static var sequenceReused: Problem {
        Problem(
            422, "sequence_reused", "The number was used for another request",
            "a request of this producer with the same number and another content was accepted", outcome: .notAccepted)
    }

    /// - Parameter expected: 1 also for a producer that was forgotten, whose earlier requests may be stored.
    static func sequenceGap(expected: UInt64) -> Problem {
        var problem = Problem(
            409, "sequence_gap", "The number is not the producer's next",
            expected == 1
                ? "the producer is not known here, or not any more; its first request has the number 1"
                : "the producer's next request has the number \(expected)",
            outcome: expected == 1 ? .unknown : .notAccepted)
        problem.extra = { writer in
            writer.key("expected")
            writer.integer(expected)
        }
        return problem
    }

    static var sequenceTooOld: Problem {
        Problem(
            409, "sequence_too_old", "The number is too far behind the producer's last",
            "a request with this number was accepted; its answer is no longer known, nor what it was", outcome: .unknown
        )
    }

    static func idempotencyFull(_ limit: IdempotencyLimit) -> Problem {
        let (setting, max, what) =
            switch limit {
            case .keys(let max): ("keys_max", max, "keys that are not past their lifetime")
            case .producers(let max): ("producers_max", max, "producers that are not idle")
            }
        return Problem(
            503, "idempotency_full", "No further key or producer can be remembered",
            "idempotency.\(setting) is \(max), and there are as many \(what)", retryable: true,
            retryAfterSeconds: 60, outcome: .notAccepted)
    }
}
