import Glibc
public import Logging
public import Primitives
public import Records

/// What an operator decided about a spool that was restored from a backup or copied, so that the broker's checkpoints
/// come from a process that this spool never was (`spool_history_unknown`). Kept in the file `ADOPTION`.
///
/// A decision holds for the records that the spool held when it was made, and for each lane once: it is bound, durably,
/// to the first unknown checkpoint that the lane meets, before anything follows from it. After a crash the lane meets
/// the same checkpoint and goes on the same way; another unknown checkpoint needs another decision.
public struct Adoption: Hashable, Sendable {
    public enum Decision: UInt8, Sendable, CaseIterable {
        /// Every record that the spool held counts as delivered; none of them is sent.
        case assumeDelivered = 1
        /// Every record that this spool itself does not know to be delivered is sent. Those that the other process
        /// delivered are at the broker twice.
        case resend = 2
    }

    /// A checkpoint of an unknown epoch, as the broker had it.
    public struct Checkpoint: Hashable, Sendable {
        public var lsn: LSN
        public var epoch: UInt32
        public var nonce: UInt64

        public init(lsn: LSN, epoch: UInt32, nonce: UInt64) {
            self.lsn = lsn
            self.epoch = epoch
            self.nonce = nonce
        }
    }

    /// What became of the decision in one lane.
    enum Use: Hashable {
        case open
        case bound(Checkpoint)
        /// The lane's history turned out to be known: nothing was to be decided.
        case closed
    }

    public let decision: Decision
    /// End of what the spool held (exclusive).
    public let end: LSN
    var lanes: [Use]

    init(_ decision: Decision, end: LSN, lanes: Int) {
        self.decision = decision
        self.end = end
        self.lanes = Array(repeating: .open, count: lanes)
    }

    /// - Returns: whether the decision is about this checkpoint of the lane.
    mutating func bind(lane: Int, to checkpoint: Checkpoint) -> Bool {
        if lanes[lane] == .open { lanes[lane] = .bound(checkpoint) }
        return lanes[lane] == .bound(checkpoint)
    }

    mutating func close(lane: Int) { if lanes[lane] == .open { lanes[lane] = .closed } }
}

// MARK: - On disk

extension Adoption {
    static let kind = SlotFile.Kind(name: "ADOPTION", magic: 0x0A1A_5450_4F44_5250, slotBytes: 8192)  // "PRDOPT\x1A\n"

    /// Payload: decision (1 byte), number of lanes (1), end (8), then for each lane: use (1: 0 open, 1 bound, 2
    /// closed), and of the checkpoint that it is bound to LSN (8), epoch (4), nonce (8), else zeros.
    func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 10 + 21 * lanes.count)
        writer.integer(decision.rawValue)
        writer.integer(UInt8(lanes.count))
        writer.integer(end.rawValue)
        for lane in lanes {
            let (use, checkpoint): (UInt8, Checkpoint?) =
                switch lane {
                case .open: (0, nil)
                case .bound(let checkpoint): (1, checkpoint)
                case .closed: (2, nil)
                }
            writer.integer(use)
            writer.integer(checkpoint?.lsn.rawValue ?? 0)
            writer.integer(checkpoint?.epoch ?? 0)
            writer.integer(checkpoint?.nonce ?? 0)
        }
        return writer.bytes
    }

    init(decoding payload: ByteSlice) throws(MalformedBytes) {
        var reader = ByteReader(payload)
        guard let decision = Decision(rawValue: try reader.integer()) else { throw MalformedBytes("ADOPTION decision") }
        let count = Int(try reader.integer(UInt8.self))
        self.init(decision, end: LSN(rawValue: try reader.integer()), lanes: count)
        for lane in 0..<count {
            let use = try reader.integer(UInt8.self)
            let checkpoint = Checkpoint(
                lsn: LSN(rawValue: try reader.integer()), epoch: try reader.integer(), nonce: try reader.integer())
            switch use {
            case 0: break
            case 1: lanes[lane] = .bound(checkpoint)
            case 2: lanes[lane] = .closed
            default: throw MalformedBytes("ADOPTION use")
            }
        }
        guard reader.remaining == 0 else { throw MalformedBytes("ADOPTION length") }
    }
}

