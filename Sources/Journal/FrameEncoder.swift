import Primitives
import Records

/// Builds the bytes of one frame.
enum FrameEncoder {
    /// A frame around an existing body.
    static func encode(
        body: ByteSlice, count: Int, first: LSN, durable: LSN, previousChecksum: UInt32, salt: UInt32
    ) -> (header: FrameHeader, bytes: [UInt8]) {
        var bytes = emptyFrame(bodyBytes: body.count)
        bytes.append(contentsOf: body)
        return seal(
            &bytes, count: count, first: first, durable: durable, previousChecksum: previousChecksum, salt: salt)
    }

    /// Room for the header, to which bodies are appended.
    static func emptyFrame(bodyBytes: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Format.frameHeaderBytes + Format.padded(bodyBytes))
        bytes += [UInt8](repeating: 0, count: Format.frameHeaderBytes)
        return bytes
    }

    /// Completes a frame whose body was appended to `emptyFrame`.
    static func seal(
        _ frame: inout [UInt8], count: Int, first: LSN, durable: LSN, previousChecksum: UInt32, salt: UInt32
    ) -> (header: FrameHeader, bytes: [UInt8]) {
        let bodyBytes = frame.count - Format.frameHeaderBytes
        var header = FrameHeader(
            bodyBytes: bodyBytes, bodyChecksum: Format.checksum(frame[Format.frameHeaderBytes...], seed: salt),
            previousChecksum: previousChecksum, count: count, first: first, durable: durable)
        frame.append(contentsOf: repeatElement(0, count: Format.padded(bodyBytes) - bodyBytes))
        header.encode(over: &frame, salt: salt)
        return (header, frame)
    }
}
