import API
import Glibc
import JSON
import Records
import Spool

/// `postrider spool export`: records as lines of the batch call, to a file descriptor.
public enum SpoolLines {
    /// Written at once.
    private static let bufferBytes = 1 << 20

    public struct Counts: Sendable, Equatable {
        public var records = 0
        /// Places that could not be read.
        public var damages = 0
    }

    /// Why nothing, or not everything, was written.
    public enum Failure: Error, Sendable, CustomStringConvertible {
        /// The records are of several topics, and a batch is of one: its records by topic.
        case severalTopics([String: Int])
        /// Of the descriptor.
        case output(errno: Int32)

        public var description: String {
            switch self {
            case .severalTopics(let counts):
                "the records are of several topics, and a batch call is of one; name it with --topic: "
                    + counts.sorted { $0.key < $1.key }.map { "\($0.key) (\($0.value))" }.joined(separator: ", ")
            case .output(let code): "output: errno \(code)"
            }
        }
    }

    /// - Parameters:
    ///   - range: first and last LSN, both included.
    ///   - topic: nil: the only one that there is.
    ///   - complain: told of each place that cannot be read.
    public static func write(
        dataDirectory: String, _ range: ClosedRange<UInt64>, topic: String?, to descriptor: Int32,
        complain: (String) -> Void
    ) throws -> Counts {
        let lsns = LSN(rawValue: range.lowerBound)..<LSN(rawValue: range.upperBound &+ 1)
        var topic = topic
        if topic == nil {
            let found = try topics(dataDirectory, lsns)
            if found.count > 1 { throw Failure.severalTopics(found) }
            topic = found.first?.key
        }
        var export = try SpoolMaintenance.export(dataDirectory: dataDirectory, lsns)
        defer { export.close() }
        var counts = Counts()
        var writer = JSONWriter(capacity: bufferBytes)
        while let step = try export.next() {
            switch step {
            case .record(_, let spooled):
                guard spooled.topic.text == topic else { continue }
                writer.batchLine(spooled)
                counts.records += 1
                if writer.bytes.count >= bufferBytes {
                    try put(writer.bytes, to: descriptor)
                    writer = JSONWriter(capacity: bufferBytes)
                }
            case .damage(let lost, let what):
                complain("LSN \(lost.lowerBound) to \(lost.upperBound.rawValue - 1) cannot be read: \(what)")
                counts.damages += 1
            }
        }
        try put(writer.bytes, to: descriptor)
        return counts
    }

    private static func topics(_ dataDirectory: String, _ lsns: Range<LSN>) throws -> [String: Int] {
        var export = try SpoolMaintenance.export(dataDirectory: dataDirectory, lsns)
        defer { export.close() }
        var topics: [String: Int] = [:]
        while let step = try export.next() {
            if case .record(_, let spooled) = step { topics[spooled.topic.text, default: 0] += 1 }
        }
        return topics
    }

    private static func put(_ bytes: [UInt8], to descriptor: Int32) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { raw in
                Glibc.write(descriptor, raw.baseAddress?.advanced(by: done), raw.count - done)
            }
            if count > 0 {
                done += count
            } else if errno != EINTR {
                throw .output(errno: errno)
            }
        }
    }
}
