/// Numbers as clients write them in queries, paths and header fields: decimal digits and nothing else. Swift's own
/// readers also take signs, exponents, hexadecimal, infinities; a proxy or a log may read those otherwise.
enum DecimalText {
    /// `1*DIGIT`; nil for anything else, and for more than `Number` holds.
    static func whole<Number: FixedWidthInteger>(_ text: some StringProtocol, as type: Number.Type) -> Number? {
        isDigits(text.utf8) ? Number(text) : nil
    }

    /// Seconds, `1*DIGIT [ "." 1*DIGIT ]`; infinite for more than a double holds, nil for anything else.
    static func seconds(_ text: some StringProtocol) -> Double? {
        let digits = text.utf8
        guard let point = digits.firstIndex(of: UInt8(ascii: ".")) else { return isDigits(digits) ? Double(text) : nil }
        let isNumber = isDigits(digits[..<point]) && isDigits(digits[digits.index(after: point)...])
        return isNumber ? Double(text) : nil
    }

    private static func isDigits(_ text: some Collection<UInt8>) -> Bool {
        !text.isEmpty && text.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }
}
