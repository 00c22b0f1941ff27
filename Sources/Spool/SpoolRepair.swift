public import Journal
public import Primitives
public import Records

/// What is kept of a loss that an operator accepted, for the dead letters.
public enum QuarantinedLoss: Sendable {
    /// A record as its broken bytes say. The lane had not delivered it as far as the spool knows.
    case record(lsn: LSN, lane: Int, SpoolRecord, detail: String)
    /// Everything else of these LSNs that was not delivered is lost.
    case range(Range<LSN>, detail: String)
}

/// Why a repair ended before its end. What it did until then changes nothing for a start.
public enum RepairFailure: Error, Sendable, CustomStringConvertible {
    case journal(JournalError)
    /// The dead letters could not be kept.
    case deadLetters(String)

    public var description: String {
        switch self {
        case .journal(let error): error.description
        case .deadLetters(let detail): "dead letters: \(detail)"
        }
    }
}

/// `postrider spool repair`: makes a damaged spool one that starts, without hiding what is lost. The order of the
/// steps, and what a crash between them leaves, is in docs/JOURNAL.md, "Repair".
public struct SpoolRepair: Sendable {
    /// How the loss is kept for people.
    public struct Keeping {
        /// Of all files in the quarantine directory; beyond it bytes stay where they are, and the report says so.
        public var bytesMax: Int64 = 1 << 30
        /// For the report's name; milliseconds since 1970 UTC.
        public var nowMs: Int64
        /// The report's bytes.
        public var report: (SpoolRepair) -> [UInt8]
        /// Durable when it returns; repeating it changes nothing.
        public var keep: ([QuarantinedLoss]) throws(RepairFailure) -> Void

        public init(
            nowMs: Int64, report: @escaping (SpoolRepair) -> [UInt8],
            keep: @escaping ([QuarantinedLoss]) throws(RepairFailure) -> Void
        ) {
            self.nowMs = nowMs
            self.report = report
            self.keep = keep
        }
    }

    /// Where the bytes of a damage went; nil when there was no room.
    public struct Copy: Sendable {
        public var path: String
        public var name: String?
    }

    public static let reportPrefix = "report-"

    /// What there was: the damages after headers were restored.
    public internal(set) var inspection: SpoolInspection
    /// Files whose header was made anew: nothing of them is lost.
    public internal(set) var restored: [String] = []
    /// The loss that was accepted, or has to be.
    public internal(set) var ranges: [Range<LSN>]
    public internal(set) var copies: [Copy] = []
    /// Records that are among the dead letters, though no checksum vouches for them.
    public internal(set) var unverifiedRecords = 0
    /// Of the report; nil where nothing was to be quarantined.
    public internal(set) var report: String?

    /// What a repair would do. Changes nothing.
    public static func plan(
        directory: String, fileSystem: any FileSystem = SystemFileSystem()
    ) throws(JournalError) -> SpoolRepair {
        let image = try JournalImage.open(directory: directory, fileSystem: fileSystem)
        defer { image.close() }
        return SpoolRepair(inspection: try SpoolInspection(image), image)
    }

    /// Restores what can be restored and accepts the loss of the rest. Repeating it changes nothing.
    public static func run(
        directory: String, fileSystem: any FileSystem = SystemFileSystem(), keeping: Keeping
    ) throws(RepairFailure) -> SpoolRepair {
        let restored: [String]
        let image: JournalImage
        var repair: SpoolRepair
        do throws(JournalError) {
            restored = try restoreHeaders(directory, fileSystem)
            image = try JournalImage.open(directory: directory, forWriting: true, fileSystem: fileSystem)
        } catch {
            throw .journal(error)
        }
        defer { image.close() }
        do throws(JournalError) {
            repair = SpoolRepair(inspection: try SpoolInspection(image), image)
        } catch {
            throw .journal(error)
        }
        repair.restored = restored
        // What was accepted before: that repair may have ended before the dead letters had it.
        try keeping.keep(image.quarantined.map { .range($0, detail: Self.detail) })
        if repair.ranges.isEmpty { return repair }
        if repair.inspection.damagesLeftOut > 0 {
            throw .journal(.quarantineFull(rangesMax: SpoolInspection.damagesMax))
        }
        do throws(FileSystemError) {
            try repair.keepBytes(image, keeping)
        } catch {
            throw .journal(.io(error))
        }
        try repair.keepRecords(image, keeping)
        do throws(JournalError) {
            try repair.accept(image)
        } catch {
            throw .journal(error)
        }
        return repair
    }

