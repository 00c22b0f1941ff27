import Gateway
import HTTPServer
import KafkaBroker
import Primitives
import Testing
import Yams

/// What can be held against the container files without containers: they fit one another and the settings.
@Suite struct ContainerTests {
    private static let root = String(#filePath.dropLast("/Tests/GatewayTests/ContainerTests.swift".count))

    private func text(_ name: String) throws -> String {
        let file = try SystemFileSystem().open("\(Self.root)/Docker/\(name)", .readOnly)
        defer { file.close() }
        return String(decoding: try file.read(Int(try file.size()), at: 0), as: UTF8.self)
    }

    private func services() throws -> [String: Node] {
        let root = try #require(try compose(yaml: try text("compose.kafka.yaml")))
        let services = try #require(root["services"]?.mapping)
        return try Dictionary(
            uniqueKeysWithValues: services.map { (try #require($0.key.string), Self.merged($0.value)) })
    }

    /// With what `<<` brings along, as Compose reads it.
    private static func merged(_ node: Node) -> Node {
        guard case .mapping(let mapping) = node else { return node }
        var all: [Node: Node] = [:]
        for (key, value) in mapping where key.string == "<<" {
            guard case .mapping(let base) = merged(value) else { continue }
            for (key, value) in base { all[key] = value }
        }
        for (key, value) in mapping where key.string != "<<" { all[key] = merged(value) }
        return Node(all.map { ($0.key, $0.value) })
    }

    private func strings(_ node: Node?) -> [String] { node?.array().compactMap(\.string) ?? [] }

    /// The hosts and ports of `server` lines, by back end.
    private func backends(_ configuration: String) -> [String: [String]] {
        var found: [String: [String]] = [:]
        var backend = ""
        for line in configuration.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            if words.first == "backend" { backend = words.last ?? "" }
            if words.first == "server", words.count > 2 { found[backend, default: []].append(words[2]) }
        }
        return found
    }

    @Test func gateways_AreStartedWithSettingsThatExist() throws {
        let services = try services()
        let gateways = services.filter { $0.key.hasPrefix("gateway-") }
        #expect(gateways.count == 2)
        for (name, service) in gateways {
            let command = strings(service["command"])
            #expect(command.first == "serve" && command.contains("--insecure-listen"), "\(name)")
            var settings = Settings()
            for argument in command.dropFirst() {
                let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
                switch parts[0] {
                case "--set": try settings.set(parts[1])
                case "--broker": try settings.set("broker.kind=\(parts[1])")
                case "--bootstrap-servers": try settings.set("broker.kafka.bootstrap_servers=\(parts[1])")
                case "--listen": try settings.listen(on: parts[1])
                case "--data-dir": settings.dataDirectory = parts[1]
                case "--insecure-listen": settings.insecureListen = true
                default: Issue.record("\(name): \(argument)")
                }
            }
            try settings.check()
            #expect(settings.brokerKind == .kafka)
            let volumes = strings(service["volumes"])
            #expect(volumes == ["\(name):/var/lib/postrider"], "a spool belongs to one gateway")
            #expect(settings.dataDirectory.hasPrefix("/var/lib/postrider/"))
            let servers = settings.kafka.bootstrapServers.split(separator: ",").map(String.init)
            #expect(servers.sorted() == ["kafka-1:9092", "kafka-2:9092", "kafka-3:9092"])
        }
    }

    @Test func brokers_AreOneCluster_ThatKeepsWhatItAcknowledged() throws {
        let brokers = try services().filter { $0.key.hasPrefix("kafka-") }
        #expect(brokers.count == 3)
        var nodes: Set<String> = []
        for (name, service) in brokers {
            let environment = try #require(service["environment"])
            let node = try #require(environment["KAFKA_NODE_ID"]?.scalar?.string)
            #expect(nodes.insert(node).inserted)
            #expect(service["hostname"]?.string == name && name == "kafka-\(node)")
            #expect(environment["KAFKA_ADVERTISED_LISTENERS"]?.string == "PLAINTEXT://\(name):9092")
            let voters = environment["KAFKA_CONTROLLER_QUORUM_VOTERS"]?.string
            #expect(voters?.split(separator: ",").contains("\(node)@\(name):9093") == true)
            #expect(environment["CLUSTER_ID"]?.string?.count == 22)
            for (key, value) in [
                ("KAFKA_DEFAULT_REPLICATION_FACTOR", "3"), ("KAFKA_MIN_INSYNC_REPLICAS", "2"),
                ("KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE", "false"), ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "3"),
                ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "3"), ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "2"),
            ] {
                #expect(environment[key]?.scalar?.string == value, "\(name): \(key)")
            }
        }
    }

    @Test func balancer_KnowsEveryGateway_AndHashesWhatOneAloneKnows() throws {
        let configuration = try text("haproxy.cfg")
        let gateways = try services().keys.filter { $0.hasPrefix("gateway-") }.map { "\($0):8080" }.sorted()
        let backends = backends(configuration)
        #expect(backends.keys.sorted() == ["any", "consumers", "keyed", "numbered", "receipts"])
        for (name, servers) in backends { #expect(servers.sorted() == gateways, "\(name)") }
        for line in [
            "balance hash path,field(4,/)", "balance hash req.hdr(Idempotency-Key)",
            "balance hash req.hdr(Postrider-Producer)", "use_backend consumers if of_a_consumer",
            "use_backend keyed if is_keyed", "acl of_a_consumer path_beg /v1/consumers/", "retries 0",
        ] {
            #expect(configuration.contains("    \(line)\n"), "\(line)")
        }
        #expect(try strings(services()["balancer"]?["ports"]) == ["127.0.0.1:8080:8080"])
        // The gateway ends a request first, with an answer.
        let server = configuration.split(separator: "\n").first { $0.contains("timeout server") }
        let seconds = try #require(server?.split(separator: " ").last.flatMap { Int64($0.dropLast()) })
        #expect(Duration.seconds(seconds) > Settings().http.requestTimeout)
    }

    @Test func image_HasTheLibrariesThatTheBuildLinks_AndServesAsNobodySpecial() throws {
        let parts = try text("Dockerfile").split(separator: "\nFROM ", maxSplits: 2).map(String.init)
        let (build, image) = (parts[parts.count - 2], parts[parts.count - 1])
        for (development, runtime) in [
            ("libmicrohttpd-dev", "libmicrohttpd12"), ("libsqlite3-dev", "libsqlite3-0"), ("zlib1g-dev", "zlib1g"),
            ("libgnutls28-dev", "libgnutls30"),
            ("librdkafka-dev", "librdkafka1"), ("libcurl4-openssl-dev", "libcurl4"),
        ] {
            #expect(build.contains(" \(development) ") && image.contains(" \(runtime) "), "\(runtime)")
        }
        #expect(image.contains("\nUSER postrider\n") && image.contains("\nVOLUME /var/lib/postrider\n"))
        #expect(image.contains("\"--data-dir\", \"/var/lib/postrider/"))
    }
}
