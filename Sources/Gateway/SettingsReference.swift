import JSON

/// The reference of all settings, made from `Settings.keys`, in each form that `postrider config reference` prints.
/// `SettingsReference.markdown` is docs/CONFIGURATION.md.
public enum SettingsReference {
    /// What stands for a property of librdkafka, which has no row of its own in the table.
    struct Pattern {
        var name: String
        var form: String
        var help: String
    }

    static let properties = [
        Pattern(
            name: "broker.kafka.properties.NAME", form: "as librdkafka says",
            help: "Passed through to librdkafka: TLS, SASL and the like."),
        Pattern(
            name: "broker.kafka.properties.NAME_file", form: "a path",
            help: "The same, with the value read from a file, without the line feed at its end."),
    ]

    /// Flags of their own, besides `--set`.
    public static let flags: [(flag: String, key: String)] = [
        ("--listen", "http.listen"), ("--data-dir", "data_dir"), ("--insecure-listen", "http.insecure_listen"),
        ("--broker", "broker.kind"), ("--bootstrap-servers", "broker.kafka.bootstrap_servers"),
    ]

    /// Help of such a flag.
    public static func help(of key: String) -> String {
        guard let key = Settings.keysByName[key] else { return "" }
        return "\(key.help) Default: \(key.defaultValue). As --set \(key.name)=…"
    }

    /// Sections in the order of their first setting.
    static let sections: [(name: String, keys: [SettingKey])] = {
        var names: [String] = []
        for key in Settings.keys where !names.contains(key.section) { names.append(key.section) }
        return names.map { name in (name, Settings.keys.filter { $0.section == name }) }
    }()

    /// For a terminal: each setting with its default, its meaning and its environment variable.
    public static var text: String {
        var lines: [String] = []
        for (_, keys) in sections {
            for key in keys {
                lines.append("\(key.name)=\(key.defaultValue)")
                lines.append("    \(key.help)")
                lines.append("    \(plain(key.form))\(key.isReadAgain ? "; read again at SIGHUP" : "")")
                lines.append("    \(key.variable)")
            }
        }
        for pattern in properties {
            lines.append(pattern.name)
            lines.append("    \(pattern.help)")
            lines.append("    \(EnvironmentNames.variable(of: pattern.name))")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// One array of objects, on one line.
    public static var json: String {
        var writer = JSONWriter()
        writer.array { writer in
            for key in Settings.keys {
                writer.object { writer in
                    for (name, value) in [
                        ("name", key.name), ("default", key.defaultValue), ("form", plain(key.form)),
                        ("meaning", key.help), ("variable", key.variable),
                    ] {
                        writer.key(name)
                        writer.string(value)
                    }
                    writer.key("read_again")
                    writer.bool(key.isReadAgain)
                }
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self) + "\n"
    }

    /// A configuration file that changes nothing: every setting with its default, commented out, so that a later
    /// version's defaults count. A line that begins with `#` and a name is a setting.
    public static var yaml: String {
        var lines = [
            "# Settings of Postrider. Those behind a # have the default that is shown: take the # away to set one.",
            "# What is wrong, and what holds: postrider config check --config FILE",
            "# Environment variables (POSTRIDER_SPOOL_BYTES_MAX) and flags go over this file.",
        ]
        appendYAML(in: "", indent: "", to: &lines)
        return lines.joined(separator: "\n") + "\n"
    }

    private static func appendYAML(in section: String, indent: String, to lines: inout [String]) {
        for key in sections.first(where: { $0.name == section })?.keys ?? [] {
            lines.append("\(indent)# \(key.help)")
            lines.append("\(indent)# (\(plain(key.form))\(key.isReadAgain ? "; read again at SIGHUP" : ""))")
            lines.append("\(indent)#\(key.lastName): \(key.defaultValue)")
        }
        if Settings.propertyPrefix == section + ".properties." {
            lines += [
                "# Passed through to librdkafka: TLS, SASL and the like. NAME_file: the value is read from a file.",
                "#properties:",
                "#  security.protocol: sasl_ssl",
                "#  sasl.mechanisms: SCRAM-SHA-512",
                "#  sasl.username: postrider",
                "#  sasl.password_file: /run/secrets/kafka-password",
            ]
            .map { indent + $0 }
        }
        // Sections one level below, of which some may hold further sections only.
        var below: [String] = []
        for (name, _) in sections where name != section && (section.isEmpty || name.hasPrefix(section + ".")) {
            let rest = name.dropFirst(section.isEmpty ? 0 : section.count + 1)
            let next = String(rest.prefix { $0 != "." })
            if !next.isEmpty, !below.contains(next) { below.append(next) }
        }
        for name in below {
            if section.isEmpty { lines.append("") }
            lines.append("\(indent)\(name):")
            appendYAML(in: section.isEmpty ? name : "\(section).\(name)", indent: indent + "  ", to: &lines)
        }
    }

    /// Without Markdown's back quotes.
    private static func plain(_ text: String) -> String { text.filter { $0 != "`" } }
}
