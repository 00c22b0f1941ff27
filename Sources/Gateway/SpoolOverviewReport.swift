import JSON
import Journal
import Records
import Spool

/// What `postrider spool inspect` prints. docs/OPERATIONS.md has the fields.
enum SpoolOverviewReport {
    /// For programs.
    static func json(of found: SpoolOverview) -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object { writer in
            writer.key("spool")
            writer.string(found.spool.description)
            writer.key("epochs")
            writer.array { writer in for epoch in found.epochs { writer.integer(epoch) } }
            writer.number("durable_lsn", found.durable.rawValue)
            writer.number("released_lsn", found.released.rawValue)
            writer.number("end_lsn", found.end.rawValue)
            writer.key("torn_tail")
            writer.bool(found.hasTornTail)
            writer.segments(found.segments)
            writer.key("lanes")
            writer.array { writer in for lane in found.lanes { writer.object { $0.lane(lane) } } }
            writer.key("slots")
            writer.object { writer in for (file, valid) in found.validSlots { writer.number(file, valid) } }
            writer.texts("unreadable_files", found.unreadableFiles)
            writer.key("refused")
            writer.ranges(found.refused)
            writer.key("quarantined")
            writer.ranges(found.quarantined)
        }
        writer.endLine()
        return writer.bytes
    }

    /// For people.
    static func text(of found: SpoolOverview) -> String {
        let bytes = found.segments.reduce(0) { $0 + $1.fileBytes }
        var lines = [
            "spool \(found.spool), lanes \(found.lanes.count), starts remembered \(found.epochs.count), "
                + "the last with epoch " + (found.epochs.last.map { String($0) } ?? "none"),
            "synced below LSN \(found.durable), needed from LSN \(found.released), end \(found.end)",
            "segments \(found.segments.count), bytes of their files \(bytes)",
        ]
        for segment in found.segments {
            let name = segment.path.split(separator: "/").last ?? ""
            lines.append("  \(name): LSN \(segment.base) to before \(segment.end), bytes \(segment.fileBytes)")
        }
        for (number, lane) in found.lanes.enumerated() {
            var line = "lane \(number): delivered \(lane.delivered), scanned \(lane.scanned)"
            if lane.parkedTo > .zero {
                line +=
                    "; parked to \(lane.parkedTo): files \(lane.parkedFiles), records \(lane.parkedRecords), bytes "
                    + "\(lane.parkedBytes)"
            }
            lines.append(line)
        }
        for (file, valid) in found.validSlots { lines.append("\(file): \(valid) of 2 slots good") }
        if found.hasTornTail { lines.append("torn tail after LSN \(found.end): never promised") }
        for file in found.unreadableFiles { lines.append("\(file): its header cannot be read") }
        for (word, ranges) in [("quarantined", found.quarantined), ("A START IS REFUSED FOR", found.refused)]
        where !ranges.isEmpty {
            lines.append("\(word): LSN " + ranges.map { SpoolReport.text($0) }.joined(separator: ", "))
        }
        lines.append("headers only were read; spool verify reads every record")
        return lines.joined(separator: "\n")
    }
}

extension JSONWriter {
    fileprivate mutating func lane(_ lane: SpoolOverview.Lane) {
        number("delivered", lane.delivered.rawValue)
        number("scanned", lane.scanned.rawValue)
        number("parked_to", lane.parkedTo.rawValue)
        number("parked_files", lane.parkedFiles)
        number("parked_records", lane.parkedRecords)
        number("parked_bytes", lane.parkedBytes)
    }
}
