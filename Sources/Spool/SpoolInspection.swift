public import Journal
public import Primitives
public import Records
import Logging

/// Everything that is in the spool of a stopped gateway, read to the last byte, and what is wrong with it:
/// `postrider spool verify`. Changes nothing.
public struct SpoolInspection: Sendable {
    /// A place that cannot be read.
    public struct Damage: Sendable {
        public var journal: JournalDamage
        public var standing: JournalImage.Standing
        /// The lanes that need records of it, as far as their cursors tell.
        public var lanes: [Int]
        /// Of a parked file: it concerns this lane only.
        public var parkedLane: Int?
        /// The frame of the parked file whose body is broken; nil where more of the file is.
        var parkedFrame: (piece: ParkedPiece, frame: ParkedPiece.Frame)?
        /// Named in bytes that no checksum vouches for; at most `topicsMax`.
        public var topics: [String] = []
        /// Records in those bytes whose lengths make sense.
        public var unverifiedRecords = 0
    }

    public struct Epoch: Sendable, Equatable {
        public var records = 0
        /// From the first to behind the last.
        public var lsns: Range<LSN>
    }

    public struct Lane: Sendable, Equatable {
        /// Its last LSN that is known to be at the broker.
        public var delivered: LSN
        /// It needs nothing below from the journal.
        public var scanned: LSN
        /// Its records in the journal, delivered ones included; and those of them at or past `scanned`.
        public var records = 0
        public var needed = 0
        /// In parked files; zero while it is not parked.
        public var parkedTo: LSN
        public var parkedFiles = 0
        public var parkedRecords = 0
        public var parkedBytes: Int64 = 0
    }

    /// Places that are listed; the others are counted.
    public static let damagesMax = 10_000
    static let topicsMax = 20

    public internal(set) var spool: SpoolID
    public internal(set) var validSlots: [(file: String, valid: Int)]
    public internal(set) var segments: [JournalImage.Segment]
    public internal(set) var unreadableFiles: [String]
    public internal(set) var restorableFiles: [String]
    public internal(set) var quarantined: [Range<LSN>]
    /// A start would be refused because of these.
    public internal(set) var refused: [Range<LSN>]
    public internal(set) var hasTornTail: Bool
    /// Everything below was synced; no lane needs anything below; end of the log.
    public internal(set) var durable: LSN
    public internal(set) var released: LSN
    public internal(set) var end: LSN
    public internal(set) var frames = 0
    public internal(set) var records = 0
    public internal(set) var recordBytes: Int64 = 0
    /// By epoch, rising; those of which records are there.
    public internal(set) var epochs: [(epoch: UInt32, summary: Epoch)] = []
    public internal(set) var lanes: [Lane]
    public internal(set) var damages: [Damage] = []
    public internal(set) var damagesLeftOut = 0

    /// What has to be repaired: everything else is read, or nobody needs it.
    public var needed: [Damage] { damages.filter { $0.standing == .refusesStart || $0.standing == .stopsReaders } }

    public var isClean: Bool { needed.isEmpty && refused.isEmpty && damagesLeftOut == 0 }

    /// Locks the directory, reads everything, and lets it go. Blocks on the disk.
    ///
    /// - Parameter directory: the spool's.
    /// - Throws: as `JournalImage.open`.
    public static func of(
        directory: String, fileSystem: any FileSystem = SystemFileSystem()
    ) throws(JournalError) -> SpoolInspection {
        let image = try JournalImage.open(directory: directory, fileSystem: fileSystem)
        defer { image.close() }
        return try SpoolInspection(image)
    }

    /// Reads everything.
    init(_ image: JournalImage) throws(JournalError) {
        let cursors = try image.cursors()
        spool = image.spool
        validSlots = image.validSlots
        segments = image.segments
        unreadableFiles = image.unreadableFiles
        restorableFiles = image.restorableFiles
        quarantined = image.quarantined
        refused = image.refused
        hasTornTail = image.hasTornTail
        durable = image.durable
        released = image.released
        end = image.end
        lanes = cursors.lanes.map {
            Lane(delivered: $0.delivered, scanned: $0.scanned, parkedTo: $0.parkedTo)
        }
        var scan = image.scan()
        while let step = try scan.next() {
            switch step {
            case .frame(let frame): take(frame, scan.place, image)
            case .damage(let damage): add(try look(damage, image))
            }
        }
        try inspectParked(cursors, image)
    }

