// GnuTLS, for SHA-256 only: libmicrohttpd brings it along.
#pragma once

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

enum { postrider_sha256_bytes = 32 };

// SHA-256 (FIPS 180-4) of two runs of bytes, one behind the other. 0, or GnuTLS's error: out of memory, or its
// self-tests failed. (A second run without bytes may be NULL.)
static inline int postrider_sha256(const void *head, size_t head_count, const void *body, size_t body_count,
                                   unsigned char *digest) {
    gnutls_hash_hd_t hash;
    int result;
    if (body_count == 0) return gnutls_hash_fast(GNUTLS_DIG_SHA256, head, head_count, digest);
    result = gnutls_hash_init(&hash, GNUTLS_DIG_SHA256);
    if (result != 0) return result;
    result = gnutls_hash(hash, head, head_count);
    if (result == 0) result = gnutls_hash(hash, body, body_count);
    gnutls_hash_deinit(hash, digest);
    return result;
}
