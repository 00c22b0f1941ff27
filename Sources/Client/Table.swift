/// Columns for people: as wide as their widest cell, numbers to the right. A value.
public struct Table: Sendable {
    private let titles: [String]
    private var rows: [[String]] = []

    public init(_ titles: [String]) { self.titles = titles }

    /// - Precondition: a cell for each title.
    public mutating func add(_ row: [String]) {
        precondition(row.count == titles.count)
        rows.append(row)
    }

    /// Lines without their ends. - Parameter width: longer lines are cut; nil: none is.
    public func lines(width: Int? = nil) -> [String] {
        let isNumber = titles.indices.map { column in
            !rows.isEmpty && rows.allSatisfy { $0[column] == "-" || $0[column].first?.isNumber == true }
        }
        let widths = titles.indices.map { column in
            rows.map { $0[column].count }.reduce(titles[column].count, max)
        }
        return ([titles] + rows).map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let room = String(repeating: " ", count: widths[column] - cell.count)
                line += (column == 0 ? "" : "  ") + (isNumber[column] ? room + cell : cell + room)
            }
            while line.last == " " { line.removeLast() }
            return width.map { cut(line, to: $0) } ?? line
        }
    }
}

/// At most that many characters; what is cut ends in `…`.
func cut(_ line: String, to width: Int) -> String {
    line.count <= width ? line : String(line.prefix(max(0, width - 1))) + "…"
}

/// Bytes in the largest unit that leaves a number: `1.5 GiB`.
public func byteText(_ bytes: Int64) -> String {
    var value = Double(bytes)
    var units = ["B", "KiB", "MiB", "GiB", "TiB"][...]
    while value >= 1024, units.count > 1 {
        value /= 1024
        units = units.dropFirst()
    }
    let tenths = Int64((value * 10).rounded())
    return (tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)") + " " + (units.first ?? "")
}
