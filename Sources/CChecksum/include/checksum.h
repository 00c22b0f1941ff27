#pragma once
#include <stddef.h>
#include <stdint.h>

/// CRC32C (Castagnoli, RFC 3720 appendix B.4) of `length` bytes, going on from `seed`: the seed of a first call is 0
/// for the plain CRC32C, or any other value for a private one; pass a result as the seed to go on with more bytes.
/// Any thread.
uint32_t postrider_crc32c(uint32_t seed, const void *bytes, size_t length);

/// The table-driven version that machines without CRC instructions use; public so that a test can compare the two.
uint32_t postrider_crc32c_portable(uint32_t seed, const void *bytes, size_t length);
