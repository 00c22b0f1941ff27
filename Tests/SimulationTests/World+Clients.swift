import Primitives
import Records
import TestSupport

@testable import Spool

/// A client that numbers its requests: the next one after the answer to the one before.
struct NumberedClient {
    let name: UInt64
    let lineage: Int
    /// Of the request that was accepted last.
    var last: UInt64 = 0
    /// Of the ledger: the one that has no answer yet, or none that says what became of it.
    var open: Int?
    /// Of the ledger, from number 1 on.
    var accepted: [Int] = []
}

/// Clients: some send and forget; others give a request a key or a number, and may repeat it whatever they were told.
extension World {
    private static let producersMax = 3

    func actAsClient(of life: Life) {
        switch chance.pick(0..<10) {
        case 0..<4: submit(newRequest(to: life), to: life, nil)
        case 4..<6:
            let request = newRequest(to: life)
            ledger.name(request, .key(scope: Digest(high: 1, low: UInt64(request)), payload: Self.payload(request)))
            send(request, to: life)
        case 6..<8: number(life)
        default:
            let known = repeatable(by: life)
            if !known.isEmpty { send(chance.one(of: known), to: life) }
        }
    }

    /// Requests that their clients may repeat: those of these gateways that nobody put away.
    private func repeatable(by life: Life) -> [Int] {
        ledger.requests.indices.filter { index in
            let request = ledger.requests[index]
            guard request.identity != nil, request.lineage == life.fate.lineage, !request.isExcused else {
                return false
            }
            guard let client = client(of: index) else { return !ledger.isNumbered(index) }
            // Older ones, too; but of those that are open the client has one.
            return producers[client].open == index || producers[client].accepted.contains(index)
        }
    }

    /// Whose of those that go on a request is.
    private func client(of request: Int) -> Int? {
        guard case .sequence(let name, _, _) = ledger.requests[request].identity else { return nil }
        return producers.firstIndex { $0.name == name.low }
    }

    /// At the end: what has no certain answer is asked until it has one.
    func askWhatIsOpen() {
        guard let life = gateway.life, !life.fate.isDead else { return }
        for request in repeatable(by: life) {
            switch ledger.requests[request].answer {
            case .accepted: break
            case .none where ledger.requests[request].process == life.fate.process: break
            case .none, .unknown, .refused:
                ledger.tally.add(.storedAtLast)
                send(request, to: life)
            }
        }
    }

    var isEverythingAnswered: Bool {
        guard let life = gateway.life else { return false }
        return repeatable(by: life).allSatisfy {
            if case .accepted = ledger.requests[$0].answer { true } else { false }
        }
    }

    // MARK: - Requests

    private func newRequest(to life: Life) -> Int {
        let topics = (0..<chance.pick(1..<4)).map { _ in chance.pick(0..<Self.topics.count) }
        let chosen = (0..<chance.pick(1..<5)).map { _ in (topic: chance.one(of: topics), isBad: chance.perMille(30)) }
        return ledger.ask(
            chosen, padding: chance.pick(0..<500), lineage: life.fate.lineage, process: life.fate.process)
    }

    private static func payload(_ request: Int) -> Digest { Digest(high: 2, low: UInt64(request)) }

    /// The next request of a numbered client, or its open one again.
    private func number(_ life: Life) {
        let mine = producers.indices.filter { producers[$0].lineage == life.fate.lineage }
        guard mine.count == Self.producersMax || !mine.isEmpty && chance.percent(70) else {
            // (Names are never used again.)
            return producers.append(NumberedClient(name: UInt64(ledger.now), lineage: life.fate.lineage))
        }
        let client = chance.one(of: mine)
        if let open = producers[client].open {
            if !ledger.requests[open].isExcused { return send(open, to: life) }
            // Nobody knows any more what became of it: its client gives up, and so does the name.
            producers.remove(at: client)
            return
        }
        let request = newRequest(to: life)
        ledger.name(
            request,
            .sequence(
                producer: Digest(high: 3, low: producers[client].name), number: producers[client].last + 1,
                payload: Self.payload(request)))
        producers[client].open = request
        send(request, to: life)
    }

