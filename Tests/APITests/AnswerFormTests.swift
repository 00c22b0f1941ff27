import Broker
import Consumers
import HTTPServer
import JSON
import Primitives
import Records
import TestSupport
import Testing

@testable import API

/// Records in every form that answers have: what is counted holds, what comes back is what was stored, and nothing that
/// a record holds makes a header field of its own.
@Suite struct AnswerFormTests {
    private static let styles = AnswerForm.allCases.flatMap { form in
        ValueForm.allCases.flatMap { values in
            [0, 300, 8 << 10].map { AnswerStyle(form: form, values: values, fieldBytesMax: $0) }
        }
    }

    /// Random records, of which most have something that one of the forms must not let through.
    private struct Records {
        var random: SeededGenerator

        private static let pieces: [[UInt8]] = [
            Array("plain".utf8), [0], [0x1f], [0x7f], [0x0a], [0x0d, 0x0a], Array("\r\nInjected: yes".utf8),
            Array("\"".utf8), Array("\\".utf8), [0xff], [0xc3], Array("é".utf8), Array("😀".utf8),
            Array("{\"a\":[1,\r\n\"\\u0001\"],\n\n\"b\" : null}".utf8), Array(" ".utf8), Array("null".utf8),
            Array(",".utf8), Array("\t".utf8), [UInt8](repeating: 0x61, count: 200),
        ]
        private static let names = [
            "", "trace", "Trace", "content-type", "connection", "x\r\nset-cookie: a", "é", "with space", "a:b",
            "postrider-ack", "content-length", "a-b_c.d",
        ]

        mutating func content() -> [UInt8]? {
            let count = Int.random(in: -1..<5, using: &random)
            return count < 0 ? nil : (0..<count).flatMap { _ in Self.pieces.randomElement(using: &random) ?? [] }
        }

        mutating func headers() -> [RecordHeader] {
            (0..<Int.random(in: 0..<4, using: &random)).map { _ in
                RecordHeader(
                    name: Self.names.randomElement(using: &random) ?? "",
                    value: Bool.random(using: &random) ? ByteSlice("text/plain".utf8) : content().map { $0[...] })
            }
        }

        mutating func stored(_ offset: Int64) -> StoredRecord {
            let record = Record(
                key: content().map { $0[...] }, value: content().map { $0[...] }, headers: headers(),
                timestampMs: 1_790_000_000_000)
            return StoredRecord(
                partition: TopicPartition(topic: TopicName("orders")!, partition: 7), offset: offset, record: record)
        }

        mutating func list() -> [StoredRecord] {
            (0..<Int.random(in: 0..<4, using: &random)).map { stored(Int64($0)) }
        }
    }

    private static func answers(_ records: [StoredRecord]) -> [RecordAnswer] {
        let delivered = records.map { record in
            DeliveredRecord(
                record: record, id: String(repeating: "z", count: DeliveredRecord.idBytesMax), attempt: .max,
                deadlineMs: .max)
        }
        let skipped = records.prefix(1).map { SkippedRange(partition: $0.partition, offsets: 0..<Int64.max) }
        return [
            .poll(PollAnswer(ack: delivered.isEmpty ? nil : "a.1", records: delivered, skipped: skipped)),
            .read(FetchResult(records: records, nextOffset: .max, lowWatermark: .max, highWatermark: .max)),
        ]
    }

    private static func counted(_ answer: RecordAnswer, _ values: ValueForm) -> Int {
        switch answer {
        case .poll(let answer):
            answer.records.reduce(AnswerBytes.emptyPoll) { $0 + AnswerBytes.of($1.record, values) }
                + answer.skipped.reduce(0) { $0 + AnswerBytes.ofSkipped($1.partition) }
        case .read(let answer): answer.records.reduce(AnswerBytes.emptyRead) { $0 + AnswerBytes.of($1, values) }
        }
    }

