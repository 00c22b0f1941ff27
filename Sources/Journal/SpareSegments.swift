import Primitives

/// Empty segment files, ready to be named, and where they come from: new ones are allocated, released segments are
/// used again. Deleting a file makes the file system give back its blocks, which some disks (`discard`) take long for
/// while every sync waits; in a steady flow of records nothing is deleted. One thread at a time.
struct SpareSegments {
    static let suffix = ".spare"
    private static let chunkBytes = 1 << 20
    private static let chunksPerSync = 8

    let directory: String
    let fileSystem: any FileSystem
    let settings: JournalSettings

    /// Never used twice by one process: the writer may be renaming the last one right now.
    private var number = 0
    /// Released segments under a spare's name, still with their old bytes; at most `releasedSegmentsKept`,
    /// and one more while there is no spare.
    private(set) var released: [String] = []

    init(directory: String, fileSystem: any FileSystem, settings: JournalSettings) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.settings = settings
    }

    /// An empty file, all zeros, synced: from a released segment, if there is one.
    mutating func make() throws(FileSystemError) -> any File {
        let file: any File
        if let path = released.last {
            file = try fileSystem.open(path, .readWrite)
            released.removeLast()
        } else {
            file = try fileSystem.open(nextPath(), .createOrTruncate)
        }
        do throws(FileSystemError) {
            try fill(file)
        } catch {
            // The space that was there is worth more than a file that cannot be used.
            do throws(FileSystemError) { try fileSystem.remove(file.path) } catch {}
            throw error
        }
        return file
    }

    /// Takes a segment that the synced CHECKPOINT says nobody needs: keeps it for `make`, or removes it. What is kept
    /// is overwritten with zeros before it is used, so nothing is kept where segments are not filled.
    ///
    /// - Parameter missing: there is no spare, so that one more is kept.
    mutating func take(_ segment: SegmentInfo, missing: Bool) throws(FileSystemError) {
        let countMax = settings.releasedSegmentsKept + (missing ? 1 : 0)
        guard settings.zeroFill, segment.isWhole, released.count < countMax else {
            return try fileSystem.remove(segment.path)
        }
        let kept = nextPath()
        try fileSystem.rename(segment.path, to: kept)
        // Before anything is overwritten: the old name must not come back with half of its records.
        try fileSystem.syncDirectory(directory)
        released.append(kept)
    }

    /// Gives back the space of what is kept.
    mutating func removeReleased() throws(FileSystemError) {
        while let path = released.last {
            try fileSystem.remove(path)
            released.removeLast()
        }
    }

    private mutating func nextPath() -> String {
        number += 1
        return "\(directory)/\(number)\(Self.suffix)"
    }

    private func fill(_ file: any File) throws(FileSystemError) {
        try file.allocate(Int64(settings.segmentBytes))
        if settings.zeroFill {
            let zeros = [UInt8](repeating: 0, count: min(Self.chunkBytes, settings.segmentBytes))
            var offset = 0
            while offset < settings.segmentBytes {
                let rest = zeros[..<min(zeros.count, settings.segmentBytes - offset)]
                try file.writeAll(Array(rest), at: Int64(offset))
                offset += rest.count
                // In slices, so that a commit's sync does not queue behind all of it.
                if (offset / Self.chunkBytes) % Self.chunksPerSync == 0 { try file.syncData() }
            }
        }
        try file.syncData()
    }
}
