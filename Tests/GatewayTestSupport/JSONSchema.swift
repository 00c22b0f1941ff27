import JSON
import Primitives

/// JSON Schema 2020-12, as much of it as `OpenAPI/postrider.yaml` uses. A keyword that is not known here is an error
/// when the schema is read, so that none is passed over in silence.
final class JSONSchema: Sendable {
    /// What is wrong with a value, and where in it.
    struct Violation: Error, CustomStringConvertible {
        /// RFC 6901.
        var pointer = ""
        var reason: String

        var description: String { "\(pointer.isEmpty ? "the value" : pointer): \(reason)" }

        func within(_ step: some StringProtocol) -> Violation {
            Violation(pointer: "/\(step)\(pointer)", reason: reason)
        }
    }

    /// Schemas that others name with `$ref`.
    typealias Named = [String: JSONSchema]

    private enum Kind: String {
        case null, boolean, object, array, number, integer, string
    }

    /// Of `true` and `false`.
    private let always: Bool?
    private let ref: String?
    private let kinds: [Kind]?
    private let values: [JSONValue]?
    private let allOf: [JSONSchema]
    private let anyOf: [JSONSchema]?
    private let oneOf: [JSONSchema]?
    private let not: JSONSchema?
    private let properties: [String: JSONSchema]
    private let required: [String]
    private let additional: JSONSchema?
    private let items: JSONSchema?
    private let uniqueItems: Bool
    /// By keyword: minimum, maxLength, …
    private let bounds: [String: Int64]
    private let pattern: JSONPattern?
    private let isTime: Bool
    private let isBase64: Bool

    private static let boundNames: Set = [
        "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties",
    ]
    private static let annotations: Set = ["description", "default", "example", "examples"]
    private static let applied: Set = [
        "$ref", "type", "enum", "const", "allOf", "anyOf", "oneOf", "not", "properties", "required",
        "additionalProperties", "items", "uniqueItems", "pattern", "format", "contentEncoding",
    ]

    /// - Throws: for what this does not understand.
    init(_ value: JSONValue) throws(Violation) {
        always = value.bool
        guard value.kind == .object || always != nil else { throw Violation(reason: "a schema is expected") }
        for member in value.fields {
            let name = member.name
            guard Self.boundNames.contains(name) || Self.annotations.contains(name) || Self.applied.contains(name)
            else {
                throw Violation(reason: "keyword \(name) is not known to this validator")
            }
        }
        ref = value["$ref"]?.string
        kinds = try Self.kinds(value["type"])
        values = value["const"].map { [$0] } ?? value["enum"]?.list
        allOf = try Self.schemas(value["allOf"]) ?? []
        anyOf = try Self.schemas(value["anyOf"])
        oneOf = try Self.schemas(value["oneOf"])
        not = try Self.schema(value["not"])
        var properties: [String: JSONSchema] = [:]
        for member in value["properties"]?.fields ?? [] {
            do throws(Violation) {
                properties[member.name] = try JSONSchema(member.value)
            } catch {
                throw error.within(member.name)
            }
        }
        self.properties = properties
        required = value["required"]?.strings ?? []
        additional = try Self.schema(value["additionalProperties"])
        items = try Self.schema(value["items"])
        uniqueItems = value["uniqueItems"]?.bool ?? false
        var bounds: [String: Int64] = [:]
        for name in Self.boundNames {
            guard let bound = value[name] else { continue }
            guard let number = bound.int64 else { throw Violation(reason: "\(name) is no whole number") }
            bounds[name] = number
        }
        self.bounds = bounds
        if let text = value["pattern"]?.string {
            guard let known = JSONPattern(text) else { throw Violation(reason: "pattern \(text) is not understood") }
            pattern = known
        } else {
            pattern = nil
        }
        isTime = try Self.flag(value["format"], "date-time", ignored: "binary")
        isBase64 = try Self.flag(value["contentEncoding"], "base64")
    }

    /// Whole numbers only.
    var isOfNumbers: Bool { kinds == [.integer] }

    private static func kinds(_ value: JSONValue?) throws(Violation) -> [Kind]? {
        guard let value else { return nil }
        let names = value.string.map { [$0] } ?? value.strings
        var kinds: [Kind] = []
        for name in names {
            guard let kind = Kind(rawValue: name) else { throw Violation(reason: "type \(name)") }
            kinds.append(kind)
        }
        return kinds
    }

    private static func schema(_ value: JSONValue?) throws(Violation) -> JSONSchema? {
        guard let value else { return nil }
        return try JSONSchema(value)
    }

    private static func schemas(_ value: JSONValue?) throws(Violation) -> [JSONSchema]? {
        guard let value else { return nil }
        var schemas: [JSONSchema] = []
        for element in value.list { schemas.append(try JSONSchema(element)) }
        return schemas
    }

    private static func flag(
        _ value: JSONValue?, _ known: String, ignored: String? = nil
    ) throws(Violation) -> Bool {
        guard let text = value?.string else { return false }
        guard text == known || text == ignored else {
            throw Violation(reason: "\(text) is not known to this validator")
        }
        return text == known
    }

    // MARK: - A value

