import CRdkafka

/// Fills topics as any Kafka client does, without a line of Postrider's.
public enum LogWriter {
    /// Writes `count` records of `bytes` to each partition; the first bytes of each are `<partition>:<number> `.
    ///
    /// - Precondition: the cluster takes them within a minute.
    public static func fill(
        _ topic: String, partitions: Int32, count: Int, bytes: Int, at bootstrapServers: String
    ) {
        let conf = rd_kafka_conf_new()
        for (name, value) in [
            "bootstrap.servers": bootstrapServers, "message.max.bytes": "10000000", "linger.ms": "0", "log_level": "0",
        ] {
            rd_kafka_conf_set(conf, name, value, nil, 0)
        }
        guard let client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nil, 0) else { preconditionFailure("no producer") }
        defer { rd_kafka_destroy(client) }
        for partition in 0..<partitions {
            for number in 0..<count {
                var value = Array("\(partition):\(number) ".utf8)
                value += [UInt8](repeating: UInt8(ascii: "x"), count: max(0, bytes - value.count))
                let code = pr_produce_by_name(client, topic, partition, nil, 0, value, value.count, 0, nil, nil)
                precondition(code == RD_KAFKA_RESP_ERR_NO_ERROR, String(cString: rd_kafka_err2name(code)))
            }
        }
        let code = rd_kafka_flush(client, 60_000)
        precondition(code == RD_KAFKA_RESP_ERR_NO_ERROR, String(cString: rd_kafka_err2name(code)))
    }
}
