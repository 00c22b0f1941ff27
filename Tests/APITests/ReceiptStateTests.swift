import Gateway
import GatewayTestSupport
import JSON
import Records
import Store
import TestSupport
import Testing

/// What receipts tell after the process that gave them out is gone.
@Suite struct ReceiptStateTests {
    @Test func numberThatWasNeverGivenOut_IsUnknown_AlsoInAnEarlierProcess() throws {
        let first = try LocalGateway()
        let receipts = try (0..<3).map { try first.client().produce("orders", "\($0)") }
        for receipt in receipts { _ = try first.client().settled(receipt) }
        first.stop()
        let second = try LocalGateway(in: first.directory) { try $0.set("receipts.in_memory=0") }
        let client = try second.client()
        for (offset, receipt) in receipts.enumerated() {
            let outcome = try client.request("GET", "/v1/receipts/\(receipt)").json()
            #expect(outcome["state"]?.string == "delivered" && outcome["topic"]?.string == "orders", "\(offset)")
        }
        let last = try #require(Receipt(receipts[2]))
        for behind in [1, 2, 1_000] {
            let made = Receipt(spool: last.spool, lsn: last.lsn.advanced(by: behind))
            expectProblem(
                try client.request("GET", "/v1/receipts/\(made)"), 404, "unknown_receipt", retryable: false)
        }
    }

    @Test func damagedOutcome_IsNamed_AndTheOthersAreTold() throws {
        let first = try LocalGateway()
        let receipts = try (0..<3).map { number in
            let receipt = try first.client().produce("orders", "\(number)")
            // A hand-over of its own.
            _ = try first.client().settled(receipt)
            return receipt
        }
        let directory = first.directory
        first.stop()
        // The broker's own schema has as many migrations.
        let schema = Schema(applicationID: 0x5052_626b, migrations: ["", "", ""])
        try Connection.open(path: directory.path + "/data/broker/broker.sqlite", schema: schema)
            .execute("UPDATE outcomes SET packed = zeroblob(length(packed)) WHERE number = 2")
        let second = try LocalGateway(in: directory)
        let client = try second.client()
        expectProblem(
            try client.request("GET", "/v1/receipts/\(receipts[1])"), 500, "receipt_damaged", retryable: false)
        let list = receipts.map { "\"\($0)\"" }.joined(separator: ",")
        let answer = try client.postJSON("/v1/receipts/query", #"{"receipts":[\#(list)]}"#)
        let states = try answer.json()["receipts"]?.list.map { $0["state"]?.string }
        #expect(states == ["delivered", "damaged", "delivered"])
    }
}
