import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

/// What the outside world of one consumer knows: records, what was handed out, what was acknowledged, given back and
/// extended, what is in the dead-letter topic. It hears of everything in the order in which it happened, and writes
/// down what breaks a promise.
final class PromiseModel {
    /// The newest hand-out of a record.
    private struct Seen {
        var attempt: Int
        var client: String
        var ack: String
        /// The lease does not end before, unless it is given back.
        var deadline: MonotonicInstant
        var process: Int
        var id: String
        /// Revocations of the partition before it was handed out.
        var revocations: Int
        var mayBeBack = false
        /// It may come back without being counted.
        var mayBeUncounted = false
    }

    private struct Revocations: Sendable {
        var count = 0
        /// Submissions before the last of them: their success may have come too late to count.
        var submissions = 0
    }

    enum Action {
        case acknowledge
        case giveBack(Duration)
        case extend(Duration)
    }

    /// A hand-out that an item of a call speaks of: the one it names, or one that comes with it.
    struct Item {
        var place: RecordPlace
        var id: String
        var isNamed = false
    }

    struct Call {
        var action: Action
        var askedAt: MonotonicInstant
        /// For each item: the records it may speak of.
        var groups: [[RecordPlace]]
        /// Of those, the ones that a good item speaks of for certain.
        var certain: [[RecordPlace]]
        /// What an extension is for, all of it leased when it was asked for.
        var extended: [RecordPlace: String] = [:]
    }

    private enum Event: Sendable {
        case polled(String, Result<PollAnswer, ConsumerError>, MonotonicInstant)
        case called(Int, Result<LeaseResult, ConsumerError>)
    }

    static let deadLetters = TopicName("dead")!
    static let partitions: Int32 = 3
    static let ackDeadline = Duration.seconds(5)

    let seed: UInt64
    let mode: DeliveryMode
    let maxDeliveries: Int?
    var h: Harness
    var random: SeededGenerator
    private var process = 1
    private let events = Lock<[Event]>([])
    /// Acknowledgements of each record that were not refused: only these may be passed by a commit.
    private var asked: [RecordPlace: Int] = [:]
    private var confirmed: Set<RecordPlace> = []
    private var seen: [RecordPlace: Seen] = [:]
    private var handOuts: [RecordPlace: Int] = [:]
    /// Process and revocations when it was last seen in the dead-letter topic; process 0: a revocation came between.
    private var dead: [RecordPlace: (process: Int, revocations: Int)] = [:]
    private var deadRead = 0
    private let revocations = Lock<[TopicPartition: Revocations]>([:])
    private var calls: [Int: Call] = [:]
    private var nextCall = 0
    /// As first handed out: a repeated answer may lack what a commit has that then fails.
    private var whole: [String: PollAnswer] = [:]
    private(set) var held: [PollAnswer] = []
    private(set) var handles: [PollHandle] = []
    private var clients = 0
    private(set) var violations: [String] = []
    var context = ""
    /// FNV-1a over everything that was seen, in order: equal where two runs of a seed are.
    private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325

    var handedOut: Int { handOuts.values.reduce(0, +) }
    var deadCount: Int { dead.count }

    init(seed: UInt64, _ mode: DeliveryMode, maxDeliveries: Int?) throws {
        (self.seed, self.mode, self.maxDeliveries) = (seed, mode, maxDeliveries)
        random = SeededGenerator(seed: seed)
        h = try Harness(partitions: Self.partitions, seed: seed)
        h.source.create(Self.deadLetters, partitions: 1)
        let defined = h.define(
            ackDeadlineMs: Self.ackDeadline.wholeMilliseconds, maxInFlight: 40, mode: mode,
            maxDeliveries: maxDeliveries, deadLetterTopic: Self.deadLetters)
        #expect(try defined?.get() == .created)
    }

    func pick(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }
    func chance(_ percent: Int) -> Bool { pick(0..<100) < percent }

