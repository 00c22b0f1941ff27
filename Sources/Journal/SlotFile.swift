import Primitives
import Records

/// A small file with two fixed slots that alternate and are written in place: one write that is torn leaves the other
/// slot, and no write ever needs new space. META and CHECKPOINT have this form.
///
/// A slot:
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 8 | magic of the file's kind |
/// | 8 | 4 | version |
/// | 12 | 4 | length of the payload |
/// | 16 | 8 | sequence; the valid slot with the greater one counts |
/// | 24 | … | payload |
/// | 24 + length | 4 | CRC32C of everything before |
///
/// One thread at a time.
final class SlotFile {
    struct Kind: Sendable {
        let name: String
        let magic: UInt64
        let slotBytes: Int

        var payloadBytesMax: Int { slotBytes - 28 }
    }

    private let file: any File
    private let kind: Kind
    private var sequence: UInt64
    /// The slot that counts, as it was read: a killed process may have left it in the page cache only.
    private var unproven: (bytes: [UInt8], offset: Int64)?
    /// When it was opened: 1 after a write that was torn, or after damage; never 0.
    let validSlots: Int

    private init(file: any File, kind: Kind, sequence: UInt64, validSlots: Int) {
        self.file = file
        self.kind = kind
        self.sequence = sequence
        self.validSlots = validSlots
    }

    /// Writes both slots of a new file beside the final name, syncs, renames, syncs the directory.
    static func create(
        _ kind: Kind, in directory: String, payload: [UInt8], on fileSystem: any FileSystem
    ) throws(FileSystemError) -> SlotFile {
        let path = directory + "/" + kind.name
        let file = try fileSystem.open(path + ".new", .createOrTruncate)
        try file.allocate(Int64(2 * kind.slotBytes))
        try file.writeAll(encode(kind, payload: payload, sequence: 1), at: 0)
        try file.writeAll(encode(kind, payload: payload, sequence: 2), at: Int64(kind.slotBytes))
        try file.syncData()
        file.close()
        try fileSystem.rename(path + ".new", to: path)
        try fileSystem.syncDirectory(directory)
        return SlotFile(file: try fileSystem.open(path, .readWrite), kind: kind, sequence: 2, validSlots: 2)
    }

    /// - Parameter mode: `.readOnly` for who only looks.
    /// - Throws: `JournalError.unreadable` when neither slot is valid or the version is newer.
    static func open(
        _ kind: Kind, in directory: String, _ mode: OpenMode = .readWrite, on fileSystem: any FileSystem
    ) throws(JournalError) -> (file: SlotFile, payload: ByteSlice) {
        let path = directory + "/" + kind.name
        let file: any File
        var slots: [(sequence: UInt64, payload: ByteSlice, bytes: [UInt8], offset: Int64)] = []
        var reasons: [String] = []
        var newer: UInt32?
        do throws(FileSystemError) {
            file = try fileSystem.open(path, mode)
            for slot in 0..<2 {
                let offset = Int64(slot * kind.slotBytes)
                let bytes = try file.read(kind.slotBytes, at: offset)
                do throws(MalformedBytes) {
                    let decoded = try decode(kind, bytes[...])
                    if decoded.version > Format.version { newer = decoded.version }
                    slots.append((decoded.sequence, decoded.payload, bytes, offset))
                } catch {
                    reasons.append("slot \(slot): \(error.what)")
                }
            }
        } catch {
            throw JournalError.io(error)
        }
        if let newer {
            // Also when the other slot is of this version: going back by one write is a loss.
            throw JournalError.unreadable(
                path: path, reason: "it is of version \(newer), this program knows \(Format.version)")
        }
        guard let newest = slots.max(by: { $0.sequence < $1.sequence }) else {
            throw JournalError.unreadable(path: path, reason: reasons.joined(separator: "; "))
        }
        let opened = SlotFile(file: file, kind: kind, sequence: newest.sequence, validSlots: slots.count)
        opened.unproven = (newest.bytes, newest.offset)
        return (opened, newest.payload)
    }

    /// Makes what was read durable: before anybody deletes something because of it, and before the slot beside it is
    /// written over, which may be all that a power failure would leave. `write` does it too.
    func settle() throws(FileSystemError) {
        guard let slot = unproven else { return }
        // Written again, as a sync alone proves nothing after one that failed. Torn, it leaves the other slot.
        try file.writeAll(slot.bytes, at: slot.offset)
        try file.syncData()
        unproven = nil
    }

    /// Replaces the older slot and syncs. After an error the newer slot still stands; the caller gives up.
    func write(_ payload: [UInt8]) throws(FileSystemError) {
        precondition(payload.count <= kind.payloadBytesMax)
        try settle()
        let bytes = Self.encode(kind, payload: payload, sequence: sequence + 1)
        let slot = sequence % 2  // Sequence 1 went to slot 0, 2 to slot 1: the next one goes over the older of the two.
        try file.writeAll(bytes, at: Int64(slot) * Int64(kind.slotBytes))
        try file.syncData()
        sequence += 1
    }

    private static func encode(_ kind: Kind, payload: [UInt8], sequence: UInt64) -> [UInt8] {
        var writer = ByteWriter(capacity: payload.count + 28)
        writer.integer(kind.magic)
        writer.integer(Format.version)
        writer.integer(UInt32(payload.count))
        writer.integer(sequence)
        writer.bytes.append(contentsOf: payload)
        writer.integer(Format.checksum(writer.bytes[...], seed: 0))
        return writer.bytes
    }

    private static func decode(
        _ kind: Kind, _ bytes: ByteSlice
    ) throws(MalformedBytes) -> (version: UInt32, sequence: UInt64, payload: ByteSlice) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt64.self) == kind.magic else { throw MalformedBytes("no \(kind.name) magic") }
        let version = try reader.integer(UInt32.self)
        let length = Int(try reader.integer(UInt32.self))
        let sequence = try reader.integer(UInt64.self)
        let payload = try reader.slice(length)
        let end = reader.position
        guard try reader.integer(UInt32.self) == Format.checksum(bytes[bytes.startIndex..<end], seed: 0) else {
            throw MalformedBytes("checksum")
        }
        return (version, sequence, payload)
    }
}
