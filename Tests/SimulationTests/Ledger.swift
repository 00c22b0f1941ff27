import Broker
import Primitives
import Records

/// What the world outside the gateways knows: what clients asked for and were told, what the broker has, what consumers
/// got and acknowledged. It hears of everything when it happens, and writes down what breaks a promise.
struct Ledger {
    enum Answer {
        case none
        case accepted(first: LSN)
        /// It may appear, as a whole or not at all.
        case unknown
        /// It must not appear.
        case refused
    }

    struct Request {
        var records: Range<Int>
        /// Bytes of each record's key.
        var padding: Int
        /// By what its repetitions are known.
        var identity: RequestIdentity?
        /// Of gateways: one process after the other on one disk.
        var lineage: Int
        var process: Int
        var answer = Answer.none
        /// When it was answered, in events.
        var answeredAt = 0
        /// Its frame found no space, and could not be cut off.
        var isUncut = false
        /// Answered before its sync (`buffered`), and not known to be synced.
        var isBuffered = false
        /// The power or the disk went before the sync: it may be gone, as a whole.
        var isLosable = false
        /// It was accepted, and gone when it was repeated.
        var wasLost = false
        /// An operator put its only copy away, or declared it delivered.
        var isExcused = false
    }

    struct Record {
        var request: Int
        var topic: Int
        /// The broker refuses it for ever.
        var isBad: Bool
        var deliveries = 0
        /// How often it may be delivered.
        var deliveriesMax = 1
    }

    struct Partition {
        /// The records of the broker's log.
        var records: [Int] = []
        /// By lineage: acceptance is in order within a gateway.
        var lastLSN: [Int: LSN] = [:]
        var committed: Int64 = 0
        /// By offset.
        var handOuts: [Int] = []
        /// Acknowledgements that were sent and not refused.
        var asked: [Int] = []
        /// The answer said that it is acknowledged.
        var confirmed: [Bool] = []
    }

    private(set) var requests: [Request] = []
    private(set) var records: [Record] = []
    private(set) var partitions: [Partition]
    private(set) var violations: [String] = []
    var tally = Tally()
    /// Events so far.
    var now = 0

    init(topics: Int) { partitions = Array(repeating: Partition(), count: topics) }

    mutating func expect(_ condition: Bool, _ violation: @autoclosure () -> String) {
        if !condition { violations.append(violation()) }
    }

    // MARK: - Clients

    mutating func ask(_ topics: [(topic: Int, isBad: Bool)], padding: Int, lineage: Int, process: Int) -> Int {
        let first = records.count
        for (topic, isBad) in topics { records.append(Record(request: requests.count, topic: topic, isBad: isBad)) }
        requests.append(
            Request(records: first..<records.count, padding: padding, lineage: lineage, process: process))
        return requests.count - 1
    }

    mutating func accepted(_ request: Int, first: LSN, synced: Bool) {
        requests[request].answer = .accepted(first: first)
        requests[request].isBuffered = !synced
        requests[request].answeredAt = now
        tally.add(.acceptedRecords, requests[request].records.count)
    }

    mutating func refused(_ request: Int, outcomeUnknown: Bool, isUncut: Bool) {
        requests[request].isUncut = isUncut
        requests[request].answer = outcomeUnknown ? .unknown : .refused
        requests[request].answeredAt = now
        tally.add(outcomeUnknown ? .unknown : .refused)
        for record in requests[request].records where !outcomeUnknown {
            expect(records[record].deliveries == 0, "P6: record \(record) was refused after it was delivered")
        }
    }

    // MARK: - Clients that repeat

    mutating func name(_ request: Int, _ identity: RequestIdentity?) { requests[request].identity = identity }

    func isNumbered(_ request: Int) -> Bool {
        if case .sequence = requests[request].identity { true } else { false }
    }

    /// It is new to the gateway.
    mutating func isFirst(_ request: Int, process: Int) {
        if case .accepted = requests[request].answer {
            expect(requests[request].isLosable, "P4: request \(request) was accepted and is forgotten")
        }
        if requests[request].isLosable { (requests[request].isLosable, requests[request].wasLost) = (false, true) }
        requests[request].answer = .none
        requests[request].process = process
        requests[request].isBuffered = false
    }

