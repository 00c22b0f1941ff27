import Glibc

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the same seed gives the same run.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    /// Print it with what failed.
    public let seed: UInt64
    private var state: UInt64

    public init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// A fresh seed, or the one in the environment as `POSTRIDER_TEST_SEED`, printed so that the run can be repeated.
    ///
    /// - Parameter usual: instead of a fresh one, for a test whose new seeds somebody else looks for.
    public init(printingFor test: String, usual: UInt64? = nil) {
        let given = getenv("POSTRIDER_TEST_SEED").flatMap { UInt64(String(cString: $0)) }
        self.init(seed: given ?? usual ?? UInt64.random(in: .min ... .max))
        print("\(test): POSTRIDER_TEST_SEED=\(seed)")
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
