import Broker
import Primitives
import Records
import Testing

@testable import KafkaBroker

private let orders = TopicName("orders")!
private let payments = TopicName("payments")!

@Suite struct TopicCatalogTests {
    private var catalog = TopicCatalog(topicsMax: 3)
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)
    private let limits = TopicLimits(messageBytesMax: 5_000, timestampBounds: nil)

    private func later(_ ms: Int) -> MonotonicInstant { start + .milliseconds(ms) }

    @Test mutating func topic_IsKnown_OnceFound_AndItsAnswerFreshForASecond() {
        #expect(catalog.knowledge(of: orders, at: start) == .unverified)
        #expect(catalog.fresh(orders, at: start) == nil)
        catalog.found(orders, partitions: 4, limits: limits, at: start)
        let known = TopicKnowledge.known(KnownTopic(partitions: 4, recordBytesMax: 3_976, messageBytesMax: 5_000))
        #expect(catalog.knowledge(of: orders, at: later(5_000)) == known)
        #expect(catalog.fresh(orders, at: later(999)) == known)
        #expect(catalog.fresh(orders, at: later(1_000)) == nil)
    }

    @Test mutating func limits_Stay_WhenTheyCannotBeRead() {
        catalog.found(orders, partitions: 4, limits: limits, at: start)
        catalog.found(orders, partitions: 6, at: later(10))
        #expect(catalog.entries[orders]?.limits == limits)
        #expect(catalog.entries[orders]?.partitions == 6)
    }

    @Test mutating func topic_IsMissingForASecond_OnceItIsGone() {
        catalog.found(orders, partitions: 4, at: start)
        catalog.absent(orders, at: later(100))
        #expect(catalog.knowledge(of: orders, at: later(1_099)) == .missing)
        #expect(catalog.fresh(orders, at: later(1_099)) == .missing)
        #expect(catalog.knowledge(of: orders, at: later(1_100)) == .unverified)
        catalog.absent(orders, at: later(2_000))
        catalog.found(orders, partitions: 1, at: later(2_001))
        #expect(catalog.knowledge(of: orders, at: later(2_002)) != .missing)
    }

    @Test mutating func absentNames_AreBounded() {
        for number in 0...TopicCatalog.absentMax { catalog.absent(TopicName("t\(number)")!, at: start) }
        #expect(catalog.knowledge(of: TopicName("t\(TopicCatalog.absentMax)")!, at: start) == .missing)
        #expect(catalog.knowledge(of: TopicName("t0")!, at: start) == .unverified)
    }

    @Test mutating func topics_AreBounded_AndThoseBeyondAreCounted() {
        for number in 0..<5 { catalog.found(TopicName("t\(number)")!, partitions: 1, at: start) }
        #expect(catalog.entries.count == 3)
        let (first, second) = (catalog.takeOverflow(), catalog.takeOverflow())
        #expect(first == 2)
        #expect(second == 0)
    }

    @Test mutating func everythingIsForgotten_WhenTheClusterIsAnother() {
        catalog.found(orders, partitions: 4, at: start)
        let first = catalog.isOf(cluster: "a")
        let unknown = catalog.isOf(cluster: nil)
        #expect(first && unknown)
        #expect(catalog.entries.count == 1)
        let other = catalog.isOf(cluster: "b")
        #expect(!other)
        #expect(catalog.entries.isEmpty)
    }

    @Test mutating func change_IsNoticed_OnlyWhenTheFileWouldDiffer() {
        catalog.found(orders, partitions: 4, limits: limits, at: start)
        #expect(catalog.isChanged)
        catalog.saved()
        catalog.found(orders, partitions: 4, limits: limits, at: later(10))
        catalog.warn(orders, ["a warning"])
        catalog.absent(payments, at: start)
        #expect(!catalog.isChanged)
        catalog.use(orders)
        #expect(catalog.isChanged)
        catalog.saved()
        catalog.use(orders)
        catalog.use(payments)
        #expect(!catalog.isChanged)
    }

    @Test mutating func news_IsEachWarningOnce_OfTopicsThatAreUsed() {
        catalog.found(orders, partitions: 4, at: start)
        catalog.found(payments, partitions: 4, at: start)
        catalog.warn(orders, ["one"])
        catalog.warn(payments, ["one"])
        func news() -> [TopicName] { catalog.takeNews().map(\.topic) }
        #expect(news() == [])
        catalog.use(orders)
        #expect(news() == [orders])
        #expect(news() == [])
        catalog.warn(orders, ["one", "two"])
        #expect(news() == [orders])
        catalog.warn(orders, [])
        #expect(news() == [])
        #expect(catalog.warned.isEmpty)
    }

    @Test mutating func restored_IsKnown_AndAsksForVerification() {
        catalog.found(orders, partitions: 4, limits: limits, at: start)
        catalog.use(orders)
        _ = catalog.isOf(cluster: "a")
        var again = TopicCatalog(topicsMax: 3)
        again.restore(catalog.stored)
        #expect(again.stored == catalog.stored)
        #expect(again.knowledge(of: orders, at: start) == catalog.knowledge(of: orders, at: start))
        #expect(again.fresh(orders, at: start) == nil)
        #expect(!again.isChanged)
    }
}
