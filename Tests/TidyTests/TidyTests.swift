import Glibc
import Testing

private func planted(_ text: String, path: String = "Sources/Consumers/Planted.swift") -> SourceFile {
    SourceFile(path: path, text: text)
}

/// Names each violation on a line of its own.
private func expectNone(_ violations: [String], _ location: SourceLocation = #_sourceLocation) {
    #expect(violations.isEmpty, "\n\(violations.joined(separator: "\n"))", sourceLocation: location)
}

/// The style itself has a test. Each rule is also shown a file that breaks it, so that a rule that sees nothing fails.
@Suite struct TidyTests {
    private static func sources() throws -> [SourceFile] {
        let files = try SourceTree.files(under: "Sources", endings: [".swift"])
        try #require(files.count > 20, "the source tree was not found")
        return files
    }

    @Test func imports_FollowTheLayerTable() throws {
        expectNone(try Self.sources().flatMap(Rules.imports))
    }

    @Test(arguments: [
        "import Spool", "public import HTTPServer", "@testable import Journal", "import struct Store.Database",
        "    private import CSQLite", "@preconcurrency import KafkaBroker", "import ArgumentParser", "import Yams",
    ])
    func imports_AreFound_WhenPlanted(line: String) {
        #expect(Rules.imports(planted("import Broker\nimport Records\n\(line)\n")).count == 1)
    }

    @Test func imports_OfATargetWithoutARow_AreFound() {
        #expect(Rules.imports(planted("", path: "Sources/Utilities/Junk.swift")).count == 1)
        // HTTPServer knows no records.
        #expect(Rules.imports(planted("import Records", path: "Sources/HTTPServer/A.swift")).count == 1)
        #expect(Rules.imports(planted("// import Spool\nlet a = \"import Spool\"\nimport Glibc")).isEmpty)
    }

    @Test func manifest_GivesEachTargetNoMoreThanItsRow() throws {
        let dependencies = manifestDependencies(try SourceTree.file("Package.swift").text)
        try #require(dependencies["Spool"] == ["Journal", "Outcomes", "Store", "Primitives", "Records"])
        for (target, names) in dependencies {
            let allowed = try #require(Layers.mayImport(target), "\(target) has no row")
            #expect(names.subtracting(allowed) == [], "\(target) depends on more than its row allows")
        }
        let folders = try Self.sources().map(\.target)
        #expect(Set(folders).subtracting(Layers.targets) == [])
    }

    @Test func manifest_IsRead_WhenPlanted() {
        let text = "module(\"A\", []),\n module(\n \"B\",\n [\n\"C\", \"D\",\n coreMetrics]),"
        #expect(manifestDependencies(text) == ["A": [], "B": ["C", "D"]])
    }

    @Test func foundation_IsNotImported() throws {
        expectNone(try Self.sources().flatMap(Rules.foundation))
        #expect(Rules.foundation(planted("import Foundation")).count == 1)
        #expect(Rules.foundation(planted("internal import struct Foundation.Data")).count == 1)
        #expect(Rules.foundation(planted("import FoundationEssentials")).isEmpty)
    }

    @Test func unsafety_HasItsReason() throws {
        expectNone(try Self.sources().flatMap(Rules.safety))
    }

    @Test(arguments: [
        "final class A: @unchecked Sendable {}", "nonisolated(unsafe) var a = 1",
        "let b = unsafeBitCast(a, to: B.self)",
        "public import CSQLite", "public import CMicrohttpd", "public import CRdkafka",
        "let c = [UInt8](unsafeUninitializedCapacity: 1) { _, _ in }",
    ])
    func unsafety_IsFound_WhenPlanted(line: String) {
        #expect(Rules.safety(planted(line)).count == 1)
        #expect(Rules.safety(planted("// SAFETY: because\n\(line)")).isEmpty)
        #expect(Rules.safety(planted("// SAFETY: because\n//\n//\n\(line)")).isEmpty)
        #expect(Rules.safety(planted("// SAFETY: too far\n//\n//\n//\n\(line)")).count == 1)
        #expect(Rules.safety(planted("// SAFETY: \n\(line)")).count == 1)
        #expect(Rules.safety(planted("// \(line)")).isEmpty)
    }

