import Primitives
import Records
import TestSupport
import Testing

private func slice(_ text: String) -> ByteSlice { Array(text.utf8)[...] }

private func encoded(_ record: SpoolRecord, lane: UInt8 = 3) -> [UInt8] {
    var writer = ByteWriter()
    SpoolRecordCodec.encode(record, lane: lane, to: &writer)
    return writer.bytes
}

private func randomRecord(using random: inout SeededGenerator) throws -> SpoolRecord {
    func bytes(_ longest: Int) -> ByteSlice? {
        // Absent, empty and present are three different things.
        switch Int.random(in: 0..<4, using: &random) {
        case 0: nil
        case 1: []
        default:
            (0..<Int.random(in: 1...longest, using: &random)).map { _ in UInt8.random(in: .min ... .max, using: &random)
            }[...]
        }
    }
    let alphabet = Array("abcXYZ019._-")
    let length = Int.random(in: 1...TopicName.bytesMax, using: &random)
    let name = "t" + String((1..<length).map { _ in alphabet.randomElement(using: &random)! })
    let headers = (0..<Int.random(in: 0..<5, using: &random)).map { index in
        RecordHeader(name: index == 0 ? "" : "é-\(index % 2)", value: bytes(40))
    }
    return SpoolRecord(
        topic: try #require(TopicName(name)),
        partition: Bool.random(using: &random) ? nil : Int32.random(in: 0 ... .max, using: &random),
        timestampIsGateways: Bool.random(using: &random),
        record: Record(
            key: bytes(60), value: bytes(300), headers: headers,
            timestampMs: Int64.random(in: .min ... .max, using: &random)),
        redelivers: Bool.random(using: &random) ? nil : LSN(rawValue: .random(in: .min ... .max, using: &random)))
}

@Suite struct SpoolRecordCodecTests {
    private func sample() throws -> SpoolRecord {
        SpoolRecord(
            topic: try #require(TopicName("orders")), partition: 2, timestampIsGateways: true,
            record: Record(
                key: slice("k"), value: slice("value"),
                headers: [RecordHeader(name: "h", value: nil), RecordHeader(name: "h", value: slice("x"))],
                timestampMs: 1_700_000_000_000))
    }

