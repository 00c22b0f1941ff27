import Glibc
import KafkaBroker
import Primitives

/// Properties of librdkafka among the settings: `broker.kafka.properties.NAME`, and `NAME_file` for a value that is
/// read from a file, as container platforms hand secrets out.
extension Settings {
    static let fileSuffix = "_file"
    /// A chain of certificates is a few KiB.
    private static let secretBytesMax: Int64 = 1 << 20

    /// The name without `_file`, which is only another way to give the same value.
    static func canonicalName(_ name: String) -> String {
        name.hasPrefix(propertyPrefix) && name.hasSuffix(fileSuffix) ? String(name.dropLast(fileSuffix.count)) : name
    }

    /// Whether a setting's value is never shown, wherever it comes from. (What was read from a file is not, either.)
    static func isSecret(_ name: String) -> Bool {
        name.hasPrefix(propertyPrefix) && PropertyPolicy.isSecret(String(name.dropFirst(propertyPrefix.count)))
    }

    mutating func setProperty(_ text: String, to value: String, from source: SettingSource) throws(SettingsError) {
        let isFile = text.hasSuffix(Self.fileSuffix)
        let name = isFile ? String(text.dropLast(Self.fileSuffix.count)) : text
        if let reason = PropertyPolicy.refusal(of: name) { throw .refusedProperty(name, reason: reason) }
        let known = PropertyPolicy.known
        if !known.isEmpty, !known.contains(name) {
            let settable = known.filter { PropertyPolicy.refusal(of: $0) == nil }
            throw .unknownKey(
                Self.propertyPrefix + text, nearest: Self.propertyPrefix + (nearest(name, among: settable) ?? ""))
        }
        if isFile {
            kafka.properties[name] = try readSecret(name, from: value)
            kafka.secretProperties.insert(name)
        } else {
            kafka.properties[name] = value
            kafka.secretProperties.remove(name)
            if case .flag(let flag) = source, PropertyPolicy.isSecret(name) {
                warnings.append("\(flag): \(Self.propertyPrefix)\(name) stands in the list of processes")
            }
        }
        sources[Self.propertyPrefix + name] = source
    }

    /// The file's text without the line feed at its end, if there is one.
    private mutating func readSecret(_ name: String, from path: String) throws(SettingsError) -> String {
        let key = "\(Self.propertyPrefix)\(name)\(Self.fileSuffix)"
        let text = try readTextFile(path, key: key, bytesMax: Self.secretBytesMax)
        if everybodyCanRead(path) { warnings.append("\(key): everybody on this machine can read \(path)") }
        let value = text.hasSuffix("\r\n") ? text.dropLast(1) : text.hasSuffix("\n") ? text.dropLast(1) : text[...]
        if value.isEmpty { throw .file(path, "\(key): it is empty") }
        return String(value)
    }
}

/// Whether its mode lets everybody on the machine read it.
func everybodyCanRead(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IROTH != 0
}

/// A small text file, whole. - Parameter key: names the setting in errors.
func readTextFile(_ path: String, key: String, bytesMax: Int64) throws(SettingsError) -> String {
    // A pipe has no size, and opening one may wait for ever.
    var info = stat()
    if stat(path, &info) == 0, info.st_mode & S_IFMT != S_IFREG { throw .file(path, "\(key): it is no file") }
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