    private mutating func take(_ frame: JournalFrame, _ place: JournalImage.Segment?, _ image: JournalImage) {
        frames += 1
        var bad: [(lsn: LSN, lane: UInt8?)] = []
        do throws(MalformedBytes) {
            try frame.forEachRecord { lsn, bytes in
                let lane = SpoolRecordCodec.lane(of: bytes)
                if !isRecord(bytes) { bad.append((lsn, lane)) }
                count(lsn, lane, bytes.count)
            }
        } catch {
            addUndecodable(frame.first..<frame.end, lane: nil, place, image)
            return
        }
        for (lsn, lane) in bad { addUndecodable(lsn..<lsn.next, lane: lane, place, image) }
    }

    private func isRecord(_ bytes: ByteSlice) -> Bool {
        do throws(MalformedBytes) {
            _ = try SpoolRecordCodec.decode(bytes)
            return true
        } catch {
            return false
        }
    }

    private mutating func count(_ lsn: LSN, _ lane: UInt8?, _ bytes: Int) {
        records += 1
        recordBytes += Int64(bytes)
        if let last = epochs.last, last.epoch == lsn.epoch {
            epochs[epochs.count - 1].summary.records += 1
            epochs[epochs.count - 1].summary.lsns = last.summary.lsns.lowerBound..<lsn.next
        } else {
            epochs.append((lsn.epoch, Epoch(records: 1, lsns: lsn..<lsn.next)))
        }
        guard let lane = lane.map(Int.init), lane < lanes.count else { return }
        lanes[lane].records += 1
        if lsn >= lanes[lane].scanned { lanes[lane].needed += 1 }
    }

    private mutating func addUndecodable(
        _ lsns: Range<LSN>, lane: UInt8?, _ place: JournalImage.Segment?, _ image: JournalImage
    ) {
        let journal = JournalDamage(
            kind: .undecodable, lsns: lsns, path: place?.path, bytes: 0..<(place?.fileBytes ?? 0))
        var damage = Damage(journal: journal, standing: image.standing(of: lsns), lanes: concerned(by: lsns))
        if let lane = lane.map(Int.init), lane < lanes.count {
            damage.lanes = damage.lanes.filter { $0 == lane }
            if damage.lanes.isEmpty, damage.standing == .stopsReaders { damage.standing = .needless }
        }
        add(damage)
    }

    private func concerned(by lsns: Range<LSN>) -> [Int] {
        lanes.indices.filter { lanes[$0].scanned < lsns.upperBound }
    }

    private func look(_ found: JournalDamage, _ image: JournalImage) throws(JournalError) -> Damage {
        var damage = Damage(
            journal: found, standing: image.standing(of: found.lsns), lanes: concerned(by: found.lsns))
        try lookInto(&damage, image)
        return damage
    }

    /// What its broken bytes say.
    private func lookInto(_ damage: inout Damage, _ image: JournalImage) throws(JournalError) {
        var topics: Set<String> = []
        for part in damage.brokenParts {
            for record in try image.believable(part, of: damage) {
                damage.unverifiedRecords += 1
                if topics.count < Self.topicsMax { topics.insert(record.spooled.topic.text) }
            }
        }
        damage.topics = topics.sorted()
    }

    mutating func add(_ damage: Damage) {
        if damages.count < Self.damagesMax {
            damages.append(damage)
        } else if damage.standing == .refusesStart || damage.standing == .stopsReaders {
            damagesLeftOut += 1
        }
    }

    /// Parked files: every frame and every record of them.
    private mutating func inspectParked(_ cursors: LaneCursors, _ image: JournalImage) throws(JournalError) {
        let files = image.parkedFiles
        for (lane, cursor) in cursors.lanes.enumerated() where cursor.isParked {
            let parked = files.recover(lane: lane, cursor)
            lanes[lane].parkedFiles = parked.pieces.count
            lanes[lane].parkedRecords = parked.records
            lanes[lane].parkedBytes = parked.bytes
            for piece in parked.pieces {
                for frame in piece.frames {
                    try inspect(frame, of: piece, lane, cursor, image)
                }
            }
            if case .corruption(let lost, _) = parked.damage {
                let path = files.path(lane: lane, ordinal: parked.pieces.count)
                for lsns in lost { try addParked(lsns, path, lane, cursor, image) }
            }
        }
    }

