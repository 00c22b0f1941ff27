import Broker
import CRdkafka
import Primitives
import Records

/// A commit on its way to the group coordinator. The consumer owns it; librdkafka has its address until the answer.
final class CommitUnderWay {
    let offsets: [TopicPartition: CommittedOffset]
    let completion: GroupConsumer.CommitCompletion
    unowned let consumer: GroupConsumer

    init(
        _ offsets: [TopicPartition: CommittedOffset], _ consumer: GroupConsumer,
        _ completion: @escaping GroupConsumer.CommitCompletion
    ) {
        self.offsets = offsets
        self.consumer = consumer
        self.completion = completion
    }
}

/// Committed offsets of a live membership. On the poll thread, as revocation is: a commit is of partitions that are
/// ours when it is sent, whatever the broker would take.
extension GroupConsumer {
    func answerCommitted(_ partitions: [TopicPartition], _ completion: CommittedCompletion) {
        guard partitions.allSatisfy({ streams[$0] != nil }) else { return completion(.success(nil)) }
        for place in partitions { streams[place]?.isLoaded = true }
        // In doubt since a commit that was not answered.
        if partitions.contains(where: { inDoubt.contains($0) }) { return completion(.success(nil)) }
        var found: [TopicPartition: CommittedOffset] = [:]
        for place in partitions { found[place] = committed[place] }
        completion(.success(found))
    }

    func commit(_ offsets: [TopicPartition: CommittedOffset], _ completion: @escaping CommitCompletion) {
        guard let client else { return completion(.failure(.leftGroup(name))) }
        for place in offsets.keys {
            // The broker would take it, over what the partition's owner commits.
            guard let stream = streams[place] else { return completion(.failure(.notAssigned(place, name))) }
            guard stream.isLoaded else { return completion(.failure(.notAssigned(place, name))) }
        }
        let list = TopicPartitionList(capacity: offsets.count)
        for (place, value) in offsets { list.add(place, offset: value.offset, metadata: value.metadata) }
        let commit = CommitUnderWay(offsets, self, completion)
        commitsUnderWay[ObjectIdentifier(commit)] = commit
        let opaque = Unmanaged.passUnretained(commit).toOpaque()
        let code = list.withPointer { list in
            rd_kafka_commit_queue(
                client.handle, list, commitQueue,
                { _, code, offsets, opaque in
                    guard let opaque else { return }
                    let commit = Unmanaged<CommitUnderWay>.fromOpaque(opaque).takeUnretainedValue()
                    commit.consumer.answered(commit, code, offsets)
                }, opaque)
        }
        if code != RD_KAFKA_RESP_ERR_NO_ERROR { finish(commit, KafkaError(code)) }
    }

    private func answered(
        _ commit: CommitUnderWay, _ code: rd_kafka_resp_err_t,
        _ offsets: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?
    ) {
        var error = code == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : KafkaError(code)
        if error == nil, let offsets {
            error = TopicPartitionList.elements(of: offsets)
                .first { $0.error != RD_KAFKA_RESP_ERR_NO_ERROR }.map { KafkaError($0.error) }
        }
        finish(commit, error)
    }

    private func finish(_ commit: CommitUnderWay, _ error: KafkaError?) {
        commitsUnderWay[ObjectIdentifier(commit)] = nil
        guard let error else {
            for (place, value) in commit.offsets where streams[place] != nil {
                committed[place] = value
                inDoubt.remove(place)
            }
            return commit.completion(.success(()))
        }
        // It may have been done all the same.
        for place in commit.offsets.keys where streams[place] != nil { inDoubt.insert(place) }
        commit.completion(.failure(.commit(error, of: name)))
    }

    /// Answers what is answered; with a time, waits for all of them, at most so long.
    func serveCommits(waiting limit: Duration) {
        let deadline = clock.now() + limit
        while !commitsUnderWay.isEmpty {
            let left = max(.zero, deadline - clock.now())
            rd_kafka_queue_poll_callback(commitQueue, Int32(min(left, .milliseconds(100)).wholeMilliseconds))
            if left <= .zero { return }
        }
    }

    /// No answer will be heard.
    func abandonCommits() {
        for commit in commitsUnderWay.values { finish(commit, KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT)) }
    }
}
