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
    /// The lane of a record that was accepted; nil where no synced record stands. May block on the disk.
    public func lane(of lsn: LSN) throws(JournalError) -> UInt8? {
        if case .lane(let lane) = try places(of: [lsn])[0] { return lane }
        return nil
    }

    /// Where records stand. Each frame is read once, and what lies between two in a segment is not gone over twice. May
    /// block on the disk.
    ///
    /// - Parameter lsns: sorted.
    /// - Throws: what the disk or the system refused; never for broken bytes.
    public func places(of lsns: [LSN]) throws(JournalError) -> [RecordPlace] {
        var places: [RecordPlace] = []
        places.reserveCapacity(lsns.count)
        var reader = journal.reader(from: .zero)
        while places.count < lsns.count {
            let found: (frame: JournalFrame, places: [RecordPlace])?
            do throws(JournalError) {
                reader.seek(to: lsns[places.count])
                found = try reader.next().map { (frame) throws(JournalError) in
                    (frame, try self.places(of: lsns[places.count...], in: frame))
                }
            } catch {
                reader = journal.reader(from: .zero)
                let end = error.lostEnd
                repeat {
                    places.append(try parkedPlace(of: lsns[places.count], unreadable: error))
                } while places.count < lsns.count && lsns[places.count] < end
                continue
            }
            // Between what was looked for and the frame, or the end, the journal has nothing.
            let end = found?.frame.first
            while places.count < lsns.count, end.map({ lsns[places.count] < $0 }) ?? true {
                places.append(try parkedPlace(of: lsns[places.count]))
            }
            places += found?.places ?? []
        }
        return places
    }

    /// Of those that are in the frame.
    ///
    /// - Parameter lsns: sorted.
    private func places(
        of lsns: ArraySlice<LSN>, in frame: JournalFrame
    ) throws(JournalError) -> [RecordPlace] {
        var places: [RecordPlace] = []
        var wanted = lsns.drop { $0 < frame.first }
        do throws(MalformedBytes) {
            try frame.forEachRecord { lsn, bytes in
                while wanted.first == lsn {
                    places.append(SpoolRecordCodec.lane(of: bytes).map(RecordPlace.lane) ?? .nowhere)
                    wanted.removeFirst()
                }
            }
        } catch {
            throw .corruption([frame.first..<frame.end], detail: error.what)
        }
        return places
    }

    /// Of a record that the journal could not tell about: its segment may have gone meanwhile, because its lane was
    /// parked.
    private func parkedPlace(of lsn: LSN, unreadable error: JournalError) throws(JournalError) -> RecordPlace {
        let place = try parkedPlace(of: lsn)
        guard place == .nowhere else { return place }
        guard case .corruption = error else { throw error }
        return .damaged(error.description)
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

extension JournalError {
    /// One past the last record that is lost; zero where none is.
    fileprivate var lostEnd: LSN {
        guard case .corruption(let ranges, _) = self else { return .zero }
        return ranges.map(\.upperBound).max() ?? .zero
    }
}
