import Broker
import Primitives
public import Records

/// Defining, describing and deleting. For one name, one at a time.
extension Consumers {
    public typealias DefineCompletion = @Sendable (Result<DefineOutcome, ConsumerError>) -> Void

    /// Creates a consumer, or changes the deadline and limits of one. `from` is resolved and committed for every
    /// partition before the completion; partitions that the store has an offset for already (a Kafka group of that
    /// name) keep it. Changing nothing is an update.
    ///
    /// - Parameter replacing: other topics, another mode or another dead-letter topic are taken over: topics that stay
    ///   keep their committed offsets, new ones begin at `from`, the others' offsets are deleted, and every lease is
    ///   void.
    ///
    /// Fails with `conflict`, `invalid`, `unknownTopic`, `unreadable`, `unavailable`, `limitReached`, `stopping`.
    public func define(
        _ name: ConsumerName, _ requested: ConsumerDefinition, replacing: Bool = false,
        completion: @escaping DefineCompletion
    ) {
        let definition = requested.completed(for: name)
        do throws(ConsumerError) {
            try definition.check(context.settings)
        } catch {
            return completion(.failure(error))
        }
        checkDeadLetterTopic(definition) { [self] problem in
            if let problem { return completion(.failure(problem)) }
            administer(name, refused: { completion(.failure($0)) }) { [self] done in
                let finish: DefineCompletion = { result in
                    done()
                    completion(result)
                }
                do throws(ConsumerError) {
                    try decide(name, definition, replacing, finish)
                } catch {
                    finish(.failure(error))
                }
            }
        }
    }

    /// It exists, or its first record creates it: then there is no problem.
    private func checkDeadLetterTopic(
        _ definition: ConsumerDefinition, completion: @escaping @Sendable (ConsumerError?) -> Void
    ) {
        guard definition.maxDeliveries != nil, let topic = definition.deadLetterTopic else { return completion(nil) }
        context.topics.look(topic) { knowledge in
            switch knowledge {
            case .known, .creatable: completion(nil)
            case .missing: completion(.unknownTopic(topic))
            case .unverified: completion(.unavailable(.unverified(topic)))
            }
        }
    }

    private func decide(
        _ name: ConsumerName, _ definition: ConsumerDefinition, _ replacing: Bool, _ finish: @escaping DefineCompletion
    ) throws(ConsumerError) {
        let entry = try table.withLock { table throws(ConsumerError) in
            if table.isStopping { throw .stopping }
            guard table.isVerified else { throw .unverified }
            if table.entries[name] == nil, table.entries.count >= context.settings.consumersMax {
                let refusal = ConsumerError.limitReached("consumers_max")
                refusal.countLimit()
                throw refusal
            }
            return table.entries[name]
        }
        switch entry {
        case nil: create(name, definition, keeping: nil, outcome: .created, finish)
        case .unreadable where !replacing: throw .unreadable(name)
        case .unreadable: create(name, definition, keeping: Set(definition.topics), outcome: .updated, finish)
        case .running(let old, let runner):
            if old.completed(for: name).isCompatible(with: definition) {
                update(name, definition, runner, finish)
            } else if replacing {
                replace(name, old, runner, definition, finish)
            } else {
                throw .conflict(name, reason: "it is defined with other topics, mode or dead-letter topic")
            }
        }
    }

    private func update(
        _ name: ConsumerName, _ definition: ConsumerDefinition, _ runner: ConsumerRunner,
        _ finish: @escaping DefineCompletion
    ) {
        let stored = ConsumerDefinitionBytes(name: name, bytes: ConsumerDefinitionCodec.encode(definition))
        context.offsets.define(stored, offsets: [:], replacing: false) { [self] result in
            if case .failure(let error) = result { return finish(.failure(ConsumerError(error, name))) }
            runner.update(definition)
            table.withLock { table in
                if !table.isStopping { table.entries[name] = .running(definition, runner) }
            }
            finish(.success(.updated))
        }
    }

    private func replace(
        _ name: ConsumerName, _ old: ConsumerDefinition, _ runner: ConsumerRunner, _ definition: ConsumerDefinition,
        _ finish: @escaping DefineCompletion
    ) {
        // No commit of the old definition may come after the offsets are read.
        runner.end(.stopping) { [self] in
            create(name, definition, keeping: Set(old.topics), outcome: .updated) { result in
                if case .failure = result { self.run(name, old) }
                finish(result)
            }
        }
    }

