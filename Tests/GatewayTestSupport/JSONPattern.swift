import Glibc

/// A regular expression of a schema, found anywhere in a text, as JSON Schema says. Any thread.
///
/// It is given to POSIX's extended syntax, so only what both syntaxes mean alike is taken.
// SAFETY: the expression is compiled once, and regexec reads it only; POSIX has it safe for threads.
final class JSONPattern: @unchecked Sendable {
    let text: String
    private var compiled = regex_t()

    static let time = JSONPattern(
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$")
    static let base64 = JSONPattern("^[A-Za-z0-9+/]*={0,2}$")

    /// nil for an expression that is malformed, or may mean something else in ECMA-262.
    init?(_ text: String) {
        self.text = text
        let isShared = !text.contains("\\") && !text.contains("(?") && !text.contains("[:")
        guard isShared, regcomp(&compiled, text, REG_EXTENDED | REG_NOSUB) == 0 else { return nil }
    }

    deinit { regfree(&compiled) }

    func matches(_ text: String) -> Bool { regexec(&compiled, text, 0, nil, 0) == 0 }
}
