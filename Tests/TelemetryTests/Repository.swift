import Primitives

/// The repository that these tests were compiled from.
enum Repository {
    static let root = String(#filePath.dropLast("/Tests/TelemetryTests/Repository.swift".count))

    static func text(_ path: String) throws -> String {
        let file = try SystemFileSystem().open("\(root)/\(path)", .readOnly)
        defer { file.close() }
        return String(decoding: try file.read(Int(try file.size()), at: 0), as: UTF8.self)
    }

    /// Sources of the program but the table itself, by path.
    static func sources() throws -> [(path: String, text: String)] {
        let system = SystemFileSystem()
        var found: [(path: String, text: String)] = []
        for target in try system.list("\(root)/Sources").sorted() {
            for name in try system.list("\(root)/Sources/\(target)").sorted()
            where name.hasSuffix(".swift") && !name.hasPrefix("SeriesTable") && !name.hasPrefix("SeriesDescription") {
                found.append(("Sources/\(target)/\(name)", try text("Sources/\(target)/\(name)")))
            }
        }
        return found
    }
}
