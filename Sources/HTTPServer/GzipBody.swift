import CZlib

/// A response's body that is compressed (RFC 1952) slice by slice while libmicrohttpd sends it: no thread is held long,
/// and there is never a second copy of the body. For one event loop.
final class GzipBody {
    /// zlib's quickest. Measured on a poll's answer in JSON (random words): 38 % of the bytes at 64 MB/s, so a slice
    /// takes a millisecond; level 6 leaves 35 % at half the speed.
    private static let level: Int32 = 1
    /// Powers of two of the window's bytes and of the hash table's; zlib's own defaults (15, 8) take
    /// twice the memory and leave 34 %.
    private static let windowBits: Int32 = 14
    private static let memoryLevel: Int32 = 7
    /// Asks for gzip's header and trailer instead of zlib's.
    private static let gzipFormat: Int32 = 16
    /// Of the body, at most so much is looked at in one call.
    static let sliceBytes = 64 << 10
    /// libmicrohttpd's block for the response.
    static let blockBytes = 8 << 10
    /// What this costs beside the body (zconf.h: `(1 << (windowBits + 2)) + (1 << (memLevel + 9))` and a few KiB).
    static let memoryBytes = 1 << (windowBits + 2) + 1 << (memoryLevel + 9) + 8 << 10 + blockBytes

    private let bytes: [UInt8]
    private var position = 0
    /// Allocated, because zlib keeps its address.
    private let stream: UnsafeMutablePointer<z_stream>
    private var isFinished = false

    /// nil when zlib has no memory.
    init?(_ bytes: [UInt8]) {
        self.bytes = bytes
        stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let result = deflateInit2_(
            stream, Self.level, Z_DEFLATED, Self.windowBits + Self.gzipFormat, Self.memoryLevel, Z_DEFAULT_STRATEGY,
            ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard result == Z_OK else {
            stream.deallocate()
            return nil
        }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    enum Piece: Equatable {
        /// So many bytes were written. 0: the slice left nothing to send yet; call again.
        case written(Int)
        case end
        case failed
    }

    /// Compresses the next slice into `buffer`.
    func next(into buffer: UnsafeMutableRawBufferPointer) -> Piece {
        if isFinished { return .end }
        return bytes.withUnsafeBytes { bytes in
            let slice = min(Self.sliceBytes, bytes.count - position)
            stream.pointee.next_in = UnsafeMutablePointer(
                mutating: bytes.baseAddress?.advanced(by: position).assumingMemoryBound(to: Bytef.self))
            stream.pointee.avail_in = UInt32(slice)
            stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: Bytef.self)
            stream.pointee.avail_out = UInt32(clamping: buffer.count)
            let room = stream.pointee.avail_out
            let result = deflate(stream, position + slice == bytes.count ? Z_FINISH : Z_NO_FLUSH)
            position += slice - Int(stream.pointee.avail_in)
            switch result {
            case Z_STREAM_END: isFinished = true
            case Z_OK, Z_BUF_ERROR: break
            default: return .failed
            }
            return .written(Int(room - stream.pointee.avail_out))
        }
    }
}
