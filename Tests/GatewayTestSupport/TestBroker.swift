public import KafkaTestSupport
public import Testing

/// What stands behind the gateway of a test.
public enum TestBroker: CaseIterable, Sendable, CustomTestStringConvertible {
    case embedded
    /// librdkafka's mock cluster, in this process.
    case mock
    /// The cluster that `POSTRIDER_TEST_KAFKA` names.
    case real

    public var testDescription: String {
        switch self {
        case .embedded: "embedded"
        case .mock: "mock cluster"
        case .real: "real cluster"
        }
    }

    /// Why a test that needs this ability cannot run; nil: it can.
    public func lacks(_ ability: BrokerAbility) -> String? {
        self == .mock ? MockLimits.reasons[ability] : nil
    }

    /// Ends the test, told with the reason, where the broker cannot do what it is about.
    public func needs(_ abilities: BrokerAbility...) throws {
        for ability in abilities {
            guard let reason = lacks(ability) else { continue }
            // The library says nothing of a single case.
            print("skipped on the \(testDescription): \(Test.current?.name ?? ""): \(reason)")
            try Test.cancel("\(reason)")
        }
    }
}

/// Arguments of tests that hold whatever the broker is.
public enum Brokers {
    public static var available: [TestBroker] { TestBroker.allCases }
}
