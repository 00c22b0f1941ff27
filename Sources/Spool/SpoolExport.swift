public import Journal
public import Primitives
public import Records

/// The records of a stopped gateway's spool, delivered ones included, in LSN order: `postrider spool export`. What
/// stands in the journal is taken from there, what only stands in parked files from those.
///
/// Holds the directory's lock from `open` to `close`. One thread; blocks on the disk; changes nothing.
public struct SpoolExport {
    public enum Step {
        case record(lsn: LSN, SpoolRecord)
        /// These cannot be read, in words.
        case damage(Range<LSN>, String)
    }

    private let image: JournalImage
    private let lsns: Range<LSN>
    private var scan: JournalScan
    /// Found and not yet taken, in order.
    private var found: ArraySlice<Step> = []
    /// Parked frames that are still to be read before the journal goes on.
    private var parked: ArraySlice<ParkedPlace> = []
    /// Where the journal begins: before, records stand in parked files only.
    private let begin: LSN
    private let lanes: [ParkedLane]
    private var hasLookedBefore = false

    private struct ParkedPlace {
        var piece: ParkedPiece
        var frame: ParkedPiece.Frame
        var within: Range<LSN>
    }

    /// - Throws: as `JournalImage.open`.
    public static func open(
        directory: String, _ lsns: Range<LSN>, fileSystem: any FileSystem = SystemFileSystem()
    ) throws(JournalError) -> SpoolExport {
        let image = try JournalImage.open(directory: directory, fileSystem: fileSystem)
        do throws(JournalError) {
            return SpoolExport(image, try image.cursors(), lsns)
        } catch {
            image.close()
            throw error
        }
    }

    private init(_ image: JournalImage, _ cursors: LaneCursors, _ lsns: Range<LSN>) {
        self.image = image
        self.lsns = lsns
        scan = image.scan(lsns)
        begin = image.segments.first?.base ?? LSN(rawValue: .max)
        let files = image.parkedFiles
        lanes = cursors.lanes.enumerated().filter { $0.element.isParked }.map { files.recover(lane: $0, $1) }
    }

    public func close() { image.close() }

    /// nil when everything was read.
    public mutating func next() throws(JournalError) -> Step? {
        while true {
            if let first = found.popFirst() { return first }
            if let place = parked.popFirst() {
                try read(place)
                continue
            }
            if !hasLookedBefore {
                hasLookedBefore = true
                lookAtParked(within: lsns.clamped(to: .zero..<begin))
                for case .corruption(let lost, let detail)? in lanes.map(\.damage) {
                    for range in lost where range.overlaps(lsns) { found.append(.damage(range, detail)) }
                }
                continue
            }
            switch try scan.next() {
            case nil: return nil
            case .frame(let frame): take(frame)
            case .damage(let damage):
                found.append(.damage(damage.lsns.clamped(to: lsns), "\(damage.kind.rawValue)\(place(damage))"))
                lookAtParked(within: damage.lsns.clamped(to: max(begin, lsns.lowerBound)..<max(begin, lsns.upperBound)))
            }
        }
    }

    private func place(_ damage: JournalDamage) -> String { damage.path.map { ", \($0)" } ?? "" }

    private mutating func lookAtParked(within range: Range<LSN>) {
        if range.isEmpty { return }
        for lane in lanes {
            for piece in lane.pieces {
                for frame in piece.frames
                where frame.header.first < range.upperBound && frame.header.last >= range.lowerBound {
                    parked.append(ParkedPlace(piece: piece, frame: frame, within: range))
                }
            }
        }
    }

    private mutating func read(_ place: ParkedPlace) throws(JournalError) {
        do throws(JournalError) {
            for (lsn, bytes) in try place.piece.entries(of: place.frame, on: image.fileSystem)
            where place.within.contains(lsn) {
                take(lsn, bytes)
            }
        } catch {
            guard case .corruption(let lost, let detail) = error else { throw error }
            for range in lost { found.append(.damage(range, detail)) }
        }
    }

    private mutating func take(_ frame: JournalFrame) {
        do throws(MalformedBytes) {
            try frame.forEachRecord { lsn, bytes in if lsns.contains(lsn) { take(lsn, bytes) } }
        } catch {
            found.append(.damage(frame.first..<frame.end, error.what))
        }
    }

    private mutating func take(_ lsn: LSN, _ bytes: ByteSlice) {
        do throws(MalformedBytes) {
            found.append(.record(lsn: lsn, try SpoolRecordCodec.decode(bytes)))
        } catch {
            found.append(.damage(lsn..<lsn.next, "no record that this program knows: \(error.what)"))
        }
    }
}