    @Test func body_FitsWhatWasCounted_InEveryForm() {
        var records = Records(random: SeededGenerator(printingFor: "body_FitsWhatWasCounted_InEveryForm"))
        for _ in 0..<300 {
            let list = records.list()
            for answer in Self.answers(list) {
                for style in Self.styles {
                    let (counted, written) = (Self.counted(answer, style.values), answer.response(style).body.count)
                    #expect(written <= counted, "\(style) \(list)")
                }
            }
        }
    }

    @Test(arguments: UInt8.min...UInt8.max)
    func forcedValues_AreCountedExactly(_ byte: UInt8) {
        func counted(_ value: [UInt8], _ values: ValueForm) -> Int {
            let record = Record(key: nil, value: value[...], timestampMs: 0)
            let place = TopicPartition(topic: TopicName("t")!, partition: 0)
            return AnswerBytes.of(StoredRecord(partition: place, offset: 0, record: record), values)
        }
        for count in [1, 2, 3, 100] {
            let value = [UInt8](repeating: byte, count: count)
            var (text, base64) = (JSONWriter(), JSONWriter())
            base64.base64(value[...])
            if byte < 0x80 { text.string(utf8: value[...]) } else { text = base64 }
            let quotes = 2
            #expect(counted(value, .text) - counted([], .text) == text.bytes.count - quotes)
            #expect(counted(value, .base64) - counted([], .base64) == base64.bytes.count - quotes)
        }
    }

    @Test func largestAnswer_IsNotLessThanAnyRecords() {
        let headersMax = 5
        var records = Records(random: SeededGenerator(printingFor: "largestAnswer_IsNotLessThanAnyRecords"))
        var list = (0..<500).map { records.stored(Int64($0)) }
        // The worst: control characters only, in the longest topic.
        let worst = TopicPartition(topic: TopicName(String(repeating: "t", count: 249))!, partition: .max)
        let controls = ByteSlice(repeating: 1, count: 1_000)
        let headers = (0..<headersMax).map { _ in RecordHeader(name: "\u{1}", value: controls) }
        list.append(
            StoredRecord(
                partition: worst, offset: .max,
                record: Record(key: controls, value: controls, headers: headers, timestampMs: .min)))
        for record in list {
            for answer in Self.answers([record]) {
                for values in ValueForm.allCases {
                    let most = AnswerBytes.most(recordBytes: record.record.bytes, headers: record.record.headers.count)
                    #expect(Self.counted(answer, values) <= most)
                }
            }
        }
    }

    // MARK: Lines

    @Test func lines_AreTheRecordsOfTheJSONForm_OneEach() throws {
        var records = Records(random: SeededGenerator(printingFor: "lines_AreTheRecordsOfTheJSONForm_OneEach"))
        for _ in 0..<500 {
            for answer in Self.answers(records.list()) {
                let object = try JSONDocument(answer.response(AnswerStyle()).body[...]).root
                let response = answer.response(AnswerStyle(form: .ndjson))
                #expect(response.contentType == "application/x-ndjson")
                let lines = response.body.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
                // The last one ends like the others.
                #expect(lines.last?.isEmpty == true)
                let wanted = object.member("records")?.elements.map { Array($0) } ?? []
                #expect(lines.count - 1 == wanted.count)
                for (line, record) in zip(lines, wanted) {
                    #expect(!line.contains(UInt8(ascii: "\r")))
                    let breaks: Set<UInt8> = [UInt8(ascii: "\n"), UInt8(ascii: "\r")]
                    #expect(Array(line) == record.raw.map { breaks.contains($0) ? UInt8(ascii: " ") : $0 })
                    #expect(isValidJSON(line, limits: .standard))
                }
            }
        }
    }

    // MARK: Bytes

