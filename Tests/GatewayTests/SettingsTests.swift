import API
import Consumers
import Gateway
import HTTPServer
import Testing

private let kafka = ["broker.kind=kafka", "broker.kafka.bootstrap_servers=127.0.0.1:1"]

/// Every setting by its name: what `--set` accepts, refuses and shows.
@Suite struct SettingsTests {
    /// What every key shows, for comparing whole settings.
    private func shown(_ settings: Settings) -> [String: String] {
        Dictionary(uniqueKeysWithValues: Settings.keys.map { ($0.name, $0.show(settings)) })
    }

    @Test func keys_AreNamedOnce_AndSayWhatTheyMean() {
        #expect(Set(Settings.keys.map(\.name)).count == Settings.keys.count)
        #expect(Settings.keys.allSatisfy { !$0.help.isEmpty && ($0.name.contains(".") || $0.name == "data_dir") })
    }

    @Test(arguments: Settings.keys.map(\.name))
    func value_IsAcceptedAsItIsShown_AndChangesNothing(name: String) throws {
        var settings = Settings()
        let before = shown(settings)
        let text = try #require(before[name])
        try settings.set("\(name)=\(text)")
        #expect(shown(settings) == before)
        try settings.check()
    }

    @Test(arguments: Settings.keys.map(\.name))
    func wrongValue_IsRefused_WithTheKeysName(name: String) throws {
        // Good names of hosts or groups, though of nothing else.
        let names = name == "http.allowed_hosts" ? [] : ["bogus", "9223372036854775807TiB"]
        let numbers = ["-1", "99999999999999999999", "-5s", "1.5"]
        let words = name == "broker.kafka.group_prefix" ? [] : names + numbers
        // A path may be nearly anything.
        let values = name == "data_dir" ? ["", "a\u{0}b", "a\nb"] : ["", "1 ", "a b", "a,,b"] + words
        for value in values {
            var settings = Settings()
            let before = shown(settings)
            let error = #expect(throws: SettingsError.self) { try settings.set("\(name)=\(value)") }
            #expect(error?.description.hasPrefix("\(name): ") == true, "\(value)")
            #expect(shown(settings) == before)
        }
    }

    @Test func values_AreTakenOver() throws {
        let cases = [
            ("http.threads", "3", "3"), ("http.idle_timeout", "90s", "90s"), ("http.idle_timeout", "1500ms", "1500ms"),
            ("http.idle_timeout", "2m", "2m"), ("http.idle_timeout", "1h", "1h"),
            ("http.idle_timeout", "3600s", "1h"), ("http.idle_timeout", "25h", "25h"),
            ("http.idle_timeout", "48h", "2d"), ("http.idle_timeout", "61s", "61s"),
            ("http.idle_timeout", "0h", "0s"), ("spool.bytes_max", "1TiB", "1TiB"),
            ("spool.bytes_max", "1536GiB", "1536GiB"), ("spool.bytes_max", "1000000", "1000000"),
            ("spool.segment_bytes", "131072KiB", "128MiB"), ("spool.parked_bytes_max", "0", "0"),
            ("data_dir", "/var/lib/p o", "/var/lib/p o"), ("http.listen", "[::1]:0", "[::1]:0"),
            ("http.listen", "10.0.0.1:80", "10.0.0.1:80"), ("http.insecure_listen", "true", "true"),
            ("limits.record_bytes_max", "65536", "64KiB"), ("spool.sync", "interval", "interval"),
            ("broker.embedded.partitions_default", "7", "7"), ("broker.embedded.create_topics", "false", "false"),
            ("broker.embedded.retention_ms", "none", "none"), ("broker.embedded.retention_bytes", "1GiB", "1GiB"),
            ("broker.kind", "kafka", "kafka"), ("broker.kafka.guarantee", "at-least-once", "at-least-once"),
            ("broker.kafka.bootstrap_servers", "a:1,[::1]:9092", "a:1,[::1]:9092"),
            ("broker.kafka.bootstrap_servers", "none", "none"), ("broker.kafka.group_prefix", "eu.", "eu."),
            ("broker.kafka.group_prefix", "none", "none"), ("broker.kafka.partitions_default", "12", "12"),
            ("broker.kafka.partitions_default", "cluster", "cluster"), ("broker.kafka.replication_factor", "3", "3"),
            ("broker.kafka.checkpoint_topic", "_postrider_eu", "_postrider_eu"),
            ("broker.kafka.transaction_timeout", "1m", "1m"), ("consumers.prefetch_bytes_max", "1GiB", "1GiB"),
            ("log.level", "debug", "debug"), ("log.format", "json", "json"), ("log.format", "auto", "auto"),
            ("log.format", "text", "text"), ("log.requests", "slow+errors", "slow+errors"),
            ("log.requests", "none", "none"), ("log.slow_request", "250ms", "250ms"), ("log.repeats_max", "0", "0"),
            ("http.trace_headers", "false", "false"),
        ]
        for (name, value, shown) in cases {
            var settings = Settings()
            try settings.set("\(name)=\(value)")
            #expect(Settings.keys.first { $0.name == name }?.show(settings) == shown, "\(name)=\(value)")
        }
    }

