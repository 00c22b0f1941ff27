import CChecksum

/// What a directory proves, by docs/JOURNAL.md alone: written from that page and with none of the journal's code (the
/// CRC32C apart, which has tests of its own). It knows nothing of walks, gaps and judgement.
struct JournalModel {
    /// Neither slot of META or CHECKPOINT is valid, or a segment belongs to another journal.
    private(set) var isUnreadable = false
    /// The greatest proof: every record below it was synced once.
    private(set) var proof: UInt64 = 0
    private(set) var released: UInt64 = 0
    private(set) var verified: UInt64 = 0
    /// Bases of segments whose header cannot be read, as far as they lie past the newest good one: what such a file
    /// held is lost.
    private(set) var headless: [UInt64] = []

    /// - Parameter files: bytes by name.
    init(_ files: [String: [UInt8]]) {
        guard
            let meta = Self.slot(files["META"] ?? [], magic: "PRMETA\u{1A}\n", slotBytes: 65_536),
            let checkpoint = Self.slot(files["CHECKPOINT"] ?? [], magic: "PRCKTP\u{1A}\n", slotBytes: 8192)
        else {
            isUnreadable = true
            return
        }
        let durable = integer(checkpoint, 0, 8)
        verified = integer(checkpoint, 8, 8)
        released = integer(checkpoint, 16, 8)
        proof = durable
        var newest: (base: UInt64, bytes: [UInt8])?
        var bad: [UInt64] = []
        for (name, bytes) in files.sorted(by: { $0.key < $1.key }) {
            guard let base = Self.base(name) else { continue }
            guard Self.isHeader(bytes, base: base) else {
                bad.append(base)
                continue
            }
            if Array(bytes[16..<32]) != Array(meta[0..<16]) { isUnreadable = true }
            newest = (base, bytes)
        }
        proof = max(proof, newest?.base ?? 0)
        headless = bad.filter { $0 >= newest?.base ?? 0 }
        for base in headless { proof = max(proof, base + 1) }
        if let newest {
            for frame in Self.headers(newest.bytes, base: newest.base) { proof = max(proof, frame.durable) }
        }
    }

    /// The frames of an undamaged segment, one after the other: records (none in an idle frame) and bytes.
    static func frames(_ bytes: [UInt8]) -> [(first: UInt64, count: UInt64, range: Range<Int>)] {
        var frames: [(UInt64, UInt64, Range<Int>)] = []
        var place = 4096
        while let frame = header(bytes, at: place, base: integer(bytes, 32, 8)) {
            frames.append((frame.first, frame.count, place..<place + 40 + frame.length))
            place += 40 + (frame.length + 7) / 8 * 8
        }
        return frames
    }

    /// Gives the frame at `place` right checksums of its body, as far as it is in the file, and of its header.
    static func seal(_ bytes: inout [UInt8], at place: Int) {
        guard bytes.count >= 64, place + 40 <= bytes.count else { return }
        let salt = UInt32(truncatingIfNeeded: integer(bytes, 60, 4))
        let end = min(bytes.count, place + 40 + Int(integer(bytes, place + 8, 4)))
        store(0x4652_5250, &bytes, place)
        store(crc(salt, bytes, place + 40..<end), &bytes, place + 12)
        store(crc(salt, bytes, place + 8..<place + 40), &bytes, place + 4)
    }

    private struct Header {
        var length: Int
        var count: UInt64
        var first: UInt64
        var durable: UInt64
    }

    /// Good frame headers anywhere in the segment.
    private static func headers(_ bytes: [UInt8], base: UInt64) -> [Header] {
        stride(from: 4096, to: bytes.count, by: 8).compactMap { header(bytes, at: $0, base: base) }
    }

    private static func header(_ bytes: [UInt8], at place: Int, base: UInt64) -> Header? {
        guard place + 40 <= bytes.count, integer(bytes, place, 4) == 0x4652_5250 else { return nil }  // "PRRF"
        let salt = UInt32(truncatingIfNeeded: integer(bytes, 60, 4))
        guard integer(bytes, place + 4, 4) == crc(salt, bytes, place + 8..<place + 40) else { return nil }
        let header = Header(
            length: Int(integer(bytes, place + 8, 4)), count: integer(bytes, place + 20, 4),
            first: integer(bytes, place + 24, 8), durable: integer(bytes, place + 32, 8))
        guard place + 40 + (header.length + 7) / 8 * 8 <= bytes.count, 4 * Int(header.count) <= header.length,
            (header.count == 0) == (header.length == 0), header.first >= base, header.first >> 32 == base >> 32,
            header.first & 0xFFFF_FFFF + header.count <= 0xFFFF_FFFF, header.durable <= header.first
        else { return nil }
        return header
    }

    private static func isHeader(_ bytes: [UInt8], base: UInt64) -> Bool {
        guard bytes.count >= 80, bytes.starts(with: "PRRSEG\u{1A}\n".utf8), integer(bytes, 8, 4) == 1,
            integer(bytes, 76, 4) == crc(0, bytes, 0..<76)
        else { return false }
        let (previousBase, previousEnd) = (integer(bytes, 40, 8), integer(bytes, 48, 8))
        return integer(bytes, 32, 8) == base && integer(bytes, 56, 4) == base >> 32 && previousBase <= previousEnd
            && previousEnd <= base
    }

    /// The payload of the valid slot with the greater sequence.
    private static func slot(_ bytes: [UInt8], magic: String, slotBytes: Int) -> [UInt8]? {
        var newest: (sequence: UInt64, payload: ArraySlice<UInt8>)?
        for start in [0, slotBytes] where start + 28 <= bytes.count {
            let length = Int(integer(bytes, start + 12, 4))
            let end = start + 24 + length
            guard bytes[start...].starts(with: magic.utf8), integer(bytes, start + 8, 4) == 1, length <= slotBytes - 28,
                end + 4 <= bytes.count, integer(bytes, end, 4) == crc(0, bytes, start..<end)
            else { continue }
            let sequence = integer(bytes, start + 16, 8)
            if newest == nil || newest!.sequence < sequence { newest = (sequence, bytes[start + 24..<end]) }
        }
        return newest.map { Array($0.payload) }
    }

    /// `<20 digits>.seg`
    private static func base(_ name: String) -> UInt64? {
        name.utf8.count == 24 && name.hasSuffix(".seg") ? UInt64(name.dropLast(4)) : nil
    }
}

private func crc(_ seed: UInt32, _ bytes: [UInt8], _ range: Range<Int>) -> UInt64 {
    bytes.withUnsafeBytes { UInt64(postrider_crc32c(seed, $0.baseAddress! + range.lowerBound, range.count)) }
}

/// Little-endian, of 4 or 8 bytes. - Precondition: the bytes are there.
private func integer(_ bytes: [UInt8], _ at: Int, _ count: Int) -> UInt64 {
    bytes.withUnsafeBytes { raw in
        count == 4
            ? UInt64(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: at, as: UInt32.self)))
            : UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: at, as: UInt64.self))
    }
}

private func store(_ value: UInt64, _ bytes: inout [UInt8], _ at: Int) {
    bytes.withUnsafeMutableBytes { raw in
        raw.storeBytes(of: UInt32(truncatingIfNeeded: value).littleEndian, toByteOffset: at, as: UInt32.self)
    }
}
