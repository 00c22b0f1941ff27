import HTTPServer
import JSON
import Primitives
import Records
import Spool

/// A produce call whose own form is right: name, parameters, header fields. What is left depends on its topic, and on
/// its body.
struct ProduceCall: Sendable {
    /// The two calls, each a route.
    enum Kind: Sendable {
        case one
        case batch

        var parameters: [String] {
            switch self {
            case .one: ["key", "key_base64", "partition"]
            case .batch: []
            }
        }
    }

    /// What the body is.
    enum Form: Sendable {
        /// The value of a record with this key.
        case one(key: ByteSlice?)
        case batch(BatchDecoder.Form)
    }

    let request: HTTPRequest
    let responder: Responder
    let topic: TopicName
    let parameters: Parameters
    let headers: ProduceHeaders
    let form: Form
    /// The right to store what it asks for; nil where a repetition is another request.
    var claim: RequestClaim?

    init(_ kind: Kind, _ request: HTTPRequest, _ responder: Responder) throws(Problem) {
        self.request = request
        self.responder = responder
        topic = try request.ownTopic()
        parameters = try Parameters(request, kind.parameters)
        headers = try ProduceHeaders(request)
        switch kind {
        case .one: form = .one(key: try Self.key(parameters, headers))
        case .batch: form = .batch(try Self.batchForm(headers))
        }
    }

    private static func key(_ parameters: Parameters, _ headers: ProduceHeaders) throws(Problem) -> ByteSlice? {
        var keys: [ByteSlice] = []
        if let key = parameters.text("key") { keys.append(Array(key.utf8)[...]) }
        if let key = parameters.text("key_base64") {
            do throws(Base64Error) {
                keys.append(try Base64.decode(Array(key.utf8)[...])[...])
            } catch {
                throw .invalid("key_base64", error.description)
            }
        }
        if let key = headers.key { keys.append(key) }
        if keys.count > 1 { throw .invalid("key", "given more than once (key, key_base64, Postrider-Key)") }
        return keys.first
    }

    private static func batchForm(_ headers: ProduceHeaders) throws(Problem) -> BatchDecoder.Form {
        if headers.key != nil || !headers.recordHeaders.isEmpty {
            throw .invalid("Postrider-Key, Postrider-Header-*", "in a batch each record has its own key and headers")
        }
        let type = String(decoding: headers.contentType ?? [], as: UTF8.self).lowercased()
        let media = String(type.prefix { $0 != ";" }).trimmingSpaces()
        guard let form = BatchDecoder.Form(rawValue: media) else {
            throw Problem(
                415, "unsupported_media_type", "This content type is not understood here",
                "send application/json or application/x-ndjson")
        }
        return form
    }

    /// By what its repetitions are known; nil when they are other requests.
    var identity: RequestIdentity? {
        headers.requestName?.identity(route: request.route, topic, payload: payload)
    }

    /// Of everything that makes the records. `Prefer` is no part of it: who repeats may wait for another answer.
    private var payload: Digest {
        var payload = Fingerprint("payload")
        payload.add(request.route)
        payload.add(topic.text)
        switch form {
        case .one(let key):
            payload.add(key)
            payload.add(parameters.text("partition").map { Array($0.utf8)[...] })
            payload.add(headers.contentType?[...])
            payload.add(count: headers.recordHeaders.count)
            for header in headers.recordHeaders {
                payload.add(header.name)
                payload.add(header.value)
            }
        case .batch(let form): payload.add(form.rawValue)
        }
        return payload.digest(body: request.body)
    }

    /// Nothing is stored, unless the problem says otherwise itself.
    func refuse(_ problem: Problem) {
        // First: who hears of the refusal may repeat the request at once.
        claim?.abandon()
        responder.respond(problem.notAccepted.response)
    }
}
