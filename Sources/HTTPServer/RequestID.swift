/// Names a request in responses and logs: a random prefix of this process and a counter, both in hexadecimal.
struct RequestID: Sendable {
    static let header = "Postrider-Request-Id"
    /// Eight digits of the prefix, a dash, up to sixteen of the counter, NUL.
    static let bytesMax = 8 + 1 + 16 + 1

    let prefix: UInt32
    let number: UInt64

    /// Writes the text with a final NUL. - Returns: bytes without the NUL.
    func write(into buffer: UnsafeMutableBufferPointer<UInt8>) -> Int {
        precondition(buffer.count >= Self.bytesMax)
        for digit in 0..<8 { buffer[digit] = Self.digit(UInt64(prefix) >> UInt64(28 - 4 * digit)) }
        buffer[8] = UInt8(ascii: "-")
        let digits = max(1, (64 - number.leadingZeroBitCount + 3) / 4)
        for digit in 0..<digits { buffer[9 + digit] = Self.digit(number >> UInt64(4 * (digits - 1 - digit))) }
        buffer[9 + digits] = 0
        return 9 + digits
    }

    var text: String {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.bytesMax) { buffer in
            let count = write(into: buffer)
            return String(decoding: UnsafeBufferPointer(rebasing: buffer[..<count]), as: UTF8.self)
        }
    }

    private static func digit(_ value: UInt64) -> UInt8 {
        let nibble = UInt8(truncatingIfNeeded: value & 15)
        return nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
    }
}