    private func note(_ text: String) {
        for byte in text.utf8 { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }

    private func expect(_ condition: Bool, _ violation: @autoclosure () -> String) {
        if !condition { violations.append("\(violation()), \(context)") }
    }

    // MARK: What clients do

    /// - Parameter name: nil: without `client`.
    func poll(_ name: String?, max: Int, maxBytes: Int = 1 << 20, wait: Duration = .zero) {
        clients += 1
        let client = name ?? "anonymous \(clients)"
        let request = PollRequest(consumer: h.name, max: max, maxBytes: maxBytes, wait: wait, client: name)
        let (events, clock) = (events, h.clock)
        handles.append(
            h.consumers.poll(request) { result in
                let now = clock.now()
                events.withLock { $0.append(.polled(client, result, now)) }
            })
        if handles.count > 100 { handles.removeFirst(50) }
    }

    func loseAnswer() { if !held.isEmpty { held.remove(at: pick(0..<held.count)) } }

    /// What a client would say of an answer that it holds, or held once.
    func selector() -> (LeaseSelector, groups: [[Item]])? {
        guard !held.isEmpty else { return nil }
        let answer = held[pick(0..<held.count)]
        guard let chosen = answer.records.randomElement(using: &random), let token = answer.ack else { return nil }
        let place = chosen.place
        let through = answer.records.filter {
            $0.place.partition == place.partition && $0.place.offset <= place.offset
        }
        let some = answer.records.filter { _ in chance(40) }
        func items(_ records: [DeliveredRecord], naming named: DeliveredRecord?) -> [Item] {
            records.map { Item(place: $0.place, id: $0.id, isNamed: $0.id == named?.id) }
        }
        switch pick(0..<10) {
        case 0..<3: return (.answer(token), [items(answer.records, naming: nil)])
        case 3..<5: return (.deliveries([chosen.id]), [items([chosen], naming: chosen)])
        case 5..<6 where !some.isEmpty: return (.deliveries(some.map(\.id)), some.map { items([$0], naming: $0) })
        case 6..<8: return (.through([chosen.id]), [items(through, naming: chosen)])
        case 8..<9:
            let client = seen[place]?.client ?? ""
            // By offset the newest delivery counts, whichever answer the client read the offset from.
            let before = seen.sorted { $0.key.offset < $1.key.offset }.filter {
                $0.key.partition == place.partition && $0.key.offset <= place.offset && $0.value.client == client
            }
            return (
                .offsets([place], client: client),
                [before.map { Item(place: $0.key, id: $0.value.id, isNamed: $0.key == place) }]
            )
        default:
            // Wrong: a token that nobody was given.
            return (.answer(AnswerToken(epoch: 1_000, serial: UInt64(pick(1..<50))).description), [[]])
        }
    }

    func call(_ action: Action, _ selector: LeaseSelector, _ items: [[Item]]) {
        let groups = items.map { $0.map(\.place) }
        let certain = items.map { $0.filter { $0.isNamed || isStillLeased($0) }.map(\.place) }
        var call = Call(action: action, askedAt: h.clock.now(), groups: groups, certain: certain)
        if case .extend(let duration) = action {
            let concerned = concerned(items.flatMap { $0 })
            for place in concerned {
                guard let id = seen[place]?.id, isStillLeased(Item(place: place, id: id)) else { continue }
                call.extended[place] = id
            }
            for place in concerned { soften(place, to: call.askedAt + duration) }
        }
        let number = nextCall
        nextCall += 1
        calls[number] = call
        let events = events
        let completion: Consumers.LeaseCompletion = { result in events.withLock { $0.append(.called(number, result)) } }
        switch action {
        case .acknowledge:
            for place in groups.joined() { asked[place, default: 0] += 1 }
            h.consumers.acknowledge(h.name, selector, completion: completion)
        case .giveBack(let delay):
            for place in groups.joined() { giveBack(place) }
            h.consumers.giveBack(h.name, selector, delay: delay, reason: "no", completion: completion)
        case .extend(let duration):
            h.consumers.extend(h.name, selector, deadline: duration, completion: completion)
        }
    }

    /// Deadlines rest while calls wait, so that what is leased now is leased when the call is looked at.
    private func isStillLeased(_ item: Item) -> Bool {
        guard let lease = seen[item.place] else { return false }
        return lease.id == item.id && lease.process == process && !lease.mayBeBack
            && lease.revocations == revocations(item.place.partition) && lease.deadline > h.clock.now()
    }

    private func giveBack(_ place: RecordPlace) {
        seen[place]?.mayBeBack = true
        guard mode == .ordered else { return }
        for later in seen.keys where later.partition == place.partition && later.offset >= place.offset {
            seen[later]?.mayBeBack = true
            seen[later]?.mayBeUncounted = true
        }
    }

    private func soften(_ place: RecordPlace, to deadline: MonotonicInstant) {
        if let old = seen[place], deadline < old.deadline { seen[place]?.deadline = deadline }
    }

    /// The newest hand-outs that an extension of these is for; in ordered mode all of the same answer and partition.
    private func concerned(_ items: [Item]) -> Set<RecordPlace> {
        var concerned: Set<RecordPlace> = []
        for item in items {
            guard let lease = seen[item.place], lease.id == item.id else { continue }
            concerned.insert(item.place)
            guard mode == .ordered else { continue }
            for (place, other) in seen where other.ack == lease.ack && place.partition == item.place.partition {
                concerned.insert(place)
            }
        }
        return concerned
    }

    // MARK: What else happens

    func revoke(_ partition: TopicPartition) {
        h.source.revoke([partition])
        h.callbacks.add { [revocations, submitter = h.submitter] in
            let calls = submitter.callCount
            revocations.withLock {
                $0[partition, default: Revocations()].count += 1
                $0[partition, default: Revocations()].submissions = calls
            }
        }
        h.source.assign([partition])
    }

    private func revocations(_ partition: TopicPartition) -> Int { revocations.withLock { $0[partition]?.count ?? 0 } }

    func crash() throws {
        observe()
        // Everything the clients still hold is of an older epoch now; they speak of it all the same.
        process += 1
        h = try Harness(after: h, epoch: UInt32(process), seed: seed &+ UInt64(process))
        handles = []
        calls = [:]
    }

    // MARK: What is seen

    /// Reads what happened since, and checks it, and the store, against what is known.
    func observe() {
        readDeadLetters()
        let news = events.withLock { events in
            defer { events = [] }
            return events
        }
        for event in news {
            switch event {
            case .polled(let client, .success(let answer), let at):
                note("\(client) \(answer.ack ?? "") \(answer.records.map(\.id)) at \(at)")
                observe(answer, of: client, at)
            case .polled(let client, .failure(let error), let at): note("\(client) \(error.code) at \(at)")
            case .called(let number, let result):
                note("call \(number) \(Self.text(of: result))")
                if let call = calls.removeValue(forKey: number) { observe(result, of: call) }
            }
        }
        checkCommits()
    }

    private static func text(of result: Result<LeaseResult, ConsumerError>) -> String {
        switch result {
        case .success(let result), .failure(.leasesLost(let result)):
            "\(result.outcomes) \(result.committed.sorted { $0.key < $1.key })"
        case .failure(let error): error.code
        }
    }

    private func readDeadLetters() {
        let synced = h.submitter.synced
        for letter in synced[deadRead...] {
            let headers = letter.record.record.headers.reduce(into: [:]) {
                $0[$1.name] = String(decoding: $1.value ?? [], as: UTF8.self)
            }
            let partition = Int32(headers["postrider-dead-letter-partition"] ?? "") ?? -1
            note("dead \(letter.call) \(headers.sorted { $0.key < $1.key })")
            let place = RecordPlace(
                partition: h.place(partition), offset: Int64(headers["postrider-dead-letter-offset"] ?? "") ?? -1)
            expect(handOuts[place] ?? 0 >= maxDeliveries ?? .max, "\(place) died too early")
            let overtaken = revocations.withLock { $0[place.partition]?.submissions ?? 0 }
            dead[place] = (letter.call < overtaken ? 0 : process, revocations(place.partition))
        }
        deadRead = synced.count
    }

    private func observe(_ answer: PollAnswer, of client: String, _ at: MonotonicInstant) {
        var last: [TopicPartition: Int64] = [:]
        let places = Set(answer.records.map(\.place))
        for record in answer.records {
            let (place, partition) = (record.place, record.place.partition)
            expect(record.record.offset > last[partition] ?? -1, "\(place) out of order")
            last[partition] = record.record.offset
            expect(!confirmed.contains(place), "\(place) was acknowledged")
            expect(record.attempt <= maxDeliveries ?? .max, "\(place) in attempt \(record.attempt)")
            let count = revocations(partition)
            if let died = dead[place] { expect(died != (process, count), "\(place) is dead") }
            if mode == .ordered { checkOrder(place, places, answer.ack ?? "", at) }
            if let old = seen[place], old.process == process, old.id == record.id {
                expect(old.client == client && old.attempt == record.attempt, "\(place) changed")
                continue
            }
            if let old = seen[place], old.process == process, old.revocations == count {
                expect(old.mayBeBack || old.deadline <= at, "\(place) leased twice")
                let isUncounted = old.mayBeUncounted && record.attempt == old.attempt
                expect(isUncounted || record.attempt == old.attempt + 1, "attempt of \(place)")
            }
            seen[place] = Seen(
                attempt: record.attempt, client: client, ack: answer.ack ?? "", deadline: at + Self.ackDeadline,
                process: process, id: record.id, revocations: count)
            handOuts[place, default: 0] += 1
        }
        guard let ack = answer.ack else { return }
        if whole[ack] == nil { whole[ack] = answer }
        held.append(whole[ack] ?? answer)
        if held.count > 200 { held.removeFirst(100) }
    }

    /// Everything before is done or comes along, and nothing of the partition is with anybody else.
    private func checkOrder(_ place: RecordPlace, _ places: Set<RecordPlace>, _ ack: String, _ at: MonotonicInstant) {
        let partition = place.partition
        for earlier in h.source.partition(partition).records {
            let other = RecordPlace(partition: partition, offset: earlier.offset)
            let isDone = asked[other] ?? 0 > 0 || dead[other] != nil
            if other.offset < place.offset { expect(isDone || places.contains(other), "\(place) before \(other)") }
            if let lease = seen[other], lease.process == process, lease.revocations == revocations(partition) {
                expect(
                    lease.ack == ack || isDone || lease.mayBeBack || lease.deadline <= at,
                    "\(place) while \(other) is leased")
            }
        }
    }

    private func observe(_ result: Result<LeaseResult, ConsumerError>, of call: Call) {
        let applied: LeaseResult
        switch result {
        case .success(let result), .failure(.leasesLost(let result)): applied = result
        case .failure(.unavailable): return
        case .failure:
            if case .acknowledge = call.action { for place in call.groups.joined() { asked[place, default: 0] -= 1 } }
            return
        }
        for (index, outcome) in applied.outcomes.enumerated() {
            switch outcome {
            case .acknowledged: confirmed.formUnion(call.certain[index])
            case .leaseLost:
                guard case .acknowledge = call.action else { break }
                // Where a partition was committed, some of the group may have been good.
                for place in call.groups[index] where applied.committed[place.partition] == nil {
                    asked[place, default: 0] -= 1
                }
            case .returned, .extended: break
            }
        }
        guard case .extend(let duration) = call.action, case .success = result else { return }
        for (place, id) in call.extended where seen[place]?.id == id && !(seen[place]?.mayBeBack ?? true) {
            // A later call on its way may shorten it again.
            let others = calls.values.compactMap { other -> MonotonicInstant? in
                guard case .extend(let next) = other.action, other.extended[place] == id else { return nil }
                return other.askedAt + next
            }
            seen[place]?.deadline = others.reduce(call.askedAt + duration) { min($0, $1) }
        }
    }

    private func checkCommits() {
        for (partition, committed) in h.store.offsets(h.name).sorted(by: { $0.key < $1.key }) {
            note("\(partition) \(committed.offset) \(committed.metadata)")
            for record in h.source.partition(partition).records where record.offset < committed.offset {
                let place = RecordPlace(partition: partition, offset: record.offset)
                expect(
                    asked[place] ?? 0 > 0 || dead[place] != nil,
                    "committed \(committed.offset) passes \(record.offset) of \(partition)")
            }
            expect(committed.metadata.utf8.count <= OffsetStoreLimits.metadataBytesMax, "metadata")
        }
    }

    // MARK: The end

    /// From here on nothing fails: what is left comes or dies, and the end is committed.
    func drain() {
        h.store.clearFailures()
        h.source.clearFailures()
        h.submitter.clearFailures()
        while h.callbacks.runOne() { observe() }
        let partitions = (0..<Self.partitions).map { h.place($0) }
        for _ in 0..<400 {
            if partitions.allSatisfy({ h.committed($0.partition) == h.source.partition($0).end }) { break }
            let before = held.count
            poll("last", max: 50)
            h.settle()
            observe()
            if held.count > before, let answer = held.last, let token = answer.ack {
                call(.acknowledge, .answer(token), [answer.records.map { Item(place: $0.place, id: $0.id) }])
            } else {
                h.clock.advance(by: .seconds(10))
            }
            h.settle()
            observe()
        }
        for partition in partitions {
            let stored = h.source.partition(partition)
            expect(h.committed(partition.partition) == stored.end, "\(partition) was not finished")
            for record in stored.records {
                let place = RecordPlace(partition: partition, offset: record.offset)
                expect(handOuts[place] ?? 0 > 0, "\(place) never came")
                expect(confirmed.contains(place) || dead[place] != nil || asked[place] ?? 0 > 0, "\(place) was lost")
            }
        }
    }
}

extension DeliveredRecord {
    var place: RecordPlace { RecordPlace(partition: record.partition, offset: record.offset) }
}
