#include "checksum.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define HAVE_HARDWARE 1
#define HARDWARE __attribute__((target("sse4.2")))
#define STEP1(crc, byte) _mm_crc32_u8((uint32_t)(crc), (byte))
#define STEP8(crc, word) _mm_crc32_u64((crc), (word))
static int hardware_present(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__) && defined(__linux__) && !defined(__AARCH64EB__)
#include <sys/auxv.h>
#define HAVE_HARDWARE 1
#define HARDWARE __attribute__((target("crc")))
#define STEP1(crc, byte) __builtin_arm_crc32cb((uint32_t)(crc), (byte))
#define STEP8(crc, word) __builtin_arm_crc32cd((uint32_t)(crc), (word))
// HWCAP_CRC32 of <asm/hwcap.h>, spelled out so that no kernel header is needed.
static int hardware_present(void) { return (getauxval(AT_HWCAP) & (1ul << 7)) != 0; }
#else
#define HAVE_HARDWARE 0
#endif

// The reflected Castagnoli polynomial.
#define POLYNOMIAL 0x82f63b78u

// The instruction has a latency of three cycles and a throughput of one, so three independent streams keep it busy;
// their results are joined by a table that moves a CRC over a stream's length of zero bytes. Two lengths: the long one
// for throughput, the short one so that a record of 1 KiB gains too.
#define STREAMS 3
#define LONG_STREAM 8192
#define SHORT_STREAM 256

// Slicing-by-8: slices[k][b] is the CRC of byte b followed by k zero bytes.
static uint32_t slices[8][256];

static pthread_once_t once = PTHREAD_ONCE_INIT;

#if HAVE_HARDWARE
// [k][b]: byte k of a CRC with value b, moved over the stream's length of zero bytes.
static uint32_t long_shift[4][256];
static uint32_t short_shift[4][256];
static int use_hardware;

static uint32_t over_zeros(uint32_t crc, size_t length) {
    while (length-- > 0) crc = slices[0][crc & 0xff] ^ (crc >> 8);
    return crc;
}

static void fill_shift(uint32_t table[4][256], size_t length) {
    // CRC is linear, so 32 single bits give every other value.
    uint32_t bits[32];
    for (int bit = 0; bit < 32; bit++) bits[bit] = over_zeros((uint32_t)1 << bit, length);
    for (int byte = 0; byte < 4; byte++) {
        for (int value = 0; value < 256; value++) {
            uint32_t crc = 0;
            for (int bit = 0; bit < 8; bit++) {
                if (value >> bit & 1) crc ^= bits[8 * byte + bit];
            }
            table[byte][value] = crc;
        }
    }
}
#endif

static void prepare(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ ((crc & 1) ? POLYNOMIAL : 0);
        slices[0][byte] = crc;
    }
    for (int byte = 0; byte < 256; byte++) {
        for (int k = 1; k < 8; k++) {
            uint32_t crc = slices[k - 1][byte];
            slices[k][byte] = slices[0][crc & 0xff] ^ (crc >> 8);
        }
    }
#if HAVE_HARDWARE
    fill_shift(long_shift, LONG_STREAM);
    fill_shift(short_shift, SHORT_STREAM);
    use_hardware = hardware_present();
#endif
}

static uint32_t portable(uint32_t seed, const uint8_t *next, size_t length) {
    uint32_t crc = ~seed;
    while (length >= 8) {
        // Byte by byte so that it is right on either byte order; compilers make one load of it.
        uint32_t low = crc ^ ((uint32_t)next[0] | (uint32_t)next[1] << 8 | (uint32_t)next[2] << 16 |
                              (uint32_t)next[3] << 24);
        crc = slices[7][low & 0xff] ^ slices[6][low >> 8 & 0xff] ^ slices[5][low >> 16 & 0xff] ^ slices[4][low >> 24] ^
              slices[3][next[4]] ^ slices[2][next[5]] ^ slices[1][next[6]] ^ slices[0][next[7]];
        next += 8;
        length -= 8;
    }
    while (length-- > 0) crc = slices[0][(crc ^ *next++) & 0xff] ^ (crc >> 8);
    return ~crc;
}

#if HAVE_HARDWARE
static inline uint64_t load8(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint32_t shift(uint32_t table[4][256], uint32_t crc) {
    return table[0][crc & 0xff] ^ table[1][crc >> 8 & 0xff] ^ table[2][crc >> 16 & 0xff] ^ table[3][crc >> 24];
}

// Always inlined with a constant `stream`, so that the loop has a constant count.
HARDWARE __attribute__((always_inline)) static inline uint32_t three_streams(uint32_t crc, const uint8_t *next,
                                                                             size_t stream, uint32_t table[4][256]) {
    uint64_t first = crc, second = 0, third = 0;
    const uint8_t *end = next + stream;
    do {
        first = STEP8(first, load8(next));
        second = STEP8(second, load8(next + stream));
        third = STEP8(third, load8(next + 2 * stream));
        next += 8;
    } while (next < end);
    return shift(table, shift(table, (uint32_t)first) ^ (uint32_t)second) ^ (uint32_t)third;
}

HARDWARE static uint32_t hardware(uint32_t seed, const uint8_t *next, size_t length) {
    uint32_t crc = ~seed;
    while (length > 0 && ((uintptr_t)next & 7) != 0) {
        crc = (uint32_t)STEP1(crc, *next++);
        length--;
    }
    while (length >= STREAMS * LONG_STREAM) {
        crc = three_streams(crc, next, LONG_STREAM, long_shift);
        next += STREAMS * LONG_STREAM;
        length -= STREAMS * LONG_STREAM;
    }
    while (length >= STREAMS * SHORT_STREAM) {
        crc = three_streams(crc, next, SHORT_STREAM, short_shift);
        next += STREAMS * SHORT_STREAM;
        length -= STREAMS * SHORT_STREAM;
    }
    while (length >= 8) {
        crc = (uint32_t)STEP8(crc, load8(next));
        next += 8;
        length -= 8;
    }
    while (length-- > 0) crc = (uint32_t)STEP1(crc, *next++);
    return ~crc;
}
#endif

uint32_t postrider_crc32c(uint32_t seed, const void *bytes, size_t length) {
    pthread_once(&once, prepare);
#if HAVE_HARDWARE
    if (use_hardware) return hardware(seed, bytes, length);
#endif
    return portable(seed, bytes, length);
}

uint32_t postrider_crc32c_portable(uint32_t seed, const void *bytes, size_t length) {
    pthread_once(&once, prepare);
    return portable(seed, bytes, length);
}
