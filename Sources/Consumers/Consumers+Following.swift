public import Broker
import Logging
public import Primitives
public import Records

/// Definitions that other gateways on the same store make, change and forget. Each is taken over in line with this
/// gateway's own calls for that name; offsets are the other gateway's business.
extension Consumers: DefinitionWatcher {
    public func definitionsLoaded(_ definitions: [ConsumerDefinitionBytes]) {
        let named = Set(definitions.map(\.name))
        for definition in definitions { definitionChanged(definition.name, definition.bytes) }
        let gone = table.withLock { table in
            table.isVerified = true
            return table.entries.keys.filter { !named.contains($0) }
        }
        for name in gone { definitionChanged(name, nil) }
    }

    public func definitionChanged(_ name: ConsumerName, _ bytes: ByteSlice?) {
        let isFirst = table.withLock { table in
            defer { table.changes[name] = .some(bytes) }
            return table.changes[name] == nil
        }
        // One in line for each name: it takes the newest.
        guard isFirst else { return }
        administer(name, isOwn: false) { [self] done in
            let change = table.withLock { $0.changes.removeValue(forKey: name) }
            guard let change else { return done() }
            take(name, change, done)
        }
    }

    private func take(_ name: ConsumerName, _ bytes: ByteSlice?, _ done: @escaping @Sendable () -> Void) {
        let entry = table.withLock { $0.isStopping ? nil : $0.entries[name] }
        guard let bytes else { return end(entry, name, .unknownConsumer(name), nil, done) }
        let definition: ConsumerDefinition
        do throws(MalformedBytes) {
            definition = try ConsumerDefinitionCodec.decode(bytes)
        } catch {
            context.log.error(
                "a consumer's definition is unreadable",
                metadata: ["consumer": "\(name)", "error": "\(error.what)"])
            return end(entry, name, .unreadable(name), .unreadable, done)
        }
        guard case .running(let old, let runner) = entry else {
            run(name, definition)
            return done()
        }
        if old.completed(for: name).isCompatible(with: definition.completed(for: name)) {
            runner.update(definition.completed(for: name))
            table.withLock { table in
                if !table.isStopping { table.entries[name] = .running(definition, runner) }
            }
            return done()
        }
        runner.end(.stopping) { [self] in
            run(name, definition)
            done()
        }
    }

    private func end(
        _ entry: Table.Entry?, _ name: ConsumerName, _ error: ConsumerError, _ next: Table.Entry?,
        _ done: @escaping @Sendable () -> Void
    ) {
        let replace: @Sendable () -> Void = { [self] in
            table.withLock { table in
                if !table.isStopping { table.entries[name] = next }
            }
            done()
        }
        guard case .running(_, let runner) = entry else { return replace() }
        runner.end(error, ended: replace)
    }
}