    @Test func safePointersAndPlainImports_NeedNoReason() {
        let text = "public import Consumers\npublic import CoreMetrics\nimport CSQLite\nlet a: UnsafeRawPointer? = nil"
        #expect(Rules.safety(planted(text)).isEmpty)
    }

    @Test func errors_AreNotHidden() throws {
        expectNone(try Self.sources().flatMap(Rules.hiddenErrors))
        #expect(Rules.hiddenErrors(planted("let a = try? b()")).count == 1)
        #expect(Rules.hiddenErrors(planted("f(try?b())")).count == 1)
        #expect(Rules.hiddenErrors(planted("let a: Entry?, b: Reentry? = nil, c: _try? = nil")).isEmpty)
        #expect(Rules.hiddenErrors(planted("// try?: absent is as good\nlet a = try? b()")).isEmpty)
        #expect(Rules.hiddenErrors(planted("let a = try? b()  // try?: absent is as good")).isEmpty)
    }

    @Test func input_DoesNotTrap() throws {
        expectNone(try Self.sources().flatMap(Rules.traps))
        #expect(Rules.traps(planted("default: fatalError(\"never\")")).count == 1)
        #expect(Rules.traps(planted("// no fatalError() here")).isEmpty)
    }

    @Test func locks_HoldNoClosures() throws {
        expectNone(try Self.sources().flatMap(Rules.lockedClosures))
        #expect(Rules.lockedClosures(planted("let a = Lock<@Sendable () -> Int>({ 1 })")).count == 1)
        #expect(Rules.lockedClosures(planted("let a = Lock<(() -> Int)?>(nil)")).count == 1)
        #expect(Rules.lockedClosures(planted("let a = Lock<(poll: Poll?, done: Bool)>((nil, false))")).isEmpty)
    }

    @Test func lines_AndFiles_AreShort() throws {
        let code = [".swift", ".c", ".cpp", ".h", ".py"]
        let all = try ["Sources", "Tests", "Scripts", "Benchmarks"].flatMap {
            try SourceTree.files(under: $0, endings: code)
        }
        expectNone(all.flatMap(Rules.lineLength))
        expectNone(try SourceTree.files(under: "Sources", endings: code).flatMap(Rules.fileLength))
        #expect(Rules.lineLength(planted(String(repeating: "a", count: 121))).count == 1)
        #expect(Rules.lineLength(planted(String(repeating: "é", count: 120))).isEmpty)
        #expect(Rules.fileLength(planted(String(repeating: "\n", count: 500))).count == 1)
        #expect(Rules.fileLength(planted(String(repeating: "\n", count: 499))).isEmpty)
    }

    /// So that it stays no junk drawer: a new file here is a decision, not a habit.
    @Test func primitives_HoldsTheseFilesOnly() throws {
        let names = try SourceTree.files(under: "Sources/Primitives", endings: [""]).map(\.name)
        #expect(
            names == [
                "Backoff.swift", "Bytes.swift", "Clock.swift", "FileSystem.swift", "Limit.swift", "Lock.swift",
                "RetentionClock.swift", "SystemFileSystem.swift", "Timers.swift", "WorkQueue.swift",
                "WorkerThread.swift",
            ])
    }

    @Test func scripts_AreExecutable() throws {
        // What has no ending is called; the rest is read by others.
        let called = try SourceTree.paths(under: "Scripts").filter { !$0.split(separator: "/").last!.contains(".") }
        #expect(called.contains("Scripts/test") && called.contains("Scripts/run"))
        for path in called + [".ci/run"] {
            #expect(try SourceTree.mode(path) & 0o111 == 0o111, "\(path) is not executable")
        }
        #expect(try SourceTree.mode("Package.swift") & 0o111 == 0)
    }

    @Test func codeLines_KeepCodeAndDropWords() {
        let text = """
            let a = "try? \\" // b" + c // comment
            /* try?
            fatalError( */ let d = 1
            let e = \"\"\"
                fatalError(
                \"\"\"; f()
            """
        let lines = codeLines(text).map { $0.filter { $0 != " " } }
        #expect(lines == ["leta=\"\"+c", "", "letd=1", "lete=", "", ";f()"])
    }
}
