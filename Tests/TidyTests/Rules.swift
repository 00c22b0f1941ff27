/// Each rule looks at one file and says where it is broken, as `path:line: what`.
enum Rules {
    static let lineCharactersMax = 120
    static let fileLinesMax = 500
    /// Lines above the one concerned where a reason may stand.
    static let reasonLines = 3

    static func imports(_ file: SourceFile) -> [String] {
        guard let allowed = Layers.mayImport(file.target) else {
            return ["\(file.path): target \(file.target) has no row in the layer table"]
        }
        return violations(in: file) { code, _ in
            guard let module = importedModule(code), !allowed.contains(module), !Layers.anywhere.contains(module),
                module != "Foundation"
            else { return nil }
            return "\(file.target) may not import \(module)"
        }
    }

    static func foundation(_ file: SourceFile) -> [String] {
        violations(in: file) { code, _ in
            importedModule(code) == "Foundation" ? "import FoundationEssentials, or better neither" : nil
        }
    }

    static func safety(_ file: SourceFile) -> [String] {
        let lines = file.lines
        return violations(in: file) { code, number in
            guard let what = needsReason(code) else { return nil }
            let above = lines[max(0, number - reasonLines)..<number]
            let reasoned = above.contains { line in
                line.range(of: "// SAFETY: ").map { !line[$0.upperBound...].isEmpty } ?? false
            }
            return reasoned ? nil : "\(what) without a // SAFETY: reason on the \(reasonLines) lines above"
        }
    }

    private static func needsReason(_ code: String) -> String? {
        let compact = code.filter { $0 != " " }
        if compact.contains("@uncheckedSendable") { return "@unchecked Sendable" }
        if compact.contains("nonisolated(unsafe)") { return "nonisolated(unsafe)" }
        if let word = words(code).first(where: { $0.hasPrefix("unsafe") }) { return word }
        if words(code).first == "public", let module = importedModule(code), isCModule(module) {
            return "public import \(module)"
        }
        return nil
    }

    /// `CSQLite` and `CMicrohttpd`, not `Consumers` or `CoreMetrics`.
    private static func isCModule(_ module: String) -> Bool {
        module.first == "C" && (module.dropFirst().first?.isUppercase ?? false)
    }

    static func hiddenErrors(_ file: SourceFile) -> [String] {
        let lines = file.lines
        return violations(in: file) { code, number in
            guard hidesError(code) else { return nil }
            let near = lines[max(0, number - reasonLines)...number]
            let reasoned = near.contains { line in
                line.range(of: "// try?: ").map { !line[$0.upperBound...].isEmpty } ?? false
            }
            return reasoned ? nil : "try? without a // try?: reason"
        }
    }

    /// `try?`, and not the end of `Entry?`.
    private static func hidesError(_ code: String) -> Bool {
        var before: Character = " "
        var rest = code[...]
        while let character = rest.first {
            if rest.hasPrefix("try?"), !before.isLetter, !before.isNumber, before != "_" { return true }
            before = character
            rest = rest.dropFirst()
        }
        return false
    }

    static func traps(_ file: SourceFile) -> [String] {
        violations(in: file) { code, _ in code.contains("fatalError(") ? "fatalError" : nil }
    }

    /// A closure as the value of a generic lock is wrapped in another thunk at each access: every look at it gets
    /// slower, and after a million a call of it goes a million calls deep. Box it in a struct.
    static func lockedClosures(_ file: SourceFile) -> [String] {
        violations(in: file) { code, _ in
            for type in ["Lock<", "Monitor<"] {
                guard let start = code.range(of: type) else { continue }
                let argument = code[start.upperBound...]
                if argument.hasPrefix("@") || argument.hasPrefix("(") && argument.contains("->") {
                    return "closure in a lock"
                }
            }
            return nil
        }
    }

    static func lineLength(_ file: SourceFile) -> [String] {
        file.lines.enumerated().filter { $0.element.count > lineCharactersMax }
            .map { "\(file.path):\($0.offset + 1): longer than \(lineCharactersMax) characters" }
    }

    static func fileLength(_ file: SourceFile) -> [String] {
        let count = file.lines.count
        return count > fileLinesMax ? ["\(file.path): \(count) lines, more than \(fileLinesMax)"] : []
    }

    private static func violations(
        in file: SourceFile, _ check: (_ code: String, _ number: Int) -> String?
    ) -> [String] {
        codeLines(file.text).enumerated().compactMap { number, code in
            check(code, number).map { "\(file.path):\(number + 1): \($0)" }
        }
    }
}

extension String {
    /// The first place of `part`. (The standard library has it for collections of one element only.)
    func range(of part: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(part) { return start..<index(start, offsetBy: part.count) }
            start = index(after: start)
        }
        return nil
    }
}
