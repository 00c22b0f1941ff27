import Consumers
import Primitives
import Testing

/// Memory for answers with a bound; polls that do not fit wait until the test grants them.
final class FakeMemory: Sendable {
    private struct State {
        var bytesMax: Int
        var used = 0
        /// Each call of `reserve`.
        var asked: [Int] = []
        var given: [Int] = []
        var waiting: [(bytes: Int, granted: @Sendable () -> Void)] = []
    }

    private let state: Lock<State>

    init(bytesMax: Int) { state = Lock(State(bytesMax: bytesMax)) }

    var used: Int { state.withLock { $0.used } }
    var asked: [Int] { state.withLock { $0.asked } }
    var given: [Int] { state.withLock { $0.given } }
    var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// For one poll: an answer costs `emptyBytes`, each record `recordBytes`, each skipped range 7.
    func forPoll(emptyBytes: Int = 0, recordBytes: Int, answerBytesMax: Int = .max) -> AnswerMemory {
        var memory = AnswerMemory()
        memory.emptyBytes = emptyBytes
        memory.recordBytes = { _ in recordBytes }
        memory.skippedBytes = { _ in 7 }
        memory.answerBytesMax = answerBytesMax
        memory.reserve = { [self] bytes, granted in reserve(bytes, granted) }
        memory.giveBack = { [self] bytes in
            state.withLock { state in
                state.used -= bytes
                state.given.append(bytes)
                #expect(state.used >= 0, "given back more than was taken")
            }
        }
        return memory
    }

    private func reserve(_ bytes: Int, _ granted: @escaping @Sendable () -> Void) -> Bool {
        state.withLock { state in
            state.asked.append(bytes)
            guard state.used + bytes <= state.bytesMax else {
                state.waiting.append((bytes, granted))
                return false
            }
            state.used += bytes
            return true
        }
    }

    /// For the first that waits.
    func grantOne() {
        let first = state.withLock { state in
            let first = state.waiting.removeFirst()
            state.used += first.bytes
            return first
        }
        first.granted()
    }
}
