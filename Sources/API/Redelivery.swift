import Broker
import DeadLetters
import HTTPServer
import Logging
import Primitives
import Records
import Spool

/// Sends one dead letter again: as a new record that carries the old one's LSN. `DeadLetters+Redelivery.swift` says why
/// that is once, whatever fails when.
struct Redelivery: Sendable {
    let api: API
    let lsn: LSN
    let responder: Responder
    /// Its lines name the request.
    let log: Logger

    /// Reads the disk: on `lookups`.
    func begin() throws(Problem) {
        let letter = try api.deadLetter(lsn)
        api.topics.look(letter.topic) { knowledge in
            switch knowledge {
            case .known(let known), .creatable(let known):
                // The broker's thread must not wait for the disk.
                let isQueued = api.lookups.run {
                    do throws(Problem) {
                        try submit(known)
                    } catch {
                        refuse(error)
                    }
                }
                if !isQueued { refuse(.lookupsFull) }
            case .missing: refuse(.unknownOnProduce(letter.topic))
            case .unverified: refuse(.unverified(letter.topic))
            }
        }
    }

    private func refuse(_ problem: Problem) { responder.respond(problem.notAccepted.response) }

    /// Reads and writes the disk: on `lookups`.
    private func submit(_ known: KnownTopic) throws(Problem) {
        try check(known)
        var spooled = try api.claimed { () throws in
            try api.deadLetters.claimForRedelivery(lsn: lsn, epoch: api.spool.epoch)
        }
        // A timestamp that the gateway set says when the record was accepted.
        if spooled.timestampIsGateways { spooled.record.timestampMs = api.clock.wallMilliseconds() }
        let record = spooled
        api.spool.submit([record]) { result in
            // The journal's thread must not wait for another disk. Only where the queue is full it does: a claim that
            // nobody gives back would stay until the next start.
            if !api.lookups.run({ end(result) }) { end(result) }
        }
    }

    /// What produce would refuse, before anything changes. A timestamp may be as old as its record.
    private func check(_ known: KnownTopic) throws(Problem) {
        let stored = try api.stored { () throws in try api.deadLetters.record(lsn: lsn) }
        // Somebody else decided about it meanwhile, which the claim tells.
        guard let stored else { return }
        if let partition = stored.partition, partition >= known.partitions {
            throw Problem(
                422, "unknown_partition", "The topic has no such partition",
                "the record asks for partition \(partition); \(stored.topic) has \(known.partitions)",
                outcome: .notAccepted)
        }
        let record = stored.record
        if record.bytes > api.settings.recordBytesMax {
            throw Problem(
                413, "record_too_large", "A record is too large",
                "key, value and headers are \(record.bytes) bytes together; \(api.settings.recordBytesMax) are allowed "
                    + "(limits.record_bytes_max)", outcome: .notAccepted)
        }
        let rules = RecordRules(
            topic: stored.topic, known: known, bytesMax: api.settings.recordBytesMax,
            headersMax: api.settings.headersMax, nowMs: api.clock.wallMilliseconds())
        do throws(RecordFault) {
            try rules.checkTopic(record)
        } catch {
            throw error.problem.notAccepted
        }
    }

    /// The spool has decided.
    private func end(_ result: Result<Acceptance, SpoolRefusal>) {
        switch result {
        case .success(let acceptance):
            do {
                try api.deadLetters.link([(dead: lsn, successor: acceptance.first)])
            } catch {
                // The lane that meets the record does it, before it hands it over.
                log.warning(
                    "dead letter not linked yet", metadata: ["lsn": "\(lsn)", "error": "\(error)"])
            }
            var response = ProduceAnswer(shortID: api.spool.shortID).response(acceptance)
            response.headers.append(HTTPHeader("Cache-Control", "no-store"))
            responder.respond(response)
        case .failure(let refusal):
            if !refusal.outcomeUnknown {
                do {
                    try api.deadLetters.giveBack(lsn: lsn)
                } catch {
                    // It can be sent again after the next start.
                    log.error(
                        "dead letter stays claimed", metadata: ["lsn": "\(lsn)", "error": "\(error)"])
                }
            }
            responder.respond(api.spool.problem(refusal).response)
        }
    }
}
