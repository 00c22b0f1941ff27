import Primitives
import Records

/// Makes the lost header of a segment anew, exactly as it was: everything in it but the salt is known from elsewhere,
/// the salt follows from the first frame's header and its checksum (CRC32C can be run backwards), and the first frame
/// names the checksum that the header had. Two checksums of 32 bits agree, or nothing is restored.
enum HeaderRestore {
    /// - Parameters:
    ///   - bytes: the beginning of the file; at least its first frame, or it cannot be restored.
    ///   - base: from the file's name.
    ///   - predecessors: what the header may have said of the segment before.
    /// - Returns: nil when it cannot be known.
    static func header(
        from bytes: ByteSlice, spool: SpoolID, base: LSN,
        predecessors: [(base: LSN, end: LSN, checksum: UInt32)]
    ) -> SegmentHeader? {
        let place = bytes.startIndex + Format.segmentHeaderBytes
        guard bytes.endIndex - place >= Format.frameHeaderBytes,
            bytes.littleEndian(at: place, as: UInt32.self) == Format.frameMagic
        else { return nil }
        let covered = bytes[place + 8..<place + Format.frameHeaderBytes]
        let salt = seed(ofChecksum: bytes.littleEndian(at: place + 4), over: covered)
        guard salt != 0 else { return nil }
        for previous in predecessors where previous.base <= previous.end && previous.end <= base {
            let header = SegmentHeader(
                spool: spool, base: base, previousBase: previous.base, previousEnd: previous.end, salt: salt,
                previousChecksum: previous.checksum)
            guard
                let frame = FrameHeader(decoding: bytes[place...], bytesLeft: bytes.endIndex - place, segment: header),
                frame.first == base, frame.previousChecksum == header.checksum
            else { continue }
            let body = place + Format.frameHeaderBytes
            let isRight =
                Format.checksum(bytes[body..<body + frame.bodyBytes], seed: salt) == frame.bodyChecksum
            if isRight { return header }
        }
        return nil
    }

    /// The seed with which CRC32C of the bytes is this checksum.
    static func seed(ofChecksum checksum: UInt32, over bytes: ByteSlice) -> UInt32 {
        let polynomial: UInt32 = 0x82F6_3B78
        var register = ~checksum
        for byte in bytes.reversed() {
            for _ in 0..<8 {
                // A step forward shifts right and adds the polynomial for a bit that fell out: only then is the top
                // bit set.
                let fellOut = register & 1 << 31 != 0
                register = fellOut ? (register ^ polynomial) << 1 | 1 : register << 1
            }
            register ^= UInt32(byte)
        }
        return ~register
    }
}
