/// Who may import whom: the layer table of the architecture, to the letter. A new target gets its row here first.
enum Layers {
    private static let table: [String: Set<String>] = [
        "Primitives": [],
        "JSON": ["CJSON"],
        "Records": [],
        "Journal": ["CChecksum"],
        "Store": ["CSQLite"],
        "Outcomes": ["Store", "CChecksum"],
        "Spool": ["Journal", "Outcomes", "Store"],
        "Broker": [],
        "EmbeddedBroker": ["Broker", "Outcomes", "Store"],
        "KafkaBroker": ["Broker", "CRdkafka"],
        "DeadLetters": ["Store"],
        "Forwarder": ["Spool", "Broker", "DeadLetters"],
        "Consumers": ["Broker"],
        "HTTPServer": ["CMicrohttpd", "CZlib"],
        "Telemetry": [],
        "API": [
            "CGnuTLS", "COpenAPI", "HTTPServer", "JSON", "Spool", "Consumers", "Broker", "DeadLetters", "Telemetry",
        ],
        "Gateway": [
            "JSON", "Journal", "Store", "Outcomes", "Spool", "Broker", "EmbeddedBroker", "KafkaBroker", "DeadLetters",
            "Forwarder", "Consumers", "HTTPServer", "Telemetry", "API", "CMalloc", "Yams",
        ],
        "Client": ["CCurl", "JSON"],
        "postrider": ["Client", "Gateway", "JSON", "ArgumentParser"],
        // The broken twin that the crash test must catch: wired like the gateway.
        "postrider-early-ack": ["Gateway", "ArgumentParser"],
        // Dies at a named point of a hand-over: wraps the broker's sinks.
        "postrider-crash-points": ["Gateway", "Broker", "ArgumentParser"],
    ]

    static var targets: Set<String> { Set(table.keys) }

    /// Without Records, though above Primitives.
    private static let withoutRecords: Set<String> = ["HTTPServer", "Telemetry", "JSON", "Store", "Client"]

    /// Of the toolchain, and the logging and metrics interfaces.
    static let anywhere: Set<String> = [
        "Glibc", "Synchronization", "FoundationEssentials", "Logging", "Metrics", "CoreMetrics",
    ]

    /// nil for a target that has no row.
    static func mayImport(_ target: String) -> Set<String>? {
        guard var allowed = table[target] else { return nil }
        if target != "Primitives" { allowed.insert("Primitives") }
        if target != "Primitives", target != "Records", !withoutRecords.contains(target) { allowed.insert("Records") }
        return allowed
    }
}

/// The module that a line of code imports, nil for any other line.
func importedModule(_ code: String) -> String? {
    var words = words(code)[...]
    guard let keyword = words.firstIndex(of: "import") else { return nil }
    let before: Set<String> = [
        "public", "package", "internal", "fileprivate", "private", "testable", "preconcurrency", "_exported",
        "_implementationOnly",
    ]
    guard words[..<keyword].allSatisfy(before.contains) else { return nil }
    words = words[(keyword + 1)...]
    let kinds: Set<String> = ["struct", "class", "enum", "func", "var", "let", "typealias", "protocol", "actor"]
    // `import struct Module.Name`
    if words.count > 1, let first = words.first, kinds.contains(first) { words = words.dropFirst() }
    return words.first
}

/// The names of targets in `module("Name", ["A", "B"])` of the manifest.
func manifestDependencies(_ manifest: String) -> [String: Set<String>] {
    var dependencies: [String: Set<String>] = [:]
    for call in manifest.split(separator: "module(", omittingEmptySubsequences: false).dropFirst() {
        guard let open = call.firstIndex(of: "["), let close = call.firstIndex(of: "]"), open < close else { continue }
        func quoted(_ text: Substring) -> [String] {
            text.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
                .filter { $0.offset % 2 == 1 }.map { String($0.element) }
        }
        guard let name = quoted(call[..<open]).first else { continue }
        dependencies[name] = Set(quoted(call[open..<close]))
    }
    return dependencies
}
