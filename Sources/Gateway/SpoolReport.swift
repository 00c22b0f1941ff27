import JSON
import Journal
import Records
import Spool

/// What `postrider spool verify` and `repair` print and keep. docs/OPERATIONS.md has the fields.
enum SpoolReport {
    // MARK: - For programs

    /// `verify --json`.
    static func json(of inspection: SpoolInspection) -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object { $0.inspection(inspection) }
        writer.endLine()
        return writer.bytes
    }

    /// The file that a repair leaves, and `repair --json`.
    static func json(of repair: SpoolRepair) -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object { writer in
            writer.key("restored_files")
            writer.array { writer in for file in repair.restored { writer.string(file) } }
            writer.key("quarantined")
            writer.ranges(repair.ranges)
            writer.key("copies")
            writer.array { writer in
                for copy in repair.copies {
                    writer.object { writer in
                        writer.key("file")
                        writer.string(copy.path)
                        writer.key("copy")
                        if let name = copy.name { writer.string(name) } else { writer.null() }
                    }
                }
            }
            writer.key("found")
            writer.object { $0.inspection(repair.inspection) }
        }
        writer.endLine()
        return writer.bytes
    }

    // MARK: - For people

    static func text(of inspection: SpoolInspection) -> String {
        var lines = [
            "spool \(inspection.spool)",
            "segments \(inspection.segments.count), frames \(inspection.frames), records \(inspection.records), "
                + "bytes of records \(inspection.recordBytes)",
        ]
        for (epoch, summary) in inspection.epochs {
            lines.append("epoch \(epoch): records \(summary.records), LSN \(text(summary.lsns))")
        }
        lines.append(
            "synced below LSN \(inspection.durable), needed from LSN \(inspection.released), end \(inspection.end)")
        for (number, lane) in inspection.lanes.enumerated() {
            var line =
                "lane \(number): delivered \(lane.delivered), scanned \(lane.scanned), records in the journal "
                + "\(lane.records), of these not yet delivered \(lane.needed)"
            if lane.parkedTo > .zero {
                line +=
                    "; parked to \(lane.parkedTo): files \(lane.parkedFiles), records \(lane.parkedRecords), bytes "
                    + "\(lane.parkedBytes)"
            }
            lines.append(line)
        }
        for (file, valid) in inspection.validSlots where valid < 2 {
            lines.append("\(file): \(valid) of 2 slots is good (a write was cut off, or damage; the good one counts)")
        }
        if inspection.hasTornTail {
            lines.append(
                "torn tail: what follows LSN \(inspection.end) was never promised; the next start sets it aside")
        }
        for file in inspection.unreadableFiles {
            let isRestorable = inspection.restorableFiles.contains(file)
            lines.append(
                "\(file): its header cannot be read" + (isRestorable ? ", and can be made anew without loss" : ""))
        }
        lines += inspection.damages.map(text)
        if inspection.damagesLeftOut > 0 { lines.append("and \(inspection.damagesLeftOut) more") }
        if !inspection.quarantined.isEmpty {
            lines.append("quarantined: LSN " + inspection.quarantined.map(text).joined(separator: ", "))
        }
        lines.append(inspection.isClean ? "clean" : "DAMAGED: postrider spool repair says what can be done")
        return lines.joined(separator: "\n")
    }

    /// - Parameter accepted: it was done; else it is what `--quarantine` would do.
    static func text(of repair: SpoolRepair, accepted: Bool) -> String {
        var lines: [String] = []
        let restorable = accepted ? repair.restored : repair.inspection.restorableFiles
        for file in restorable {
            lines.append("\(file): header \(accepted ? "was made" : "would be made") anew, nothing in it is lost")
        }
        if !repair.ranges.isEmpty {
            lines += repair.inspection.needed.map(text)
            let ranges = repair.ranges.map(text).joined(separator: ", ")
            lines.append("\(accepted ? "quarantined" : "would be quarantined"): LSN \(ranges)")
        }
        if !accepted, !restorable.isEmpty, !repair.ranges.isEmpty {
            lines.append("(less, where a header that is made anew brings records back)")
        }
        for copy in repair.copies {
            lines.append(
                copy.name.map { "broken bytes of \(copy.path) are in quarantine/\($0)" }
                    ?? "broken bytes of \(copy.path) are not copied: the quarantine directory is full")
        }
        if repair.unverifiedRecords > 0 {
            lines.append("records among the dead letters, their bytes unverified: \(repair.unverifiedRecords)")
        }
        if let report = repair.report { lines.append("report: quarantine/\(report)") }
        if lines.isEmpty { return "nothing to repair" }
        if !accepted { lines.append("nothing was changed; --quarantine does it") }
        return lines.joined(separator: "\n")
    }

    static func text(_ lsns: Range<LSN>) -> String {
        "\(lsns.lowerBound) to \(lsns.upperBound.rawValue - 1)"
    }

    private static func text(_ damage: SpoolInspection.Damage) -> String {
        var line = "\(damage.journal.kind.rawValue): LSN \(text(damage.journal.lsns))"
        if let path = damage.journal.path { line += ", \(path)" }
        if !damage.journal.bytes.isEmpty {
            line += " bytes \(damage.journal.bytes.lowerBound) to \(damage.journal.bytes.upperBound - 1)"
        }
        switch damage.standing {
        case .needless: line += "; nobody needs it any more"
        case .quarantined: line += "; quarantined"
        case .refusesStart: line += "; a start is refused"
        case .stopsReaders: line += "; a start does not see it, the lane that meets it stops"
        }
        if damage.standing == .refusesStart || damage.standing == .stopsReaders {
            line += "; lanes concerned: " + damage.lanes.map { String($0) }.joined(separator: ", ")
        }
        if !damage.topics.isEmpty { line += "; topics, unverified: " + damage.topics.joined(separator: ", ") }
        return line
    }
}

