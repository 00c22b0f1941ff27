import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import KafkaBroker

@Suite struct TopicFileTests {
    private let fileSystem = FakeFileSystem()
    private let stored = StoredTopics(
        clusterID: "cluster-1",
        topics: [
            .init(name: TopicName("a")!, partitions: 1, limits: nil, isUsed: false),
            .init(
                name: TopicName("b")!, partitions: 12,
                limits: TopicLimits(
                    messageBytesMax: 1_048_588, timestampBounds: TimestampBounds(beforeMs: nil, afterMs: 3_600_000)),
                isUsed: true),
            .init(name: TopicName("c")!, partitions: 3, limits: TopicLimits(), isUsed: false),
        ])

    private func file() throws -> TopicFile {
        try fileSystem.createDirectory("/data")
        return TopicFile(directory: "/data", fileSystem: fileSystem)
    }

    @Test func file_IsReadAsItWasWritten() throws {
        let file = try file()
        #expect(try file.read() == nil)
        try file.write(stored)
        #expect(try file.read() == stored)
        try file.write(StoredTopics(clusterID: nil, topics: []))
        #expect(try file.read() == StoredTopics(clusterID: nil, topics: []))
    }

    @Test(arguments: FakeFileSystem.PowerLoss.allCases)
    func file_IsOldOrNew_WhateverThePowerLossTakes(loss: FakeFileSystem.PowerLoss) throws {
        let old = StoredTopics(clusterID: "old", topics: [])
        for calls in 0..<8 {
            let fileSystem = FakeFileSystem()
            try fileSystem.createDirectory("/data")
            let file = TopicFile(directory: "/data", fileSystem: fileSystem)
            try file.write(old)
            fileSystem.inject(.die, atCall: calls)
            var isWritten = true
            do { try file.write(stored) } catch { isWritten = false }
            let after = fileSystem.withoutPower(loss, seed: UInt64(calls))
            let found = try TopicFile(directory: "/data", fileSystem: after).read()
            #expect(found == stored || found == old && !isWritten, "\(calls) calls")
        }
    }

    @Test func damage_IsFound_WhereverItIs() throws {
        let bytes = TopicFile.encode(stored)
        let whole = try TopicFile.decode(bytes[...])
        #expect(whole == stored)
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 1
            #expect(throws: MalformedBytes.self, "byte \(index)") { try TopicFile.decode(damaged[...]) }
        }
        for count in bytes.indices {
            #expect(throws: MalformedBytes.self, "\(count) bytes") { try TopicFile.decode(bytes[..<count]) }
        }
    }
}
