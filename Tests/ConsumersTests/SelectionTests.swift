import Records
import Testing

@testable import Consumers

/// What a call's items come to before they are applied.
@Suite struct SelectionTests {
    private static let orders = TopicName("orders")!

    private func selection(_ partition: Int32, _ serial: UInt64, _ offsets: ClosedRange<Int64>) -> Selection {
        Selection(
            part: .init(partition: .init(topic: Self.orders, partition: partition), serial: serial), offsets: offsets)
    }

    @Test func merging_LeavesNoLeaseInTwoSelections_AndTakesNoOther() {
        let cases: [(given: [ClosedRange<Int64>], merged: [ClosedRange<Int64>])] = [
            ([], []), ([7...7], [7...7]), ([7...7, 7...7, 7...7], [7...7]), ([0...9, 0...3, 0...9], [0...9]),
            ([5...5, 3...3, 4...4], [3...5]), ([3...3, 5...5], [3...3, 5...5]), ([0...4, 6...6, 5...5], [0...6]),
            ([9...9, 0...0], [0...0, 9...9]), ([0...Int64.max, Int64.max...Int64.max, 0...0], [0...Int64.max]),
            ([Int64.max...Int64.max, 3...3], [3...3, Int64.max...Int64.max]),
        ]
        for (given, merged) in cases {
            var selected = Selected(selections: given.map { selection(0, 1, $0) })
            selected.merge()
            #expect(selected.selections.map(\.offsets) == merged, "\(given)")
        }
    }

    @Test func merging_KeepsAnswersAndPartitionsApart_InTheirOrder() {
        var selected = Selected(selections: [
            selection(1, 2, 0...5), selection(0, 1, 4...4), selection(1, 2, 6...6), selection(1, 1, 5...5),
            selection(0, 1, 5...5),
        ])
        selected.merge()
        #expect(selected.selections.map(\.part.partition.partition) == [1, 0, 1])
        #expect(selected.selections.map(\.part.serial) == [2, 1, 1])
        #expect(selected.selections.map(\.offsets) == [0...6, 4...5, 5...5])
    }
}
