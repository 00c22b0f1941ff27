#pragma once
#include "json_scanner.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

/// The keys of all open objects, innermost last, kept to refuse a key that an object has twice. Keys with escapes are
/// compared decoded: `"a"` and `"\u0061"` are the same key.
class OpenKeys {
public:
    struct Key {
        uint32_t hash;
        /// Between the quotes, in the document.
        uint32_t start;
        uint32_t end;
        /// The decoded bytes: in the document, or in the arena when `decoded` is set.
        uint32_t at;
        uint32_t length;
        bool decoded;
    };

    enum Outcome { ok, duplicate, too_many, no_memory };

    OpenKeys(const uint8_t *document, uint32_t limit) : document_(document), limit_(limit) {}

    ~OpenKeys() {
        if (keys_ != inline_keys_) std::free(keys_);
        std::free(arena_);
    }

    OpenKeys(const OpenKeys &) = delete;
    OpenKeys &operator=(const OpenKeys &) = delete;

    /// Where an object's keys begin.
    struct Mark {
        uint32_t keys;
        size_t arena;
    };

    Mark mark() const { return {count_, arena_used_}; }

    /// Adds a key of the object that opened at `object`. Small objects are checked at once, larger ones by `close`.
    Outcome add(Mark object, uint32_t start, uint32_t end, bool escaped) {
        if (count_ == limit_) return too_many;
        if (count_ == capacity_ && !grow()) return no_memory;
        Key key = {0, start, end, start, end - start, escaped};
        if (escaped && !decode(key)) return no_memory;
        key.hash = hash(bytes(key), key.length);
        if (count_ - object.keys < direct_max) {
            for (uint32_t other = object.keys; other < count_; other++) {
                if (equal(keys_[other], key)) return duplicate;
            }
        }
        keys_[count_++] = key;
        return ok;
    }

    /// The object ends: forgets its keys. Returns the first key that was there before, or null. The pointer is valid
    /// until the next call.
    const Key *close(Mark object) {
        const Key *repeated = nullptr;
        if (count_ - object.keys > direct_max) {
            // Sorted rather than hashed into a table: the worst case is as good as the usual one, whatever the client
            // sends.
            std::sort(keys_ + object.keys, keys_ + count_, [this](const Key &a, const Key &b) { return before(a, b); });
            for (uint32_t at = object.keys + 1; at < count_; at++) {
                if (!equal(keys_[at - 1], keys_[at])) continue;
                if (repeated == nullptr || keys_[at].start < repeated->start) repeated = &keys_[at];
            }
        }
        arena_used_ = object.arena;
        count_ = object.keys;
        return repeated;
    }

private:
    // Up to here comparing each pair is cheaper than sorting.
    static constexpr uint32_t direct_max = 16;
    static constexpr uint32_t inline_max = 64;

    const uint8_t *bytes(const Key &key) const { return (key.decoded ? arena_ : document_) + key.at; }

    // Only has to tell most keys apart quickly; equality is decided by the bytes.
    static uint32_t hash(const uint8_t *bytes, uint32_t length) {
        uint64_t head = 0, tail = 0;
        if (length >= 8) {
            std::memcpy(&head, bytes, 8);
            std::memcpy(&tail, bytes + length - 8, 8);
        } else {
            for (uint32_t at = 0; at < length; at++) head = head << 8 | bytes[at];
        }
        const uint64_t mixed = (head ^ (tail << 1 | tail >> 63) ^ length) * 0x9e3779b97f4a7c15u;
        return static_cast<uint32_t>(mixed >> 32);
    }

    bool equal(const Key &a, const Key &b) const {
        return a.hash == b.hash && a.length == b.length && std::memcmp(bytes(a), bytes(b), a.length) == 0;
    }

    bool before(const Key &a, const Key &b) const {
        if (a.hash != b.hash) return a.hash < b.hash;
        if (a.length != b.length) return a.length < b.length;
        const int order = std::memcmp(bytes(a), bytes(b), a.length);
        return order != 0 ? order < 0 : a.start < b.start;
    }

    bool grow() {
        const uint32_t capacity = capacity_ * 2;
        void *const old = keys_ == inline_keys_ ? nullptr : keys_;
        Key *const grown = static_cast<Key *>(std::realloc(old, capacity * sizeof(Key)));
        if (grown == nullptr) return false;
        if (old == nullptr) std::memcpy(grown, inline_keys_, sizeof inline_keys_);
        keys_ = grown;
        capacity_ = capacity;
        return true;
    }

    bool decode(Key &key) {
        const size_t needed = arena_used_ + key.length;
        if (needed > arena_capacity_) {
            const size_t capacity = std::max<size_t>(256, needed * 2);
            uint8_t *const grown = static_cast<uint8_t *>(std::realloc(arena_, capacity));
            if (grown == nullptr) return false;
            arena_ = grown;
            arena_capacity_ = capacity;
        }
        key.length =
            static_cast<uint32_t>(postrider_json_unescape(document_ + key.start, key.length, arena_ + arena_used_));
        key.at = static_cast<uint32_t>(arena_used_);
        arena_used_ += key.length;
        return true;
    }

    const uint8_t *const document_;
    const uint32_t limit_;
    Key inline_keys_[inline_max];
    Key *keys_ = inline_keys_;
    uint32_t count_ = 0;
    uint32_t capacity_ = inline_max;
    uint8_t *arena_ = nullptr;
    size_t arena_used_ = 0;
    size_t arena_capacity_ = 0;
};
