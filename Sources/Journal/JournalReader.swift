import Primitives
public import Records

/// Reads synced records in LSN order from any LSN on: from memory while it keeps up, else from the disk. One thread at
/// a time; every reader has its own place.
// SAFETY: handed from thread to thread by its owner, never used by two at once.
public final class JournalReader: @unchecked Sendable {
    private let shared: JournalShared
    /// The next frame returned ends after it.
    public private(set) var position: LSN
    private var walk: SegmentWalk?

    init(shared: JournalShared, from position: LSN) {
        self.shared = shared
        self.position = position
    }

    /// The next frame that holds records at or after the position, which moves to its end. It may begin before the
    /// position: skip those records. May block on the disk.
    ///
    /// - Returns: nil when everything synced was read.
    /// - Throws: `JournalError.corruption` for broken records; `skip(to:)` their end to go on.
    public func next() throws(JournalError) -> JournalFrame? {
        while true {
            enum Place {
                case nothing
                case memory(JournalFrame)
                case disk(SegmentInfo, LSN, isActive: Bool)
            }
            let place = shared.index.withLock { index -> Place in
                guard position < index.durable else { return .nothing }
                if let frame = index.tail.frame(at: position) { return .memory(frame) }
                guard let (info, at, isActive) = index.segment(holding: position), at < index.durable else {
                    return .nothing
                }
                return .disk(info, at, isActive: isActive)
            }
            switch place {
            case .nothing:
                return nil
            case .memory(let frame):
                walk = nil
                position = frame.end
                return frame
            case .disk(let info, let at, let isActive):
                position = at
                // A segment that never got a frame: the next look goes past it.
                if !isActive, at >= info.end { continue }
                if let frame = try readDisk(info, isActive: isActive) { return frame }
            }
        }
    }

    /// Nobody has a record of the frames that were returned, nor a frame: the next one may be read into their memory.
    public func takeBack() { walk?.takeBack() }

    public func skip(to lsn: LSN) {
        position = max(position, lsn)
        walk = nil
    }

    /// Goes on at any LSN. Further on in the same segment its frames are walked over from where the last one ended,
    /// without reading their records; further back, from the segment's beginning.
    public func seek(to lsn: LSN) {
        if lsn < position { walk = nil }
        position = lsn
    }

    /// The frame, or nil when there is nothing to read any more: the segment was released meanwhile, so its file is
    /// gone or becomes another segment. Whoever still needs records reads them elsewhere.
    private func readDisk(_ segment: SegmentInfo, isActive: Bool) throws(JournalError) -> JournalFrame? {
        do throws(JournalError) {
            return try readFile(segment, isActive: isActive)
        } catch {
            // Nothing good is mistaken for it: every segment has a salt of its own.
            let isThere = shared.index.withLock { index in index.segments.contains { $0.header == segment.header } }
            guard !isThere else { throw error }
            walk = nil
            return nil
        }
    }

    private func readFile(_ segment: SegmentInfo, isActive: Bool) throws(JournalError) -> JournalFrame? {
        var lost: Range<LSN>?
        do throws(FileSystemError) {
            if walk?.header != segment.header {
                walk = try SegmentWalk(
                    header: segment.header, file: try shared.fileSystem.open(segment.path, .readOnly))
            }
            var refreshed = false
            while let step = try walk?.next(verifiedBelow: position) {
                if case .frame(let frame) = step {
                    if frame.header.count == 0 || frame.header.end <= position { continue }
                    position = frame.header.end
                    let body = walk?.keep(frame) ?? .init(bytes: Array(frame.body), range: 0..<frame.body.count)
                    return JournalFrame(first: frame.header.first, count: frame.header.count, body: body)
                }
                // Zeros or half a frame in the window may be older than what is in the file now.
                if !refreshed {
                    refreshed = true
                    walk?.refresh()
                    continue
                }
                if case .bad(let offset) = step,
                    let skip = segment.skips.first(where: { $0.lowerBound == offset })
                {
                    walk?.jump(to: skip.upperBound)
                    continue
                }
                let after = (walk?.offset ?? 0) + Int64(Format.alignment)
                let found = try walk?.findHeader(from: after)
                if let found, found.header.first <= position {
                    // Broken bytes on the way to the position: nobody needs what was in them.
                    walk?.jump(to: found.offset)
                    continue
                }
                let end = isActive ? shared.index.withLock { $0.durable } : segment.end
                let missing = position..<max(position, min(found?.header.first ?? end, end))
                if !missing.isEmpty, shared.meta.isQuarantined(missing) {
                    position = missing.upperBound
                    if let found, position < end {
                        walk?.jump(to: found.offset)
                        continue
                    }
                    walk = nil
                    return nil
                }
                lost = missing
                break
            }
            walk = nil
        } catch {
            throw .io(error)
        }
        guard let lost else { return nil }
        throw .corruption([lost], detail: segment.path)
    }
}

extension Journal.Opened {
    /// Reads what was recovered, without starting the journal. Any thread.
    package func reader(from lsn: LSN) -> JournalReader {
        let index = JournalIndex(
            segments: parts.segments, tail: MemoryTail(bytesMax: 0), durable: end, written: end)
        let shared = JournalShared(
            directory: parts.directory, settings: parts.settings, fileSystem: parts.fileSystem, clock: parts.clock,
            log: parts.log, index: index, meta: parts.meta,
            hooks: JournalHooks(
                published: { _, _, _ in }, checkpoint: { _ in (.zero, []) }, failed: { _ in }))
        return JournalReader(shared: shared, from: lsn)
    }
}
