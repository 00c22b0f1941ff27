import Broker
import JSON
import Primitives
import Records

/// The JSON of topics, in and out.
enum TopicBodies {
    // MARK: - In

    /// `{partitions, retention_ms, retention_bytes, record_bytes_max}`, each of them optional; no body at all is the
    /// same as none of them.
    static func settings(_ body: ByteSlice, recordBytesMax: Int) throws(Problem) -> TopicSettings {
        var settings = TopicSettings()
        if body.isEmpty { return settings }
        let fields = try ConsumerBodies.members(
            body, ["partitions", "retention_ms", "retention_bytes", "record_bytes_max"])
        settings.partitions = try integer(fields, "partitions", in: 1...Int64(Int32.max)).map { Int32($0) }
        settings.retentionMs = try integer(fields, "retention_ms", in: 1...Int64.max, or: TopicSettings.unlimited)
        settings.retentionBytes = try integer(
            fields, "retention_bytes", in: 1...Int64.max, or: TopicSettings.unlimited)
        settings.recordBytesMax = try integer(fields, "record_bytes_max", in: 1...Int64(recordBytesMax))
            .map { Int($0) }
        return settings
    }

    /// `{"offsets":[{partition, offset}]}`, by partition; at least one.
    static func offsets(_ body: ByteSlice) throws(Problem) -> [Int32: Int64] {
        let fields = try ConsumerBodies.members(body, ["offsets"])
        guard let list = fields["offsets"]?.elements else { throw invalid("offsets", "an array is expected") }
        var offsets: [Int32: Int64] = [:]
        for (index, element) in list.enumerated() {
            guard let members = element.members else { throw invalid("offsets/\(index)", "an object is expected") }
            var (partition, offset): (Int32?, Int64?)
            for member in members {
                switch member.name {
                case "partition": partition = member.value.int64.flatMap { Int32(exactly: $0) }
                case "offset": offset = member.value.int64
                default:
                    throw Problem.invalid(
                        "offsets/\(index)/\(JSONPointerText.escaped(member.name))",
                        "there is no such field; known are partition, offset", code: "unknown_field")
                }
            }
            guard let partition, partition >= 0 else {
                throw invalid("offsets/\(index)/partition", "a whole number from 0 to \(Int32.max) is expected")
            }
            guard let offset, offset >= 0 else {
                throw invalid("offsets/\(index)/offset", "a whole number from 0 to \(Int64.max) is expected")
            }
            guard offsets.updateValue(offset, forKey: partition) == nil else {
                throw invalid("offsets/\(index)/partition", "\(partition) is given twice")
            }
        }
        if offsets.isEmpty { throw invalid("offsets", "at least one is expected") }
        return offsets
    }

    private static func integer(
        _ fields: [String: JSONValue], _ name: String, in range: ClosedRange<Int64>, or special: Int64? = nil
    ) throws(Problem) -> Int64? {
        guard let value = fields[name] else { return nil }
        if let number = value.int64, range.contains(number) || number == special { return number }
        let reason = "a whole number from \(range.lowerBound) to \(range.upperBound) is expected"
        throw invalid(name, special == nil ? reason : reason + ", or \(TopicSettings.unlimited) for no limit")
    }

    private static func invalid(_ path: String, _ reason: String) -> Problem {
        var problem = Problem.invalid(path, reason, code: "invalid_field")
        problem.parts = [.init(pointer: "/" + path, reason: reason)]
        return problem
    }

    // MARK: - Out

    /// - Parameter recordBytesMax: `limits.record_bytes_max`, shown where a topic would take more than can be sent to
    ///   it.
    static func description(_ topic: TopicDescription, recordBytesMax: Int) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("name")
            writer.string(topic.name.text)
            writer.key("partitions")
            writer.array { writer in for partition in topic.partitions { write(partition, to: &writer) } }
            writer.key("settings")
            writer.object { writer in
                writer.key("retention_ms")
                writer.integer(topic.settings.retentionMs ?? TopicSettings.unlimited)
                writer.key("retention_bytes")
                writer.integer(topic.settings.retentionBytes ?? TopicSettings.unlimited)
                writer.key("record_bytes_max")
                writer.integer(min(topic.settings.recordBytesMax ?? recordBytesMax, recordBytesMax))
            }
            writer.key("warnings")
            writer.array { writer in for warning in topic.warnings { writer.string(warning) } }
        }
        return writer.bytes
    }

    private static func write(_ partition: PartitionDescription, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.key("partition")
            writer.integer(partition.partition)
            writer.key("leader")
            if let leader = partition.leader { writer.integer(leader) } else { writer.null() }
            writer.key("replicas")
            writer.array { writer in for id in partition.replicas { writer.integer(id) } }
            writer.key("in_sync_replicas")
            writer.array { writer in for id in partition.inSyncReplicas { writer.integer(id) } }
            writer.key("low_watermark")
            if let low = partition.lowWatermark { writer.integer(low) } else { writer.null() }
            writer.key("high_watermark")
            if let high = partition.highWatermark { writer.integer(high) } else { writer.null() }
        }
    }

    /// `{"low_watermarks":[{partition, offset}]}`
    static func lowWatermarks(_ lows: [Int32: Int64]) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("low_watermarks")
            writer.array { writer in
                for (partition, offset) in lows.sorted(by: { $0.key < $1.key }) {
                    writer.object { writer in
                        writer.key("partition")
                        writer.integer(partition)
                        writer.key("offset")
                        writer.integer(offset)
                    }
                }
            }
        }
        return writer.bytes
    }
}