extension JSONWriter {
    mutating func ranges(_ ranges: [Range<LSN>]) {
        array { writer in
            for range in ranges { writer.object { $0.range(range) } }
        }
    }

    /// Both inclusive, as messages and `spool export` have them.
    mutating func range(_ range: Range<LSN>) {
        number("from", range.lowerBound.rawValue)
        number("to", range.upperBound.rawValue - 1)
    }

    mutating func number(_ name: String, _ value: some FixedWidthInteger) {
        key(name)
        integer(value)
    }

    mutating func texts(_ name: String, _ values: [String]) {
        key(name)
        array { writer in for value in values { writer.string(value) } }
    }

    fileprivate mutating func inspection(_ found: SpoolInspection) {
        key("clean")
        bool(found.isClean)
        key("spool")
        string(found.spool.description)
        number("frames", found.frames)
        number("records", found.records)
        number("record_bytes", found.recordBytes)
        number("durable_lsn", found.durable.rawValue)
        number("released_lsn", found.released.rawValue)
        number("end_lsn", found.end.rawValue)
        key("torn_tail")
        bool(found.hasTornTail)
        segments(found.segments)
        key("epochs")
        array { writer in
            for (epoch, summary) in found.epochs {
                writer.object { writer in
                    writer.number("epoch", epoch)
                    writer.number("records", summary.records)
                    writer.range(summary.lsns)
                }
            }
        }
        lanes(found.lanes)
        key("slots")
        object { writer in for (file, valid) in found.validSlots { writer.number(file, valid) } }
        texts("unreadable_files", found.unreadableFiles)
        texts("restorable_files", found.restorableFiles)
        key("refused")
        ranges(found.refused)
        key("quarantined")
        ranges(found.quarantined)
        key("damages")
        array { writer in for damage in found.damages { writer.object { $0.damage(damage) } } }
        number("damages_left_out", found.damagesLeftOut)
    }

    mutating func segments(_ segments: [JournalImage.Segment]) {
        key("segments")
        array { writer in
            for segment in segments {
                writer.object { writer in
                    writer.key("file")
                    writer.string(segment.path)
                    writer.number("base", segment.base.rawValue)
                    writer.number("end", segment.end.rawValue)
                    writer.number("bytes", segment.fileBytes)
                }
            }
        }
    }

    private mutating func lanes(_ lanes: [SpoolInspection.Lane]) {
        key("lanes")
        array { writer in
            for lane in lanes {
                writer.object { writer in
                    writer.number("delivered", lane.delivered.rawValue)
                    writer.number("scanned", lane.scanned.rawValue)
                    writer.number("records", lane.records)
                    writer.number("undelivered", lane.needed)
                    writer.number("parked_to", lane.parkedTo.rawValue)
                    writer.number("parked_files", lane.parkedFiles)
                    writer.number("parked_records", lane.parkedRecords)
                    writer.number("parked_bytes", lane.parkedBytes)
                }
            }
        }
    }

    private mutating func damage(_ damage: SpoolInspection.Damage) {
        key("kind")
        string(damage.journal.kind.rawValue)
        key("standing")
        string(damage.standing.rawValue)
        range(damage.journal.lsns)
        key("file")
        if let path = damage.journal.path { string(path) } else { null() }
        number("first_byte", damage.journal.bytes.lowerBound)
        number("bytes", damage.journal.bytes.count)
        key("lanes")
        array { writer in for lane in damage.lanes { writer.integer(lane) } }
        texts("topics_unverified", damage.topics)
        number("records_unverified", damage.unverifiedRecords)
    }
}
