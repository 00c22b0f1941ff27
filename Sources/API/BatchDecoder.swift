import Glibc
import JSON
import Primitives
import Records

/// The records of a batch, as `{"records":[…]}` or one a line: all of them, or what is wrong with each bad one.
struct BatchDecoder {
    enum Form: String {
        case json = "application/json"
        /// <https://github.com/ndjson/ndjson-spec>
        case lines = "application/x-ndjson"
    }

    let record: RecordDecoder
    let recordsMax: Int

    func decode(_ body: ByteSlice, _ form: Form) throws(Problem) -> [SpoolRecord] {
        var batch = Batch(decoder: record, recordsMax: recordsMax)
        switch form {
        case .json: try decode(body, into: &batch)
        case .lines: try decode(lines: body, into: &batch)
        }
        return try batch.finished()
    }

    /// Records so far.
    private struct Batch {
        let decoder: RecordDecoder
        let recordsMax: Int
        private var records: [SpoolRecord] = []
        private var faults = RecordFaults()
        private(set) var count = 0

        init(decoder: RecordDecoder, recordsMax: Int) {
            self.decoder = decoder
            self.recordsMax = recordsMax
        }

        func checkSpace() throws(Problem) {
            if count == recordsMax {
                throw Problem(
                    413, "too_many_records", "Too many records in one request", "limits.records_max is \(recordsMax)")
            }
        }

        mutating func add(_ element: JSONValue, line: Int? = nil) {
            do throws(RecordFault) {
                records.append(try decoder.decode(element))
            } catch {
                faults.add(error, index: count, line: line)
            }
            count += 1
        }

        func finished() throws(Problem) -> [SpoolRecord] {
            if count == 0 { throw shape("/records", "at least one record is expected", code: "empty_batch") }
            if let problem = faults.problem(of: count) { throw problem }
            return records
        }
    }

    private func decode(_ body: ByteSlice, into batch: inout Batch) throws(Problem) {
        let document: JSONDocument
        do throws(JSONError) {
            document = try JSONDocument(body, tapeDepth: 2 + RecordDecoder.tapeDepth)
        } catch {
            throw Problem(error)
        }
        guard let members = document.root.members else { throw shape("", "an object with records is expected") }
        var elements: JSONElements?
        for member in members {
            guard member.has(name: "records") else {
                throw shape("/\(JSONPointerText.escaped(member.name))", "there is no such field; known is records")
            }
            guard let list = member.value.elements else { throw shape("/records", "an array is expected") }
            elements = list
        }
        guard let elements else { throw shape("/records", "missing") }
        for element in elements {
            try batch.checkSpace()
            batch.add(element)
        }
    }

    /// A line break cannot stand inside JSON's strings, so every one ends a line. Empty lines are ignored.
    private func decode(lines body: ByteSlice, into batch: inout Batch) throws(Problem) {
        var rest = body
        var line = 1
        while true {
            line += rest.skipBlanks()
            if rest.isEmpty { return }
            let end = rest.firstLineFeed ?? rest.endIndex
            let text = rest[..<end]
            rest = rest[end...]
            try batch.checkSpace()
            let document: JSONDocument
            do throws(JSONError) {
                document = try JSONDocument(text, limits: Self.lineLimits, tapeDepth: RecordDecoder.tapeDepth)
            } catch {
                throw Self.malformed(
                    error, position: text.startIndex - body.startIndex + error.position, record: batch.count, line: line
                )
            }
            batch.add(document.root, line: line)
        }
    }

    /// A value may be as deep as in the other form, where it lies in two more containers.
    private static let lineLimits = JSONLimits(depth: JSONLimits.depthMax - 2)

    private static func malformed(_ error: JSONError, position: Int, record: Int, line: Int) -> Problem {
        Problem(
            400, "malformed_json", "The body is not valid NDJSON",
            "line \(line), byte \(position) of the body: \(error.reason.text)",
            parts: [
                .init(
                    pointer: "/records/\(record)\(error.pointer)",
                    reason: "\(error.reason.rawValue) at byte \(position) (line \(line))")
            ])
    }
}

private func shape(_ pointer: String, _ reason: String, code: String = "invalid_body") -> Problem {
    Problem(
        400, code, "The body has not the expected form", "\(pointer.isEmpty ? "the body" : pointer): \(reason)",
        parts: [.init(pointer: pointer, reason: reason)])
}

extension ByteSlice {
    /// Drops white space at the beginning, in one pass however many lines it is. - Returns: the line feeds in it.
    fileprivate mutating func skipBlanks() -> Int {
        let (bytes, lines) = withUnsafeBufferPointer { bytes in
            var (index, lines) = (0, 0)
            while index < bytes.count {
                switch bytes[index] {
                case UInt8(ascii: "\n"): lines += 1
                case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): break
                default: return (index, lines)
                }
                index += 1
            }
            return (index, lines)
        }
        self = dropFirst(bytes)
        return lines
    }

    fileprivate var firstLineFeed: Index? {
        withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress, let found = memchr(base, 10, bytes.count) else { return nil }
            return startIndex + (UnsafeRawPointer(found) - UnsafeRawPointer(base))
        }
    }
}
