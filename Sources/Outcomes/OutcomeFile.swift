public import Logging
public import Primitives
public import Records
public import Store

/// `outcomes.sqlite`: where a spool's records are at a broker that keeps no outcomes itself. A hand-over's row is
/// synced before its commit, so a receipt is right after any crash; where the commit did not happen, the checkpoint
/// that the next sink reads says so, and the row is void.
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
    // Held over the disk: SQLite is what it guards.
    private let file: Lock<File>

    private struct File {
        let connection: Connection
        let rows: OutcomeRows
        var totals: OutcomeTotals
        var clock: RetentionClock
    }

    static let schema = Schema(
        // "PRoc"
        applicationID: 0x5052_6f63, migrations: [OutcomeRows.creation])

    /// Opens the file in `directory`, creating both; its parent must exist.
    ///
    /// - Parameters:
    ///   - lanes: of the spool.
    ///   - recovered: end of what earlier processes left in the spool; zero: it is new. Where the file is not there,
    ///     all below has no row.
    public init(
        directory: String, spool: SpoolID, lanes: Int, recovered: LSN,
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
        if totals.isNew {
            let missing = recovered > .zero ? LSN(rawValue: recovered.rawValue - 1) : .zero
            try connection.transaction { () throws(StoreError) in
                for lane in 0..<lanes {
                    try rows.missing(through: missing, of: OutcomeLane(spool: spool, lane: lane), &totals)
                }
            }
            if recovered > .zero {
                log.warning(
                    "there was no file of outcomes: receipts of records delivered before tell no place",
                    metadata: ["path": "\(path)", "before": "\(recovered)"])
            }
        }
        reader = try OutcomeReader(path: path, schema: Self.schema)
        self.spool = spool
        self.settings = settings
        self.clock = clock
        metrics = OutcomeMetrics()
        metrics.report(totals)
        file = Lock(File(connection: connection, rows: rows, totals: totals, clock: RetentionClock(clock)))
    }

    /// A lane's sink is open, and the lane goes on after an LSN: rows beyond it are void, durably when this returns.
    ///
    /// - Parameter checkpoint: what the broker said; where it lies before, what is between has no row.
    public func goOn(lane: Int, after lsn: LSN, checkpoint: LSN) throws(StoreError) {
        try change { (file, key) throws(StoreError) in
            let count = try file.rows.void(after: lsn, of: key(lane), &file.totals)
            if checkpoint < lsn { try file.rows.missing(through: lsn, of: key(lane), &file.totals) }
            return OutcomeChanges(voided: count)
        }
    }

    /// The row of a hand-over that is about to be committed; synced when this returns.
    ///
    /// - Parameter deliveries: in LSN order, not empty.
    public func keep(_ deliveries: [Delivery], lane: Int) throws(StoreError) {
        try change { (file, key) throws(StoreError) in
            let now = file.clock.wallMilliseconds(clock)
            return try file.rows.keep(deliveries, of: key(lane), atMs: now, settings, &file.totals)
        }
    }

    private func change(
        _ body: (inout File, (Int) -> OutcomeLane) throws(StoreError) -> OutcomeChanges
    ) throws(StoreError) {
        let spool = spool
        let (changes, totals) = try file.withLock { (file) throws(StoreError) in
            let (before, connection) = (file.totals, file.connection)
            do throws(StoreError) {
                let changes = try connection.transaction { () throws(StoreError) in
                    try body(&file) { OutcomeLane(spool: spool, lane: $0) }
                }
                return (changes, file.totals)
            } catch {
                file.totals = before
                throw error
            }
        }
        metrics.report(totals)
        metrics.count(changes)
    }
}
