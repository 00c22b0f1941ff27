// The least that "acknowledged by Kafka" costs: librdkafka's idempotent producer, without transactions, sends records
// of one size to partitions in turn and waits for every acknowledgement. No spool, no checkpoint, nothing kept: what is
// in memory when it dies is lost. The last line is RESULT {"records":…,"duration_us":…}, from the first record to the
// last acknowledgement; topics and connections are there before.
//
//   idempotent_producer BOOTSTRAP_SERVERS RECORDS BYTES PARTITIONS TOPIC...
#define _GNU_SOURCE
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOPICS_MAX 64
#define CONNECT_MS_MAX 10000
#define FLUSH_MS_MAX 300000
// Records to one partition before the next one: as a producer without keys fills its batches.
#define RUN_RECORDS 100

static long long acknowledged;

static void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static long long now_us(void) {
    struct timespec time;
    if (clock_gettime(CLOCK_MONOTONIC, &time) != 0) fail("clock_gettime", "failed");
    return time.tv_sec * 1000000ll + time.tv_nsec / 1000;
}

static void report(rd_kafka_t *producer, const rd_kafka_message_t *message, void *context) {
    (void)producer;
    (void)context;
    if (message->err) fail("delivery", rd_kafka_err2str(message->err));
    acknowledged++;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char error[256];
    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK) fail(name, error);
}

int main(int count, char **arguments) {
    if (count < 6 || count - 5 > TOPICS_MAX) {
        fprintf(stderr, "usage: idempotent_producer BOOTSTRAP_SERVERS RECORDS BYTES PARTITIONS TOPIC...\n");
        return 2;
    }
    const long long records = atoll(arguments[2]);
    const size_t bytes = (size_t)atoll(arguments[3]);
    const int partitions = atoi(arguments[4]), topics = count - 5;
    if (records < 1 || bytes < 1 || partitions < 1) fail("usage", "numbers are from 1");

    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", arguments[1]);
    set(conf, "enable.idempotence", "true");
    set(conf, "linger.ms", "5");
    set(conf, "socket.nagle.disable", "true");
    // The whole backlog may be in memory: nothing waits for room.
    set(conf, "queue.buffering.max.kbytes", "2097151");
    set(conf, "queue.buffering.max.messages", "10000000");
    rd_kafka_conf_set_dr_msg_cb(conf, report);
    char error[256];
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (producer == NULL) fail("rd_kafka_new", error);

    rd_kafka_topic_t *handles[TOPICS_MAX];
    for (int topic = 0; topic < topics; topic++) {
        handles[topic] = rd_kafka_topic_new(producer, arguments[5 + topic], NULL);
        const struct rd_kafka_metadata *metadata;
        rd_kafka_resp_err_t failed = rd_kafka_metadata(producer, 0, handles[topic], &metadata, CONNECT_MS_MAX);
        if (failed) fail(arguments[5 + topic], rd_kafka_err2str(failed));
        if (metadata->topics[0].err) fail(arguments[5 + topic], rd_kafka_err2str(metadata->topics[0].err));
        if (metadata->topics[0].partition_cnt < partitions) fail(arguments[5 + topic], "has fewer partitions");
        rd_kafka_metadata_destroy(metadata);
    }
    char *value = malloc(bytes);
    if (value == NULL) fail("malloc", "out of memory");
    memset(value, 'x', bytes);

    const long long start = now_us();
    for (long long record = 0; record < records; record++) {
        const long long run = record / RUN_RECORDS;
        rd_kafka_topic_t *topic = handles[run % topics];
        const int32_t partition = (int32_t)(run / topics % partitions);
        while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, value, bytes, NULL, 0, NULL) != 0) {
            if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
            rd_kafka_poll(producer, 10);
        }
        if (record % RUN_RECORDS == 0) rd_kafka_poll(producer, 0);
    }
    rd_kafka_resp_err_t failed = rd_kafka_flush(producer, FLUSH_MS_MAX);
    if (failed) fail("flush", rd_kafka_err2str(failed));
    const long long duration = now_us() - start;
    if (acknowledged != records) fail("acknowledgements", "some are missing");

    for (int topic = 0; topic < topics; topic++) rd_kafka_topic_destroy(handles[topic]);
    rd_kafka_destroy(producer);
    free(value);
    printf("RESULT {\"records\":%lld,\"duration_us\":%lld}\n", records, duration);
    return 0;
}
