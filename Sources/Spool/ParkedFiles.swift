import Journal
import Logging
import Primitives
import Records

/// The directory of parked files, `parked` in the spool's: names, what a start finds there, and removal.
struct ParkedFiles: Sendable {
    private static let suffix = ".parked"

    /// The spool's directory.
    let parent: String
    let spool: SpoolID
    let fileSystem: any FileSystem
    let log: Logger

    var directory: String { parent + "/parked" }

    /// `<lane, 2 digits>-<ordinal, 10 digits>.parked`
    func path(lane: Int, ordinal: Int) -> String {
        func digits(_ value: Int, _ count: Int) -> String {
            String(repeating: "0", count: max(0, count - String(value).utf8.count)) + String(value)
        }
        return "\(directory)/\(digits(lane, 2))-\(digits(ordinal, 10))\(Self.suffix)"
    }

    private static func place(of name: String) -> (lane: Int, ordinal: Int)? {
        guard name.hasSuffix(suffix) else { return nil }
        let parts = name.dropLast(suffix.utf8.count).split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let lane = Int(parts[0]), let ordinal = Int(parts[1]) else { return nil }
        return (lane, ordinal)
    }

    /// Finds the files of the lanes that are parked, and removes what no CHECKPOINT names: of a copy that was not
    /// finished, or of a lane that was drained. Blocks on the disk.
    ///
    /// A lane whose files are damaged keeps them, for people; it stops where its reader meets the damage.
    func recover(_ cursors: LaneCursors) throws(FileSystemError) -> ParkedLanes {
        var parked = ParkedLanes()
        for (lane, cursor) in cursors.lanes.enumerated() where cursor.isParked {
            parked.recovered(recover(lane: lane, cursor), lane: lane)
        }
        guard try fileSystem.exists(directory) else { return parked }
        for name in try fileSystem.list(directory) {
            guard let (lane, ordinal) = Self.place(of: name) else { continue }
            if let kept = parked.lanes[lane], kept.damage != nil || ordinal < kept.pieces.count { continue }
            try fileSystem.remove(directory + "/" + name)
        }
        return parked
    }

    /// The files of one lane, as far as they are whole. Changes nothing on disk.
    func recover(lane: Int, _ cursor: LaneCursor) -> ParkedLane {
        var parked = ParkedLane()
        while parked.end < cursor.parkedTo {
            do throws(JournalError) {
                let path = path(lane: lane, ordinal: parked.pieces.count)
                let piece = try ParkedPiece.open(
                    path, spool: spool, lane: lane, after: parked.pieces.last, on: fileSystem)
                // `parked_to` is where a file ends. Beside an older CHECKPOINT there may be files of a later parking.
                guard piece.end <= cursor.parkedTo else {
                    throw .unreadable(path: path, reason: "it ends at \(piece.end), after what CHECKPOINT names")
                }
                parked.pieces.append(piece)
            } catch {
                let lost = max(parked.end, cursor.undelivered)..<cursor.parkedTo
                parked.damage = .corruption(lost.isEmpty ? [] : [lost], detail: "\(error)")
                log.critical(
                    "parked records cannot be read, their lane is stopped",
                    metadata: ["code": "spool_corruption", "lane": "\(lane)", "error": "\(error)"])
                break
            }
        }
        return parked
    }

    func remove(_ paths: [String]) {
        for path in paths {
            do throws(FileSystemError) {
                try fileSystem.remove(path)
            } catch {
                // It takes space, no more: nothing names it, and the next start removes it.
                if !error.isNotFound {
                    log.warning("a parked file cannot be removed", metadata: ["error": "\(error)"])
                }
            }
        }
    }
}