    private static let detail = "the spool lost its bytes before it was known to be delivered"

    private init(inspection: SpoolInspection, _ image: JournalImage) {
        self.inspection = inspection
        ranges = joinedRanges(inspection.needed.map(\.journal.lsns) + image.refused)
    }

    /// One after the other: a header says what the segment before it ended with.
    private static func restoreHeaders(
        _ directory: String, _ fileSystem: any FileSystem
    ) throws(JournalError) -> [String] {
        var restored: [String] = []
        while true {
            let image = try JournalImage.open(directory: directory, forWriting: true, fileSystem: fileSystem)
            defer { image.close() }
            // (One that was restored is readable, so this ends.)
            if image.restorableFiles.isEmpty { return restored }
            do throws(FileSystemError) {
                try image.restoreHeaders()
            } catch {
                throw .io(error)
            }
            restored += image.restorableFiles
        }
    }

    /// Copies, then the report about them.
    private mutating func keepBytes(_ image: JournalImage, _ keeping: Keeping) throws(FileSystemError) {
        let fileSystem = image.fileSystem
        try fileSystem.createDurableDirectory(image.quarantineDirectory)
        var places: [(path: String, bytes: Range<Int64>?)] = image.unreadableFiles.map {
            (image.directory + "/" + $0, nil)
        }
        for damage in inspection.needed where damage.journal.kind != .replaced {
            guard let path = damage.journal.path, try fileSystem.exists(path) else { continue }
            let bytes = damage.parkedLane == nil ? damage.journal.bytes : nil
            if bytes?.isEmpty != true, !places.contains(where: { $0 == (path, bytes) }) { places.append((path, bytes)) }
        }
        for (path, bytes) in places {
            let size = try fileSystem.open(path, .readOnly).size()
            let name = try image.keepCopy(of: path, bytes ?? 0..<size, bytesMax: keeping.bytesMax)
            copies.append(Copy(path: path, name: name))
        }
        let name = Self.reportPrefix + "\(keeping.nowMs).json"
        report = name
        try image.keepReport(keeping.report(self), name: name)
    }

    /// Into the dead letters: what looks like a record, and the ranges.
    private mutating func keepRecords(_ image: JournalImage, _ keeping: Keeping) throws(RepairFailure) {
        for damage in inspection.needed {
            for part in damage.brokenParts {
                var losses: [QuarantinedLoss] = []
                do throws(JournalError) {
                    for (lsn, lane, spooled) in try image.believable(part, of: damage)
                    where isUndelivered(lsn, lane, isParked: damage.parkedLane != nil) {
                        losses.append(
                            .record(
                                lsn: lsn, lane: lane, spooled,
                                detail: "the checksum of its frame in the spool is wrong: its bytes may be altered"))
                    }
                } catch {
                    throw .journal(error)
                }
                unverifiedRecords += losses.count
                if !losses.isEmpty { try keeping.keep(losses) }
            }
        }
        try keeping.keep(ranges.map { .range($0, detail: Self.detail) })
    }

    /// As far as the spool knows. What of the lane lies below `scanned` in the journal is delivered, or parked.
    private func isUndelivered(_ lsn: LSN, _ lane: Int, isParked: Bool) -> Bool {
        lsn > inspection.lanes[lane].delivered && (isParked || lsn >= inspection.lanes[lane].scanned)
    }

    /// From the last step on a start is not refused.
    private func accept(_ image: JournalImage) throws(JournalError) {
        do throws(FileSystemError) {
            for damage in inspection.needed where damage.journal.kind == .replaced {
                if let path = damage.journal.path { try image.setAside(path) }
            }
        } catch {
            throw .io(error)
        }
        try image.quarantine(ranges)
    }
}
