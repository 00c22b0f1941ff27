import Forwarder
import Gateway
import Glibc
import HTTPServer
import Journal
import KafkaBroker
import Primitives
import Spool
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

    private func services(_ file: String = "compose.kafka.yaml") throws -> [String: Node] {
        let root = try #require(try compose(yaml: try text(file)))
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
            "balance hash path,field(4,/)", #"balance hash req.fhdr(Idempotency-Key),regsub(\'[\\x22]\',,g)"#,
            "balance hash req.fhdr(Postrider-Producer)", "use_backend consumers if of_a_consumer",
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
        // Under what `docker run -e` says, where a flag would be above it.
        #expect(image.contains(" POSTRIDER_DATA_DIR=/var/lib/postrider/") && image.contains("\nCMD [\"serve\"]\n"))
        // It is in no clone.
        #expect(build.contains("COPY Package.swift Package.resolved* ./\n"))
        // Unhealthy is who accepts nothing; a broker that is away is no reason to end a gateway.
        #expect(image.contains("    CMD /usr/local/bin/postrider status --accepting --json --timeout 4s || exit 1\n"))
    }

    /// In seconds, of `120s` or `20s;`.
    private func seconds(_ text: Substring) -> Duration? {
        let number = text.prefix { $0.isNumber }
        return text.dropFirst(number.count).first == "s" ? Int64(number).map { .seconds($0) } : nil
    }

    /// The word behind each line's first, in lines that begin with `name`.
    private func values(of name: String, in configuration: String) -> [Duration] {
        configuration.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            return words.count >= 2 && words[0] == name ? seconds(words[1]) : nil
        }
    }

    @Test func images_AreNamedWithTheirVersions() throws {
        var images = try ["compose.yaml", "compose.kafka.yaml"].flatMap { file in
            try services(file).values.compactMap { $0["build"] == nil ? $0["image"]?.string : nil }
        }
        images += try text("Dockerfile").split(separator: "\n").filter { $0.hasPrefix("FROM ") }
            .map { String($0.split(separator: " ")[1]) }
        #expect(images.count >= 7)
        for image in images {
            let parts = image.split(separator: ":")
            let hasVersion = parts.count == 2 && parts[1].contains { $0.isNumber }
            #expect(hasVersion, "\(image)")
        }
    }

    @Test func gateways_GetTheTimeThatTheirStopTakes() throws {
        let settings = Settings()
        // As `ServeProcess` gives up.
        let longest =
            settings.drainDelay + settings.stopTimeout + settings.forwarder.drainTimeout
            + settings.spool.journal.syncTimeout + .seconds(30)
        for (file, names) in [("compose.yaml", ["postrider"]), ("compose.kafka.yaml", ["gateway-1", "gateway-2"])] {
            let services = try services(file)
            for name in names {
                let period = try #require(services[name]?["stop_grace_period"]?.string)
                let granted = try #require(seconds(period[...]))
                #expect(granted > longest, "\(file): \(name)")
            }
        }
    }

    @Test func demonstration_FitsTogether_AndIsThisMachinesOwn() throws {
        let services = try services("compose.yaml")
        #expect(services.keys.sorted() == ["grafana", "postrider", "prometheus"])
        var mounted: [String: String] = [:]
        for (name, service) in services {
            for port in strings(service["ports"]) { #expect(port.hasPrefix("127.0.0.1:"), "\(name): \(port)") }
            for volume in strings(service["volumes"]) where volume.hasPrefix("./") {
                let parts = volume.dropFirst(2).split(separator: ":").map(String.init)
                #expect(parts.count == 3 && parts[2] == "ro", "\(volume)")
                #expect(access("\(Self.root)/Docker/\(parts[0])", R_OK) == 0, "there is no \(parts[0])")
                mounted[parts[1]] = parts[0]
            }
        }
        #expect(strings(services["postrider"]?["volumes"]) == ["postrider:/var/lib/postrider"])
        // Prometheus reads its rules beside its configuration, and scrapes the gateway by the name of its service.
        #expect(mounted["/etc/prometheus/prometheus.yml"] == "prometheus/prometheus.yml")
        #expect(mounted["/etc/prometheus/alerts.yml"] == "prometheus/alerts.yml")
        let scrapes = try #require(try compose(yaml: try text("prometheus/prometheus.yml")))
        #expect(strings(scrapes["scrape_configs"]?[0]?["static_configs"]?[0]?["targets"]) == ["postrider:8080"])
        // Grafana asks that Prometheus, and finds the dashboard where it is told to look.
        #expect(mounted["/etc/grafana/provisioning"] == "grafana/provisioning")
        let sources = try #require(try compose(yaml: try text("grafana/provisioning/datasources/prometheus.yaml")))
        #expect(sources["datasources"]?[0]?["url"]?.string == "http://prometheus:9090")
        let dashboards = try #require(try compose(yaml: try text("grafana/provisioning/dashboards/postrider.yaml")))
        let folder = try #require(dashboards["providers"]?[0]?["options"]?["path"]?.string)
        #expect(mounted["\(folder)/postrider.json"] == "grafana/postrider.json")
    }

    @Test func nginx_WaitsLongerThanTheGateway_AndHashesWhatOneAloneKnows() throws {
        let configuration = try text("nginx.conf")
        let settings = Settings().http
        for name in ["proxy_send_timeout", "proxy_read_timeout"] {
            let values = values(of: name, in: configuration)
            #expect(values.count == 1 && values[0] > settings.requestTimeout, "\(name)")
        }
        let kept = values(of: "keepalive_timeout", in: configuration)
        let areShorter = kept.allSatisfy { $0 < settings.idleTimeout }
        #expect(kept.count == 3 && areShorter)
        for line in [
            "        hash $name consistent;", "        hash $consumer consistent;",
            #"        '~^"(?<inside>.*)"$' $inside;"#, "    proxy_next_upstream error;",
            "        server gateway-1:8080 max_fails=0;", "        server gateway-2:8080 max_fails=0;",
            "            if ($is_named = yes) {",
            "        location @named {\n            proxy_next_upstream off;\n            proxy_pass http://named;",
        ] {
            #expect(configuration.contains("\n\(line)\n"), "\(line)")
        }
        #expect(!configuration.contains("non_idempotent"), "a record could be stored twice")
    }

    @Test func envoy_WaitsLongerThanTheGateway_AndHashesWhatOneAloneKnows() throws {
        let resources = try #require(try compose(yaml: try text("envoy.yaml"))?["static_resources"])
        let clusters = try #require(resources["clusters"]).array()
        let names = clusters.compactMap { $0["name"]?.string }
        #expect(names == ["any", "consumers", "named"])
        for cluster in clusters {
            let name = try #require(cluster["name"]?.string)
            #expect(cluster["load_assignment"]?["cluster_name"]?.string == name)
            let hosts = cluster["load_assignment"]?["endpoints"]?[0]?["lb_endpoints"]?.array()
                .compactMap { $0["endpoint"]?["address"]?["socket_address"]?["address"]?.string }
            #expect(hosts == ["gateway-1", "gateway-2"])
            #expect((cluster["lb_policy"]?.string == "RING_HASH") == (name != "any"), "\(name)")
            #expect((cluster["health_checks"] == nil) == (name == "named"), "a repetition waits for its gateway")
            // 1,024 where nothing is said.
            for bound in ["max_connections", "max_pending_requests", "max_requests"] {
                let most = cluster["circuit_breakers"]?["thresholds"]?[0]?[bound]?.int ?? 1_024
                #expect(most >= Settings().http.connectionsMax, "\(name): polls wait on \(bound)")
            }
        }
        let manager = resources["listeners"]?[0]?["filter_chains"]?[0]?["filters"]?[0]?["typed_config"]
        let routes = try #require(manager?["route_config"]?["virtual_hosts"]?[0]?["routes"]).array()
        let targets = routes.compactMap { $0["route"]?["cluster"]?.string }
        #expect(targets == ["consumers", "named", "named", "any"])
        for route in routes {
            let timeout = try #require(route["route"]?["timeout"]?.string)
            let patience = try #require(seconds(timeout[...]))
            #expect(patience > Settings().http.requestTimeout)
            let isHashed = route["route"]?["hash_policy"] != nil
            #expect(isHashed == (route["route"]?["cluster"]?.string != "any"))
            let retries = route["route"]?["retry_policy"]?["retry_on"]?.string
            #expect(retries == (isHashed ? nil : "connect-failure"), "a record could be stored twice")
        }
    }
}
