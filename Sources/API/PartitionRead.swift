import Broker
import HTTPServer
import Primitives
import Records

/// Does what `ReadState` says, on whatever thread it comes. Any thread; nothing blocks.
final class PartitionRead: Sendable {
    private let state: Lock<ReadState>
    private let style: AnswerStyle
    private let source: any RecordSource
    private let responder: Responder
    private let clock: any TimeSource
    private let waitsUntil: MonotonicInstant
    private let memoryWait: Duration
    /// Not for HEAD.
    private let mayPark: Bool

    /// - Parameter memoryWait: so long a read gets for memory at least, whatever its wait is; other than that in tests.
    init(
        _ question: ReadState.Question, style: AnswerStyle, source: any RecordSource, responder: Responder,
        clock: any TimeSource, wait: Duration, mayPark: Bool, memoryWait: Duration = .seconds(2)
    ) {
        let memory = ReadState.Memory(
            bytesMax: responder.responseMemoryMax, answerBytesMax: AnswerLimits.answerBytesMax(responder))
        state = Lock(ReadState(question, memory))
        self.style = style
        self.source = source
        self.responder = responder
        self.clock = clock
        self.mayPark = mayPark
        self.memoryWait = memoryWait
        waitsUntil = clock.now() + wait
    }

    func begin() { run { $0.begin() } }

    private func run(_ event: (inout ReadState) -> ReadState.Effect?) {
        if let effect = state.withLock(event) { perform(effect) }
    }

    private func perform(_ effect: ReadState.Effect) {
        switch effect {
        case .reserve(let bytes, let givingBack):
            responder.giveBack(givingBack)
            reserve(bytes)
        case .fetch(let request):
            source.fetch(request) { [self] result in
                let costs = costs(result)
                run { $0.fetched(result, costs: costs) }
            }
        case .watch(let partition, let offset, let number, let givingBack):
            responder.giveBack(givingBack)
            watch(partition, from: offset, number)
        case .answer, .refuse: responder.respond(response(effect))
        }
    }

    private func response(_ effect: ReadState.Effect) -> HTTPResponse {
        switch effect {
        case .answer(let found): RecordAnswer.read(found).response(style, capacity: responder.reservedBytes)
        case .refuse(let problem): problem.response
        case .reserve, .fetch, .watch: preconditionFailure("no answer: \(effect)")
        }
    }

    /// Looks at every byte, so not under the lock.
    private func costs(_ result: Result<FetchResult, BrokerError>) -> [Int] {
        guard case .success(let fetch) = result else { return [] }
        return fetch.records.map { AnswerBytes.of($0, style.values) }
    }

    private func reserve(_ bytes: Int) {
        let isReserved =
            mayPark
            ? responder.reserve(bytes) { [self] in run { $0.reserved() } }
            : responder.reserve(bytes)
        if isReserved {
            run { $0.reserved() }
        } else if mayPark {
            park(until: max(waitsUntil, clock.now() + memoryWait))
        } else {
            responder.respond(Problem.noMemoryForAnswer.response)
        }
    }

    private func watch(_ partition: TopicPartition, from offset: Int64, _ number: Int) {
        // It was parked for longer when it had to wait for memory.
        if !park(until: waitsUntil) { responder.endWait(at: waitsUntil) }
        do throws(BrokerError) {
            let watch = try source.watch(partition, from: offset) { [self] in run { $0.told(number: number) } }
            guard let watch else { return run { $0.told(number: number) } }
            if !state.withLock({ $0.watching(watch, number: number) }) { watch.cancel() }
        } catch {
            run { $0.watchFailed(error) }
        }
    }

    /// From the first time that it has to wait for something. - Returns: false when it was parked before.
    @discardableResult
    private func park(until: MonotonicInstant) -> Bool {
        guard state.withLock({ $0.park() }) else { return false }
        let isParked = responder.park(
            until: until, onTimeout: { [self] in response(waitOver()) }, onClientGone: { [self] in _ = waitOver() })
        // Answered already; or it is answered with a refusal, and nobody waits for records.
        if !isParked { _ = waitOver() }
        return true
    }

    private func waitOver() -> ReadState.Effect {
        let (effect, watch) = state.withLock { $0.waitOver() }
        watch?.cancel()
        return effect
    }
}
