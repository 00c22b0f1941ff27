#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The greatest nesting of arrays and objects that can be asked for.
#define POSTRIDER_JSON_DEPTH_MAX 64

enum postrider_json_kind {
    POSTRIDER_JSON_NULL = 0,
    POSTRIDER_JSON_FALSE = 1,
    POSTRIDER_JSON_TRUE = 2,
    POSTRIDER_JSON_NUMBER = 3,
    POSTRIDER_JSON_STRING = 4,
    /// A string too; on the tape it stands before its member's value.
    POSTRIDER_JSON_KEY = 5,
    POSTRIDER_JSON_ARRAY = 6,
    POSTRIDER_JSON_OBJECT = 7,
};

/// Set in `kind` of a string or key that contains a backslash.
#define POSTRIDER_JSON_ESCAPED 0x100u
/// Set in `kind` of an array or object whose contents are not on the tape.
#define POSTRIDER_JSON_OPAQUE 0x200u
#define POSTRIDER_JSON_KIND_MASK 0xffu

/// A value or key: `[start, end)` are its bytes in the document, quotes and brackets included. `next` is the index of
/// the token after it and all it contains.
struct postrider_json_token {
    uint32_t start;
    uint32_t end;
    uint32_t next;
    uint32_t kind;
};

struct postrider_json_limits {
    /// Nesting of arrays and objects; at most POSTRIDER_JSON_DEPTH_MAX.
    uint32_t depth;
    /// Values inside more than this many containers are checked but get no token. The root is inside none.
    uint32_t tape_depth;
    uint32_t tokens;
    /// Keys of all objects that are open at one time; they are kept to find duplicates.
    uint32_t keys;
};

enum postrider_json_reason {
    POSTRIDER_JSON_OK = 0,
    POSTRIDER_JSON_EMPTY,
    POSTRIDER_JSON_UNEXPECTED_END,
    POSTRIDER_JSON_TRAILING_DATA,
    POSTRIDER_JSON_VALUE_EXPECTED,
    POSTRIDER_JSON_KEY_EXPECTED,
    POSTRIDER_JSON_COLON_EXPECTED,
    POSTRIDER_JSON_OBJECT_SEPARATOR_EXPECTED,
    POSTRIDER_JSON_ARRAY_SEPARATOR_EXPECTED,
    POSTRIDER_JSON_BAD_NUMBER,
    POSTRIDER_JSON_NUMBER_OUT_OF_RANGE,
    POSTRIDER_JSON_BAD_ESCAPE,
    POSTRIDER_JSON_CONTROL_CHARACTER,
    POSTRIDER_JSON_LONE_SURROGATE,
    POSTRIDER_JSON_NOT_UTF8,
    POSTRIDER_JSON_DUPLICATE_KEY,
    POSTRIDER_JSON_TOO_DEEP,
    POSTRIDER_JSON_TOO_MANY_TOKENS,
    POSTRIDER_JSON_TOO_MANY_KEYS,
    POSTRIDER_JSON_TOO_LARGE,
    POSTRIDER_JSON_NO_MEMORY,
};

/// One step of the way from the root to what an error is about.
struct postrider_json_step {
    /// An array's index, or −1 for an object's key.
    int64_t index;
    /// The key's bytes between its quotes, as sent.
    uint32_t key_start;
    uint32_t key_end;
};

struct postrider_json_error {
    enum postrider_json_reason reason;
    uint32_t position;
    uint32_t steps_count;
    struct postrider_json_step steps[POSTRIDER_JSON_DEPTH_MAX];
};

/// Tokens in document order. Release with `postrider_json_tape_release`.
struct postrider_json_tape {
    struct postrider_json_token *tokens;
    uint32_t count;
    uint32_t capacity;
};

/// Checks a whole document against RFC 8259, strictly: UTF-8, no byte order mark, nothing after the value, no key twice
/// in an object, no surrogate without its other half, no number beyond the range of a double. One pass, no recursion
/// beyond `limits.depth`. Any thread; shares nothing between calls.
///
/// `tape` may be NULL when only the answer matters; else it must be zeroed, and is filled only on success.
/// `bytes` need no terminator and are never written to. Returns 1 for a valid document; 0 fills `error`.
int postrider_json_scan(const uint8_t *bytes, size_t length, const struct postrider_json_limits *limits,
                        struct postrider_json_tape *tape, struct postrider_json_error *error);

void postrider_json_tape_release(struct postrider_json_tape *tape);

/// Decodes the inside of a string that `postrider_json_scan` accepted (without its quotes). `target` has room for
/// `length` bytes, which is always enough; UTF-8 comes out. Returns the number of bytes written.
size_t postrider_json_unescape(const uint8_t *source, size_t length, uint8_t *target);

/// The length of the longest valid UTF-8 prefix (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF).
size_t postrider_utf8_valid_prefix(const uint8_t *bytes, size_t length);

/// The length of the prefix without `"`, `\` and control characters: what goes through a JSON encoder as it is.
size_t postrider_json_plain_prefix(const uint8_t *bytes, size_t length);

#ifdef __cplusplus
}
#endif
