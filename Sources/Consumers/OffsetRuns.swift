/// A set of offsets as ascending runs: small where they follow one another, as those of one answer mostly do.
struct OffsetRuns: Equatable, Sendable {
    /// Ascending, not touching.
    private(set) var runs: [Range<Int64>] = []

    var isEmpty: Bool { runs.isEmpty }

    /// - Precondition: greater than every offset in it.
    mutating func append(_ offset: Int64) {
        guard let last = runs.last else { return runs.append(offset..<offset + 1) }
        precondition(offset >= last.upperBound)
        if offset == last.upperBound {
            runs[runs.count - 1] = last.lowerBound..<offset + 1
        } else {
            runs.append(offset..<offset + 1)
        }
    }

    func contains(_ offset: Int64) -> Bool { index(of: offset) != nil }

    mutating func remove(_ offset: Int64) {
        guard let index = index(of: offset) else { return }
        let run = runs[index]
        let pieces = [run.lowerBound..<offset, offset + 1..<run.upperBound].filter { !$0.isEmpty }
        if pieces.count == 1 { runs[index] = pieces[0] } else { runs.replaceSubrange(index...index, with: pieces) }
    }

    private func index(of offset: Int64) -> Int? {
        var (low, high) = (0, runs.count)
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].upperBound <= offset { low = middle + 1 } else { high = middle }
        }
        return low < runs.count && runs[low].contains(offset) ? low : nil
    }
}