    private static let fixedNames: Set<String> = [
        "Cache-Control", "X-Content-Type-Options", "Content-Security-Policy", "Postrider-Ack", "Postrider-Skipped",
        "Postrider-Next-Offset", "Postrider-Low-Watermark", "Postrider-High-Watermark", "Postrider-Topic",
        "Postrider-Partition", "Postrider-Offset", "Postrider-Timestamp", "Postrider-Tombstone", "Postrider-Key",
        "Postrider-Key-Base64", "Postrider-Headers-Base64", "Postrider-Delivery-Id", "Postrider-Attempt",
        "Postrider-Deadline",
    ]
    private static let headerPrefix = "Postrider-Header-"

    @Test func fields_AreSafe_AndSayTheWholeRecord_WhateverItIs() throws {
        var records = Records(random: SeededGenerator(printingFor: "fields_AreSafe_AndSayTheWholeRecord_WhateverItIs"))
        var asBytes = 0
        for _ in 0..<2_000 {
            let stored = records.stored(3)
            for answer in Self.answers([stored]) {
                let response = answer.response(AnswerStyle(form: .octets))
                let fields = response.headers
                guard fields.contains(where: { $0.name == "Postrider-Offset" }) else {
                    #expect(response.contentType == "application/json")
                    continue
                }
                asBytes += 1
                for field in fields {
                    let isKnown = Self.fixedNames.contains(field.name) || field.name.hasPrefix(Self.headerPrefix)
                    #expect(isKnown, "\(field)")
                    let isToken = field.name.utf8.allSatisfy { HTTPHeader.isTokenByte($0) }
                    let isPrintable = field.value.utf8.allSatisfy { (0x20...0x7E).contains($0) }
                    #expect(isToken && isPrintable && !field.value.isEmpty, "\(field)")
                }
                let type = try #require(response.contentType)
                #expect(MediaType(type) != nil)
                #expect(fields.contains(HTTPHeader("X-Content-Type-Options", "nosniff")))
                #expect(try Self.record(response) == stored.record)
                let described = fields.filter { $0.name.hasPrefix("Postrider-") }
                #expect(described.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 } <= 8 << 10)
            }
        }
        #expect(asBytes > 1_000)
    }

    /// What a client makes of the answer.
    private static func record(_ response: HTTPResponse) throws -> Record {
        func field(_ name: String) -> String? { response.headers.first { $0.name == name }?.value }
        func decoded(_ text: String) throws -> ByteSlice { try Base64.decode(ByteSlice(text.utf8))[...] }
        var headers = response.headers.filter { $0.name.hasPrefix(headerPrefix) }.map {
            RecordHeader(name: String($0.name.dropFirst(headerPrefix.count)), value: ByteSlice($0.value.utf8))
        }
        if let text = field("Postrider-Headers-Base64") {
            #expect(headers.isEmpty)
            headers = try (JSONDocument(decoded(text)).root.elements.map { Array($0) } ?? []).map { header in
                let value = header.member("value")
                let bytes = try header.member("value_base64")?.string.map { try decoded($0) }
                return RecordHeader(
                    name: header.member("name")?.string ?? "?", value: bytes ?? value?.string.map { ByteSlice($0.utf8) }
                )
            }
        }
        let isTombstone = field("Postrider-Tombstone") == "true"
        #expect(!isTombstone || response.body.isEmpty)
        return Record(
            key: try field("Postrider-Key").map { ByteSlice($0.utf8) }
                ?? field("Postrider-Key-Base64").map { try decoded($0) },
            value: isTombstone ? nil : response.body[...], headers: headers, timestampMs: 1_790_000_000_000)
    }

