import GatewayTestSupport
import Glibc
import JSON
import KafkaTestSupport
import Primitives
import Testing
import TestSupport

/// Promise 7 for what is fetched ahead from Kafka: `consumers.prefetch_bytes_max` is for all consumers together.
@Suite(.disabled(if: getenv("POSTRIDER_TEST_SANITIZER") != nil, "a sanitizer keeps memory that the gateway gave back"))
struct KafkaMemoryTests {
    private static let prefetchBytesMax = 8 << 20
    private static let (partitions, recordsPerPartition, recordBytes): (Int32, Int, Int) = (12, 14, 300_000)
    private static let readRecords = 12
    /// Of a process that answers small polls, beside what is fetched ahead: answers, copies on the way, and what the
    /// allocator keeps of them.
    private static let slackBytes = 16 << 20

    private func residentBytes(_ client: HTTPClient) throws -> Int {
        let text = try client.request("GET", "/metrics").text
        let name = "process_resident_memory_bytes "
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(name) })
        return Int(try #require(Double(line.dropFirst(name.utf8.count))))
    }

    @Test func memoryIsBounded_WhenConsumersOfBigRecordsShareThePrefetch() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("_postrider_checkpoints", partitions: 8)
        cluster.createTopic("_postrider_consumers", partitions: 1)
        cluster.createTopic("orders", partitions: Self.partitions)
        LogWriter.fill(
            "orders", partitions: Self.partitions, count: Self.recordsPerPartition, bytes: Self.recordBytes,
            at: cluster.bootstrapServers)
        let process = try GatewayProcess([
            "broker.kind=kafka", "broker.kafka.bootstrap_servers=\(cluster.bootstrapServers)",
            "consumers.prefetch_bytes_max=\(Self.prefetchBytesMax)",
        ])
        let client = try process.client()
        let names = ["one", "two"]
        for name in names {
            let defined = try eventually {
                try client.putJSON("/v1/consumers/\(name)", #"{"topics":["orders"],"max_in_flight":100000}"#).status
                    == 201
            }
            #expect(defined)
        }
        let restingBytes = try residentBytes(client)
        // Both get a membership, and fetch ahead of one small answer.
        let readers = try names.map { name in
            let reader = try process.client()
            try reader.send("POST", "/v1/consumers/\(name)/poll?max=1&wait=60&client=slow")
            return reader
        }
        for reader in readers { #expect(try reader.answer().json()["records"]?.list.count == 1) }
        var mostBytes = 0
        for _ in 0..<40 { mostBytes = max(mostBytes, try residentBytes(client)) }
        // And while both are read on: nobody waits for what the other holds.
        for name in names {
            var next = Array(repeating: 0, count: Int(Self.partitions))
            var count = 0
            while count < Self.readRecords {
                let poll = try client.request("POST", "/v1/consumers/\(name)/poll?wait=60&client=slow").json()
                let records = poll["records"]?.list ?? []
                try #require(!records.isEmpty, "\(name): no more than \(count) came")
                for record in records {
                    let partition = Int(record["partition"]?.int64 ?? 0)
                    #expect(record["value_text"]?.string?.hasPrefix("\(partition):\(next[partition]) ") == true)
                    next[partition] += 1
                }
                count += records.count
                let token = try #require(poll["ack"]?.string)
                #expect(try client.postJSON("/v1/consumers/\(name)/acks", #"{"ack":"\#(token)"}"#).status == 200)
                mostBytes = max(mostBytes, try residentBytes(client))
            }
        }
        // Twice 50 MB are there to be fetched.
        let grownBytes = mostBytes - restingBytes
        #expect(grownBytes < Self.prefetchBytesMax + Self.slackBytes, "\(grownBytes)")
    }
}