    /// - Parameter keeping: topics whose committed offsets stay; nil: all that the store has.
    private func create(
        _ name: ConsumerName, _ definition: ConsumerDefinition, keeping: Set<TopicName>?, outcome: DefineOutcome,
        _ finish: @escaping DefineCompletion
    ) {
        StartOffsets.resolve(definition.topics[...], from: definition.from, admin: context.topics) { [self] resolved in
            let start: [TopicPartition: Int64]
            switch resolved {
            case .failure(let error): return finish(.failure(error))
            case .success(let offsets): start = offsets
            }
            context.offsets.committed(consumer: name, of: start.keys.sorted()) { [self] committed in
                var offsets = start.mapValues { CommittedOffset(offset: $0) }
                switch committed {
                case .failure(let error): return finish(.failure(ConsumerError(error, name)))
                case .success(let known):
                    for (partition, offset) in known where offsets[partition] != nil {
                        if keeping?.contains(partition.topic) ?? true { offsets[partition] = offset }
                    }
                }
                let stored = ConsumerDefinitionBytes(name: name, bytes: ConsumerDefinitionCodec.encode(definition))
                context.offsets.define(stored, offsets: offsets, replacing: keeping != nil) { [self] result in
                    if case .failure(let error) = result { return finish(.failure(ConsumerError(error, name))) }
                    finish(run(name, definition) ? .success(outcome) : .failure(.stopping))
                }
            }
        }
    }

    /// - Returns: false when the gateway stops.
    @discardableResult
    func run(_ name: ConsumerName, _ definition: ConsumerDefinition) -> Bool {
        let runner = ConsumerRunner(name, definition, context)
        return table.withLock { table in
            if !table.isStopping { table.entries[name] = .running(definition, runner) }
            return !table.isStopping
        }
    }

    /// Forgets the definition and its committed offsets; waiting polls get `unknownConsumer`.
    ///
    /// Fails with `unknownConsumer`, `unavailable` (then it goes on as before), `limitReached`, `stopping`.
    public func delete(_ name: ConsumerName, completion: @escaping @Sendable (Result<Void, ConsumerError>) -> Void) {
        administer(name, refused: { completion(.failure($0)) }) { [self] done in
            let finish: @Sendable (Result<Void, ConsumerError>) -> Void = { result in
                done()
                completion(result)
            }
            let (entry, isVerified) = table.withLock { table in
                (table.isStopping ? nil : table.entries[name], table.isVerified)
            }
            switch entry {
            case nil where !isVerified: finish(.failure(.unverified))
            case nil: finish(.failure(.unknownConsumer(name)))
            case .unreadable: forget(name, nil, finish)
            case .running(let definition, let runner):
                // A commit after the offsets are forgotten would bring them back.
                runner.end(.unknownConsumer(name)) { [self] in forget(name, definition, finish) }
            }
        }
    }

    private func forget(
        _ name: ConsumerName, _ definition: ConsumerDefinition?,
        _ finish: @escaping @Sendable (Result<Void, ConsumerError>) -> Void
    ) {
        context.offsets.forget(consumer: name) { [self] result in
            switch result {
            case .success:
                table.withLock { $0.entries[name] = nil }
                finish(.success(()))
            case .failure(let error):
                if let definition { run(name, definition) }
                finish(.failure(ConsumerError(error, name)))
            }
        }
    }

    // MARK: Describing

    /// Committed offset, position, end and lag of each partition, and what is leased.
    ///
    /// Fails with `unknownConsumer`, `unreadable`, `unavailable`, `stopping`. A topic that was deleted has no
    /// partitions.
    public func describe(
        _ name: ConsumerName, completion: @escaping @Sendable (Result<ConsumerDescription, ConsumerError>) -> Void
    ) {
        let definition: ConsumerDefinition
        let runner: ConsumerRunner
        do throws(ConsumerError) {
            (definition, runner) = try self.runner(name)
        } catch {
            return completion(.failure(error))
        }
        watermarks(definition.topics[...]) { [self] result in
            let watermarks: [TopicPartition: (low: Int64, high: Int64)]
            switch result {
            case .failure(let error): return completion(.failure(error))
            case .success(let found): watermarks = found
            }
            context.offsets.committed(consumer: name, of: watermarks.keys.sorted()) { [self] result in
                switch result {
                case .failure(let error): completion(.failure(ConsumerError(error, name)))
                case .success(let committed):
                    completion(.success(describe(name, definition, runner.snapshot(), committed, watermarks)))
                }
            }
        }
    }

