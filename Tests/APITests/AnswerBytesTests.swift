import Consumers
import HTTPServer
import JSON
import Primitives
import Records
import TestSupport
import Testing

@testable import API

/// What is reserved for an answer holds for whatever its records are.
@Suite struct AnswerBytesTests {
    private static let topic = TopicName(String(repeating: "t", count: 249))!
    private static let place = TopicPartition(topic: topic, partition: .max)
    /// Longer ids and numbers than any real answer has.
    private static let id = String(repeating: "z", count: DeliveredRecord.idBytesMax)

    private static func delivered(
        key: [UInt8]? = nil, value: [UInt8]?, headers: [RecordHeader] = [], timestampMs: Int64 = .max
    ) -> DeliveredRecord {
        let record = Record(
            key: key.map { $0[...] }, value: value.map { $0[...] }, headers: headers, timestampMs: timestampMs)
        return DeliveredRecord(
            record: StoredRecord(partition: place, offset: .max, record: record), id: id, attempt: .max,
            deadlineMs: .max)
    }

    private static func counted(_ answer: PollAnswer) -> Int {
        answer.records.reduce(AnswerBytes.emptyPoll) { $0 + AnswerBytes.of($1.record) }
            + answer.skipped.reduce(0) { $0 + AnswerBytes.ofSkipped($1.partition) }
    }

    @Test(arguments: UInt8.min...UInt8.max)
    func bytes_AreCountedExactly_WhateverTheyAre(_ byte: UInt8) {
        let frame = AnswerBytes.of(Self.delivered(value: []).record)
        let isText = byte < 0x80
        for count in [1, 2, 3, 100] {
            let content = [UInt8](repeating: byte, count: count)
            let wanted = AnswerBytes.of(Self.delivered(value: content).record) - frame
            var writer = JSONWriter()
            if isText { writer.string(utf8: content[...]) } else { writer.base64(content[...]) }
            let quotes = 2
            #expect(wanted == writer.bytes.count - quotes, "\(count)")
        }
    }

    @Test func answer_FitsWhatWasCounted_AndWasteIsSmall() {
        let controls = [UInt8](repeating: 1, count: 5_000)
        let records = [
            Self.delivered(key: controls, value: controls),
            Self.delivered(key: [0xff], value: [UInt8](repeating: 0xff, count: 1_000)),
            Self.delivered(value: nil), Self.delivered(key: [], value: Array("null".utf8)),
            Self.delivered(
                value: Array("é€😀\"\\\u{7f}".utf8),
                headers: [
                    RecordHeader(name: "\u{1}\"", value: controls[...]), RecordHeader(name: "", value: nil),
                    RecordHeader(name: "b", value: [0xff]),
                ], timestampMs: .min),
        ]
        let skipped = [SkippedRange(partition: Self.place, offsets: 0..<Int64.max)]
        let answers =
            records.map { PollAnswer(ack: Self.id, records: [$0]) }
            + [PollAnswer(), PollAnswer(ack: Self.id, records: records, skipped: skipped + skipped)]
        for answer in answers {
            let (counted, written) = (
                Self.counted(answer), RecordAnswer.poll(answer).response(AnswerStyle()).body.count
            )
            let items = answer.records.count + answer.skipped.count
            let wasteMax = 120 + 80 * items
            #expect(written <= counted)
            #expect(counted - written <= wasteMax, "\(counted) for \(written)")
        }
    }

    @Test func answer_FitsWhatWasCounted_WhateverTheRecords() {
        var random = SeededGenerator(printingFor: "answer_FitsWhatWasCounted_WhateverTheRecords")
        let pieces: [[UInt8]] = [
            Array("plain".utf8), [0], [0x1f], [0x7f], [0x0a], Array("\"".utf8), Array("\\".utf8), [0xff], [0xc3],
            Array("é".utf8), Array("😀".utf8), Array(#"{"a":[1,"\u0001"]}"#.utf8), Array(" ".utf8), Array("null".utf8),
        ]
        func content() -> [UInt8]? {
            let count = Int.random(in: -1..<6, using: &random)
            return count < 0 ? nil : (0..<count).flatMap { _ in pieces.randomElement(using: &random) ?? [] }
        }
        for _ in 0..<2_000 {
            let records = (0..<Int.random(in: 0..<4, using: &random)).map { _ in
                var headers = (0..<Int.random(in: 0..<3, using: &random)).map { _ in
                    RecordHeader(
                        name: String(decoding: content() ?? [], as: UTF8.self), value: content().map { $0[...] })
                }
                if Bool.random(using: &random) {
                    headers.append(RecordHeader(name: "content-type", value: Array("text/plain".utf8)[...]))
                }
                return Self.delivered(key: content(), value: content(), headers: headers)
            }
            let answer = PollAnswer(ack: Self.id, records: records)
            #expect(RecordAnswer.poll(answer).response(AnswerStyle()).body.count <= Self.counted(answer))
        }
    }
}
