/// The first 16 bytes of a SHA-256 (FIPS 180-4): what is remembered of a key or a payload in place of it. Who makes one
/// hashes unambiguous bytes, with the length of each part before it.
public struct Digest: Hashable, Sendable {
    /// The first eight bytes, big-endian as they are printed.
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}
