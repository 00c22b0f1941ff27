import CMicrohttpd
import Primitives

/// The request while it arrives. Touched by the connection's event loop only.
struct Upload {
    enum Stage {
        /// The next call is libmicrohttpd's first: headers only.
        case headers
        case collecting
        /// The problem is answered when the body has been read. (Indirect: the stage is looked at in every call, and
        /// rarely is this one.)
        indirect case discarding(ServerProblem)
        /// The server's answer to OPTIONS; a body means nothing and is thrown away.
        indirect case options(HTTPResponse)
        /// The problem is answered already; the rest is read so that the client sees it, then the connection closes.
        case refused
        /// The handler has it.
        case dispatched
    }

    /// A body grows by doubling from here, so that a claimed length costs nothing until bytes come.
    static let firstBytes = 16 << 10

    var stage = Stage.headers
    var targetBytes = 0
    var targetHasSpace = false
    var match: Router.Match?
    var method: HTTPMethod?
    /// nil: chunked.
    var contentLength: Int?
    var bodyBytesMax = 0
    /// Who sent it; a proxy, where none of the trusted ones says otherwise. nil: not known (yet).
    var client: ClientAddress?
    /// What `traceparent` says; nil: nothing valid.
    var trace: TraceContext?
    /// How the answer may be coded.
    var codings = AcceptedCodings()
    /// For `Access-Control-Allow-Origin`; nil when the request is no allowed page's.
    var corsOrigin: String?
    /// What is left to the client, where there is a limit for each address.
    var limit: AddressTable.Verdict?
    private(set) var receivedBytes = 0
    private var body: [UInt8] = []
    private var chargedBytes = 0

    enum Refusal {
        case tooLarge
        case noMemory

        func problem(_ upload: Upload, route: Route?) -> ServerProblem {
            switch self {
            case .tooLarge: Upload.tooLarge(upload.bodyBytesMax, route: route)
            case .noMemory: ServerProblem(.overloaded, "no memory for the body", of: route)
            }
        }
    }

    /// Takes `bytes`; memory is charged before it is allocated. - Returns: why not, when they do not fit.
    mutating func append(_ bytes: UnsafeRawBufferPointer, _ budget: MemoryBudget) -> Refusal? {
        receivedBytes += bytes.count
        guard receivedBytes <= bodyBytesMax else { return .tooLarge }
        if receivedBytes > chargedBytes {
            let most = contentLength ?? bodyBytesMax
            let wanted = min(max(chargedBytes * 2, receivedBytes, min(most, Self.firstBytes)), max(most, receivedBytes))
            guard budget.charge(wanted - chargedBytes) else { return .noMemory }
            chargedBytes = wanted
            body.reserveCapacity(wanted)
        }
        // (From a raw buffer it would be copied byte by byte.)
        body.append(contentsOf: bytes.bindMemory(to: UInt8.self))
        return nil
    }

    /// The body will be refused: its memory is given back at once.
    mutating func discard(_ problem: ServerProblem, _ budget: MemoryBudget) {
        stage = .discarding(problem)
        body = []
        budget.release(takeCharge())
    }

    mutating func skip(_ count: Int) { receivedBytes += count }

    mutating func takeBody() -> ByteSlice {
        defer { body = [] }
        return body[...]
    }

    mutating func takeCharge() -> Int {
        defer { chargedBytes = 0 }
        return chargedBytes
    }

    static func tooLarge(_ bytesMax: Int, route: Route?) -> ServerProblem {
        ServerProblem(.bodyTooLarge, "the body is larger than \(bytesMax) bytes", of: route)
    }
}
