import GatewayTestSupport
import Primitives
import TestSupport

/// The newest segment of a spool that has frames, read by the format's page: to break it at a chosen place.
struct SegmentFile {
    struct Frame {
        var offset: Int
        var bytes: Int
        /// 0 for an idle frame, which proves the records before it.
        var count: Int
        var firstLSN: UInt64
    }

    private static let headerBytes = 4096
    private static let frameHeaderBytes = 40
    private static let alignment = 8

    let path: String
    let frames: [Frame]

    init(of data: String) throws {
        let spool = data + "/spool"
        for name in try SystemFileSystem().list(spool).sorted().reversed() where name.hasSuffix(".seg") {
            let file = try SystemFileSystem().open(spool + "/" + name, .readOnly)
            defer { file.close() }
            let frames = Self.walk(try file.read(Int(try file.size()), at: 0))
            if !frames.isEmpty {
                (path, self.frames) = (file.path, frames)
                return
            }
        }
        throw HTTPClient.Failure("no segment of \(spool) has frames")
    }

    private static func walk(_ bytes: [UInt8]) -> [Frame] {
        func number(_ at: Int, _ width: Int) -> UInt64 {
            bytes[at..<at + width].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        var frames: [Frame] = []
        var offset = headerBytes
        while offset + frameHeaderBytes <= bytes.count, bytes[offset..<offset + 4].elementsEqual("PRRF".utf8) {
            let body = (Int(number(offset + 8, 4)) + alignment - 1) / alignment * alignment
            let (count, first) = (Int(number(offset + 20, 4)), number(offset + 24, 8))
            frames.append(Frame(offset: offset, bytes: frameHeaderBytes + body, count: count, firstLSN: first))
            offset += frameHeaderBytes + body
        }
        return frames
    }

    /// Turns one bit of a byte of the file.
    func flip(at offset: Int) throws {
        let file = try SystemFileSystem().open(path, .readWrite)
        defer { file.close() }
        try file.writeAll([try file.read(1, at: Int64(offset))[0] ^ 1], at: Int64(offset))
    }

    func truncate(to length: Int) throws {
        let file = try SystemFileSystem().open(path, .readWrite)
        defer { file.close() }
        try file.truncate(Int64(length))
    }

    /// Waits until an idle frame has proven every record.
    static func waitUntilProven(_ data: String) throws {
        let isProven = try eventually { try SegmentFile(of: data).frames.last?.count == 0 }
        if !isProven { throw HTTPClient.Failure("no idle frame came") }
    }
}
