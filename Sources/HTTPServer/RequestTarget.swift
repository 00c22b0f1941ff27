import Glibc

/// A request's target in libmicrohttpd's memory (RFC 9112, section 3.2).
struct RequestTarget {
    /// As on the wire, without the query. In absolute form what follows the authority.
    let path: UnsafeBufferPointer<UInt8>
    /// Of the absolute form; nil otherwise.
    let authority: UnsafeRawBufferPointer?

    init(_ url: UnsafePointer<CChar>) {
        let whole = UnsafeRawBufferPointer(start: url, count: strlen(url))
        let (path, authority) = Self.split(whole)
        self.path = path.bindMemory(to: UInt8.self)
        self.authority = authority
    }

    /// `OPTIONS *`: the server as a whole.
    var isAsterisk: Bool { path.count == 1 && path[0] == UInt8(ascii: "*") }

    private static func split(
        _ whole: UnsafeRawBufferPointer
    ) -> (path: UnsafeRawBufferPointer, authority: UnsafeRawBufferPointer?) {
        let slash = UInt8(ascii: "/")
        guard whole.first != slash else { return (whole, nil) }
        for scheme in ["http://", "https://"] as [StaticString] where HeaderField.begins(whole, with: scheme) {
            let rest = UnsafeRawBufferPointer(rebasing: whole[scheme.utf8CodeUnitCount...])
            guard let end = rest.firstIndex(of: slash) else { return (whole, rest) }
            return (UnsafeRawBufferPointer(rebasing: rest[end...]), UnsafeRawBufferPointer(rebasing: rest[..<end]))
        }
        return (whole, nil)
    }
}
