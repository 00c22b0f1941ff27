import Primitives
import Testing

@testable import HTTPServer

@Suite struct MemoryBudgetTests {
    /// Somebody who waits, and what was called.
    private final class Holder: Sendable {
        private let calls = Lock(0)

        var count: Int { calls.withLock { $0 } }

        @discardableResult
        func wait(_ budget: MemoryBudget, _ bytes: Int) -> Bool {
            let isCharged = budget.chargeOrWait(bytes, for: ObjectIdentifier(self)) { [self] in
                calls.withLock { $0 += 1 }
            }
            if !isCharged { budget.serveWaiting() }
            return isCharged
        }

        func leave(_ budget: MemoryBudget) {
            budget.leave(ObjectIdentifier(self))
            budget.serveWaiting()
        }
    }

    private func used(_ bytes: Int, of bytesMax: Int) -> MemoryBudget {
        let budget = MemoryBudget(bytesMax: bytesMax)
        #expect(budget.charge(bytes))
        return budget
    }

    @Test func charge_IsRefused_WhenTheBoundWouldBePassed() {
        let budget = used(60, of: 100)
        for bytes in [41, 100, Int.max] { #expect(!budget.charge(bytes)) }
        #expect(budget.usedBytes == 60)
        #expect(budget.charge(40))
        budget.chargeAlways(50)
        #expect(!budget.charge(0) && !budget.charge(1))
        budget.release(150)
        #expect(budget.usedBytes == 0)
    }

    @Test func oneHolder_HasOnePlace_WhateverItAsks() {
        let budget = used(100, of: 100)
        let holder = Holder()
        for bytes in 1...50 { #expect(!holder.wait(budget, bytes)) }
        #expect(budget.waitingCount == 1)
        budget.release(100)
        #expect(holder.count == 1)
        #expect(budget.waitingCount == 0)
        #expect(budget.usedBytes == 50, "the last place")
    }

    @Test func release_ServesAsManyAsFit_AndTheBytesAreTheirs() {
        let budget = used(100, of: 100)
        let holders = (0..<10).map { _ in Holder() }
        for holder in holders { holder.wait(budget, 20) }
        budget.release(50)
        #expect(holders.map(\.count) == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(budget.usedBytes == 90)
        budget.release(90)
        #expect(holders.map(\.count) == [1, 1, 1, 1, 1, 1, 1, 0, 0, 0])
        #expect(budget.usedBytes == 100)
    }

    @Test func oneThatNeedsMuch_IsNotStarved_ByThoseThatNeedLittle() {
        let budget = used(100, of: 100)
        let (large, small, late) = (Holder(), Holder(), Holder())
        large.wait(budget, 80)
        small.wait(budget, 10)
        budget.release(50)
        #expect(large.count == 0 && small.count == 0)
        // What would fit waits behind.
        #expect(!late.wait(budget, 10))
        budget.release(30)
        #expect(large.count == 1 && small.count == 0 && late.count == 0)
        budget.release(20)
        #expect(small.count == 1 && late.count == 1)
        #expect(budget.usedBytes == 100)
    }

    @Test func oneThatLeft_IsNotInTheWay_AndIsNotCalled() {
        let budget = used(100, of: 100)
        let (large, small) = (Holder(), Holder())
        large.wait(budget, 80)
        small.wait(budget, 10)
        budget.release(10)
        #expect(small.count == 0)
        large.leave(budget)
        #expect(small.count == 1)
        budget.release(100)
        #expect(large.count == 0)
        #expect(budget.waitingCount == 0)
        #expect(budget.usedBytes == 0)
    }

    @Test func more_ThanThereEverIs_DoesNotWait() {
        let budget = used(10, of: 100)
        let (impossible, small) = (Holder(), Holder())
        #expect(!impossible.wait(budget, 101))
        #expect(budget.waitingCount == 0)
        #expect(small.wait(budget, 90))
    }
}
