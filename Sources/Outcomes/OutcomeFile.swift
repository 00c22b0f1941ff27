public import Logging
public import Primitives
public import Records
public import Store

/// `outcomes.sqlite`: where a spool's records are at a broker that keeps no outcomes itself. A hand-over's row is
/// synced before its commit, so a receipt is right after any crash; where the commit did not happen, the checkpoint
/// that the next sink reads says so, and the row is void.
///
/// After a sync that failed, what the file holds is uncertain, and a later sync that succeeds proves nothing: every
/// change is refused from then on, and the process must end.
///
/// Any thread may call. Calls wait for each other and block on the disk; `reader` waits for none of them.
public final class OutcomeFile: Sendable {
    public static let fileName = "outcomes.sqlite"

    /// Pages of the file that stay in memory: its ends, of the table and of each lane in the index.
    private static let cacheBytes = 2 << 20

    public let reader: OutcomeReader
    private let spool: SpoolID
    private let settings: OutcomesSettings
    private let clock: any TimeSource
    private let metrics: OutcomeMetrics
    private let log: Logger
    /// Tests: syncs fail so. What was to be synced is in the file all the same, which a real one leaves open.
    package let syncFault = Lock<StoreError?>(nil)
    // Held over the disk: SQLite is what it guards.
    private let file: Lock<File>

    private struct File {
        let connection: Connection
        let rows: OutcomeRows
        var totals: OutcomeTotals
        var clock: RetentionClock
        /// A sync failed.
        var failure: StoreError?
    }

    static let schema = Schema(
        // "PRoc"
        applicationID: 0x5052_6f63, migrations: [OutcomeRows.creation])

    /// Opens the file in `directory`, creating both; its parent must exist.
    ///
    /// - Parameter delivered: for each lane of the spool, what it knows to be delivered. A file that is new, or older
    ///   than that, has no rows of some of it, and says so from then on.
    public init(
        directory: String, spool: SpoolID, delivered: [LSN],
        settings: OutcomesSettings = OutcomesSettings(), clock: any TimeSource = SystemClock(),
        log: Logger = Logger(label: "postrider.outcomes")
    ) throws(StoreError) {
        let path = "\(directory)/\(Self.fileName)"
        do throws(FileSystemError) {
            try SystemFileSystem().createDirectory(directory)
        } catch {
            throw StoreError(error.isNoSpace ? .full : .other, operation: "mkdir", detail: error.description)
        }
        let connection = try Connection.open(
            path: path, schema: Self.schema,
            settings: ConnectionSettings(cacheBytes: Self.cacheBytes, pagesMax: settings.pagesMax))
        if !settings.syncs { try connection.execute("PRAGMA synchronous = OFF") }
        let rows = try OutcomeRows(connection)
        var totals = try rows.load()
        let incomplete = try connection.transaction { () throws(StoreError) in
            var incomplete: [Int] = []
            for (lane, lsn) in delivered.enumerated() {
                let isComplete = try rows.confirm(through: lsn, of: OutcomeLane(spool: spool, lane: lane), &totals)
                if !isComplete { incomplete.append(lane) }
            }
            return incomplete
        }
        if !incomplete.isEmpty {
            log.warning(
                Self.incomplete,
                metadata: [
                    "path": "\(path)", "lanes": "\(incomplete)",
                    "through": "\(incomplete.map { delivered[$0] }.max() ?? .zero)",
                ])
        }
        reader = try OutcomeReader(path: path, schema: Self.schema)
        self.spool = spool
        self.settings = settings
        self.clock = clock
        self.log = log
        metrics = OutcomeMetrics()
        metrics.report(totals)
        file = Lock(File(connection: connection, rows: rows, totals: totals, clock: RetentionClock(clock)))
    }

    private static let incomplete: Logger.Message =
        "the file of outcomes is new, or older than the spool: receipts of some delivered records tell no place"

    /// A lane's sink is open, and the lane goes on after an LSN. Durable when this returns.
    ///
    /// - Parameter certain: hand-overs up to it were committed, and rows beyond it are void. Where the lane goes on
    ///   further, because an operator said that what lies between is delivered, that has no rows.
    public func goOn(lane: Int, after lsn: LSN, certain: LSN) throws(StoreError) {
        let isComplete = try change { (file, key) throws(StoreError) in
            let count = try file.rows.void(after: certain, of: key(lane), &file.totals)
            let isComplete = try file.rows.confirm(through: certain, of: key(lane), &file.totals)
            if certain < lsn { try file.rows.missing(through: lsn, of: key(lane), &file.totals) }
            return (OutcomeChanges(voided: count), isComplete)
        }
        if !isComplete { log.warning(Self.incomplete, metadata: ["lanes": "\([lane])", "through": "\(certain)"]) }
    }

    /// The row of a hand-over that is about to be committed; synced when this returns.
    ///
    /// - Parameter deliveries: in LSN order, not empty.
    public func keep(_ deliveries: [Delivery], lane: Int) throws(StoreError) {
        try change { (file, key) throws(StoreError) in
            let now = file.clock.wallMilliseconds(clock)
            let changes = try file.rows.keep(deliveries, of: key(lane), atMs: now, settings, &file.totals)
            return (changes, ())
        }
    }

    /// The same of a hand-over that passes a dead record and delivers none.
    public func pass(_ lsn: LSN, lane: Int) throws(StoreError) {
        try change { (file, key) throws(StoreError) in
            let now = file.clock.wallMilliseconds(clock)
            let changes = try file.rows.pass(lsn, of: key(lane), atMs: now, settings, &file.totals)
            return (changes, ())
        }
    }

    private func change<Result>(
        _ body: (inout File, (Int) -> OutcomeLane) throws(StoreError) -> (OutcomeChanges, Result)
    ) throws(StoreError) -> Result {
        let spool = spool
        let ((changes, result), totals) = try file.withLock { (file) throws(StoreError) in
            if let failure = file.failure { throw failure }
            let (before, connection) = (file.totals, file.connection)
            do throws(StoreError) {
                let changed = try connection.transaction { () throws(StoreError) in
                    try body(&file) { OutcomeLane(spool: spool, lane: $0) }
                }
                if let fault = syncFault.withLock({ $0 }) { throw fault }
                return (changed, file.totals)
            } catch {
                file.totals = before
                if error.isSyncFailure { file.failure = error }
                throw error
            }
        }
        metrics.report(totals)
        metrics.count(changes)
        return result
    }
}