    private func watermarks(
        _ topics: ArraySlice<TopicName>, _ known: [TopicPartition: (low: Int64, high: Int64)] = [:],
        _ completion: @escaping @Sendable (Result<[TopicPartition: (low: Int64, high: Int64)], ConsumerError>) -> Void
    ) {
        guard let topic = topics.first else { return completion(.success(known)) }
        context.topics.describe(topic) { [self] result in
            switch result {
            case .failure(let error): completion(.failure(.unavailable(error)))
            case .success(let description):
                var found = known
                for partition in description?.partitions ?? [] {
                    guard let low = partition.lowWatermark, let high = partition.highWatermark else { continue }
                    found[TopicPartition(topic: topic, partition: partition.partition)] = (low, high)
                }
                watermarks(topics.dropFirst(), found, completion)
            }
        }
    }

    private func describe(
        _ name: ConsumerName, _ definition: ConsumerDefinition, _ snapshot: ConsumerSnapshot,
        _ committed: [TopicPartition: CommittedOffset], _ watermarks: [TopicPartition: (low: Int64, high: Int64)]
    ) -> ConsumerDescription {
        var effective = definition
        effective.ackDeadlineMs = definition.ackDeadlineMs ?? context.settings.ackDeadlineDefault.wholeMilliseconds
        effective.maxInFlight = definition.maxInFlight ?? context.settings.maxInFlightDefault
        effective.deadLetterTopic =
            definition.maxDeliveries == nil ? nil : definition.completed(for: name).deadLetterTopic
        let partitions = watermarks.keys.sorted().map { place -> PartitionProgress in
            let (low, high) = watermarks[place] ?? (0, 0)
            let known = snapshot.partitions[place]
            let offset = committed[place]?.offset
            return PartitionProgress(
                partition: place, committed: offset, position: known?.position, end: high,
                lag: max(0, high - max(offset ?? 0, low)), leases: known?.leases ?? 0,
                oldestUnacknowledgedMs: known?.oldestUnacknowledgedMs)
        }
        return ConsumerDescription(
            name: name, definition: effective, partitions: partitions,
            leases: partitions.reduce(0) { $0 + $1.leases }, pollsWaiting: snapshot.pollsWaiting,
            oldestUnacknowledgedMs: partitions.compactMap(\.oldestUnacknowledgedMs).min(),
            deadLettersWaiting: snapshot.deadLettersWaiting,
            deadLetterError: snapshot.deadLetterError.map { "\($0.code): \($0.detail)" })
    }

    // MARK: One at a time

    /// Runs `body` when those of the same name before it are done; `body` must call its argument once, when it is done.
    ///
    /// - Parameter isOwn: false: never refused; the caller bounds them.
    func administer(
        _ name: ConsumerName, isOwn: Bool = true, refused: (ConsumerError) -> Void = { _ in },
        body: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void
    ) {
        let start: @Sendable () -> Void = { [self] in body { [self] in next(name) } }
        let isFirst: Bool?
        isFirst = table.withLock { table in
            guard let line = table.administrations[name] else {
                table.administrations[name] = []
                return true
            }
            guard line.count < context.settings.administrationsWaitingMax || !isOwn else { return nil }
            table.administrations[name]?.append(start)
            return false
        }
        switch isFirst {
        case nil:
            let refusal = ConsumerError.limitReached("administrations_waiting_max")
            refusal.countLimit()
            refused(refusal)
        case true?: start()
        case false?: break
        }
    }

    private func next(_ name: ConsumerName) {
        let next = table.withLock { table -> (@Sendable () -> Void)? in
            guard var line = table.administrations[name], !line.isEmpty else {
                table.administrations[name] = nil
                return nil
            }
            let next = line.removeFirst()
            table.administrations[name] = line
            return next
        }
        next?()
    }
}
