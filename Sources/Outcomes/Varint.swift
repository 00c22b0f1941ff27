import Primitives

// Integers of as few bytes as they need: 7 bits a byte, the lowest first, the top bit says that another follows. Signed
// ones are zigzag. (Protocol Buffers' `uint64` and `sint64`.)

extension ByteWriter {
    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    mutating func zigzag(_ value: Int64) { varint(UInt64(bitPattern: value << 1 ^ value >> 63)) }
}

extension ByteReader {
    mutating func varint() throws(MalformedBytes) -> UInt64 {
        var (value, shift): (UInt64, UInt64) = (0, 0)
        while true {
            let byte = try integer(UInt8.self)
            // The tenth byte has room for one bit.
            guard shift < 63 || shift == 63 && byte <= 1 else { throw MalformedBytes("varint of more than 64 bits") }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
    }

    mutating func zigzag() throws(MalformedBytes) -> Int64 {
        let value = try varint()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }
}
