import Records
import Testing

@Suite struct NamesTests {
    @Test(arguments: [
        "a", "orders", "Orders.v1_x-2", "...", "_postrider_checkpoints", String(repeating: "a", count: 249),
    ])
    func names_AreTaken_WhenKafkaTakesThem(text: String) {
        #expect(TopicName(text)?.text == text)
        #expect(TopicName(bytes: Array(text.utf8)[...])?.text == text)
        #expect(ConsumerName(text)?.text == text)
    }

    @Test(arguments: [
        "", ".", "..", "a b", "a/b", "é", "a\u{0}", "a:b", "a\n", "😀", "a%2F", String(repeating: "a", count: 250),
    ])
    func names_AreRefused_WhenKafkaRefusesThem(text: String) {
        #expect(TopicName(text) == nil)
        #expect(TopicName(bytes: Array(text.utf8)[...]) == nil)
        #expect(ConsumerName(text) == nil)
    }

    @Test func partitions_AreOrderedByTopicThenNumber() throws {
        let a = try #require(TopicName("a"))
        let b = try #require(TopicName("b"))
        let sorted = [
            TopicPartition(topic: a, partition: 2), TopicPartition(topic: a, partition: 10),
            TopicPartition(topic: b, partition: 0),
        ]
        #expect(sorted.reversed().sorted() == sorted)
        #expect(sorted[1].description == "a/10")
    }
}
