/// Builds a JSON pointer (RFC 6901) that does not grow beyond `JSONError.pointerBytesMax`.
struct JSONPointer {
    private(set) var text = ""
    private var full = false

    mutating func append(index: Int) { append("/\(index)") }

    /// `key` is decoded already.
    mutating func append(key: String) {
        // Cut before escaping: a key may be megabytes long.
        var step = "/"
        for scalar in key.unicodeScalars.prefix(JSONError.pointerBytesMax) {
            switch scalar {
            case "~": step += "~0"
            case "/": step += "~1"
            default: step.unicodeScalars.append(scalar)
            }
        }
        append(step)
    }

    private mutating func append(_ step: String) {
        guard !full else { return }
        let room = JSONError.pointerBytesMax - text.utf8.count
        if step.utf8.count <= room {
            text += step
            return
        }
        full = true
        for scalar in step.unicodeScalars {
            if text.utf8.count + UTF8.width(scalar) > JSONError.pointerBytesMax { break }
            text.unicodeScalars.append(scalar)
        }
        text += "…"
    }
}
