// swift-tools-version: 6.2
import PackageDescription

// One target for each row of the layer table in CONTRIBUTING.md. What a target lists here is what it may import;
// Scripts/test builds with --explicit-target-dependency-import-check error, and TidyTests holds the direct imports
// against the table.

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

let log = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "CoreMetrics", package: "swift-metrics")

func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies + [log, metrics], swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

let package = Package(
    name: "postrider",
    products: [.executable(name: "postrider", targets: ["postrider"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
    ],
    targets: [
        // C, lowest first.
        .systemLibrary(
            name: "CMicrohttpd", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
        .systemLibrary(name: "CGnuTLS", pkgConfig: "gnutls", providers: [.apt(["libgnutls28-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CRdkafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
        .systemLibrary(name: "CMalloc"),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .target(name: "CChecksum", cSettings: [.unsafeFlags(["-O2"])]),
        .target(name: "CJSON", cxxSettings: [.unsafeFlags(["-O2"])]),
        // The contract of the HTTP interface, compiled in.
        .target(name: "COpenAPI", path: "OpenAPI", exclude: ["postrider.yaml", "postrider.json"]),

        // The data path, in its order.
        module("Primitives", []),
        module("JSON", ["CJSON", "Primitives"]),
        module("Records", ["Primitives"]),
        module("Journal", ["CChecksum", "Primitives", "Records"]),
        module("Store", ["CSQLite", "Primitives"]),
        module("Outcomes", ["CChecksum", "Store", "Primitives", "Records"]),
        module("Spool", ["Journal", "Outcomes", "Store", "Primitives", "Records"]),
        module("Broker", ["Primitives", "Records"]),
        module("EmbeddedBroker", ["Broker", "Outcomes", "Store", "Primitives", "Records"]),
        module("KafkaBroker", ["Broker", "CRdkafka", "Primitives", "Records"]),
        module("DeadLetters", ["Store", "Primitives", "Records"]),
        module("Forwarder", ["Spool", "Broker", "DeadLetters", "Primitives", "Records"]),
        module("Consumers", ["Broker", "Primitives", "Records"]),
        module("HTTPServer", ["CMicrohttpd", "CZlib", "Primitives"]),
        module("Telemetry", ["Primitives"]),
        module(
            "API",
            [
                "CGnuTLS", "COpenAPI", "HTTPServer", "JSON", "Spool", "Consumers", "Broker", "DeadLetters", "Telemetry",
                "Primitives", "Records",
            ]),
        module(
            "Gateway",
            [
                "API", "HTTPServer", "JSON", "Journal", "Store", "Outcomes", "Spool", "Broker", "EmbeddedBroker",
                "KafkaBroker", "DeadLetters", "Forwarder", "Consumers", "Telemetry", "Primitives", "Records",
                "CMalloc", .product(name: "Yams", package: "Yams"),
            ]),
        // The other end: the command line's way to a gateway.
        module("Client", ["CCurl", "JSON", "Primitives"]),
        .executableTarget(
            name: "postrider",
            dependencies: [
                "Client", "Gateway", "JSON", "Primitives", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),

        // Breaks promise 1 so that Scripts/crash-test can be seen to notice.
        .executableTarget(
            name: "postrider-early-ack",
            dependencies: [
                "Gateway", "Primitives", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/EarlyAck", swiftSettings: settings),

        // Kills itself at a named point of a hand-over.
        .executableTarget(
            name: "postrider-crash-points",
            dependencies: [
                "Gateway", "Broker", "Primitives", "Records",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/CrashPoints", swiftSettings: settings),

        // Fakes shared by the tests: file system, clock, broker.
        .target(
            name: "TestSupport",
            dependencies: ["Primitives", "Records", "Broker", "Journal"],
            path: "Tests/TestSupport", swiftSettings: settings),
        tests("PrimitivesTests", ["Primitives", "TestSupport"]),
        // A gateway in the test's process, and a client over real sockets.
        .target(
            name: "GatewayTestSupport",
            dependencies: [
                "COpenAPI", "Gateway", "HTTPServer", "JSON", "Journal", "KafkaBroker", "KafkaTestSupport", "Spool",
                "API", "Primitives", "Telemetry", "TestSupport",
            ],
            path: "Tests/GatewayTestSupport", swiftSettings: settings),
        tests(
            "GatewayTests",
            [
                "Gateway", "GatewayTestSupport", "API", "Broker", "Consumers", "Forwarder", "HTTPServer", "JSON", "Journal",
                "KafkaBroker", "KafkaTestSupport", "Primitives", "Records", "Spool", "Telemetry", "TestSupport",
                .product(name: "Yams", package: "Yams"),
            ]),
        tests(
            "APITests",
            [
                "Gateway", "GatewayTestSupport", "JSON", "Primitives", "API", "Broker", "Consumers", "DeadLetters",
                "EmbeddedBroker", "Forwarder", "HTTPServer", "Journal", "KafkaTestSupport", "Outcomes", "Records", "Spool",
                "Store", "Telemetry", "TestSupport", log,
            ]),
        tests(
            "EndToEndTests",
            [
                "postrider", "postrider-crash-points", "Broker", "Gateway", "GatewayTestSupport", "JSON",
                "KafkaTestSupport", "Primitives", "Telemetry", "TestSupport",
            ]),
        .target(
            name: "SpoolTestSupport", dependencies: ["Spool", "Store", "Primitives", "Records", "TestSupport"],
            path: "Tests/SpoolTestSupport", swiftSettings: settings),
        tests(
            "SpoolTests",
            [
                "Spool", "SpoolTestSupport", "Journal", "Store", "Primitives", "Records", "Telemetry", "TestSupport", log,
            ]),
        tests("ClientTests", ["Client", "JSON", "Primitives", "TestSupport"]),
        tests(
            "ForwarderTests",
            [
                "Forwarder", "Spool", "Outcomes", "Journal", "Broker", "DeadLetters", "Primitives", "Records", "Store",
                "TestSupport", log,
            ]),
        // Damaged journals, what must become of them, and a fuzzer over both.
        .target(
            name: "JournalAttack",
            dependencies: ["CChecksum", "Journal", "Primitives", "Records", "TestSupport", log],
            path: "Tests/JournalAttack", swiftSettings: settings),
        .target(
            name: "JournalFuzz", dependencies: ["JournalAttack"], path: "Tests/JournalFuzz", swiftSettings: settings),
        tests("JournalTests", ["Journal", "JournalAttack", "Primitives", "Records", "TestSupport"]),
        tests("ChecksumTests", ["CChecksum", "Primitives", "TestSupport"]),
        tests("JSONTests", ["JSON", "Primitives", "TestSupport"]),
        // All of them together on a simulated disk, clock and broker.
        tests(
            "SimulationTests",
            [
                "Consumers", "Forwarder", "Spool", "SpoolTestSupport", "Journal", "Broker", "DeadLetters", "Store",
                "Primitives", "Records", "TestSupport", log,
            ]),
        tests("TidyTests", ["Primitives"]),
        tests("RecordsTests", ["Records", "Primitives", "TestSupport"]),
        tests(
            "TelemetryTests",
            ["Telemetry", "Primitives", "TestSupport", log, metrics, .product(name: "Yams", package: "Yams")]),
        tests("StoreTests", ["Store", "Primitives", "TestSupport"]),
        tests("OutcomesTests", ["Outcomes", "Store", "Primitives", "Records", "TestSupport", log]),
        tests(
            "EmbeddedBrokerTests",
            ["EmbeddedBroker", "Broker", "Outcomes", "Store", "Primitives", "Records", "Telemetry", "TestSupport", log]),
        // A Kafka cluster in the test's process.
        .target(
            name: "KafkaTestSupport", dependencies: ["CRdkafka", "Primitives"], path: "Tests/KafkaTestSupport",
            swiftSettings: settings),
        tests(
            "KafkaBrokerTests",
            ["KafkaBroker", "KafkaTestSupport", "CRdkafka", "Broker", "Primitives", "Records", "TestSupport", log]),
        tests("DeadLettersTests", ["DeadLetters", "Store", "Primitives", "Records", "Telemetry", "TestSupport"]),
        tests("HTTPServerTests", ["HTTPServer", "CZlib", "Primitives", "TestSupport", log]),
        tests("ConsumersTests", ["Consumers", "Broker", "Primitives", "Records", "TestSupport"]),
    ]
)

// With POSTRIDER_TEST_TARGETS=JournalTests,SpoolTests these and what they need are all that there is: Scripts/test builds
// the modules that have threads once more, with the thread sanitizer, and nothing else.
if let names = Context.environment["POSTRIDER_TEST_TARGETS"] {
    var needed = Set(names.split(separator: ",").map(String.init))
    while true {
        let dependencies = package.targets.filter { needed.contains($0.name) }.flatMap(\.dependencies).compactMap {
            if case .byNameItem(let name, _) = $0 { name } else { String?.none }
        }
        if needed.isSuperset(of: dependencies) { break }
        needed.formUnion(dependencies)
    }
    package.targets.removeAll { !needed.contains($0.name) }
    package.products.removeAll()
}
