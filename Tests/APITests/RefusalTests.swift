import Broker
import Consumers
import Testing

@testable import API

/// What clients are told of errors that no call can be made to give.
@Suite struct RefusalTests {
    /// Other topics' acknowledgements may share the commit: they must be tried again.
    @Test func acknowledgement_IsToBeRepeated_WhenATopicWasDeletedMeanwhile() {
        let deleted = Problem(.unavailable(BrokerError(.recordFatal, code: "unknown_topic", detail: "orders")))
        #expect(deleted.status == 503)
        #expect(deleted.retryable)
        #expect(deleted.retryAfterSeconds == 1)
        let other = Problem(.unavailable(BrokerError(.recordFatal, code: "refused", detail: "")))
        #expect(other.status == 422)
        #expect(!other.retryable)
    }
}
