import Primitives

/// How many bytes each live consumer may fetch ahead: half of `prefetchBytesMax` is divided evenly between
/// `consumersActiveMax`, so that the last one has its share, and each takes an eighth of what is left of the other
/// half. Any thread may call.
final class PrefetchShares: Sendable {
    private let least: Int
    private let spare: Lock<Int>

    init(bytesMax: Int, consumersMax: Int) {
        precondition(bytesMax > 0 && consumersMax > 0)
        least = max(1, bytesMax / 2 / consumersMax)
        spare = Lock(bytesMax / 2)
    }

    /// - Returns: bytes, to be given back when the consumer has ended.
    func take() -> Int {
        least
            + spare.withLock { spare in
                let extra = spare / 8
                spare -= extra
                return extra
            }
    }

    func giveBack(_ share: Int) { spare.withLock { $0 += share - least } }
}
