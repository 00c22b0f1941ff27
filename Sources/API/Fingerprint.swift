import CGnuTLS
import Primitives
import Records

/// Makes a digest of several parts: each stands behind its length, so that other parts are other bytes.
struct Fingerprint {
    private var head: ByteWriter

    /// - Parameter kind: what it is of; digests of two kinds have nothing in common.
    init(_ kind: StaticString) {
        head = ByteWriter(capacity: 192)
        add(kind.description)
    }

    mutating func add(_ text: String) {
        head.integer(Int32(text.utf8.count))
        head.bytes.append(contentsOf: text.utf8)
    }

    /// Nothing is another part than no bytes. - Precondition: under 2 GiB.
    mutating func add(_ bytes: ByteSlice?) { head.optionalSlice(bytes) }

    mutating func add(count: Int) { head.integer(Int32(count)) }

    /// - Parameter body: the last part, which is not copied.
    func digest(body: ByteSlice = []) -> Digest {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Int(postrider_sha256_bytes)) { bytes in
            let result = head.bytes.withUnsafeBufferPointer { head in
                body.withUnsafeBufferPointer { body in
                    postrider_sha256(head.baseAddress, head.count, body.baseAddress, body.count, bytes.baseAddress)
                }
            }
            // Out of memory, as elsewhere; nothing of a request's leads here.
            precondition(result == 0, "SHA-256: GnuTLS error \(result)")
            let raw = UnsafeRawBufferPointer(bytes)
            return Digest(
                high: UInt64(bigEndian: raw.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }
}
