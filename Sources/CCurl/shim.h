// What Swift cannot say to libcurl itself: its variadic calls, one function for each type of argument. No logic lives
// here. The parentheses keep the type checks of <curl/typecheck-gcc.h>, which are macros, away.
#pragma once

#include <curl/curl.h>

static inline CURLcode postrider_curl_set_number(CURL *handle, CURLoption option, long value) {
    return (curl_easy_setopt)(handle, option, value);
}

static inline CURLcode postrider_curl_set_size(CURL *handle, CURLoption option, curl_off_t value) {
    return (curl_easy_setopt)(handle, option, value);
}

// libcurl copies it, but with CURLOPT_POSTFIELDS.
static inline CURLcode postrider_curl_set_text(CURL *handle, CURLoption option, const char *value) {
    return (curl_easy_setopt)(handle, option, value);
}

// Not copied: for CURLOPT_POSTFIELDS, callbacks' arguments and the like.
static inline CURLcode postrider_curl_set_pointer(CURL *handle, CURLoption option, const void *value) {
    return (curl_easy_setopt)(handle, option, value);
}

static inline CURLcode postrider_curl_set_headers(CURL *handle, struct curl_slist *headers) {
    return (curl_easy_setopt)(handle, CURLOPT_HTTPHEADER, headers);
}

typedef size_t (*postrider_curl_receive)(char *bytes, size_t size, size_t count, void *cls);
typedef int (*postrider_curl_progress)(void *cls, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
                                       curl_off_t ulnow);

static inline CURLcode postrider_curl_set_receive(CURL *handle, CURLoption option, postrider_curl_receive receive) {
    return (curl_easy_setopt)(handle, option, receive);
}

static inline CURLcode postrider_curl_set_progress(CURL *handle, postrider_curl_progress progress) {
    return (curl_easy_setopt)(handle, CURLOPT_XFERINFOFUNCTION, progress);
}

static inline CURLcode postrider_curl_set_made(CURL *handle, curl_sockopt_callback made) {
    return (curl_easy_setopt)(handle, CURLOPT_SOCKOPTFUNCTION, made);
}

// 0 when there was no answer.
static inline long postrider_curl_status(CURL *handle) {
    long status = 0;
    (curl_easy_getinfo)(handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

// A macro with a cast.
static inline CURLcode postrider_curl_init(void) { return curl_global_init(CURL_GLOBAL_DEFAULT); }
