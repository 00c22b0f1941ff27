import CJSON
public import Primitives

/// Bounds of one scan.
public struct JSONLimits: Hashable, Sendable {
    /// The greatest `depth` that can be asked for, and the default.
    public static let depthMax = 64
    /// The greatest `tokens` and `keys` that can be asked for.
    public static let countMax = 1 << 30

    /// Nesting of arrays and objects.
    public var depth: Int
    /// Values and keys that are kept for walking, at 16 bytes each.
    public var tokens: Int
    /// Keys of all objects that are open at one time, at 24 bytes each while scanning.
    public var keys: Int

    public init(depth: Int = Self.depthMax, tokens: Int = 1_000_000, keys: Int = 500_000) {
        self.depth = depth
        self.tokens = tokens
        self.keys = keys
    }

    public static let standard = JSONLimits()

    /// For a record's value by itself: three levels less than `standard`, so that what was accepted alone can also be
    /// sent in a batch and be read in the answer to a poll (`{"records":[{"value":…}]}`).
    public static let recordValue = JSONLimits(depth: depthMax - 3)
}

/// A JSON text (RFC 8259) that was checked as a whole: UTF-8 without byte order mark, nothing after the value, no key
/// twice in an object, no half surrogate pairs, no number beyond a double, within the limits. Any thread.
public struct JSONDocument: Sendable {
    private let tape: JSONTape

    /// One pass over the bytes; they are shared, not copied.
    ///
    /// - Parameters:
    ///   - bytes: at most 4 GiB − 2.
    ///   - tapeDepth: values inside more than this many containers are checked, but not kept for walking: a batch of
    ///     records needs 3 (object, `records`, record) for the keys of each record, however deep their values are.
    /// - Throws: the first thing that is wrong.
    public init(
        _ bytes: ByteSlice, limits: JSONLimits = .standard, tapeDepth: Int = JSONLimits.depthMax
    ) throws(JSONError) {
        tape = try JSONTape(bytes, limits, tapeDepth: tapeDepth)
    }

    public var root: JSONValue { JSONValue(tape, 0) }
}

/// Whether the bytes are a JSON text that `JSONDocument` takes; allocates nothing for objects of ordinary size.
public func isValidJSON(_ bytes: ByteSlice, limits: JSONLimits = .recordValue) -> Bool {
    do {
        try scan(bytes, limits, tapeDepth: 0, into: nil)
        return true
    } catch {
        return false
    }
}

/// Whether the bytes are well-formed UTF-8 (RFC 3629).
public func isValidUTF8(_ bytes: ByteSlice) -> Bool {
    bytes.withUnsafeBufferPointer { postrider_utf8_valid_prefix($0.baseAddress, $0.count) == $0.count }
}

/// Decodes the inside of a string that the scanner accepted. Shares the bytes when there is no escape.
func unescaped(_ inside: ByteSlice) -> ByteSlice {
    guard inside.contains(UInt8(ascii: "\\")) else { return inside }
    // SAFETY: decoding never lengthens, and the initialized count is what was written.
    let decoded = [UInt8](unsafeUninitializedCapacity: inside.count) { target, count in
        count = inside.withUnsafeBufferPointer {
            postrider_json_unescape($0.baseAddress, $0.count, target.baseAddress)
        }
    }
    return decoded[...]
}