    @Test func syncInterval_NeverWeakensThePolicyByItself() throws {
        var settings = Settings()
        try settings.set("spool.sync_interval=250ms")
        #expect(shown(settings)["spool.sync"] == "always")
        try settings.set("spool.sync=interval")
        #expect(shown(settings)["spool.sync_interval"] == "250ms")
        try settings.set("spool.sync_interval=50ms")
        #expect(shown(settings)["spool.sync"] == "interval")
        #expect(shown(settings)["spool.sync_interval"] == "50ms")
        try settings.set("spool.sync=always")
        #expect(shown(settings)["spool.sync"] == "always")
        #expect(shown(settings)["spool.sync_interval"] == "50ms")
    }

    @Test(arguments: [
        ("spool.snyc", "spool.sync"), ("limit.record_bytes_max", "limits.record_bytes_max"),
        ("http.thread", "http.threads"), ("", "log.level"), ("LOG.LEVEL", "log.level"),
    ])
    func unknownKey_NamesTheNearest(name: String, nearest: String) {
        var settings = Settings()
        let error = #expect(throws: SettingsError.self) { try settings.set("\(name)=1") }
        if !name.isEmpty, name != "LOG.LEVEL" { #expect(error == .unknownKey(name, nearest: nearest)) }
        #expect(error?.description.contains("did you mean") == true)
    }

    @Test func assignment_WithoutAnEqualsSign_IsRefused() {
        var settings = Settings()
        #expect(throws: SettingsError.noValue("spool.sync")) { try settings.set("spool.sync") }
    }

    /// What each of these breaks is known only when everything is set.
    @Test(arguments: [
        (["spool.bytes_max=1MiB"], "spool.bytes_max"),
        (["spool.segment_bytes=1TiB"], "spool.bytes_max"),
        (["limits.request_bytes_max=64MiB"], "limits.request_bytes_max"),
        (["spool.segment_bytes=4096"], "limits.request_bytes_max"),
        (["limits.request_bytes_max=1KiB"], "limits.record_bytes_max"),
        (["limits.record_bytes_max=17MiB"], "limits.record_bytes_max"),
        (["limits.wait_max=5m"], "http.request_timeout"),
        (["http.request_timeout=1s"], "http.request_timeout"),
        (["http.body_memory_max=1MiB"], "http.body_memory_max"),
        (["http.response_memory_max=6MiB"], "http.response_memory_max"),
        (["limits.record_bytes_max=11MiB"], "http.response_memory_max"),
        (["http.header_bytes_max=100"], "http.header_bytes_max"),
        (["http.connections_max=16", "http.threads=17"], "http.connections_max"),
        (["http.requests_burst_per_address=5"], "http.requests_per_second_per_address"),
        (["http.idle_timeout=0ms"], "http.idle_timeout"),
        (["http.header_timeout=999ms"], "http.header_timeout"),
        (["consumers.ack_deadline=999ms"], "consumers.ack_deadline"),
        (["consumers.ack_deadline=13h"], "consumers.ack_deadline"),
        (["consumers.idle_close=0ms"], "consumers.idle_close"),
        (["forwarder.retry_initial=3s"], "forwarder.retry_initial"),
        (["forwarder.retry_initial=0ms"], "forwarder.retry_initial"),
        (["forwarder.batch_records_max=40001"], "forwarder.drain_records_max"),
        (["forwarder.drain_bytes_max=8191KiB"], "forwarder.drain_bytes_max"),
        (["spool.sync_timeout=0ms"], "spool.sync_timeout"),
        (["spool.commit_delay=30s"], "spool.commit_delay"),
        (["spool.park_after=0ms"], "spool.park_after"),
        (["spool.group_bytes_max=2GiB"], "spool.group_bytes_max"),
        (["consumers.nack_delay=13h"], "consumers.nack_delay"),
        (["http.header_timeout=121s"], "http.header_timeout"),
        (["dead_letters.bytes_max=1023KiB"], "dead_letters.bytes_max"),
        (
            ["broker.embedded.bytes_max=1GiB", "broker.embedded.retention_bytes=2GiB"],
            "broker.embedded.retention_bytes"
        ),
        (["broker.kind=kafka"], "broker.kafka.bootstrap_servers"),
        (["broker.kafka.bootstrap_servers=a:1"], "broker.kind"),
        (["broker.kafka.properties.client.id=a"], "broker.kind"),
        (kafka + ["broker.kafka.socket_timeout=15s"], "broker.kafka.socket_timeout"),
        (kafka + ["broker.kafka.consumers_topic=_postrider_checkpoints"], "broker.kafka.consumers_topic"),
        (kafka + ["broker.kafka.properties.linger.ms=soon"], "broker.kafka.properties"),
        (kafka + ["consumers.prefetch_bytes_max=1KiB"], "consumers.prefetch_bytes_max"),
        (kafka + ["consumers.prefetch_bytes_max=2GiB"], "consumers.prefetch_bytes_max"),
    ])
    func contradiction_IsRefused_WithTheKeysName(assignments: [String], name: String) throws {
        var settings = Settings()
        for assignment in assignments { try settings.set(assignment) }
        let error = #expect(throws: SettingsError.self) { try settings.check() }
        #expect(error?.description.hasPrefix("\(name): ") == true, "\(error?.description ?? "")")
    }

    @Test func responseMemory_ThatHoldsOneRecord_IsEnough() throws {
        var settings = Settings()
        let least = settings.limits.recordAnswerBytesMax
        #expect((6 << 20)...(7 << 20) ~= least, "six bytes for one, and little more")
        try settings.set("http.response_memory_max=\(least)")
        try settings.check()
        try settings.set("http.response_memory_max=\(least - 1)")
        let error = #expect(throws: SettingsError.self) { try settings.check() }
        for word in ["http.response_memory_max", "limits.record_bytes_max", "\(least)"] {
            #expect(error?.description.contains(word) == true)
        }
    }

    /// The extremes of each key by itself are either refused in words or give a gateway that can be built.
    @Test func limitsOfOtherModules_FollowTheSettings() throws {
        var settings = Settings()
        try settings.set("consumers.polls_waiting_max=1")
        try settings.set("limits.request_bytes_max=40MiB")
        try settings.set("limits.wait_max=2m")
        try settings.set("http.request_timeout=150s")
        try settings.check()
        let used = settings.completed
        #expect(used.consumers.pollsWaitingPerConsumerMax == 1)
        #expect(used.consumers.pollWaitMax == .seconds(120))
        #expect(used.http.discardBytesMax >= used.limits.requestBytesMax)
        #expect(used.http.bodyBytesMax == used.limits.requestBytesMax)
    }

    @Test(arguments: [
        ("127.0.0.1:8080", "127.0.0.1", UInt16(8080)), ("[::1]:0", "::1", 0), ("::1:9", "::1", 9),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
    ])
    func listen_IsRead(text: String, address: String, port: UInt16) throws {
        var settings = Settings()
        try settings.listen(on: text)
        #expect(settings.http.address == address)
        #expect(settings.http.port == port)
        try settings.check()
    }

    @Test(arguments: ["8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http", ""])
    func listen_IsRefused(text: String) {
        var settings = Settings()
        #expect(throws: SettingsError.self) { try settings.listen(on: text) }
    }

    @Test(arguments: ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "127.0.0.1.example:80", "localhost:80", ":80"])
    func listeningBeyondLoopback_NeedsASpokenWord(text: String) throws {
        var settings = Settings()
        try settings.listen(on: text)
        let error = #expect(throws: SettingsError.self) { try settings.check() }
        #expect(error?.description.contains("--insecure-listen") == true)
        settings.insecureListen = true
        try settings.check()
    }
}
