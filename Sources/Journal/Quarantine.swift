public import Primitives
public import Records

/// What `postrider spool repair --quarantine` does to a journal. The order of the calls, and what a crash between them
/// leaves, is in docs/JOURNAL.md, "Repair".
extension JournalImage {
    /// The directory of copies and reports.
    public static let quarantineName = "quarantine"

    public var quarantineDirectory: String { directory + "/" + Self.quarantineName }

    /// Copies bytes of a file into the quarantine directory, synced. A copy of an earlier, interrupted repair is
    /// written anew. Zeros at the end are left out.
    ///
    /// - Parameter bytesMax: of all files there; beyond it nothing is copied.
    /// - Returns: the copy's name; nil when there was no room for it.
    public func keepCopy(
        of path: String, _ bytes: Range<Int64>, bytesMax: Int64
    ) throws(FileSystemError) -> String? {
        let file = path[(path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex)...]
        let name = "\(file)-\(bytes.lowerBound).bytes"
        var used: Int64 = 0
        for other in try fileSystem.list(quarantineDirectory) where other != name {
            used += try fileSystem.open(quarantineDirectory + "/" + other, .readOnly).size()
        }
        guard used + Int64(bytes.count) <= bytesMax else { return nil }
        let source = try fileSystem.open(path, .readOnly)
        let copy = try fileSystem.open(quarantineDirectory + "/" + name, .createOrTruncate)
        var done: Int64 = 0
        var end: Int64 = 0
        while done < Int64(bytes.count) {
            let piece = try source.read(
                min(SegmentWindow.bytes, bytes.count - Int(done)), at: bytes.lowerBound + done)
            if piece.isEmpty { break }
            if let last = piece.lastIndex(where: { $0 != 0 }) { end = done + Int64(last) + 1 }
            try copy.writeAll(piece, at: done)
            done += Int64(piece.count)
        }
        try copy.truncate(end)
        try copy.syncData()
        copy.close()
        return name
    }

    /// Writes a file into the quarantine directory, synced, and makes all names there durable.
    public func keepReport(_ bytes: [UInt8], name: String) throws(FileSystemError) {
        let path = quarantineDirectory + "/" + name
        let file = try fileSystem.open(path, .createOrTruncate)
        try file.writeAll(bytes, at: 0)
        try file.syncData()
        file.close()
        try fileSystem.syncDirectory(quarantineDirectory)
    }

    /// Takes a segment out of the journal whose frames are not the ones that belong there: it moves to the quarantine
    /// directory. Its records are missing then, and a start is refused for them as before.
    public func setAside(_ path: String) throws(FileSystemError) {
        guard let slash = path.lastIndex(of: "/") else { return }
        try fileSystem.rename(path, to: quarantineDirectory + path[slash...])
        try fileSystem.syncDirectory(quarantineDirectory)
        try fileSystem.syncDirectory(directory)
    }

    /// Records in META that the loss of these is accepted, synced. From here on a start is not refused for them, and
    /// readers pass over what they cannot read of them.
    ///
    /// - Throws: `quarantineFull` when there would be more ranges than META holds; nothing is changed then.
    public func quarantine(_ ranges: [Range<LSN>]) throws(JournalError) {
        var changed = meta
        guard changed.quarantine(ranges, released: released) else {
            throw .quarantineFull(rangesMax: Meta.quarantinedMax)
        }
        if changed == meta { return }
        let (file, _) = try SlotFile.open(Meta.kind, in: directory, on: fileSystem)
        do throws(FileSystemError) {
            try file.write(changed.encoded())
        } catch {
            throw .io(error)
        }
    }
}