    @Test func answer_IsJSON_WhenItsFormCannotSayIt() throws {
        let place = TopicPartition(topic: TopicName("orders")!, partition: 0)
        func stored(_ key: ByteSlice?, _ headers: [RecordHeader] = []) -> StoredRecord {
            StoredRecord(
                partition: place, offset: 0, record: Record(key: key, value: [1], headers: headers, timestampMs: 0))
        }
        let long = ByteSlice(repeating: 0x61, count: 9 << 10)
        let cases: [[StoredRecord]] = [
            [stored([])], [stored(long)], [stored(nil, [RecordHeader(name: "a", value: long)])],
            [stored(nil, [RecordHeader(name: "a", value: nil), RecordHeader(name: "b", value: long.dropLast(3_000))])],
            [stored(nil), stored(nil)],
        ]
        for records in cases {
            for answer in Self.answers(records) {
                let response = answer.response(AnswerStyle(form: .octets))
                #expect(response == answer.response(AnswerStyle()))
                #expect(response.contentType == "application/json")
            }
        }
        // A poll's lost ranges are told in full, or the whole is JSON.
        let lost = (0..<300).map { SkippedRange(partition: place, offsets: 0..<Int64($0 + 1)) }
        let answer = RecordAnswer.poll(PollAnswer(skipped: lost))
        for form in AnswerForm.allCases {
            #expect(answer.response(AnswerStyle(form: form)) == answer.response(AnswerStyle()))
        }
    }

    @Test(arguments: [
        ("application/json", true), ("text/plain; charset=utf-8", true), (#"a/b;c="d;\"e""#, true), ("image/png", true),
        ("", false), ("text", false), ("text/", false), ("/plain", false), ("*/*", false), ("text/*", false),
        ("text/plain;", true), ("text/plain; charset", false), ("text/plain, text/html", false),
        ("text/plain\r\nX: y", false), ("text/plain\0", false), ("text/plé", false), ("text /plain", false),
        (" text/plain", false), (#"text/plain; a="b"#, false), ("a/" + String(repeating: "b", count: 254), false),
    ])
    func contentType_IsTheRecords_OnlyByTheLetter(_ value: String, _ isTaken: Bool) {
        let headers = [RecordHeader(name: "content-type", value: ByteSlice(value.utf8))]
        let record = Record(key: nil, value: [1], headers: headers, timestampMs: 0)
        #expect(RecordFields.contentType(of: record) == (isTaken ? value : nil))
    }

    // MARK: Accept

    @Test(
        arguments: [
            ([], .json), ([""], .json), ([" , "], .json), (["*/*"], .json), (["application/*"], .json),
            (["application/json"], .json), (["APPLICATION/JSON; charset=utf-8"], .json),
            (["application/x-ndjson"], .ndjson), (["application/octet-stream"], .octets),
            (["text/html, */*;q=0.1"], .json), (["application/x-ndjson, */*"], .ndjson),
            (["application/json, application/x-ndjson"], .json),
            (["application/x-ndjson", "application/json;q=0.9"], .ndjson),
            (["application/json;q=0.5, application/octet-stream;q=0.501"], .octets),
            (["*/*, application/json;q=0"], .ndjson), (["application/*;q=0.2, application/octet-stream;q=0.1"], .json),
            (["text/html"], nil), (["application/json;q=0"], nil), (["*/*;q=0"], nil), (["*/*;q=0.000"], nil),
            (["garbage"], nil), (["application/json;q=2"], nil), (["application/json;q=1.001"], nil),
            (["application/json;q=0.1234"], nil), (["application/json;q=.5"], nil), (["application/json;q=-1"], nil),
            (["garbage, application/x-ndjson"], .ndjson), ([#"text/x;a="b,c", application/x-ndjson"#], .ndjson),
            (["application/jsonx"], nil), (["json/application"], nil), (["*/json"], nil),
            (["application/json;q=1.000"], .json), (["application/json;Q=0"], nil),
        ] as [([String], AnswerForm?)])
    func form_IsNegotiated(_ accept: [String], _ form: AnswerForm?) {
        #expect(AnswerForm.negotiated(accept) == form)
    }
}

extension HTTPResponse: Equatable {
    static func == (a: Self, b: Self) -> Bool {
        a.status == b.status && a.contentType == b.contentType && a.headers == b.headers && a.body == b.body
    }
}
