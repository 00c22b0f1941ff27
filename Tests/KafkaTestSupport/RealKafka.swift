import Glibc

/// A real cluster, where the tests are given one: `POSTRIDER_TEST_KAFKA=HOST:PORT[,…]`.
public enum RealKafka {
    /// nil: tests that need it are skipped.
    public static let bootstrapServers: String? = getenv("POSTRIDER_TEST_KAFKA").map { String(cString: $0) }

    public static var isConfigured: Bool { bootstrapServers != nil }
}
