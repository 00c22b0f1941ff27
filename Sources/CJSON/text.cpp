// Runs of bytes: UTF-8 validation, plain runs inside strings, escapes.

#include "json_scanner.h"
#include "text.h"

#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace {

#if !defined(__SSE2__)
inline uint64_t load8(const uint8_t *at) {
    uint64_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

// The high bit of each byte that is zero. May also mark bytes above the first zero one, never below it (Hacker's
// Delight, 6-1), so it is used for "any" and not for "which".
inline uint64_t zero_bytes(uint64_t word) {
    return (word - 0x0101010101010101u) & ~word & 0x8080808080808080u;
}
#endif

inline bool is_continuation(uint8_t byte) { return (byte & 0xc0) == 0x80; }

inline size_t ascii_prefix(const uint8_t *bytes, size_t length) {
    size_t at = 0;
#if defined(__SSE2__)
    for (; at + 16 <= length; at += 16) {
        const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes + at));
        const int high = _mm_movemask_epi8(block);
        if (high != 0) return at + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(high)));
    }
#else
    while (at + 8 <= length && (load8(bytes + at) & 0x8080808080808080u) == 0) at += 8;
#endif
    while (at < length && bytes[at] < 0x80) at++;
    return at;
}

// Table 3-7 of the Unicode standard. 0 when no well-formed sequence starts here.
inline size_t multibyte(const uint8_t *bytes, size_t left) {
    const uint8_t lead = bytes[0];
    if (lead < 0xc2) return 0;
    if (lead < 0xe0) return left >= 2 && is_continuation(bytes[1]) ? 2 : 0;
    if (lead < 0xf0) {
        if (left < 3 || !is_continuation(bytes[1]) || !is_continuation(bytes[2])) return 0;
        if (lead == 0xe0 && bytes[1] < 0xa0) return 0;
        if (lead == 0xed && bytes[1] > 0x9f) return 0;
        return 3;
    }
    if (lead > 0xf4 || left < 4) return 0;
    if (!is_continuation(bytes[1]) || !is_continuation(bytes[2]) || !is_continuation(bytes[3])) return 0;
    if (lead == 0xf0 && bytes[1] < 0x90) return 0;
    if (lead == 0xf4 && bytes[1] > 0x8f) return 0;
    return 4;
}

inline uint32_t hex4(const uint8_t *digits) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        const uint8_t digit = digits[i];
        const uint32_t nibble = digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10u;
        value = value << 4 | nibble;
    }
    return value;
}

inline bool is_high_surrogate(uint32_t unit) { return unit >= 0xd800 && unit <= 0xdbff; }
inline bool is_low_surrogate(uint32_t unit) { return unit >= 0xdc00 && unit <= 0xdfff; }

inline uint8_t *put_utf8(uint8_t *to, uint32_t scalar) {
    if (scalar < 0x80) {
        *to++ = static_cast<uint8_t>(scalar);
    } else if (scalar < 0x800) {
        *to++ = static_cast<uint8_t>(0xc0 | scalar >> 6);
        *to++ = static_cast<uint8_t>(0x80 | (scalar & 0x3f));
    } else if (scalar < 0x10000) {
        *to++ = static_cast<uint8_t>(0xe0 | scalar >> 12);
        *to++ = static_cast<uint8_t>(0x80 | (scalar >> 6 & 0x3f));
        *to++ = static_cast<uint8_t>(0x80 | (scalar & 0x3f));
    } else {
        *to++ = static_cast<uint8_t>(0xf0 | scalar >> 18);
        *to++ = static_cast<uint8_t>(0x80 | (scalar >> 12 & 0x3f));
        *to++ = static_cast<uint8_t>(0x80 | (scalar >> 6 & 0x3f));
        *to++ = static_cast<uint8_t>(0x80 | (scalar & 0x3f));
    }
    return to;
}

}  // namespace

size_t postrider_utf8_valid_prefix(const uint8_t *bytes, size_t length) {
    size_t at = 0;
    while (at < length) {
        if (bytes[at] < 0x80) {
            at += ascii_prefix(bytes + at, length - at);
        } else {
            const size_t step = multibyte(bytes + at, length - at);
            if (step == 0) return at;
            at += step;
        }
    }
    return at;
}

size_t postrider_json_plain_prefix(const uint8_t *bytes, size_t length) {
    size_t at = 0;
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    for (; at + 16 <= length; at += 16) {
        const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes + at));
        const __m128i stop = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, backslash)),
            _mm_cmpeq_epi8(_mm_max_epu8(block, control), control));
        const int mask = _mm_movemask_epi8(stop);
        if (mask != 0) return at + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(mask)));
    }
#else
    for (; at + 8 <= length; at += 8) {
        const uint64_t word = load8(bytes + at);
        const uint64_t stop = zero_bytes(word ^ 0x2222222222222222u) | zero_bytes(word ^ 0x5c5c5c5c5c5c5c5cu) |
                              zero_bytes(word & 0xe0e0e0e0e0e0e0e0u);
        if (stop != 0) break;
    }
#endif
    while (at < length && bytes[at] >= 0x20 && bytes[at] != '"' && bytes[at] != '\\') at++;
    return at;
}

size_t lone_surrogate(const uint8_t *source, size_t length) {
    size_t at = 0;
    while (at < length) {
        const void *found = std::memchr(source + at, '\\', length - at);
        if (found == nullptr) return length;
        at = static_cast<size_t>(static_cast<const uint8_t *>(found) - source);
        if (source[at + 1] != 'u') {
            at += 2;
            continue;
        }
        const uint32_t unit = hex4(source + at + 2);
        if (is_low_surrogate(unit)) return at;
        if (!is_high_surrogate(unit)) {
            at += 6;
            continue;
        }
        if (length - at < 12 || source[at + 6] != '\\' || source[at + 7] != 'u') return at;
        if (!is_low_surrogate(hex4(source + at + 8))) return at;
        at += 12;
    }
    return length;
}

size_t postrider_json_unescape(const uint8_t *source, size_t length, uint8_t *target) {
    uint8_t *to = target;
    const uint8_t *const end = source + length;
    while (source < end) {
        const void *found = std::memchr(source, '\\', static_cast<size_t>(end - source));
        const uint8_t *const stop = found == nullptr ? end : static_cast<const uint8_t *>(found);
        std::memmove(to, source, static_cast<size_t>(stop - source));
        to += stop - source;
        source = stop;
        if (source == end) break;
        switch (source[1]) {
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'n': *to++ = '\n'; break;
        case 'r': *to++ = '\r'; break;
        case 't': *to++ = '\t'; break;
        case 'u': {
            uint32_t scalar = hex4(source + 2);
            source += 4;
            if (is_high_surrogate(scalar)) {
                scalar = 0x10000 + ((scalar - 0xd800) << 10 | (hex4(source + 4) - 0xdc00));
                source += 6;
            }
            to = put_utf8(to, scalar);
            break;
        }
        default: *to++ = source[1]; break;
        }
        source += 2;
    }
    return static_cast<size_t>(to - target);
}
