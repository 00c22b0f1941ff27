import Glibc

/// The cluster that tests may use when `POSTRIDER_TEST_KAFKA` names one.
public enum RealKafka {
    /// `HOST:PORT` with commas between them.
    public static let bootstrapServers = getenv("POSTRIDER_TEST_KAFKA").map { String(cString: $0) }

    public static var isConfigured: Bool { bootstrapServers?.isEmpty == false }
}
