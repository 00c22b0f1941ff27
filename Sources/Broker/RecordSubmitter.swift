public import Records

/// The way back into the spool for what consumers send on (dead-letter topics after `max_deliveries`). Implemented in
/// Gateway, so that Consumers needs no Spool.
public protocol RecordSubmitter: Sendable {
    /// Completes after the sync, on the journal's thread, with the receipts in the records' order.
    func submit(
        _ records: [SpoolRecord], completion: @escaping @Sendable (Result<[Receipt], BrokerError>) -> Void)
}
