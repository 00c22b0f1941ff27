import Records
import Testing

@testable import Spool

@Suite struct RequestIndexTests {
    private var settings: IdempotencySettings {
        var settings = IdempotencySettings()
        settings.lifetime = .seconds(100)
        settings.producerIdle = .seconds(50)
        settings.keysMax = 3
        settings.producersMax = 2
        return settings
    }

    /// Admits and stores; the LSN is the time.
    private func accept(_ identity: RequestIdentity, _ index: inout RequestIndex, at now: UInt32) -> Bool {
        guard case .first(let id) = index.admit(identity, now: now) else { return false }
        index.settle(identity, id: id, stored: .init(first: LSN(rawValue: UInt64(now)), count: 2, seconds: now))
        return true
    }

    @Test func key_AnswersItsRepetition_RefusesAnotherPayload_AndIsFreeAfterItsLifetime() {
        var index = RequestIndex(settings)
        #expect(accept(key(1, 7), &index, at: 1000))
        #expect(index.admit(key(1, 7), now: 1001) == .repeated(first: LSN(rawValue: 1000), count: 2))
        #expect(index.admit(key(1, 8), now: 1001) == .otherPayload)
        #expect(index.admit(key(1, 7), now: 1100) == .repeated(first: LSN(rawValue: 1000), count: 2))
        #expect(index.admit(key(1, 7), now: 900) == .repeated(first: LSN(rawValue: 1000), count: 2), "it may go back")
        #expect(accept(key(1, 8), &index, at: 1101))
        #expect(index.admit(key(1, 8), now: 1150) == .repeated(first: LSN(rawValue: 1101), count: 2))
        #expect(index.expireKeys(now: 1150, max: 10) == 0, "the admission took the old one away")
        #expect(index.admit(key(1, 7), now: 1199) == .otherPayload)
    }

    @Test func claim_ExcludesOthers_UntilItsFateIsKnown() {
        var index = RequestIndex(settings)
        guard case .first(let id) = index.admit(key(1, 7), now: 0) else { return #expect(Bool(false)) }
        #expect(index.admit(key(1, 7), now: 0) == .inFlight)
        #expect(index.admit(key(1, 8), now: 0) == .inFlight)
        index.settle(key(1, 7), id: id, stored: nil)
        guard case .first(let second) = index.admit(key(1, 8), now: 0) else { return #expect(Bool(false)) }
        index.settle(key(1, 7), id: id, stored: .init(first: LSN(rawValue: 1), count: 1, seconds: 0))
        #expect(index.admit(key(1, 8), now: 0) == .inFlight, "a fate is told once")
        index.settle(key(1, 8), id: second, stored: .init(first: LSN(rawValue: 2), count: 1, seconds: 0))
        #expect(index.admit(key(1, 8), now: 0) == .repeated(first: LSN(rawValue: 2), count: 1))
    }

    @Test func keys_AreRefusedAtTheirLimit_ThoseOnTheirWayIncluded_AndOldOnesKept() {
        var index = RequestIndex(settings)
        #expect(accept(key(1), &index, at: 1000))
        #expect(accept(key(2), &index, at: 1050))
        guard case .first(let id) = index.admit(key(3), now: 1050) else { return #expect(Bool(false)) }
        #expect(index.admit(key(4), now: 1050) == .full(.keys(max: 3)))
        #expect(index.admit(key(1), now: 1050) == .repeated(first: LSN(rawValue: 1000), count: 2))
        index.settle(key(3), id: id, stored: nil)
        #expect(accept(key(4), &index, at: 1060))
        #expect(index.admit(key(5), now: 1100) == .full(.keys(max: 3)))
        #expect(accept(key(5), &index, at: 1101), "the first has expired")
    }

    @Test func sequence_IsTakenInOrderOnly_AndTheLastOnesAreAnswered() {
        var index = RequestIndex(settings)
        let kept = UInt64(IdempotencySettings.answersPerProducer)
        #expect(index.admit(sequence(1, 2), now: 0) == .gap(expected: 1))
        #expect(index.admit(sequence(1, 0), now: 0) == .gap(expected: 1))
        for number in 1...(kept + 1) { #expect(accept(sequence(1, number, number), &index, at: UInt32(number))) }
        #expect(index.admit(sequence(1, 1, 1), now: 0) == .tooOld)
        #expect(index.admit(sequence(1, 0), now: 0) == .gap(expected: kept + 2))
        #expect(index.admit(sequence(1, 2, 2), now: 0) == .repeated(first: LSN(rawValue: 2), count: 2))
        #expect(index.admit(sequence(1, 2, 3), now: 0) == .otherPayload)
        #expect(index.admit(sequence(1, kept + 3), now: 0) == .gap(expected: kept + 2))
        guard case .first(let id) = index.admit(sequence(1, kept + 2), now: 0) else { return #expect(Bool(false)) }
        #expect(index.admit(sequence(1, kept + 2), now: 0) == .inFlight)
        #expect(index.admit(sequence(1, kept + 3), now: 0) == .inFlight)
        #expect(index.admit(sequence(1, 2, 2), now: 0) == .repeated(first: LSN(rawValue: 2), count: 2))
        index.settle(sequence(1, kept + 2), id: id, stored: nil)
        #expect(index.admit(sequence(1, kept + 3), now: 0) == .gap(expected: kept + 2))
    }

    @Test func producers_AreRefusedAtTheirLimit_AndForgottenWhenIdle() {
        var index = RequestIndex(settings)
        #expect(accept(sequence(1, 1), &index, at: 1000))
        guard case .first(let id) = index.admit(sequence(2, 1), now: 1000) else { return #expect(Bool(false)) }
        #expect(index.admit(sequence(3, 1), now: 1000) == .full(.producers(max: 2)))
        #expect(accept(sequence(1, 2), &index, at: 1010))
        index.settle(sequence(2, 1), id: id, stored: nil)
        #expect(accept(sequence(3, 1), &index, at: 1020))
        #expect(index.expireProducers(now: 1060) == 0)
        #expect(index.admit(sequence(1, 3), now: 1061) == .gap(expected: 1), "idle, though nobody has forgotten it yet")
        guard case .first(let again) = index.admit(sequence(1, 1), now: 1061) else { return #expect(Bool(false)) }
        #expect(index.expireProducers(now: 1081) == 1, "not the one with a request on its way")
        index.settle(sequence(1, 1), id: again, stored: .init(first: LSN(rawValue: 1060), count: 1, seconds: 1060))
        #expect(index.admit(sequence(1, 1), now: 1070) == .repeated(first: LSN(rawValue: 1060), count: 1))
        #expect(index.admit(sequence(1, 2), now: 1111) == .gap(expected: 1))
    }
}
