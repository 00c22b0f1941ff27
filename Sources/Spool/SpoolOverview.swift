public import Journal
public import Primitives
public import Records

/// What the spool of a stopped gateway holds, as far as headers, META and CHECKPOINT tell: `postrider spool inspect`.
/// Reads what a start reads, so it is as fast; whether every record can be read says `SpoolInspection`.
public struct SpoolOverview: Sendable {
    public struct Lane: Sendable, Equatable {
        /// Its last LSN that is known to be at the broker.
        public let delivered: LSN
        /// It needs nothing below from the journal.
        public let scanned: LSN
        /// What is its own and undelivered below is in parked files; zero while it is not parked.
        public let parkedTo: LSN
        public let parkedFiles: Int
        public let parkedRecords: Int
        public let parkedBytes: Int64
    }

    public let spool: SpoolID
    /// One for each start that META remembers; rising. At least its Unix time in seconds.
    public let epochs: [UInt32]
    public let validSlots: [(file: String, valid: Int)]
    /// Oldest first.
    public let segments: [JournalImage.Segment]
    public let unreadableFiles: [String]
    public let quarantined: [Range<LSN>]
    /// A start would be refused because of these.
    public let refused: [Range<LSN>]
    public let hasTornTail: Bool
    /// As CHECKPOINT says: everything below was synced; no lane needs anything below.
    public let durable: LSN
    public let released: LSN
    /// Of the log.
    public let end: LSN
    public let lanes: [Lane]

    /// Locks the directory, reads, and lets it go. Changes nothing. Blocks on the disk.
    ///
    /// - Parameter directory: the spool's.
    /// - Throws: as `JournalImage.open`.
    public static func of(
        directory: String, fileSystem: any FileSystem = SystemFileSystem()
    ) throws(JournalError) -> SpoolOverview {
        let image = try JournalImage.open(directory: directory, fileSystem: fileSystem)
        defer { image.close() }
        return SpoolOverview(image, try image.cursors())
    }

    private init(_ image: JournalImage, _ cursors: LaneCursors) {
        spool = image.spool
        epochs = image.epochs
        validSlots = image.validSlots
        segments = image.segments
        unreadableFiles = image.unreadableFiles
        quarantined = image.quarantined
        refused = image.refused
        hasTornTail = image.hasTornTail
        durable = image.durable
        released = image.released
        end = image.end
        let files = image.parkedFiles
        lanes = cursors.lanes.enumerated().map { lane, cursor in
            let parked = files.recover(lane: lane, cursor)
            return Lane(
                delivered: cursor.delivered, scanned: cursor.scanned, parkedTo: cursor.parkedTo,
                parkedFiles: parked.pieces.count, parkedRecords: parked.records, parkedBytes: parked.bytes)
        }
    }
}
