import Broker
import CRdkafka
import Testing

@testable import KafkaBroker

@Suite struct ErrorTableTests {
    @Test func code_StandsOnce() {
        let codes = ErrorTable.entries.map(\.code.rawValue)
        #expect(Set(codes).count == codes.count)
    }

    @Test func unknownCode_IsRetriableWithAnAlarm() {
        let entry = ErrorTable.entry(for: rd_kafka_resp_err_t(rawValue: 9999))
        #expect(entry.meaning == .retriable)
        #expect(entry.alarm)
    }
}