    /// The first thing that is wrong.
    func check(_ value: JSONValue, _ named: Named) throws(Violation) {
        if always == false { throw Violation(reason: "must not be there") }
        if let ref {
            guard let schema = named[ref] else { throw Violation(reason: "\(ref) is not there") }
            try schema.check(value, named)
        }
        if let kinds, !kinds.contains(where: { Self.is(value, $0) }) {
            throw Violation(reason: "\(kinds.map(\.rawValue).joined(separator: " or ")) expected: \(Self.short(value))")
        }
        if let values, !values.contains(where: { Self.equal($0, value) }) {
            let texts = values.map(\.rawText).joined(separator: ", ")
            throw Violation(reason: "\(Self.short(value)) is none of \(texts)")
        }
        for schema in allOf { try schema.check(value, named) }
        try checkChoices(value, named)
        switch value.kind {
        case .object: try checkMembers(value, named)
        case .array: try checkElements(value, named)
        case .string: try checkText(value)
        case .number: try checkNumber(value)
        case .null, .bool: break
        }
    }

    private func checkChoices(_ value: JSONValue, _ named: Named) throws(Violation) {
        if let anyOf, !anyOf.contains(where: { $0.fault(value, named) == nil }) {
            let reasons = anyOf.compactMap { $0.fault(value, named)?.description }
            throw Violation(reason: "none of anyOf: " + reasons.joined(separator: "; "))
        }
        if let oneOf {
            let faults = oneOf.map { $0.fault(value, named) }
            let matches = faults.count { $0 == nil }
            if matches != 1 {
                let reasons = faults.compactMap { $0?.description }.joined(separator: "; ")
                throw Violation(reason: "\(matches) of oneOf: \(reasons)")
            }
        }
        if let not, not.fault(value, named) == nil { throw Violation(reason: "must not be so: \(Self.short(value))") }
    }

    private func fault(_ value: JSONValue, _ named: Named) -> Violation? {
        do throws(Violation) {
            try check(value, named)
            return nil
        } catch {
            return error
        }
    }

    private func checkMembers(_ value: JSONValue, _ named: Named) throws(Violation) {
        var names: Set<String> = []
        for member in value.fields {
            let name = member.name
            names.insert(name)
            guard let schema = properties[name] ?? additional else { continue }
            do throws(Violation) {
                try schema.check(member.value, named)
            } catch {
                throw error.within(name)
            }
        }
        for name in required where !names.contains(name) { throw Violation(reason: "\(name) is missing") }
        try bound("maxProperties", Int64(names.count), atMost: true)
    }

    private func checkElements(_ value: JSONValue, _ named: Named) throws(Violation) {
        let elements = value.list
        try bound("minItems", Int64(elements.count), atMost: false)
        try bound("maxItems", Int64(elements.count), atMost: true)
        if let items {
            for (index, element) in elements.enumerated() {
                do throws(Violation) {
                    try items.check(element, named)
                } catch {
                    throw error.within(String(index))
                }
            }
        }
        if uniqueItems, Set(elements.map(\.rawText)).count < elements.count { throw Violation(reason: "not unique") }
    }

    private func checkText(_ value: JSONValue) throws(Violation) {
        let text = value.string ?? ""
        if bounds["minLength"] != nil || bounds["maxLength"] != nil {
            let length = Int64(text.unicodeScalars.count)
            try bound("minLength", length, atMost: false)
            try bound("maxLength", length, atMost: true)
        }
        if let pattern, !pattern.matches(text) { throw Violation(reason: "\(text) does not match \(pattern.text)") }
        if isTime, JSONPattern.time?.matches(text) != true { throw Violation(reason: "\(text) is no time of RFC 3339") }
        if isBase64, JSONPattern.base64?.matches(text) != true || text.utf8.count % 4 != 0 {
            throw Violation(reason: "\(text) is no base 64")
        }
    }

    private func checkNumber(_ value: JSONValue) throws(Violation) {
        guard bounds["minimum"] != nil || bounds["maximum"] != nil, let number = Double(value.rawText) else { return }
        // Whole numbers are compared as such: a double does not tell offsets near the end of Int64 apart.
        if let whole = value.int64 {
            try bound("minimum", whole, atMost: false)
            try bound("maximum", whole, atMost: true)
        } else if let least = bounds["minimum"], number < Double(least) {
            throw Violation(reason: "\(value.rawText) is less than \(least)")
        } else if let most = bounds["maximum"], number > Double(most) {
            throw Violation(reason: "\(value.rawText) is more than \(most)")
        }
    }

    private func bound(_ name: String, _ value: Int64, atMost: Bool) throws(Violation) {
        guard let bound = bounds[name], atMost ? value > bound : value < bound else { return }
        throw Violation(reason: "\(name) is \(bound): \(value)")
    }

    private static func `is`(_ value: JSONValue, _ kind: Kind) -> Bool {
        switch kind {
        case .null: value.isNull
        case .boolean: value.kind == .bool
        case .object: value.kind == .object
        case .array: value.kind == .array
        case .string: value.kind == .string
        case .number: value.kind == .number
        case .integer: value.int64 != nil
        }
    }

    /// Of scalars; nothing else stands in an `enum` of this document.
    private static func equal(_ one: JSONValue, _ other: JSONValue) -> Bool {
        one.kind == other.kind && (one.kind == .string ? one.string == other.string : one.rawText == other.rawText)
    }

    private static func short(_ value: JSONValue) -> String { String(value.rawText.prefix(120)) }
}
