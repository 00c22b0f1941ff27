#pragma once
#include <cstddef>
#include <cstdint>

/// Position of the first `\uXXXX` escape that is half a surrogate pair, `length` when there is none. Every escape in
/// `source` must have been found well-formed before.
size_t lone_surrogate(const uint8_t *source, size_t length);
