public import Journal
import Primitives
public import Records

/// Where a record that was accepted stands.
public enum RecordPlace: Hashable, Sendable {
    /// In the journal or in parked files; of this lane.
    case lane(UInt8)
    /// No synced record stands there.
    case nowhere
    /// The bytes that would tell are broken.
    case damaged(String)
}

extension Spool {
    /// So many LSNs are read over, rather than looking for the place in the segment again.
    private static let readOverMax: UInt64 = 4_096

    /// The lane of a record that was accepted; nil where no synced record stands. May block on the disk.
    public func lane(of lsn: LSN) throws(JournalError) -> UInt8? {
        if case .lane(let lane) = try places(of: [lsn])[0] { return lane }
        return nil
    }

    /// Where records stand. Each frame is read once. May block on the disk.
    ///
    /// - Parameter lsns: sorted.
    /// - Throws: what the disk or the system refused; never for broken bytes.
    public func places(of lsns: [LSN]) throws(JournalError) -> [RecordPlace] {
        var places = [RecordPlace](repeating: .nowhere, count: lsns.count)
        var reader: JournalReader?
        var index = 0
        while index < lsns.count {
            let lsn = lsns[index]
            do throws(JournalError) {
                guard let frame = try frame(holding: lsn, &reader) else {
                    places[index] = try parkedPlace(of: lsn)
                    index += 1
                    continue
                }
                do throws(MalformedBytes) {
                    var next = index
                    try frame.forEachRecord { at, bytes in
                        while next < lsns.count, lsns[next] <= at {
                            if lsns[next] == at, let lane = SpoolRecordCodec.lane(of: bytes) {
                                places[next] = .lane(lane)
                            }
                            next += 1
                        }
                    }
                    index = max(next, index + 1)
                } catch {
                    throw .corruption([frame.first..<frame.end], detail: error.what)
                }
            } catch {
                reader = nil
                // Its segment may have gone meanwhile, because its lane was parked.
                places[index] = try parkedPlace(of: lsn)
                if places[index] == .nowhere {
                    guard case .corruption = error else { throw error }
                    places[index] = .damaged(error.description)
                }
                index += 1
            }
        }
        return places
    }

    private func frame(holding lsn: LSN, _ reader: inout JournalReader?) throws(JournalError) -> JournalFrame? {
        let near = reader.map { $0.position <= lsn && lsn.rawValue - $0.position.rawValue <= Self.readOverMax } ?? false
        if !near { reader = journal.reader(from: lsn) }
        do throws(JournalError) {
            while let frame = try reader?.next() {
                if lsn < frame.end { return frame.first <= lsn ? frame : nil }
            }
            return nil
        } catch {
            guard near else { throw error }
            // What is broken may lie before it.
            reader = nil
            return try frame(holding: lsn, &reader)
        }
    }

    /// The same of a record that stands in parked files only.
    private func parkedPlace(of lsn: LSN) throws(JournalError) -> RecordPlace {
        let (places, damage) = state.withLock { state in
            let places = state.parked.lanes.compactMap { lane, files in
                files.place(of: lsn).map { (lane, $0.piece, $0.frame) }
            }
            return (places, state.parked.damage(at: lsn))
        }
        for (lane, piece, frame) in places where frame.header.first <= lsn {
            do throws(JournalError) {
                let entries = try piece.entries(of: frame, on: parkedFiles.fileSystem)
                if entries.contains(where: { $0.lsn == lsn }) { return .lane(UInt8(lane)) }
            } catch {
                switch error {
                // Drained meanwhile.
                case .io(let error) where error.isNotFound: continue
                case .corruption: return .damaged(error.description)
                default: throw error
                }
            }
        }
        return damage.map { .damaged($0.description) } ?? .nowhere
    }
}
