import Primitives
import Records
import Testing

@Suite struct RecordBatchSizeTests {
    private func record(key: Int? = nil, value: Int?, headers: [RecordHeader] = []) -> Record {
        func bytes(_ count: Int) -> ByteSlice { [UInt8](repeating: 120, count: count)[...] }
        return Record(key: key.map(bytes), value: value.map(bytes), headers: headers, timestampMs: 0)
    }

    /// 61 of the batch, the length, 3, key, value, the number of headers, and 71 of `postrider-id`.
    @Test func size_IsThatOfTheBatch() {
        let (empty, none) = (RecordBatchSize.bytes(of: record(value: 0)), RecordBatchSize.bytes(of: record(value: nil)))
        #expect(empty == 61 + 2 + 3 + 1 + 1 + 1 + 71)
        #expect(none == empty)
        #expect(RecordBatchSize.bytes(of: record(key: 0, value: 0)) == empty)
        let header = RecordHeader(name: "name", value: [1, 2, 3])
        #expect(RecordBatchSize.bytes(of: record(value: 0, headers: [header])) == empty + 1 + 4 + 1 + 3)
    }

    /// A zigzag varint has room for 63 in its first byte, for 8,191 in two.
    @Test(arguments: [(63, 1), (64, 2), (8_191, 2), (8_192, 3), (1_048_575, 3), (1_048_576, 4)])
    func length_TakesAsManyBytesAsItNeeds(value: Int, bytes: Int) {
        let key = RecordBatchSize.bytes(of: record(key: value, value: 9_000))
        let none = RecordBatchSize.bytes(of: record(value: 9_000))
        let more = key - none - value
        // Instead of the one byte of "none"; the length of the whole may grow by one, too.
        #expect(more == bytes - 1 || more == bytes)
    }

    @Test func overhead_IsNoMoreThanTheRoomThatIsSetAside() {
        let header = RecordHeader(
            name: String(repeating: "n", count: 300), value: Array(repeating: 1, count: 9_000)[...])
        let large = record(key: 1 << 20, value: 1 << 20, headers: Array(repeating: header, count: 100))
        let overhead = RecordBatchSize.bytes(of: large) - large.bytes
        #expect(overhead <= RecordBatchSize.overheadBytesMax)
    }
}