    /// The gateway says that it had accepted it.
    mutating func repeated(_ request: Int, first: LSN, count: Int, synced: Bool) {
        tally.add(.repeated)
        expect(count == requests[request].records.count, "P4: request \(request) is said to have \(count) records")
        switch requests[request].answer {
        case .accepted(let told): expect(told == first, "P4: request \(request) is \(first), and was \(told)")
        case .refused: expect(false, "P4: request \(request) was refused, and is said to be accepted")
        case .none, .unknown: accepted(request, first: first, synced: synced)
        }
    }

    mutating func isInFlight(_ request: Int, process: Int) {
        tally.add(.inFlight)
        let isOpen =
            switch requests[request].answer {
            case .none, .unknown: true;
            case .accepted, .refused: false
            }
        expect(
            isOpen && requests[request].process == process, "P4: request \(request) is said to be on its way")
    }

    /// Its client gives it up.
    mutating func excuse(_ request: Int) { requests[request].isExcused = true }

    /// Whoever had no answer gets none.
    mutating func processEnded(_ process: Int) {
        for index in requests.indices where requests[index].process == process {
            guard case .none = requests[index].answer else { continue }
            requests[index].answer = .unknown
            requests[index].answeredAt = now
            tally.add(.unknown)
        }
    }

    /// Of these gateways, what was answered before its sync was synced up to here.
    mutating func synced(lineage: Int, below durable: LSN) {
        for index in requests.indices where requests[index].lineage == lineage && requests[index].isBuffered {
            guard case .accepted(let first) = requests[index].answer else { continue }
            requests[index].isBuffered = first.advanced(by: requests[index].records.count) > durable
        }
    }

    /// The power or the disk went: what was not synced may be gone.
    mutating func lostUnsynced(lineage: Int) {
        for index in requests.indices where requests[index].lineage == lineage && requests[index].isBuffered {
            requests[index].isLosable = true
        }
    }

    /// Whatever a start found is synced.
    mutating func recovered(lineage: Int) {
        for index in requests.indices where requests[index].lineage == lineage { requests[index].isBuffered = false }
    }

    func lsn(of record: Int) -> LSN? {
        let request = requests[records[record].request]
        guard case .accepted(let first) = request.answer else { return nil }
        return first.advanced(by: record - request.records.lowerBound)
    }

    // MARK: - Operators

    /// What was answered by these gateways after that, and is not delivered, may be gone.
    mutating func putAway(after event: Int, lineage: Int?) {
        for index in requests.indices where requests[index].answeredAt > event {
            if lineage == nil || requests[index].lineage == lineage { requests[index].isExcused = true }
        }
        // What one copy lost with the power, the other may have delivered in part before it was put away.
        for index in requests.indices where requests[index].isLosable { requests[index].isExcused = true }
    }

    /// The gateway's disk was copied. A frame that found no space and could not be cut off is in the copy, and its LSNs
    /// are given again by the original: the copy may take a part of it for delivered (docs/RELIABILITY.md, "Known
    /// faults").
    mutating func copied() {
        for index in requests.indices where requests[index].isUncut { requests[index].isExcused = true }
    }

    /// The copy is started: what was not synced it may lose with the power, and the original keep.
    mutating func twinBegins() {
        for index in requests.indices where requests[index].isBuffered { requests[index].isExcused = true }
    }

    /// What is not delivered counts as delivered.
    mutating func assumeDelivered() {
        for index in requests.indices { requests[index].isExcused = true }
    }

    /// What is delivered may be delivered once more, behind what came later.
    mutating func resend() {
        for index in records.indices { records[index].deliveriesMax += 1 }
        for index in partitions.indices { partitions[index].lastLSN = [:] }
    }

    // MARK: - The broker

