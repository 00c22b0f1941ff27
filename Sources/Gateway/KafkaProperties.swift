import Glibc
import KafkaBroker
import Primitives

/// Properties of librdkafka among the settings: `broker.kafka.properties.NAME`, and `NAME_file` for a value that is
/// read from a file, as container platforms hand secrets out.
extension Settings {
    private static let fileSuffix = "_file"
    /// A chain of certificates is a few KiB.
    private static let secretBytesMax: Int64 = 1 << 20

    mutating func setProperty(_ text: String, to value: String) throws(SettingsError) {
        let isFile = text.hasSuffix(Self.fileSuffix)
        let name = isFile ? String(text.dropLast(Self.fileSuffix.count)) : text
        if let reason = PropertyPolicy.refusal(of: name) { throw .refusedProperty(name, reason: reason) }
        let known = PropertyPolicy.known
        if !known.isEmpty, !known.contains(name) {
            let nearest = known.filter { PropertyPolicy.refusal(of: $0) == nil }
                .min { distance($0, name) < distance($1, name) }
            throw .unknownKey(Self.propertyPrefix + text, nearest: Self.propertyPrefix + (nearest ?? ""))
        }
        if isFile {
            kafka.properties[name] = try readSecret(name, from: value)
            kafka.secretProperties.insert(name)
        } else {
            kafka.properties[name] = value
            kafka.secretProperties.remove(name)
        }
    }

    /// The file's text without the line feed at its end, if there is one.
    private mutating func readSecret(_ name: String, from path: String) throws(SettingsError) -> String {
        let key = "\(Self.propertyPrefix)\(name)\(Self.fileSuffix)"
        let text = try readTextFile(path, key: key, bytesMax: Self.secretBytesMax)
        var info = stat()
        if stat(path, &info) == 0, info.st_mode & S_IROTH != 0 {
            warnings.append("\(key): everybody on this machine can read \(path)")
        }
        let value = text.hasSuffix("\r\n") ? text.dropLast(1) : text.hasSuffix("\n") ? text.dropLast(1) : text[...]
        if value.isEmpty { throw .file(path, "\(key): it is empty") }
        return String(value)
    }

    /// What is set, for people: names in order, secrets masked.
    public var shownProperties: [String] {
        kafka.properties.sorted { $0.key < $1.key }
            .map { "\($0.key)=\(kafka.isSecret($0.key) ? "(secret)" : $0.value)" }
    }
}

/// A small text file, whole. - Parameter key: names the setting in errors.
func readTextFile(_ path: String, key: String, bytesMax: Int64) throws(SettingsError) -> String {
    let bytes: [UInt8]?
    do throws(FileSystemError) {
        let file = try SystemFileSystem().open(path, .readOnly)
        defer { file.close() }
        let size = try file.size()
        bytes = size <= bytesMax ? try file.read(Int(size), at: 0) : nil
    } catch {
        throw .file(path, "\(key): \(error)")
    }
    guard let bytes else { throw .file(path, "\(key): it is larger than \(bytesMax) bytes") }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw .file(path, "\(key): it is not UTF-8") }
    return text
}
