/// What happened in a run. A test that never does a thing proves nothing about it, so these are printed and each must
/// happen.
struct Tally {
    enum Kind: String, CaseIterable {
        // What clients did and saw.
        case acceptedRecords = "accepted"
        case delivered, dead, refused, unknown
        case repeated, inFlight = "in_flight"
        case storedAtLast = "stored_at_last"
        case bufferedLost = "buffered_lost"
        case handedOut = "handed_out"
        case handedOutAgain = "handed_out_again"
        case acknowledged
        case leasesLost = "leases_lost"
        // How processes ended and began.
        case kills
        case powerLosses = "power_losses"
        case restarts
        case diesInRecovery = "deaths_in_recovery"
        case refusedStarts = "refused_starts"
        case fatal
        // What the disk did.
        case tornWrites = "torn_writes"
        case reorderedWrites = "reordered_writes"
        case lostWrites = "lost_writes"
        case lostNames = "lost_names"
        case ioErrors = "eio"
        case syncErrors = "eio_syncs"
        case readErrors = "eio_reads"
        case noSpace = "enospc"
        case shortWrites = "short_writes"
        case hungSyncs = "hung_syncs"
        case stalled
        // What the broker did.
        case refusedHandOvers = "refused_hand_overs"
        case lostAnswers = "lost_answers"
        case fenced
        case hungHandOvers = "hung_hand_overs"
        case commitErrors = "commit_errors"
        case fetchErrors = "fetch_errors"
        // What the spool did.
        case parked
        case epochs
        case segments
        case requestSaves = "request_saves"
        // What operators did.
        case restored
        case unknownHistories = "unknown_histories"
        case assumedDelivered = "assumed_delivered"
        case resent
        case twins
        case ownedElsewhere = "owned_elsewhere"
        // Others ran while a call was on its way.
        case interleavings
    }

    private(set) var counts: [Kind: Int] = [:]

    subscript(kind: Kind) -> Int { counts[kind] ?? 0 }

    mutating func add(_ kind: Kind, _ count: Int = 1) {
        if count > 0 { counts[kind, default: 0] += count }
    }

    mutating func add(_ other: Tally) {
        for (kind, count) in other.counts { add(kind, count) }
    }

    var text: String { Kind.allCases.map { "\($0.rawValue)=\(self[$0])" }.joined(separator: " ") }
}
