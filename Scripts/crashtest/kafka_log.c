// What a Kafka cluster holds, read without any code of the gateway: every committed record of some topics, and the
// committed offsets of some groups. Standard output, in lines:
//
//   RECORD <topic> <partition> <offset> <bytes>     followed by so many bytes and a line feed
//   COMMITTED <group> <topic> <partition> <offset>  the next to read
//   END                                             the last line; without it the output is not whole
//
// Reads with isolation.level=read_committed up to the end that the cluster tells at the start: the last stable offset,
// which must be the high watermark, as after a transaction that is still open nobody may read.
//
//   kafka_log BOOTSTRAP_SERVERS SECONDS_MAX TOPIC... [-- GROUP...]
#define _GNU_SOURCE
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CALL_MS_MAX 10000
#define POLL_MS 200

static void fail(const char *what, const char *why) {
    fprintf(stderr, "kafka_log: %s: %s\n", what, why);
    exit(1);
}

static void check(const char *what, rd_kafka_resp_err_t error) {
    if (error) fail(what, rd_kafka_err2str(error));
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char error[256];
    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK) fail(name, error);
}

static rd_kafka_t *consumer(const char *servers, const char *group) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", servers);
    set(conf, "group.id", group);
    set(conf, "isolation.level", "read_committed");
    set(conf, "enable.auto.commit", "false");
    set(conf, "enable.auto.offset.store", "false");
    set(conf, "auto.offset.reset", "error");
    set(conf, "enable.partition.eof", "true");
    char error[256];
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (client == NULL) fail("rd_kafka_new", error);
    return client;
}

// Every partition of the topics, each from its beginning.
static rd_kafka_topic_partition_list_t *partitions_of(rd_kafka_t *client, char **topics, int count) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int index = 0; index < count; index++) {
        rd_kafka_topic_t *topic = rd_kafka_topic_new(client, topics[index], NULL);
        const struct rd_kafka_metadata *metadata;
        check(topics[index], rd_kafka_metadata(client, 0, topic, &metadata, CALL_MS_MAX));
        check(topics[index], metadata->topics[0].err);
        for (int32_t partition = 0; partition < metadata->topics[0].partition_cnt; partition++)
            rd_kafka_topic_partition_list_add(list, topics[index], partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
        rd_kafka_metadata_destroy(metadata);
        rd_kafka_topic_destroy(topic);
    }
    return list;
}

// A transaction that nobody ended hides what comes after it: that is for the caller to see as a failure.
static void require_stable(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *partitions) {
    rd_kafka_topic_partition_list_t *stable = rd_kafka_topic_partition_list_copy(partitions);
    for (int index = 0; index < stable->cnt; index++) stable->elems[index].offset = RD_KAFKA_OFFSET_END;
    check("end offsets", rd_kafka_offsets_for_times(client, stable, CALL_MS_MAX));
    for (int index = 0; index < stable->cnt; index++) {
        const rd_kafka_topic_partition_t *end = &stable->elems[index];
        check(end->topic, end->err);
        int64_t low, high;
        const rd_kafka_resp_err_t error =
            rd_kafka_query_watermark_offsets(client, end->topic, end->partition, &low, &high, CALL_MS_MAX);
        check(end->topic, error);
        if (end->offset != high) {
            char text[160];
            snprintf(text, sizeof text, "partition %d is stable up to %lld, its end is %lld", end->partition,
                     (long long)end->offset, (long long)high);
            fail(end->topic, text);
        }
    }
    rd_kafka_topic_partition_list_destroy(stable);
}

static void print_records(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *partitions, time_t deadline) {
    check("assign", rd_kafka_assign(client, partitions));
    for (int at_end = 0; at_end < partitions->cnt;) {
        if (time(NULL) > deadline) fail("reading", "it takes too long");
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, POLL_MS);
        if (message == NULL) continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            at_end++;
        } else if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            printf("RECORD %s %d %lld %zu\n", rd_kafka_topic_name(message->rkt), message->partition,
                   (long long)message->offset, message->len);
            fwrite(message->payload, 1, message->len, stdout);
            putchar('\n');
        } else if (message->rkt != NULL) {
            fail(rd_kafka_topic_name(message->rkt), rd_kafka_message_errstr(message));
        }
        rd_kafka_message_destroy(message);
    }
}

static void print_committed(const char *servers, const char *group, char **topics, int count) {
    rd_kafka_t *client = consumer(servers, group);
    rd_kafka_topic_partition_list_t *partitions = partitions_of(client, topics, count);
    check(group, rd_kafka_committed(client, partitions, CALL_MS_MAX));
    for (int index = 0; index < partitions->cnt; index++) {
        const rd_kafka_topic_partition_t *committed = &partitions->elems[index];
        check(committed->topic, committed->err);
        if (committed->offset >= 0)
            printf("COMMITTED %s %s %d %lld\n", group, committed->topic, committed->partition,
                   (long long)committed->offset);
    }
    rd_kafka_topic_partition_list_destroy(partitions);
    rd_kafka_destroy(client);
}

int main(int count, char **arguments) {
    int topics = 0;
    while (3 + topics < count && strcmp(arguments[3 + topics], "--") != 0) topics++;
    if (topics == 0) {
        fprintf(stderr, "usage: kafka_log BOOTSTRAP_SERVERS SECONDS_MAX TOPIC... [-- GROUP...]\n");
        return 2;
    }
    const char *servers = arguments[1];
    const time_t deadline = time(NULL) + atoi(arguments[2]);
    // It joins no group and commits nothing: the name is of no matter.
    rd_kafka_t *client = consumer(servers, "kafka-log");
    rd_kafka_topic_partition_list_t *partitions = partitions_of(client, arguments + 3, topics);
    require_stable(client, partitions);
    print_records(client, partitions, deadline);
    rd_kafka_topic_partition_list_destroy(partitions);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    for (int group = 4 + topics; group < count; group++)
        print_committed(servers, arguments[group], arguments + 3, topics);
    printf("END\n");
    if (fflush(stdout) != 0 || ferror(stdout)) fail("standard output", "cannot be written");
    return 0;
}
