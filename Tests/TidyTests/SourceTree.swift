import Glibc
import Primitives

/// One file of the repository.
struct SourceFile: Sendable {
    /// From the repository's root.
    let path: String
    let text: String

    /// The target it belongs to: the folder under `Sources` or `Tests`.
    var target: String {
        let parts = path.split(separator: "/")
        return parts.count > 2 ? String(parts[1]) : ""
    }

    var name: String { String(path.split(separator: "/").last ?? "") }
    var lines: [String] { text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) }
}

/// The repository that these tests were compiled from.
enum SourceTree {
    static let root = String(#filePath.dropLast("/Tests/TidyTests/SourceTree.swift".count))

    /// Every file under a folder whose name ends in one of these, in order of path.
    static func files(under folder: String, endings: [String]) throws -> [SourceFile] {
        try paths(under: folder).filter { path in endings.contains { path.hasSuffix($0) } }.map(file)
    }

    static func file(_ path: String) throws -> SourceFile {
        let file = try SystemFileSystem().open("\(root)/\(path)", .readOnly)
        defer { file.close() }
        let bytes = try file.read(Int(try file.size()), at: 0)
        return SourceFile(path: path, text: String(decoding: bytes, as: UTF8.self))
    }

    /// Paths of the plain files under a folder, at any depth.
    static func paths(under folder: String) throws -> [String] {
        var paths: [String] = []
        for name in try SystemFileSystem().list("\(root)/\(folder)").sorted() where !name.hasPrefix(".") {
            let path = "\(folder)/\(name)"
            if try mode(path) & S_IFMT == S_IFDIR {
                if name != "__pycache__" { paths += try self.paths(under: path) }
            } else {
                paths.append(path)
            }
        }
        return paths
    }

    static func mode(_ path: String) throws -> mode_t {
        var info = stat()
        guard stat("\(root)/\(path)", &info) == 0 else {
            throw FileSystemError(call: "stat", path: path, errno: errno)
        }
        return info.st_mode
    }
}

/// The lines of a Swift text with comments and the insides of string literals blanked, so that a rule about code does
/// not trip over words. Interpolations count as inside.
func codeLines(_ text: String) -> [String] {
    enum Mode { case code, string, multilineString, blockComment }
    var mode = Mode.code
    var lines: [String] = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
        var code = ""
        var rest = line[...]
        if mode == .string { mode = .code }
        while let character = rest.first {
            switch mode {
            case .code:
                if rest.hasPrefix("//") {
                    rest = ""
                } else if rest.hasPrefix("/*") {
                    mode = .blockComment
                    rest = rest.dropFirst(2)
                } else if rest.hasPrefix("\"\"\"") {
                    mode = .multilineString
                    rest = rest.dropFirst(3)
                } else {
                    if character == "\"" { mode = .string }
                    code.append(character)
                    rest = rest.dropFirst()
                }
            case .string:
                if character == "\"" {
                    mode = .code
                    code.append(character)
                }
                rest = rest.dropFirst(character == "\\" ? 2 : 1)
            case .multilineString:
                if rest.hasPrefix("\"\"\"") {
                    mode = .code
                    rest = rest.dropFirst(3)
                } else {
                    rest = rest.dropFirst(character == "\\" ? 2 : 1)
                }
            case .blockComment:
                if rest.hasPrefix("*/") {
                    mode = .code
                    rest = rest.dropFirst(2)
                } else {
                    rest = rest.dropFirst()
                }
            }
        }
        lines.append(code)
    }
    return lines
}

/// The identifiers and keywords of a line of code, in order.
func words(_ code: String) -> [String] {
    code.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init)
}
