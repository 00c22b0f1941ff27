/// A shared, reference-counted run of bytes. Slicing does not copy, and keeps the whole underlying array alive: copy
/// what is to outlive the buffer it came from.
public typealias ByteSlice = ArraySlice<UInt8>

/// What a decoder throws when bytes do not have the form they should.
public struct MalformedBytes: Error, Equatable, Sendable {
    public let what: String

    public init(_ what: String) { self.what = what }
}

/// Reads little-endian integers and runs of bytes from a slice; every read is checked against what is left.
public struct ByteReader: Sendable {
    // Usable from inline code: called without specialization, a read of four bytes costs hundreds of instructions.
    @usableFromInline let bytes: ByteSlice
    @usableFromInline var at: Int

    @inlinable public var position: Int { at }

    public init(_ bytes: ByteSlice) {
        self.bytes = bytes
        at = bytes.startIndex
    }

    @inlinable public var remaining: Int { bytes.endIndex - at }

    @inlinable public mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(MalformedBytes) -> T {
        let size = MemoryLayout<T>.size
        guard remaining >= size else { throw MalformedBytes("truncated integer") }
        let value = bytes.littleEndian(at: at, as: T.self)
        at += size
        return value
    }

    public mutating func slice(_ count: Int) throws(MalformedBytes) -> ByteSlice {
        guard count >= 0, remaining >= count else { throw MalformedBytes("length \(count) exceeds \(remaining)") }
        defer { at += count }
        return bytes[at..<at + count]
    }

    /// A run of bytes preceded by its 32-bit length; −1 stands for "none".
    public mutating func optionalSlice() throws(MalformedBytes) -> ByteSlice? {
        let count = try integer(Int32.self)
        return count == -1 ? nil : try slice(Int(count))
    }

    /// UTF-8 preceded by its 16-bit length.
    public mutating func string() throws(MalformedBytes) -> String {
        let raw = try slice(Int(integer(UInt16.self)))
        guard let string = String(validating: raw, as: UTF8.self) else { throw MalformedBytes("not UTF-8") }
        return string
    }
}

/// Appends little-endian integers and runs of bytes.
public struct ByteWriter: Sendable {
    public var bytes: [UInt8]

    public init(capacity: Int = 0) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    @inlinable public mutating func integer<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// `slice`'s bytes behind their 32-bit length; nil writes −1.
    public mutating func optionalSlice(_ slice: ByteSlice?) {
        guard let slice else { return integer(Int32(-1)) }
        integer(Int32(slice.count))
        bytes.append(contentsOf: slice)
    }

    /// UTF-8 behind its 16-bit length. - Precondition: at most 65,535 bytes.
    public mutating func string(_ string: String) {
        let utf8 = string.utf8
        integer(UInt16(utf8.count))
        bytes.append(contentsOf: utf8)
    }

    /// Overwrites bytes written before.
    public mutating func replace<T: FixedWidthInteger>(at position: Int, with value: T) {
        bytes.storeLittleEndian(value, at: position)
    }
}

extension ArraySlice<UInt8> {
    /// - Precondition: `index` and the bytes of `T` after it lie inside the slice.
    @inlinable @inline(__always)
    public func littleEndian<T: FixedWidthInteger>(at index: Int, as type: T.Type = T.self) -> T {
        precondition(index >= startIndex && index + MemoryLayout<T>.size <= endIndex)
        return withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: index - startIndex, as: T.self)) }
    }
}

extension Array<UInt8> {
    /// - Precondition: `index` and the bytes of `T` after it lie inside the array.
    @inlinable @inline(__always)
    public func littleEndian<T: FixedWidthInteger>(at index: Int, as type: T.Type = T.self) -> T {
        precondition(index >= 0 && index + MemoryLayout<T>.size <= count)
        return withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: index, as: T.self)) }
    }

    /// - Precondition: `index` and the bytes of `T` after it lie inside the array.
    @inlinable @inline(__always)
    public mutating func storeLittleEndian<T: FixedWidthInteger>(_ value: T, at index: Int) {
        precondition(index >= 0 && index + MemoryLayout<T>.size <= count)
        withUnsafeMutableBytes { $0.storeBytes(of: value.littleEndian, toByteOffset: index, as: T.self) }
    }
}
