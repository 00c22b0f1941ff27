import Broker
import Records

/// What a freshly opened sink's checkpoint means. A pure function, so that every row of the table has a test.
enum OpeningDecision: Equatable {
    /// Go on after this LSN. `alarm` names what is odd about it.
    case goOn(after: LSN, alarm: String?)
    /// The spool was restored from a backup, or a copy of it ran elsewhere: nothing is guessed.
    case historyUnknown
    /// Another process owns this spool right now.
    case ownedElsewhere

    /// - Parameters:
    ///   - previous: what the broker says; nil, nothing.
    ///   - delivered: what the spool itself knows to be delivered.
    ///   - epoch: of this process; `nonce` likewise.
    ///   - wasClaimed: this process wrote a claim on this lane before, so any foreign nonce is newer than that.
    ///   - isKnown: whether an epoch with its nonce is in the spool's history. (Its number alone does not tell: a copy
    ///     that started in the same second took the same.)
    static func decide(
        previous: SinkCheckpoint?, delivered: LSN, epoch: UInt32, nonce: UInt64, wasClaimed: Bool,
        isKnown: (UInt32, UInt64) -> Bool
    ) -> OpeningDecision {
        guard let previous else {
            return .goOn(after: delivered, alarm: delivered > .zero ? "checkpoint_missing" : nil)
        }
        if previous.nonce != nonce, wasClaimed || previous.epoch == epoch { return .ownedElsewhere }
        // A process that used up its sequences goes on in a later epoch: a copy of before that knows the process, not
        // what it delivered since.
        let isHistory =
            isKnown(previous.epoch, previous.nonce)
            && (previous.lsn.epoch <= previous.epoch || isKnown(previous.lsn.epoch, previous.nonce))
        guard isHistory else { return .historyUnknown }
        if previous.lsn < delivered { return .goOn(after: delivered, alarm: "checkpoint_behind") }
        return .goOn(after: previous.lsn, alarm: nil)
    }
}
