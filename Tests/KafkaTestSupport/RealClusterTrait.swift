import Glibc
import Primitives
public import Testing

/// For tests of a real cluster: skipped, with the reason, where none is named. How many ran or were skipped is told
/// when the process ends.
public struct RealClusterTrait: TestTrait, SuiteTrait {
    public var isRecursive: Bool { true }

    public func prepare(for test: Test) async throws {
        if !test.isSuite { try RealKafka.need(for: test) }
    }
}

extension Trait where Self == RealClusterTrait {
    public static var needsRealCluster: Self { Self() }
}

extension RealKafka {
    /// Test functions that came to need a cluster, each once, however many cases it has.
    private static let tests = {
        atexit { RealKafka.tell() }
        return Lock<Set<Test.ID>>([])
    }()

    /// Counts the test, and ends it where there is no cluster.
    public static func need(for test: Test?) throws {
        if let test { tests.withLock { _ = $0.insert(test.id) } }
        if !isConfigured { try Test.cancel("POSTRIDER_TEST_KAFKA is not set") }
    }

    /// `Scripts/test` repeats this line.
    private static func tell() {
        let count = tests.withLock { $0.count }
        print(
            bootstrapServers.map { "real-cluster tests: \(count) ran against \($0)" }
                ?? "real-cluster tests: \(count) skipped (POSTRIDER_TEST_KAFKA is not set)")
    }
}
