import Glibc
public import Primitives

/// Tells one input from another (64-bit FNV-1a, draft-eastlake-fnv): by accident they do not agree, on purpose they
/// may.
public struct InputDigest: Sendable, Equatable {
    public private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    public init() {}
    public init(_ value: UInt64) { self.value = value }

    mutating func add(_ bytes: ByteSlice) {
        value = bytes.withUnsafeBufferPointer { bytes in
            bytes.reduce(value) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        }
    }
}

/// Lines of a stream, with their places in it. One thread; reads block.
public struct InputLines {
    /// One line, without its line feed.
    public struct Line: Sendable, Equatable {
        public let bytes: ByteSlice
        /// From 1.
        public let number: Int
        /// Bytes from the stream's beginning to behind its line feed.
        public let end: Int64
    }

    /// A longer line is refused. Gateways take records of at most 16 MiB.
    public static let lineBytesMax = 32 << 20
    private static let chunkBytes = 256 << 10

    private let descriptor: Int32
    private let stop: StopFlag
    private var buffer: [UInt8] = []
    /// Of `buffer`: what was taken, and what is known to hold no line feed behind that.
    private var taken = 0
    private var searched = 0
    private var isAtEnd = false
    private var isStopped = false
    /// Where the next line begins.
    public private(set) var position: Int64 = 0
    /// Of everything before that.
    public private(set) var digest = InputDigest()
    public private(set) var linesRead = 0

    /// - Parameter stop: ends a wait for more of a pipe or terminal; what was read of a line then is left out.
    public init(_ descriptor: Int32, stop: StopFlag) {
        self.descriptor = descriptor
        self.stop = stop
    }

    /// Passes over what was read in an earlier life, without looking at it.
    ///
    /// - Throws: there is less, or it cannot be read; `stopped`.
    public mutating func skip(bytes: Int64, lines: Int) throws(ClientError) {
        var left = bytes
        while left > 0 {
            if taken == buffer.count, try !fill() {
                if isStopped { throw .stopped }
                throw .input("standard input ends before byte \(bytes), where the last run had come to")
            }
            let count = Int(min(left, Int64(buffer.count - taken)))
            digest.add(buffer[taken..<taken + count])
            taken += count
            left -= Int64(count)
        }
        searched = taken
        position += bytes
        linesRead += lines
    }

    /// The next line; nil at the end. The last one may lack its line feed.
    ///
    /// - Parameter waits: false: nil, too, when reading on could block.
    public mutating func next(waits: Bool = true) throws(ClientError) -> Line? {
        while true {
            let feed = buffer.withUnsafeBytes { bytes -> Int? in
                guard let start = bytes.baseAddress else { return nil }
                return memchr(start + searched, 0x0A, bytes.count - searched).map { start.distance(to: $0) }
            }
            if let feed { return line(to: feed, next: feed + 1) }
            searched = buffer.count
            if isStopped { return nil }
            if isAtEnd { return taken < buffer.count ? line(to: buffer.count, next: buffer.count) : nil }
            guard buffer.count - taken <= Self.lineBytesMax else {
                throw .input("line \(linesRead + 1) is longer than \(Self.lineBytesMax) bytes")
            }
            if !waits, !isReadable(within: .zero) { return nil }
            _ = try fill()
        }
    }

    /// Everything that is left, as one. - Throws: it is more than `lineBytesMax`; `stopped`.
    public mutating func rest() throws(ClientError) -> [UInt8] {
        while try fill() {
            guard buffer.count - taken <= Self.lineBytesMax else {
                throw .input("the input is longer than a record of \(Self.lineBytesMax) bytes")
            }
        }
        if isStopped { throw .stopped }
        defer { taken = buffer.count }
        digest.add(buffer[taken...])
        position += Int64(buffer.count - taken)
        return Array(buffer[taken...])
    }

    private mutating func line(to end: Int, next: Int) -> Line {
        digest.add(buffer[taken..<next])
        position += Int64(next - taken)
        linesRead += 1
        let line = Line(bytes: buffer[taken..<end], number: linesRead, end: position)
        taken = next
        searched = next
        return line
    }

    /// Reads more. - Returns: false at the end.
    private mutating func fill() throws(ClientError) -> Bool {
        if isAtEnd || isStopped { return false }
        buffer.removeFirst(taken)
        searched -= taken
        taken = 0
        // In short turns, so that a stop is noticed: no signal interrupts a read of this thread.
        while !isReadable(within: .milliseconds(200)) {
            if stop.isSet {
                isStopped = true
                return false
            }
        }
        var chunk = [UInt8](repeating: 0, count: Self.chunkBytes)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard count >= 0 else { throw .io("standard input: \(String(cString: strerror(errno)))") }
            isAtEnd = count == 0
            buffer += chunk[..<count]
            return count > 0
        }
    }

    private func isReadable(within time: Duration) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        // An error or the end is found by reading.
        return poll(&entry, 1, Int32(time.wholeMilliseconds)) != 0
    }
}
