import Broker
import Primitives
import Testing

@testable import Consumers

@Suite struct CommitMetadataTests {
    static let cases: [CommitMetadata] = [
        CommitMetadata(acknowledged: [101..<102]),
        CommitMetadata(acknowledged: [105..<205, 300..<301], attempts: [AttemptRun(offsets: 100..<105, attempts: 3)]),
        CommitMetadata(attempts: [AttemptRun(offsets: 100..<101, attempts: .max)]),
        CommitMetadata(acknowledged: [Int64.max - 10..<Int64.max - 1]),
        // Worse as runs than as a bitmap.
        CommitMetadata(acknowledged: stride(from: Int64(101), to: 16_000, by: 2).map { $0..<$0 + 1 }),
    ]

    @Test(arguments: cases) func metadata_IsReadBackAndFits(_ metadata: CommitMetadata) throws {
        let text = metadata.encode(committed: 100)
        #expect(!text.isEmpty && text.utf8.count <= OffsetStoreLimits.metadataBytesMax)
        #expect(try CommitMetadata(decoding: text, committed: 100) == metadata)
    }

    @Test func widestRuns_Fit() {
        let step = (Int64.max - 1_000) / Int64(CommitMetadata.runsAlwaysFit)
        let runs = (0..<Int64(CommitMetadata.runsAlwaysFit)).map { $0 * step + 1..<($0 + 1) * step }
        #expect(!CommitMetadata(acknowledged: runs).encode(committed: 0).isEmpty)
    }

    @Test func attempts_AreLeftOut_WhenTheyDoNotFit() throws {
        let runs = (0..<5_000).map { AttemptRun(offsets: Int64($0 * 2)..<Int64($0 * 2 + 1), attempts: 2) }
        let text = CommitMetadata(acknowledged: [20_000..<20_001], attempts: runs).encode(committed: 0)
        #expect(text.utf8.count <= OffsetStoreLimits.metadataBytesMax)
        let read = try CommitMetadata(decoding: text, committed: 0)
        #expect(read.acknowledged == [20_000..<20_001])
        #expect(read.attempts.count > 500 && read.attempts == Array(runs.prefix(read.attempts.count)))
    }

    @Test func otherToolsText_SaysNothing() throws {
        #expect(try CommitMetadata(decoding: "some note", committed: 5) == CommitMetadata())
    }

    @Test(arguments: ["p1:", "p1:!", "p1:A", "p1:AgA", "p1:AAEA", "p1:AQUB", "p1:AP________________"])
    func brokenText_Throws(_ text: String) {
        #expect(throws: MalformedBytes.self) { try CommitMetadata(decoding: text, committed: 0) }
    }

    @Test func everyCutText_ThrowsOrReadsLess_AndNeverCrashes() throws {
        for metadata in Self.cases {
            let text = metadata.encode(committed: 100)
            for length in 3..<min(text.count, 200) {
                do throws(MalformedBytes) {
                    let read = try CommitMetadata(decoding: String(text.prefix(length)), committed: 100)
                    #expect(read != metadata)
                } catch {
                    #expect(!error.what.isEmpty)
                }
            }
        }
    }
}
