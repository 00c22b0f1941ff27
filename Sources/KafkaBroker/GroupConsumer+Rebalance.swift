import Broker
import CRdkafka
import Logging
import Primitives
import Records

/// Assignment and revocation (eager: all partitions at once), and moving within a partition. On the poll thread.
extension GroupConsumer: KafkaClientDelegate {
    func rebalance(_ code: rd_kafka_resp_err_t, _ partitions: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) {
        guard code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS else {
            let isLost = client.map { rd_kafka_assignment_lost($0.handle) != 0 } ?? true
            return revoke(isLost: isLost || code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
        }
        // Whoever is leaving has no use for it, and must answer all the same.
        guard !isClosing else { return decline() }
        placing = TopicPartitionList(copying: partitions)
        placeRetryAt = nil
        place()
    }

    func failed(_ error: KafkaError) {
        log.warning("a consumer's client reports", metadata: ["consumer": "\(name)", "error": "\(error)"])
    }

    /// Begins what the group assigned, at the committed offsets. Until these are known it is tried again.
    func place() {
        guard let client, let list = placing, placeRetryAt.map({ $0 <= clock.now() }) ?? true else { return }
        do throws(KafkaError) {
            if !list.elements.isEmpty {
                let timeoutMs = settings.adminTimeout.timeoutMs
                try check(list.withPointer { rd_kafka_committed(client.handle, $0, timeoutMs) })
            }
            for element in list.elements { try check(element.error) }
            let start = TopicPartitionList(capacity: list.elements.count)
            for element in list.elements {
                // One without was added later: from its beginning, wherever that is.
                let offset = element.offset >= 0 ? element.offset : Int64(RD_KAFKA_OFFSET_BEGINNING)
                start.add(element.partition, offset: offset)
            }
            try check(start.withPointer { rd_kafka_assign(client.handle, $0) })
        } catch {
            placeRetryAt = clock.now() + placeBackoff.nextDelay()
            log.warning(
                "committed offsets of an assignment are not known yet",
                metadata: ["consumer": "\(name)", "error": "\(error)"])
            return
        }
        placing = nil
        placeBackoff.reset()
        assignment += 1
        // Revoked before, unless the library has lost count.
        if !streams.isEmpty { endStreams(isLost: true) }
        committed = [:]
        inDoubt = []
        for element in list.elements {
            streams[element.partition] = Stream(buffer: PartitionBuffer(at: max(0, element.offset)))
            if element.offset >= 0 {
                committed[element.partition] = CommittedOffset(offset: element.offset, metadata: element.metadata)
            }
        }
        let partitions = streams.keys.sorted()
        log.info("assigned", metadata: ["consumer": "\(name)", "partitions": "\(partitions)"])
        delegate?.assigned(partitions)
    }

    /// Ends an assignment that was not begun. Without an answer the group would wait for one.
    func decline() {
        placing = nil
        guard let client else { return }
        let code = TopicPartitionList().withPointer { rd_kafka_assign(client.handle, $0) }
        if code != RD_KAFKA_RESP_ERR_NO_ERROR { failed(KafkaError(code)) }
    }

    /// New commits are refused, those under way have a little time, then the leases end, then the partitions go.
    ///
    /// - Parameter isLost: the group has gone on without us: nothing of ours is taken any more.
    private func revoke(isLost: Bool) {
        placing = nil
        let paused = endStreams(isLost: isLost)
        guard let client else { return }
        // librdkafka remembers a pause over assignments.
        if !paused.isEmpty {
            _ = TopicPartitionList(paused).withPointer { rd_kafka_resume_partitions(client.handle, $0) }
        }
        let code = rd_kafka_assign(client.handle, nil)
        if code != RD_KAFKA_RESP_ERR_NO_ERROR { failed(KafkaError(code)) }
    }

    /// Whoever waits is told, and the leases end. Says nothing to the library.
    ///
    /// - Returns: partitions that are paused.
    @discardableResult
    func endStreams(isLost: Bool) -> [TopicPartition] {
        let partitions = streams.keys.sorted()
        for place in partitions { failWaiting(place, .notAssigned(place, name)) }
        let paused = streams.filter(\.value.isPaused).map(\.key)
        streams = [:]
        if !isLost { serveCommits(waiting: settings.revocationDrain) }
        committed = [:]
        if !partitions.isEmpty {
            log.info(
                "revoked", metadata: ["consumer": "\(name)", "partitions": "\(partitions)", "lost": "\(isLost)"])
            delegate?.revoked(partitions)
        }
        return paused
    }

    // MARK: Moving

    /// The streams of these partitions begin anew. A seek would do for most, but librdkafka refuses it after a
    /// position was lost; beginning the same assignment again always does. The others go on where they are.
    func move(_ offsets: [TopicPartition: Int64]) throws(BrokerError) {
        guard let client else { throw .leftGroup(name) }
        if try seek(offsets, client) {
            for (place, offset) in offsets { streams[place]?.buffer.move(to: offset) }
            return
        }
        let list = TopicPartitionList(capacity: streams.count)
        for (place, stream) in streams { list.add(place, offset: offsets[place] ?? stream.buffer.next) }
        let code = list.withPointer { rd_kafka_assign(client.handle, $0) }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw ErrorTable.brokerError(KafkaError(code)) }
        for (place, offset) in offsets { streams[place]?.buffer.move(to: offset) }
    }

    /// - Returns: false when a partition's state does not allow it.
    private func seek(_ offsets: [TopicPartition: Int64], _ client: KafkaClient) throws(BrokerError) -> Bool {
        guard !offsets.keys.contains(where: { streams[$0]?.position != .streaming }) else { return false }
        let list = TopicPartitionList(capacity: offsets.count)
        for (place, offset) in offsets { list.add(place, offset: offset) }
        do throws(KafkaError) {
            try check(list.withPointer { rd_kafka_seek_partitions(client.handle, $0, 1_000) })
            for element in list.elements { try check(element.error) }
            return true
        } catch {
            if error.code == RD_KAFKA_RESP_ERR__STATE { return false }
            throw ErrorTable.brokerError(error)
        }
    }

    /// The offset to fetch is not there (any more): where the partition begins and ends is asked for.
    func locate(_ place: TopicPartition) {
        guard let stream = streams[place], stream.position != .asking else { return }
        streams[place]?.position = .asking
        let assignment = assignment
        let request = FetchRequest(partition: place, offset: .max, recordsMax: 1, bytesMax: 1)
        readers.fetch(request) { [weak self] result in
            self?.send(.watermarks(place, assignment: assignment, result))
        }
    }

    /// Below the beginning it goes on at the beginning, and the fetch says which offsets are gone. After an error it
    /// stays lost until somebody fetches.
    func relocate(_ place: TopicPartition, _ result: Result<FetchResult, BrokerError>) {
        guard let stream = streams[place] else { return }
        streams[place]?.position = .lost
        do throws(BrokerError) {
            let marks = try result.get()
            let position = stream.buffer.next
            guard position <= marks.highWatermark else { throw .beyondEnd(place, position, end: marks.highWatermark) }
            try move([place: max(position, marks.lowWatermark)])
            streams[place]?.buffer.raiseLowWatermark(to: marks.lowWatermark)
            streams[place]?.position = .streaming
        } catch {
            log.warning("a position is lost", metadata: ["consumer": "\(name)", "error": "\(error)"])
            failWaiting(place, error)
        }
    }
}
