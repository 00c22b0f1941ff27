extension SettingsReference {
    /// docs/CONFIGURATION.md. A test holds the file against it.
    public static var markdown: String {
        let parts = [head, settings, file, environment, secrets, rules, worthKnowing]
        return parts.joined(separator: "\n\n") + "\n"
    }

    private static let head = """
        <!-- Made by `postrider config reference --markdown` from the tables in Sources/Gateway (SettingKeys.swift,
             KafkaSettingKeys.swift, SettingRules.swift, ReferencePage.swift). Change it there. -->
        # Configuration

        Settings come from four places; what stands later goes over what stands before it:

        1. the defaults
        2. a YAML file: `--config FILE`, or the path in `POSTRIDER_CONFIG`. [The file](#the-file)
        3. environment variables: `POSTRIDER_SPOOL_BYTES_MAX` is `spool.bytes_max`. [Environment](#environment)
        4. flags: `--set spool.bytes_max=100GiB`. The last one of a setting counts, and `--set` goes over the others

        ```
        postrider config check --config FILE     what is wrong with it, or what holds and where that comes from
        postrider config reference --yaml        a file with every setting and its default, to begin with
        postrider serve --config FILE
        ```

        `config check` takes the flags of `serve`. It prints every setting that is not left at its default as
        `name=value`, with `# FILE:LINE`, the variable or the flag that it comes from: `--all` prints all of
        them, `--json` makes it JSON; secrets are masked. It connects to nothing, touches no data, and leaves
        what only a start can know (the port, the directory, the cluster) to the start. `config reference`
        prints every setting as text, or with `--json`, and with `--markdown` this page.

        Whatever is wrong is told at once, up to 20 lines of it, with file, line and column, or the variable or
        flag; an unknown name with the nearest known one. Exit code 64, before anything is touched.

        ```
        $ postrider config check --config postrider.yaml
        postrider: postrider.yaml:2:3: there is no setting spool.snyc; did you mean spool.sync?
        postrider: postrider.yaml:4:12: http.threads: a whole number from 1 to 64 is expected, not 65
        ```

        | flag of `serve` and `config check` | setting |
        |---|---|
        | `--config FILE` | |
        \(flags.map { "| `\($0.flag)` | `\($0.key)` |" }.joined(separator: "\n"))
        | `--set NAME=VALUE` | any; may be repeated |

        `Scripts/run -- OPTION…` passes options on. The commands of `postrider spool` take `--data-dir` only.

        ## Forms

        - **size**: bytes as a number, or with `KiB`, `MiB`, `GiB`, `TiB`. More than 0, and at most 1024TiB.
        - **time**: a whole number with `ms`, `s`, `m`, `h` or `d`.
        """

    private static var settings: String {
        var parts = [
            """
            ## Settings

            A setting counts from the start on. Those marked SIGHUP are also read again when a running gateway
            gets that signal.
            """
        ]
        for (name, keys) in sections {
            parts.append(name.isEmpty ? "### Everywhere" : "### \(name)")
            if let intro = introductions[name] { parts.append(intro) }
            var rows = ["| key | default | form | meaning |", "|---|---|---|---|"]
            rows += keys.map { key in
                let meaning = key.isReadAgain ? "\(key.help) SIGHUP." : key.help
                return "| `\(key.name)` | `\(key.defaultValue)` | \(key.form) | \(meaning) |"
            }
            if Settings.propertyPrefix == name + ".properties." {
                rows += properties.map { "| `\($0.name)` | | \($0.form) | \($0.help) |" }
            }
            parts.append(rows.joined(separator: "\n"))
        }
        return parts.joined(separator: "\n\n")
    }

    private static let introductions = [
        "broker.kafka": """
        With `broker.kind=kafka`; [KAFKA.md](KAFKA.md) says what they mean for a cluster. Properties are those of
        [librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md).
        """
    ]

    private static let file = """
        ## The file

        ```yaml
        spool:
          bytes_max: 100GiB
        broker:
          kind: kafka
          kafka:
            bootstrap_servers: [kafka-1:9093, kafka-2:9093, kafka-3:9093]
            properties:
              security.protocol: sasl_ssl
              ssl.ca.location: /etc/ssl/certs/kafka-ca.pem
              sasl.mechanisms: SCRAM-SHA-512
              sasl.username: postrider
              sasl.password_file: /run/secrets/kafka-password
        ```

        Names are nested or written with dots; a list stands for its items with commas between them. An unknown
        name, and one that is there twice, is an error. At most \(showBytes(ConfigurationFile.bytesMax)), \
        \(showCount(ConfigurationFile.settingsMax)) settings and \(ConfigurationFile.depthMax) levels.
        """

    private static let environment = """
        ## Environment

        `POSTRIDER_` and the name in upper case, with underscores for dots: `POSTRIDER_LOG_LEVEL=debug`,
        `POSTRIDER_DATA_DIR`, and `POSTRIDER_BROKER_KAFKA_PROPERTIES_SASL_USERNAME` for a property of
        librdkafka. A variable without a value counts as none. A malformed value is an error that names the
        variable.

        A variable that begins with `POSTRIDER_` and names nothing is warned of at the start, with the nearest
        known one. Those that Kubernetes and Docker make for a service named `postrider`
        (`POSTRIDER_SERVICE_HOST`, `POSTRIDER_PORT_8080_TCP_ADDR` and so on) are not: no setting is named like
        them.
        """

    private static let secrets = """
        ## Secrets

        `broker.kafka.properties.NAME_file`, or `POSTRIDER_BROKER_KAFKA_PROPERTIES_NAME_FILE`, reads the value
        of a property from a file of at most 1 MiB, without the line feed at its end. Values that were read from
        files, and those of passwords, private keys and client secrets wherever they come from, are never shown:
        not in the log, in errors, by `config check` or in `/v1/status`. Warned of at the start: a file with a
        secret that everybody on the machine can read, and a secret in `--set`, which stands in the list of
        processes.

        **Properties that are refused.** What would break a promise or has a setting of its own is an error that
        says why (`Sources/KafkaBroker/PropertyPolicy.swift` is the list): acknowledgements and idempotence,
        transactions, everything that commits or moves offsets by itself, isolation, group membership, the order
        and number of retries, memory of queues, plug-ins, callbacks. So is what the installed librdkafka was
        built without: Debian's has no OIDC for OAUTHBEARER.
        """

    private static var rules: String {
        let rules = Settings.rules.filter { !$0.others.isEmpty }
            .map { rule in
                let expected = rule.expected.hasSuffix(",") ? String(rule.expected.dropLast()) : rule.expected
                let unnamed = rule.others.filter { !expected.contains($0) }.map { "`\($0)`" }
                let with = unnamed.isEmpty ? "" : " (with \(unnamed.joined(separator: ", ")))"
                return "- `\(rule.key)`: \(quotingNames(expected))\(with)."
            }
        return """
            ## What has to fit together

            Checked at the start and by `config check`; an error names both settings, their values, and where
            they stand.

            \(rules.joined(separator: "\n"))
            - `http.listen`: an address of loopback, unless `http.insecure_listen` is set.
            - librdkafka takes every property, together with the others.

            A group (`spool.group_bytes_max`) is never larger than a segment, whatever is set.
            """
    }

    /// With back quotes around names of settings.
    private static func quotingNames(_ text: String) -> String {
        text.split(separator: " ", omittingEmptySubsequences: false)
            .map { Settings.keysByName[String($0)] == nil ? String($0) : "`\($0)`" }
            .joined(separator: " ")
    }

    private static let worthKnowing = """
        ## Worth knowing

        - Behind a proxy on the same machine, name the host that the proxy passes on:
          `http.allowed_hosts=gateway.example.com`. Otherwise a gateway that listens on 127.0.0.1 answers 421 to
          it. `*` turns the check off.
        - Compressing takes about a millisecond of an event loop for 64 KiB of JSON. Where consumers that send
          `Accept-Encoding: gzip` unasked (many HTTP libraries do) sit on a fast network, `http.gzip=false` is
          faster.
        - An origin in `http.cors_origins` is written as browsers do: `https://app.example.com`, with a port
          unless it is the scheme's, without a path.
        - `spool.sync=interval` gives up promise 1: the 202 says `"durability":"buffered"`.
          `spool.sync_interval` alone does not switch to it.
        - `spool.bytes_max` + `spool.parked_bytes_max` + `spool.reserve_bytes` + three segments fit the disk, or
          a stuck topic can fill it; with less than four segments a full spool could not empty itself. What
          parking does is in [ARCHITECTURE.md](ARCHITECTURE.md).
        - `spool.lanes` is fixed when the spool is created. Another number later ends the start with exit code
          1.
        - `spool.commit_delay` costs every request that time and saves syncs only where many clients send
          little. Measure first.
        - `idempotency.keys_max` has to hold the keys of one `idempotency.lifetime`: at it nothing with a new
          key is accepted, and none is forgotten early. The formula is in
          [OPERATIONS.md](OPERATIONS.md#requests-that-are-repeated). A lower one keeps what is remembered.
        - `limits.wait_max` is capped by the consumers' own 60 s.
        - `broker.embedded.partitions_default` counts for topics that are created from then on.
        - `broker.embedded.retention_ms` takes records whether they were acknowledged or not. Consumers that
          come too late see `skipped`.
        """
}