    /// For the first time, or again.
    private func send(_ request: Int, to life: Life) {
        guard let identity = ledger.requests[request].identity else { return }
        let admission = life.spool.admit(identity)
        note("request \(request) is \(admission)")
        switch admission {
        case .first(let claim):
            chance.note(1)
            ledger.isFirst(request, process: life.fate.process)
            submit(request, to: life, claim)
        case .repeated(let acceptance):
            chance.note(Int(acceptance.first.sequence))
            ledger.repeated(request, first: acceptance.first, count: acceptance.count, synced: acceptance.synced)
            settle(request)
        case .inFlight:
            chance.note(2)
            ledger.isInFlight(request, process: life.fate.process)
        case .gap:
            // The buffered one before it went with the power.
            chance.note(3)
            let client = client(of: request)
            let mayBeLost = client.map { client in
                (producers[client].accepted + [request]).contains {
                    ledger.requests[$0].isLosable || ledger.requests[$0].wasLost
                }
            }
            ledger.expect(mayBeLost ?? false, "P4: the number of request \(request) is not the next")
            ledger.excuse(request)
            if let client { producers.remove(at: client) }
        case .otherPayload, .tooOld, .full:
            ledger.expect(false, "P4: request \(request) is \(admission)")
        }
    }

    private func submit(_ request: Int, to life: Life, _ claim: RequestClaim?) {
        let entry = ledger.requests[request]
        let records = entry.records.map { number in
            let record = ledger.records[number]
            return SpoolRecord(
                topic: Self.topics[record.topic], partition: nil, timestampIsGateways: true,
                record: Record(
                    key: [UInt8](repeating: 0, count: entry.padding)[...],
                    value: Array("\(record.isBad ? "!" : "")\(number)".utf8)[...], timestampMs: 1))
        }
        note("request \(request) of \(records.count) to \(life.fate.process)")
        life.spool.submit(records, claim: claim) { [weak self, weak life] result in
            guard let self, let life, !life.fate.isDead else { return }
            answered(request, result, life)
        }
    }

    private func answered(_ request: Int, _ result: Result<Acceptance, SpoolRefusal>, _ life: Life) {
        note("request \(request): \(result)")
        switch result {
        case .success(let acceptance):
            chance.note(Int(acceptance.first.sequence))
            if acceptance.first.epoch > life.spool.epoch, acceptance.first.sequence == 0 { ledger.tally.add(.epochs) }
            ledger.accepted(request, first: acceptance.first, synced: acceptance.synced)
            let hasFailed = life.fate.fatal?.hasPrefix("journal") ?? false
            ledger.expect(!hasFailed, "P6: accepted after \(life.fate.fatal ?? "")")
            ledger.expect(!life.fate.isHistoryUnknown || life.spool.intakeClosed != nil, "P6: intake is open")
            if acceptance.synced {
                let segment = life.activeSegment ?? ""
                ledger.expect(
                    !life.disk.unsyncedPaths.contains(segment),
                    "P1: request \(request) is answered before the sync of \(segment)")
            }
            settle(request)
        case .failure(let refusal):
            chance.note(refusal.outcomeUnknown ? 1 : 2)
            if case .stalled = refusal { ledger.tally.add(.stalled) }
            ledger.refused(
                request, outcomeUnknown: refusal.outcomeUnknown, isUncut: refusal == .noSpace(wasWritten: true))
            if case .tooLarge = refusal { giveUp(request) }
        }
    }

    /// No repetition helps. Its number is not used up.
    private func giveUp(_ request: Int) {
        if let client = client(of: request), producers[client].open == request { producers[client].open = nil }
        ledger.name(request, nil)
    }

    /// Its client goes on to the next number.
    private func settle(_ request: Int) {
        guard let client = client(of: request), producers[client].open == request else { return }
        producers[client].open = nil
        producers[client].last += 1
        producers[client].accepted.append(request)
    }
}
