import Broker
import Consumers
import HTTPServer
import JSON
import Records

/// What a poll or a stateless read answers, in the form that the client takes.
///
/// An answer that cannot be said in the form asked for comes as JSON all the same (RFC 9110, section 12.4.1), because
/// what was leased must reach its client: header fields that would need more than `AnswerStyle.fieldBytesMax`, several
/// records as bytes (a client's open answer is repeated whole), a key that is there and empty.
enum RecordAnswer: Sendable {
    case poll(PollAnswer)
    case read(FetchResult)

    /// Records are their owners' business: no cache keeps them.
    static let headers = [HTTPHeader("Cache-Control", "no-store")]

    /// - Parameter capacity: of the body; with `AnswerBytes` of all of it, JSON is never copied to grow.
    func response(_ style: AnswerStyle, capacity: Int = 0) -> HTTPResponse {
        let response: HTTPResponse? =
            switch style.form {
            case .json: nil
            case .ndjson: lines(style, capacity)
            case .octets: octets(style)
            }
        return response ?? .json(json(style.values, capacity: capacity), headers: Self.headers)
    }

    private var count: Int {
        switch self {
        case .poll(let answer): answer.records.count
        case .read(let answer): answer.records.count
        }
    }

    private func item(_ index: Int) -> (record: StoredRecord, delivery: DeliveredRecord?) {
        switch self {
        case .poll(let answer): (answer.records[index].record, answer.records[index])
        case .read(let answer): (answer.records[index], nil)
        }
    }

    // MARK: Forms

    private func json(_ values: ValueForm, capacity: Int) -> [UInt8] {
        let records = RecordWriter(values: values)
        var writer = JSONWriter(capacity: capacity)
        writer.object { writer in
            if case .poll(let answer) = self {
                writer.key("ack")
                if let ack = answer.ack { writer.string(ack) } else { writer.null() }
            }
            writer.key("records")
            writer.array { writer in
                for index in 0..<count {
                    let (record, delivery) = item(index)
                    records.write(record, delivery, to: &writer)
                }
            }
            switch self {
            case .poll(let answer):
                guard !answer.skipped.isEmpty else { return }
                writer.key("skipped")
                RecordWriter.skipped(answer.skipped, to: &writer)
            case .read(let answer):
                writer.key("next_offset")
                writer.integer(answer.nextOffset)
                writer.watermarks(low: answer.lowWatermark, high: answer.highWatermark)
            }
        }
        return writer.bytes
    }

    private func lines(_ style: AnswerStyle, _ capacity: Int) -> HTTPResponse? {
        var fields = RecordFields(bytesMax: style.fieldBytesMax)
        add(to: &fields)
        guard let described = fields.complete else { return nil }
        let records = RecordWriter(values: style.values, isOnOneLine: true)
        var writer = JSONWriter(capacity: capacity)
        for index in 0..<count {
            let (record, delivery) = item(index)
            records.write(record, delivery, to: &writer)
            writer.endLine()
        }
        return HTTPResponse(
            status: 200, contentType: style.form.mediaType, headers: Self.headers + described, body: writer.bytes)
    }

    private func octets(_ style: AnswerStyle) -> HTTPResponse? {
        guard count <= 1 else { return nil }
        var fields = RecordFields(bytesMax: style.fieldBytesMax)
        add(to: &fields)
        guard count == 1 else {
            return fields.complete.map { HTTPResponse(status: 204, headers: Self.headers + $0) }
        }
        let (stored, delivery) = item(0)
        fields.add(stored, delivery)
        guard let described = fields.complete else { return nil }
        return HTTPResponse(
            status: 200, contentType: RecordFields.contentType(of: stored.record) ?? style.form.mediaType,
            headers: Self.headers + RecordFields.guards + described, body: stored.record.value.map { Array($0) } ?? [])
    }

    /// What belongs to the whole answer.
    private func add(to fields: inout RecordFields) {
        switch self {
        case .poll(let answer):
            if let ack = answer.ack { fields.add("Postrider-Ack", ack) }
            guard !answer.skipped.isEmpty else { return }
            // Names of topics are ASCII, so this is too.
            var writer = JSONWriter()
            RecordWriter.skipped(answer.skipped, to: &writer)
            fields.add("Postrider-Skipped", String(decoding: writer.bytes, as: UTF8.self))
        case .read(let answer):
            fields.add("Postrider-Next-Offset", String(answer.nextOffset))
            fields.add("Postrider-Low-Watermark", String(answer.lowWatermark))
            fields.add("Postrider-High-Watermark", String(answer.highWatermark))
        }
    }
}

extension JSONWriter {
    /// `"low_watermark":…,"high_watermark":…`
    mutating func watermarks(low: Int64, high: Int64) {
        key("low_watermark")
        integer(low)
        key("high_watermark")
        integer(high)
    }
}