    private mutating func inspect(
        _ frame: ParkedPiece.Frame, of piece: ParkedPiece, _ lane: Int, _ cursor: LaneCursor, _ image: JournalImage
    ) throws(JournalError) {
        let entries: [ParkedEntry]
        do throws(JournalError) {
            entries = try piece.entries(of: frame, on: image.fileSystem)
        } catch {
            guard case .corruption(let lost, _) = error else { throw error }
            for lsns in lost { try addParked(lsns, piece.path, lane, cursor, image, frame: (piece, frame)) }
            return
        }
        for entry in entries where !isRecord(entry.bytes) {
            try addParked(entry.lsn..<entry.lsn.next, piece.path, lane, cursor, image, kind: .undecodable)
        }
    }

    private mutating func addParked(
        _ lsns: Range<LSN>, _ path: String, _ lane: Int, _ cursor: LaneCursor, _ image: JournalImage,
        kind: JournalDamage.Kind = .unreadable, frame: (piece: ParkedPiece, frame: ParkedPiece.Frame)? = nil
    ) throws(JournalError) {
        var standing = image.isQuarantined(lsns) ? JournalImage.Standing.quarantined : .stopsReaders
        if lsns.upperBound <= cursor.delivered.next { standing = .needless }
        var damage = Damage(
            journal: JournalDamage(kind: kind, lsns: lsns, path: path), standing: standing, lanes: [lane],
            parkedLane: lane, parkedFrame: frame)
        try lookInto(&damage, image)
        add(damage)
    }
}

extension JournalImage {
    func cursors() throws(JournalError) -> LaneCursors {
        do throws(MalformedBytes) {
            return try SpoolCheckpoint(decoding: owner, lanes: lanes).cursors
        } catch {
            throw .unreadable(path: directory + "/CHECKPOINT", reason: error.what)
        }
    }

    var parkedFiles: ParkedFiles {
        ParkedFiles(
            parent: directory, spool: spool, fileSystem: fileSystem,
            log: Logger(label: "postrider.spool", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    /// The records of a broken frame that look like records: the form is right, and the lane is the topic's. No
    /// checksum vouches for any of them.
    func believable(
        _ part: BrokenPart, of damage: SpoolInspection.Damage
    ) throws(JournalError) -> [(lsn: LSN, lane: Int, spooled: SpoolRecord)] {
        let records: [ParkedEntry]
        switch part {
        case .parked(let piece, let frame): records = try piece.unverifiedEntries(of: frame, on: fileSystem)
        case .journal(let frame):
            guard let path = damage.journal.path else { return [] }
            do throws(FileSystemError) {
                records = try unverifiedRecords(of: frame, at: path)
            } catch {
                throw .io(error)
            }
        }
        var believable: [(lsn: LSN, lane: Int, spooled: SpoolRecord)] = []
        for (lsn, bytes) in records where damage.journal.lsns.contains(lsn) {
            do throws(MalformedBytes) {
                let spooled = try SpoolRecordCodec.decode(bytes)
                let lane = Int(Records.lane(of: spooled.topic, lanes: lanes))
                guard SpoolRecordCodec.lane(of: bytes) == UInt8(lane), lane == damage.parkedLane ?? lane else {
                    continue
                }
                believable.append((lsn, lane, spooled))
            } catch {
                // One of those that cannot be read: it is in the range.
            }
        }
        return believable
    }
}

/// A frame whose header is good and whose body is not.
enum BrokenPart {
    case journal(BrokenFrame)
    case parked(ParkedPiece, ParkedPiece.Frame)
}

extension SpoolInspection.Damage {
    var brokenParts: [BrokenPart] {
        journal.brokenFrames.map { .journal($0) } + (parkedFrame.map { [.parked($0.piece, $0.frame)] } ?? [])
    }
}
