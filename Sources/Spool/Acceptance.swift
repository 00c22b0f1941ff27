public import Records

/// What an accepted request gets: `count` LSNs without a gap.
public struct Acceptance: Hashable, Sendable {
    public var first: LSN
    public var count: Int
    /// false under the policy `interval`.
    public var synced: Bool
}
