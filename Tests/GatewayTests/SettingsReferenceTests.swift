import Gateway
import GatewayTestSupport
import JSON
import Primitives
import TestSupport
import Testing

/// The reference in all its forms says what is, and the committed page is that reference.
@Suite struct SettingsReferenceTests {
    private static let root = String(#filePath.dropLast("/Tests/GatewayTests/SettingsReferenceTests.swift".count))

    @Test func committedPage_IsTheReference() throws {
        let file = try SystemFileSystem().open("\(Self.root)/docs/CONFIGURATION.md", .readOnly)
        defer { file.close() }
        let page = String(decoding: try file.read(Int(try file.size()), at: 0), as: UTF8.self)
        let isSame = page == SettingsReference.markdown
        #expect(isSame, "postrider config reference --markdown > docs/CONFIGURATION.md")
    }

    @Test func page_HasEveryKey_WithItsDefault() {
        let page = SettingsReference.markdown
        for key in Settings.keys {
            #expect(page.contains("\n| `\(key.name)` | `\(key.defaultValue)` | "), "\(key.name)")
        }
        #expect(page.contains("\n| `broker.kafka.properties.NAME_file` | "))
        #expect(!page.contains("|  |\n"))
    }

    @Test func text_HasEveryKey_WithItsVariable() {
        let text = SettingsReference.text
        for key in Settings.keys {
            #expect(text.contains("\(key.name)=\(key.defaultValue)\n"), "\(key.name)")
            #expect(text.contains("    \(key.variable)\n"), "\(key.name)")
        }
        #expect(!text.contains("`"))
    }

    @Test func json_HasEveryKey() throws {
        let document = try JSONDocument(Array(SettingsReference.json.utf8)[...])
        let rows = try Array(#require(document.root.elements))
        #expect(rows.compactMap { $0["name"]?.string } == Settings.keys.map(\.name))
        #expect(rows.compactMap { $0["default"]?.string } == Settings.keys.map(\.defaultValue))
        #expect(rows.allSatisfy { $0["form"]?.string?.isEmpty == false && $0["meaning"]?.string?.isEmpty == false })
        let again = rows.filter { $0["read_again"]?.bool == true }.compactMap { $0["name"]?.string }
        #expect(again.allSatisfy { $0.hasPrefix("log.") } && again.contains("log.level"))
    }

    @Test func yaml_ChangesNothing_AsItIs() throws {
        let directory = try TemporaryDirectory()
        let settings = try SettingInputs(
            file: try directory.write(SettingsReference.yaml), environment: [:]
        ).settings()
        #expect(settings.sources.isEmpty && settings.warnings.isEmpty)
    }

    @Test func yaml_SetsEveryKeyToItsDefault_WithoutTheCommentSigns() throws {
        let lines = SettingsReference.yaml.split(separator: "\n", omittingEmptySubsequences: false)
        var uncommented = 0
        let text = lines.map { line -> String in
            let indent = line.prefix { $0 == " " }
            let rest = line.dropFirst(indent.count)
            guard rest.first == "#", rest.dropFirst().first?.isLetter == true else { return String(line) }
            uncommented += 1
            return String(indent + rest.dropFirst())
        }
        .joined(separator: "\n")
        // The section of properties is one more.
        #expect(uncommented == Settings.keys.count + 1)
        let directory = try TemporaryDirectory()
        let settings = try SettingInputs(file: try directory.write(text), environment: [:]).settings()
        let defaults = Settings()
        for key in Settings.keys {
            #expect(settings.sources[key.name] != nil, "\(key.name)")
            #expect(key.show(settings) == key.show(defaults), "\(key.name)")
        }
    }
}
