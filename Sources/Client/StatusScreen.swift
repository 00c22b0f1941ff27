import Glibc
public import JSON

/// `postrider status`: `GET /v1/status` on one screen.
public enum StatusScreen {
    /// Consumers that are listed.
    public static let consumersMax = 20

    /// - Parameters:
    ///   - status: the answer.
    ///   - consumers: descriptions of consumers (`GET /v1/consumers/{consumer}`).
    ///   - width: of the terminal; longer lines are cut.
    public static func lines(_ status: JSONValue, consumers: [JSONValue], width: Int) throws(ClientError) -> [String] {
        guard status.kind == .object, let spool = status.member("spool"), let lanes = status.member("lanes")?.elements
        else { throw .notAGateway("a status has spool and lanes") }
        var lines = [
            "gateway \(status.cell("gateway")), postrider \(status.cell("version")), "
                + "since \(status.cell("started_at")), durability \(status.cell("durability"))",
            "accepting   \(state(status.member("accepting")))",
            "forwarding  \(state(status.member("forwarding")))",
            "broker      \(broker(status.member("broker")))",
            "spool       \(spoolText(spool))",
        ]
        if let known = status.member("idempotency") {
            lines.append(
                "remembered  keys \(known.cell("keys")) of \(known.cell("keys_max")), "
                    + "producers \(known.cell("producers")) of \(known.cell("producers_max"))")
        }
        lines.append("dead letters \(status.cell("dead_letters")), consumers \(status.cell("consumers"))")
        lines.append("")
        var table = Table(["LANE", "STATE", "UNDELIVERED", "BATCH", "TRIES", "PARKED", "ERROR"])
        for lane in lanes {
            let parked = lane.member("parked")
            let detail = [lane.cell("error"), lane.cell("detail")].filter { $0 != "-" }.joined(separator: ": ")
            table.add([
                lane.cell("lane"), lane.cell("state"), lane.cell("undelivered_records"), lane.cell("batch_records_max"),
                lane.cell("tries"), parked?.cell("records") ?? "-", detail.isEmpty ? "-" : detail,
            ])
        }
        lines += table.lines()
        if !consumers.isEmpty {
            lines += [""] + Self.table(ofConsumers: consumers).lines()
        }
        return lines.map { cut($0, to: width) }
    }

    /// A line for each.
    public static func table(ofConsumers consumers: [JSONValue]) -> Table {
        var table = Table(["CONSUMER", "TOPICS", "MODE", "LAG", "LEASES", "POLLS", "OLDEST UNACKNOWLEDGED"])
        for consumer in consumers {
            let topics = consumer.member("topics")?.elements.map { $0.compactMap(\.string) } ?? []
            table.add([
                consumer.cell("name"), plain(topics.joined(separator: ",")), consumer.cell("mode"), lag(consumer),
                consumer.cell("leases"), consumer.cell("polls_waiting"), consumer.cell("oldest_unacknowledged"),
            ])
        }
        return table
    }

    /// Of all partitions; `-` where one is not known.
    private static func lag(_ consumer: JSONValue) -> String {
        guard let partitions = consumer.member("partitions")?.elements else { return "-" }
        var sum: Int64 = 0
        for partition in partitions {
            guard let lag = partition.member("lag")?.int64 else { return "-" }
            sum = sum.addingReportingOverflow(lag).partialValue
        }
        return "\(sum)"
    }

    private static func state(_ part: JSONValue?) -> String {
        guard let part, part.kind == .object else { return "-" }
        var text = part.member("ok")?.bool == true ? "yes" : "NO"
        for name in ["reason", "detail"] where part.cell(name) != "-" { text += ", \(part.cell(name))" }
        let lanes = part.member("lanes")?.elements.map(Array.init) ?? []
        if !lanes.isEmpty {
            text += ", lanes " + lanes.map { "\($0.cell("lane")) (\($0.cell("state")))" }.joined(separator: ", ")
        }
        for warning in part.member("warnings")?.elements.map(Array.init) ?? [] {
            text += ", WARNING \(warning.string.map(plain) ?? warning.cell("reason"))"
        }
        return text
    }

    private static func broker(_ broker: JSONValue?) -> String {
        guard let broker, broker.kind == .object else { return "-" }
        var text = "\(broker.cell("kind")), \(broker.cell("guarantee"))"
        if let reachable = broker.member("reachable")?.bool { text += reachable ? ", reachable" : ", NOT REACHABLE" }
        for name in ["error", "detail"] where broker.cell(name) != "-" { text += ", \(broker.cell(name))" }
        if let warned = broker.member("topics_warned")?.int64, warned > 0 {
            text += ", \(warned) topics can lose data"
        }
        return text
    }

    private static func spoolText(_ spool: JSONValue) -> String {
        let used = spool.member("used_bytes")?.int64 ?? 0
        let most = spool.member("bytes_max")?.int64 ?? 0
        let share = most > 0 ? " (\(used / max(1, most / 100))%)" : ""
        return
            "\(byteText(used)) of \(byteText(most))\(share), undelivered records \(spool.cell("undelivered_records")), "
            + "parked \(byteText(spool.member("parked_bytes")?.int64 ?? 0))"
    }

    /// Of the terminal behind a descriptor, in columns; `COLUMNS`, or nil where there is none.
    public static func terminalWidth(of descriptor: Int32) -> Int? {
        var size = winsize()
        if ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
        return getenv("COLUMNS").flatMap { Int(String(cString: $0)) }.flatMap { $0 > 0 ? $0 : nil }
    }
}
