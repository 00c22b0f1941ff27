import CMicrohttpd
import CoreMetrics

/// A response in libmicrohttpd's form, made and queued on the connection's event loop.
struct PreparedResponse: ~Copyable {
    /// Up to here a body is copied into libmicrohttpd's response and leaves in one write with the headers; above it is
    /// read in blocks from the array it came in, so that it exists once.
    static let copiedBytesMax = 32 << 10
    static let blockBytes = 64 << 10

    private let response: OpaquePointer
    private let status: UInt32

    /// nil when libmicrohttpd has no memory: the caller closes the connection.
    ///
    /// - Parameter gzip: sent in place of the content's body; not shared.
    init?(_ content: HTTPResponse, gzip: GzipBody?, id: RequestID, core: ServerCore, closes: Bool) {
        guard let response = gzip.map(Self.make) ?? Self.make(content.body) else { return nil }
        self.response = response
        status = (200...599).contains(content.status) ? UInt32(content.status) : 500
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: RequestID.bytesMax) { buffer in
            _ = id.write(into: buffer)
            buffer.withMemoryRebound(to: CChar.self) { text in
                _ = MHD_add_response_header(response, Self.requestID, text.baseAddress)
            }
        }
        if let contentType = content.contentType { add(Self.contentType, contentType, core) }
        for header in core.commonHeaders {
            header.name.withUnsafeBufferPointer { name in
                header.value.withUnsafeBufferPointer { value in
                    _ = MHD_add_response_header(response, name.baseAddress, value.baseAddress)
                }
            }
        }
        for header in content.headers { add(header, core) }
        if closes { _ = MHD_add_response_header(response, "Connection", "close") }
    }

    deinit { MHD_destroy_response(response) }

    /// libmicrohttpd keeps its own reference until the response is out.
    func queue(on connection: OpaquePointer) -> MHD_Result { MHD_queue_response(connection, status, response) }

    private func add(_ header: HTTPHeader, _ core: ServerCore) {
        guard HTTPHeader.isToken(header.name), !HTTPHeader.isServers(header.name) else {
            core.metrics.cleanedHeaders.increment()
            return
        }
        header.name.withCString { add($0, header.value, core) }
    }

    private func add(_ name: UnsafePointer<CChar>, _ value: String, _ core: ServerCore) {
        if HTTPHeader.needsCleaning(value) {
            core.metrics.cleanedHeaders.increment()
            HTTPHeader.cleaned(value).withCString { _ = MHD_add_response_header(response, name, $0) }
        } else {
            // (As an argument a String would be copied into an array first.)
            value.withCString { _ = MHD_add_response_header(response, name, $0) }
        }
    }

    private static var contentType: UnsafePointer<CChar> { pointer("Content-Type") }
    private static var requestID: UnsafePointer<CChar> { pointer("Postrider-Request-Id") }

    private static func pointer(_ text: StaticString) -> UnsafePointer<CChar> {
        UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
    }

    private final class Body: Sendable {
        let bytes: [UInt8]

        init(_ bytes: [UInt8]) { self.bytes = bytes }
    }

    private static func make(_ bytes: [UInt8]) -> OpaquePointer? {
        if bytes.count <= copiedBytesMax {
            return bytes.withUnsafeBytes { postrider_mhd_response_copying($0.baseAddress, $0.count) }
        }
        let body = Unmanaged.passRetained(Body(bytes))
        let response = MHD_create_response_from_callback(
            UInt64(bytes.count), blockBytes,
            { context, position, buffer, count in
                guard let context, let buffer else { return postrider_mhd_end_with_error }
                let bytes = Unmanaged<Body>.fromOpaque(context).takeUnretainedValue().bytes
                guard position < UInt64(bytes.count) else { return postrider_mhd_end_with_error }
                let start = Int(position)
                let end = min(bytes.count, start + count)
                bytes.withUnsafeBytes {
                    UnsafeMutableRawPointer(buffer).copyMemory(from: $0.baseAddress! + start, byteCount: end - start)
                }
                return end - start
            }, body.toOpaque(),
            { context in
                if let context { Unmanaged<Body>.fromOpaque(context).release() }
            })
        if response == nil { body.release() }
        return response
    }

    /// Of unknown length: chunked, or for HTTP/1.0 until the connection closes. Where a piece is empty the event loop
    /// serves others before it asks again.
    private static func make(_ gzip: GzipBody) -> OpaquePointer? {
        let body = Unmanaged.passRetained(gzip)
        let response = MHD_create_response_from_callback(
            UInt64.max, GzipBody.blockBytes,
            { context, _, buffer, count in
                guard let context, let buffer else { return postrider_mhd_end_with_error }
                let body = Unmanaged<GzipBody>.fromOpaque(context).takeUnretainedValue()
                return switch body.next(into: UnsafeMutableRawBufferPointer(start: buffer, count: count)) {
                case .written(let bytes): bytes
                case .end: postrider_mhd_end_of_stream
                case .failed: postrider_mhd_end_with_error
                }
            }, body.toOpaque(),
            { context in
                if let context { Unmanaged<GzipBody>.fromOpaque(context).release() }
            })
        if response == nil { body.release() }
        return response
    }
}
