import Primitives
public import TestSupport

/// One thing done to the files of a journal.
public enum Damage: CustomStringConvertible, Sendable {
    public static let sectorBytes = 512

    case truncate(String, bytes: Int)
    case flip(String, bit: Int)
    case zeroSector(String, Int)
    case swapSectors(String, Int, with: String, Int)
    /// The first sector over the second.
    case repeatSector(String, Int, over: String, Int)
    /// Bytes of one file over those of another.
    case splice(from: String, Range<Int>, into: String, at: Int)
    /// The file gets these bytes; it is made when there is none.
    case replace(String, [UInt8])
    case delete(String)
    case write(String, [UInt8], at: Int)
    /// Gives what stands there the checksums of a frame, as only somebody who knows the segment's salt could.
    case seal(String, at: Int)

    public var description: String {
        switch self {
        case .truncate(let path, let bytes): "\(path) truncated to \(bytes)"
        case .flip(let path, let bit): "\(path) byte \(bit / 8) bit \(bit % 8) flipped"
        case .zeroSector(let path, let sector): "\(path) sector \(sector) zeroed"
        case .swapSectors(let a, let first, let b, let second): "sector \(first) of \(a) and \(second) of \(b) swapped"
        case .repeatSector(let a, let first, let b, let second):
            "sector \(first) of \(a) written over \(second) of \(b)"
        case .splice(let from, let range, let into, let at): "\(range) of \(from) written to \(at) of \(into)"
        case .replace(let path, let bytes): "\(path) replaced with \(bytes.count) bytes"
        case .delete(let path): "\(path) deleted"
        case .write(let path, let bytes, let at): "\(bytes) written to \(at) of \(path)"
        case .seal(let path, let at): "frame sealed at \(at) of \(path)"
        }
    }

    /// Whether records may come of it that nobody wrote.
    public var isForgery: Bool {
        if case .seal = self { true } else { false }
    }

    /// Whether whole frames may stand where they never stood: a later one before an earlier one.
    public var movesFrames: Bool {
        switch self {
        case .swapSectors, .repeatSector, .splice, .replace: true
        case .truncate, .flip, .zeroSector, .delete, .write, .seal: false
        }
    }

    /// - Throws: what the fake file system throws; places that are not in the file change nothing.
    public func apply(to disk: FakeFileSystem) throws {
        switch self {
        case .truncate(let path, let bytes):
            disk.overwrite(path) { $0.removeLast(max(0, $0.count - bytes)) }
        case .flip(let path, let bit):
            disk.overwrite(path) { if bit / 8 < $0.count { $0[bit / 8] ^= 1 << UInt8(bit % 8) } }
        case .zeroSector(let path, let sector):
            write([UInt8](repeating: 0, count: Self.sectorBytes), to: path, sector * Self.sectorBytes, disk)
        case .swapSectors(let a, let first, let b, let second):
            let (one, other) = (bytes(disk, a, first), bytes(disk, b, second))
            write(one, to: b, second * Self.sectorBytes, disk)
            write(other, to: a, first * Self.sectorBytes, disk)
        case .repeatSector(let a, let first, let b, let second):
            write(bytes(disk, a, first), to: b, second * Self.sectorBytes, disk)
        case .splice(let from, let range, let into, let at):
            write(Array((disk.contents(from) ?? [])[clamped: range]), to: into, at, disk)
        case .replace(let path, let bytes):
            if disk.contents(path) == nil { _ = try disk.open(path, .createOrTruncate) }
            disk.overwrite(path) { $0 = bytes }
        case .delete(let path):
            if disk.contents(path) != nil { try disk.remove(path) }
        case .write(let path, let bytes, let at):
            write(bytes, to: path, at, disk)
        case .seal(let path, let at):
            disk.overwrite(path) { JournalModel.seal(&$0, at: at) }
        }
    }

    private func bytes(_ disk: FakeFileSystem, _ path: String, _ sector: Int) -> [UInt8] {
        Array((disk.contents(path) ?? [])[clamped: sector * Self.sectorBytes..<(sector + 1) * Self.sectorBytes])
    }

    /// Files keep their length.
    private func write(_ bytes: [UInt8], to path: String, _ at: Int, _ disk: FakeFileSystem) {
        disk.overwrite(path) { file in
            let count = min(bytes.count, file.count - at)
            if count > 0 { file.replaceSubrange(at..<at + count, with: bytes[..<count]) }
        }
    }
}

extension Array {
    fileprivate subscript(clamped range: Range<Int>) -> ArraySlice<Element> { self[range.clamped(to: indices)] }
}
