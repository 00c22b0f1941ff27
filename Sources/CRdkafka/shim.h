#pragma once
// librdkafka 2.0.2 and newer. What Swift cannot call is wrapped here: variadic functions.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>

// rd_kafka_producev for one record on an explicit partition; key, value and headers are copied, so that nothing of the
// caller's is needed after the call. (produceva crashes with headers for an unknown partition before 2.12, librdkafka
// issue 4627.) A null value is a tombstone. `headers` may be null; they are the library's after success and the
// caller's after an error. `opaque` comes back once: with the delivery report after success, never after an error.
#define PR_PRODUCE(topic)                                                                                              \
    rd_kafka_producev(                                                                                                 \
        rk, topic, RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),                          \
        RD_KAFKA_V_KEY((void *)key, key_bytes), RD_KAFKA_V_VALUE((void *)value, value_bytes),                          \
        RD_KAFKA_V_TIMESTAMP(timestamp_ms), RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END)

// To a topic by its handle: by name, the library walks through all the topics it knows at each record.
static inline rd_kafka_resp_err_t pr_produce(
    rd_kafka_t *rk, rd_kafka_topic_t *topic, int32_t partition, const void *key, size_t key_bytes, const void *value,
    size_t value_bytes, int64_t timestamp_ms, rd_kafka_headers_t *headers, void *opaque) {
    return PR_PRODUCE(RD_KAFKA_V_RKT(topic));
}

static inline rd_kafka_resp_err_t pr_produce_by_name(
    rd_kafka_t *rk, const char *topic, int32_t partition, const void *key, size_t key_bytes, const void *value,
    size_t value_bytes, int64_t timestamp_ms, rd_kafka_headers_t *headers, void *opaque) {
    return PR_PRODUCE(RD_KAFKA_V_TOPIC(topic));
}

// One error with a round-trip time for the next request of this kind at a mock broker.
static inline rd_kafka_resp_err_t pr_mock_push_error_rtt(
    rd_kafka_mock_cluster_t *cluster, int32_t broker, int16_t api_key, rd_kafka_resp_err_t error, int rtt_ms) {
    return rd_kafka_mock_broker_push_request_error_rtts(cluster, broker, api_key, 1, error, rtt_ms);
}

// The library's table of properties as text, for the caller to free; null without memory.
static inline char *pr_properties_text(void) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    if (stream == NULL) return NULL;
    rd_kafka_conf_properties_show(stream);
    if (fclose(stream) == 0) return text;
    free(text);
    return NULL;
}
