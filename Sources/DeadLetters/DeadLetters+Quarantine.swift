import Primitives
public import Records
public import Store

/// What `postrider spool repair --quarantine` took out of the spool.
extension DeadLetters {
    /// Keeps a record as its broken bytes say, with the code `quarantined`, as pending: whether the broker has it
    /// already, the checkpoint tells that its lane finds at the next start (`reconcile`). Repeating it changes nothing,
    /// and neither does one that is decided. Blocks on the disk; `bytesMax` does not bound it.
    public func quarantine(_ letters: [(lsn: LSN, lane: Int, spooled: SpoolRecord)], detail: String, atMs: Int64)
        throws(StoreError)
    {
        try change { (file) throws(StoreError) in
            for letter in letters {
                if try file.isKnown(letter.lsn) { continue }
                try file.addPending(
                    letter.lsn, letter.lane, letter.spooled, Self.encoded(letter.spooled, lane: letter.lane),
                    code: DeadLetter.quarantinedCode, detail: detail, atMs: atMs)
            }
        }
    }

    /// Keeps a range of which nothing more can be read, for receipts. Repeating it changes nothing.
    public func quarantine(_ lsns: Range<LSN>, detail: String, atMs: Int64) throws(StoreError) {
        try change { (file) throws(StoreError) in
            try file.addRange.run(
                Value(lsn: lsns.lowerBound), Value(lsn: lsns.upperBound), .integer(atMs), .text(detail))
        }
    }

    /// Of a record that neither the spool nor the broker knows anything better of; nil: it was not quarantined.
    public func quarantined(_ lsn: LSN) throws(StoreError) -> DeadLetterFate? {
        try file.withLock { (file) throws(StoreError) in
            try file.range.first(Value(lsn: lsn), Value(lsn: lsn)) { (row) throws(StoreError) in
                .dead(
                    code: DeadLetter.quarantinedCode, detail: try row.text(1) ?? "", atMs: row.integer(0),
                    discardedAtMs: nil)
            }
        }
    }
}
