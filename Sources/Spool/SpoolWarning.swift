/// What is wrong with a spool although it accepts records: an operator should look.
public enum SpoolWarning: Hashable, Sendable {
    /// The lane cannot read what it has in the spool; its topics are refused (`SpoolRefusal.laneDamaged`), the others
    /// are not.
    case laneDamaged(lane: Int)
    /// A call of the journal's housekeeping takes longer than `spool.sync_timeout`: CHECKPOINT is not written and no
    /// segment goes, so the spool fills up, and a start would read what came since.
    case housekeepingStalled
}