/// The decision of a running journal, if there is one.
// SAFETY: `file` is used only with `state` locked.
final class AdoptionStore: @unchecked Sendable {
    private let file: SlotFile?
    private let state: Lock<Adoption?>

    private init(_ file: SlotFile?, _ adoption: Adoption?) {
        self.file = file
        state = Lock(adoption)
    }

    /// A file that cannot be read decides nothing: the lanes concerned stay closed until somebody decides again.
    ///
    /// - Returns: the store, and why there is a file that decides nothing.
    static func open(
        in directory: String, lanes: Int, on fileSystem: any FileSystem
    ) throws(JournalError) -> (store: AdoptionStore, unreadable: String?) {
        do throws(FileSystemError) {
            guard try fileSystem.exists(directory + "/" + Adoption.kind.name) else {
                return (AdoptionStore(nil, nil), nil)
            }
        } catch {
            throw .io(error)
        }
        let (file, payload): (SlotFile, ByteSlice)
        do throws(JournalError) {
            (file, payload) = try SlotFile.open(Adoption.kind, in: directory, on: fileSystem)
        } catch {
            guard case .unreadable(_, let reason) = error else { throw error }
            return (AdoptionStore(nil, nil), reason)
        }
        do throws(MalformedBytes) {
            let adoption = try Adoption(decoding: payload)
            guard adoption.lanes.count == lanes else { throw MalformedBytes("ADOPTION lanes") }
            return (AdoptionStore(file, adoption), nil)
        } catch {
            return (AdoptionStore(nil, nil), error.what)
        }
    }

    /// Binds the decision to this checkpoint of the lane. Blocks on the disk, at most once for each lane.
    ///
    /// - Returns: nil when nothing was decided about it.
    func adopt(lane: Int, _ checkpoint: Adoption.Checkpoint) throws(FileSystemError) -> Adoption? {
        try change { $0.bind(lane: lane, to: checkpoint) }
    }

    /// The lane's history is known.
    func close(lane: Int) throws(FileSystemError) {
        _ = try change { adoption in
            adoption.close(lane: lane)
            return true
        }
    }

    /// Held over a disk write, as META's: a lane comes here once or twice in its life.
    private func change(_ body: (inout Adoption) -> Bool) throws(FileSystemError) -> Adoption? {
        try state.withLock { (adoption) throws(FileSystemError) -> Adoption? in
            guard let before = adoption, let file else { return nil }
            var changed = before
            let isMeant = body(&changed)
            if changed != before {
                try file.write(changed.encoded())
                adoption = changed
            }
            return isMeant ? changed : nil
        }
    }
}

extension Journal {
    /// Records an operator's decision, for the next start: `postrider spool adopt`. Recovers the journal as a start
    /// does, so what could not be started cannot be adopted. A decision made before is replaced. Blocks on the disk;
    /// durable when it returns.
    ///
    /// - Throws: `inUse` while a gateway runs on it; `io` where there is no journal.
    public static func adopt(
        directory: String, _ decision: Adoption.Decision, settings: JournalSettings = JournalSettings(),
        fileSystem: any FileSystem = SystemFileSystem(), clock: any TimeSource = SystemClock(),
        log: Logger = Logger(label: "postrider.journal")
    ) throws(JournalError) -> Adoption {
        do throws(FileSystemError) {
            // Else the start below would make one.
            guard try fileSystem.exists(directory + "/" + Meta.kind.name) else {
                throw FileSystemError(call: "open", path: directory + "/" + Meta.kind.name, errno: ENOENT)
            }
        } catch {
            throw .io(error)
        }
        let opened = try open(
            directory: directory, settings: settings, lanes: nil, fileSystem: fileSystem, clock: clock, log: log)
        defer { opened.parts.lock.close() }
        let adoption = Adoption(decision, end: opened.end, lanes: opened.lanes)
        do throws(FileSystemError) {
            _ = try SlotFile.create(Adoption.kind, in: directory, payload: adoption.encoded(), on: fileSystem)
        } catch {
            throw .io(error)
        }
        return adoption
    }
}