    /// A record of a partition's log, which these gateways handed over.
    mutating func stored(_ record: Int, lsn: LSN, in partition: Int, by lineage: Int) {
        partitions[partition].records.append(record)
        partitions[partition].handOuts.append(0)
        partitions[partition].asked.append(0)
        partitions[partition].confirmed.append(false)
        guard records.indices.contains(record) else { return violations.append("nobody sent \(record)") }
        records[record].deliveries += 1
        if records[record].deliveries == 1 { tally.add(.delivered) }
        let entry = records[record]
        let request = requests[entry.request]
        expect(entry.deliveries <= entry.deliveriesMax, "P3: record \(record) is delivered twice")
        expect(!entry.isBad, "P3: record \(record) was refused and delivered")
        expect(entry.topic == partition, "P3: record \(record) is in another topic")
        let last = partitions[partition].lastLSN[lineage] ?? .zero
        expect(lsn > last, "P3: record \(record) of LSN \(lsn) is out of order")
        partitions[partition].lastLSN[lineage] = max(lsn, last)
        if let told = self.lsn(of: record) { expect(told == lsn, "record \(record) is \(lsn), not \(told)") }
        if case .refused = request.answer { violations.append("P6: record \(record) was refused and is delivered") }
    }

    // MARK: - Consumers

    mutating func handedOut(_ partition: Int, _ offset: Int) {
        let isThere = partitions[partition].records.indices.contains(offset)
        expect(isThere, "offset \(offset) of \(partition) is not there")
        guard isThere else { return }
        tally.add(partitions[partition].handOuts[offset] > 0 ? .handedOutAgain : .handedOut)
        partitions[partition].handOuts[offset] += 1
        expect(!partitions[partition].confirmed[offset], "P5: offset \(offset) of \(partition) was acknowledged")
    }

    mutating func asks(_ partition: Int, _ offset: Int) { partitions[partition].asked[offset] += 1 }

    mutating func acknowledged(_ partition: Int, _ offset: Int) {
        tally.add(.acknowledged)
        partitions[partition].confirmed[offset] = true
    }

    mutating func leaseLost(_ partition: Int, _ offset: Int) {
        tally.add(.leasesLost)
        partitions[partition].asked[offset] -= 1
    }

    mutating func committed(_ partition: Int, _ offset: Int64) {
        let (before, end) = (partitions[partition].committed, Int64(partitions[partition].records.count))
        if offset == before { return }
        // (It goes back where the answer to a commit was lost; what was acknowledged must not come again.)
        expect(offset >= 0 && offset <= end, "P5: committed \(offset) of \(partition), which ends at \(end)")
        partitions[partition].committed = offset
        guard offset > before, offset <= end else { return }
        for passed in before..<offset {
            expect(
                partitions[partition].asked[Int(passed)] > 0,
                "P5: committed \(offset) of \(partition) passes \(passed), which nobody acknowledged")
        }
    }

    // MARK: - The end

    /// Everything is drained: the sums of the promises.
    mutating func close(dead: Set<Int>) {
        tally.add(.dead, dead.count)
        for (index, request) in requests.enumerated() {
            let found = request.records.filter { records[$0].deliveries > 0 || dead.contains($0) }
            for record in request.records where dead.contains(record) {
                expect(records[record].isBad, "P3: record \(record) is dead for nothing")
            }
            switch request.answer {
            case .accepted where request.isExcused: break
            case .accepted where request.isLosable:
                expect(
                    found.isEmpty || found.count == request.records.count,
                    "P2: request \(index): \(found.count) of \(request.records.count) records")
                if found.isEmpty { tally.add(.bufferedLost, request.records.count) }
            case .accepted:
                expect(
                    found.count == request.records.count,
                    "P1: request \(index) was accepted, \(request.records.count - found.count) records are lost")
            case .none, .unknown:
                if request.isExcused { break }
                expect(
                    found.isEmpty || found.count == request.records.count,
                    "P2: request \(index): \(found.count) of \(request.records.count) records")
            case .refused: expect(found.isEmpty, "P6: request \(index) was refused and is there")
            }
        }
        for (number, partition) in partitions.enumerated() {
            expect(
                partition.committed == Int64(partition.records.count),
                "P5: partition \(number) ends at \(partition.records.count), committed \(partition.committed)")
            for (offset, count) in partition.handOuts.enumerated() {
                expect(count > 0, "P5: offset \(offset) of \(number) was never handed out")
            }
        }
    }
}