    @Test func stamp_HasTheDocumentedBytes_BehindTheRecord_AndIsReadAlone() throws {
        let digests = (0x0102_0304_0506_0708 as UInt64, 0x1112_1314_1516_1718 as UInt64)
        let name = Digest(high: digests.0, low: digests.1)
        let payload = Digest(high: digests.1, low: digests.0)
        let forwards: [UInt8] = [8, 7, 6, 5, 4, 3, 2, 1]
        let upwards: [UInt8] = [0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]
        let time: [UInt8] = [0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0, 0]
        let digestBytes = forwards + upwards + upwards + forwards
        for (identity, kind, number) in [
            (RequestIdentity.key(scope: name, payload: payload), [1] as [UInt8], [0, 0, 0, 0, 0, 0, 0, 0] as [UInt8]),
            (.sequence(producer: name, number: 258, payload: payload), [2], [2, 1, 0, 0, 0, 0, 0, 0]),
        ] {
            let stamp = RequestStamp(identity: identity, count: 3, acceptedMs: 1_700_000_000_000)
            var record = try sample()
            for dead in [nil, LSN(rawValue: 9)] {
                record.redelivers = dead
                let plain = encoded(record)
                var writer = ByteWriter()
                SpoolRecordCodec.encode(record, lane: 3, stamp: stamp, to: &writer)
                var expected = plain
                expected[1] |= 4
                expected += kind + digestBytes + number + [3, 0, 0, 0] + time
                #expect(writer.bytes == expected)
                #expect(writer.bytes.count == plain.count + RequestStamp.bytes)
                #expect(try SpoolRecordCodec.stamp(of: writer.bytes[...]) == stamp)
                #expect(try SpoolRecordCodec.decode(writer.bytes[...]) == record)
                #expect(try SpoolRecordCodec.stamp(of: plain[...]) == nil)
                // Kind, number and count that make no sense.
                let otherNumber: [UInt8] = [kind == [1] ? 1 : 0, 0, 0, 0, 0, 0, 0, 0]
                for (place, bytes) in [(0, [3]), (33, otherNumber), (41, [0])] as [(Int, [UInt8])] {
                    var broken = writer.bytes
                    let at = plain.count + place
                    broken.replaceSubrange(at..<at + bytes.count, with: bytes)
                    #expect(throws: MalformedBytes.self) { try SpoolRecordCodec.stamp(of: broken[...]) }
                    #expect(throws: MalformedBytes.self) { try SpoolRecordCodec.decode(broken[...]) }
                }
                #expect(throws: MalformedBytes.self) { try SpoolRecordCodec.decode(writer.bytes.dropLast()) }
            }
        }
        #expect(throws: MalformedBytes.self) {
            try SpoolRecordCodec.stamp(of: ([1, 4] + [UInt8](repeating: 0, count: 40))[...])
        }
    }

    /// The journal outlives any release: these bytes must be readable for ever.
    @Test func encode_WritesTheDocumentedBytes() throws {
        let expected: [UInt8] =
            [1, 1, 3, 6, 2, 0, 0, 0] + [0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0, 0] + [
                1, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0,
            ]
            + Array("orderskvalue".utf8)
            + [1, 0, 0x68, 0xff, 0xff, 0xff, 0xff] + [1, 0, 0x68, 1, 0, 0, 0, 0x78]
        #expect(encoded(try sample()) == expected)
        var again = try sample()
        again.redelivers = LSN(rawValue: 0x0807_0605_0403_0201)
        #expect(encoded(again) == [1, 3] + expected.dropFirst(2) + [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(SpoolRecordCodec.lane(of: expected[...]) == 3)
    }

    @Test func records_RoundTrip() throws {
        var random = SeededGenerator(printingFor: "record codec")
        for _ in 0..<500 {
            let record = try randomRecord(using: &random)
            let bytes = encoded(record)
            #expect(bytes.count <= SpoolRecordCodec.encodedBytes(record), "seed \(random.seed)")
            // A slice that does not begin at 0, as the reader of a segment passes it.
            let shifted = [0xaa, 0xbb] + bytes
            #expect(try SpoolRecordCodec.decode(shifted[2...]) == record, "seed \(random.seed)")
        }
    }

    @Test func decode_RefusesTruncation_AtEveryByte() throws {
        let bytes = encoded(try sample())
        for length in 0..<bytes.count {
            #expect(throws: MalformedBytes.self, "cut at \(length)") { try SpoolRecordCodec.decode(bytes[..<length]) }
        }
    }

    @Test func decode_RefusesBytesBehindTheRecord() throws {
        #expect(throws: MalformedBytes.self) { try SpoolRecordCodec.decode((encoded(try sample()) + [0])[...]) }
    }

    @Test(
        arguments: [
            ("another form", 0, [2]), ("an unknown flag", 1, [4]), ("a flag without its LSN", 1, [2]),
            ("a partition below -1", 4, [0xfe, 0xff, 0xff, 0xff]),
            ("a key length below -1", 16, [0xfe, 0xff, 0xff, 0xff]), ("a key beyond the end", 16, [0, 0, 0, 0x7f]),
            ("a value length below -1", 20, [0, 0, 0, 0x80]),
            ("more headers than bytes", 24, [0xff, 0xff, 0xff, 0xff]),
            ("no topic", 3, [0]), ("a bad topic", 28, [0x20]), ("a header name that is no UTF-8", 42, [0xff]),
        ] as [(String, Int, [UInt8])])
    func decode_Refuses(what: String, at position: Int, replacement: [UInt8]) throws {
        var bytes = encoded(try sample())
        bytes.replaceSubrange(position..<position + replacement.count, with: replacement)
        #expect(throws: MalformedBytes.self, "\(what)") { try SpoolRecordCodec.decode(bytes[...]) }
    }

    @Test func decode_NeverTraps_OnRandomDamage() throws {
        var random = SeededGenerator(printingFor: "record damage")
        var (read, refused) = (0, 0)
        for _ in 0..<5_000 {
            var bytes = encoded(try randomRecord(using: &random))
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let at = Int.random(in: 0..<min(bytes.count, 48), using: &random)
                bytes[at] = UInt8.random(in: .min ... .max, using: &random)
            }
            do {
                let record = try SpoolRecordCodec.decode(bytes[...])
                // What is read is written back as the same bytes: nothing of it was ignored.
                #expect(encoded(record, lane: bytes[2]) == bytes, "seed \(random.seed)")
                read += 1
            } catch {
                refused += 1
            }
        }
        #expect(read > 50 && refused > 50, "the damage must reach both outcomes: seed \(random.seed)")
    }

    @Test func lane_IsNil_WhenTheBytesAreTooFew() {
        #expect(SpoolRecordCodec.lane(of: [1, 0, 3]) == nil)
    }
}
