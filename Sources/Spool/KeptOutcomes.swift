import Journal
public import Outcomes
import Primitives
public import Records
public import Store

/// Where outcomes are kept beyond memory and the process.
enum KeptOutcomes {
    /// Nowhere, which only tests want.
    case none
    /// The broker keeps them with its hand-overs.
    case broker(OutcomeReader)
    /// In a file of the spool's own, for a broker that keeps none.
    case own(OutcomeFile)

    var reader: OutcomeReader? {
        switch self {
        case .none: nil
        case .broker(let reader): reader
        case .own(let file): file.reader
        }
    }
}

/// Why outcomes could not be kept. Nothing of the hand-over may be committed.
public struct KeepingError: Error, Sendable, CustomStringConvertible {
    /// A sync failed: what the file holds, the next start finds out.
    public let isSyncFailure: Bool
    public let description: String

    init(_ error: StoreError) {
        isSyncFailure = error.isSyncFailure
        description = error.description
    }
}

extension Spool {
    /// Outcomes are rows of the broker's hand-overs. Once, before anybody asks for any.
    public func findOutcomes(with reader: OutcomeReader) { kept.withLock { $0 = .broker(reader) } }

    /// Outcomes are kept in a file of the spool's own, `outcomes.sqlite`, which is opened or made. Once, before
    /// anything is handed over. Blocks on the disk.
    public func keepOutcomes(
        in directory: String, settings: OutcomesSettings = OutcomesSettings()
    ) throws(StoreError) {
        let file = try OutcomeFile(
            directory: directory, spool: id, delivered: state.withLock { $0.cursors.lanes.map(\.delivered) },
            settings: settings)
        keepOutcomes(in: file)
    }

    package func keepOutcomes(in file: OutcomeFile) { kept.withLock { $0 = .own(file) } }

    /// A lane's sink is open, and the lane goes on after the LSN. Durable when this returns. Blocks on the disk; for
    /// the lane's thread.
    ///
    /// - Parameter certain: what was kept of hand-overs up to it is known to be committed; beyond it, it is void.
    public func lane(_ lane: Int, goesOnAfter lsn: LSN, certain: LSN) throws(KeepingError) {
        try change { (file) throws(StoreError) in try file.goOn(lane: lane, after: lsn, certain: certain) }
    }

    /// Where the records of a hand-over will be once it is committed: to be kept before, and synced when this returns.
    /// Blocks on the disk; for the lane's thread.
    ///
    /// - Parameter deliveries: in LSN order, not empty.
    public func keep(_ deliveries: [Delivery], lane: Int) throws(KeepingError) {
        try change { (file) throws(StoreError) in try file.keep(deliveries, lane: lane) }
    }

    /// The same of a hand-over that passes a dead record and delivers none.
    public func pass(_ lsn: LSN, lane: Int) throws(KeepingError) {
        try change { (file) throws(StoreError) in try file.pass(lsn, lane: lane) }
    }

    private func change(_ body: (OutcomeFile) throws(StoreError) -> Void) throws(KeepingError) {
        guard case .own(let file) = kept.withLock({ $0 }) else { return }
        do throws(StoreError) {
            try body(file)
        } catch {
            // What the reserve is for; the lane tries again.
            if error.isNoSpace { journal.emptyReserve() }
            throw KeepingError(error)
        }
    }
}
