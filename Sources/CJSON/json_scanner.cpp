#include "json_scanner.h"

#include "keys.h"
#include "text.h"

#include <rapidjson/error/error.h>
#include <rapidjson/reader.h>

namespace {

// What RapidJSON reads from, and where it "decodes strings in place": nothing is ever written, since strings are taken
// as slices of the document. Decoding in place is what makes RapidJSON keep no copy of its own, and its `Put` after
// each character of a string is the chance to run over everything plain at once. Safe because a run holds only bytes
// that RapidJSON would copy unchanged: no quote, backslash or control character; UTF-8 is checked beforehand.
class Document {
public:
    typedef char Ch;

    Document(const uint8_t *bytes, size_t length)
        : begin_(reinterpret_cast<const char *>(bytes)), next_(begin_), end_(begin_ + length) {}

    Ch Peek() const { return next_ < end_ ? *next_ : '\0'; }
    Ch Take() { return next_ < end_ ? *next_++ : '\0'; }
    size_t Tell() const { return static_cast<size_t>(next_ - begin_); }

    // Called behind a string's opening quote, and at a number's end.
    Ch *PutBegin() {
        string_start_ = static_cast<uint32_t>(next_ - begin_);
        escaped_ = Peek() == '\\';
        return nullptr;
    }

    // A NUL is put behind the closing quote, where nothing may be skipped (and for \u0000, where it need not be).
    void Put(Ch c) {
        if (c == '\0') return;
        next_ += postrider_json_plain_prefix(reinterpret_cast<const uint8_t *>(next_),
                                             static_cast<size_t>(end_ - next_));
        if (next_ < end_ && *next_ == '\\') escaped_ = true;
    }

    size_t PutEnd(Ch *) { return 1; }
    void Flush() {}

    // Of the string read last, without its quotes.
    uint32_t string_start() const { return string_start_; }
    uint32_t string_end() const { return static_cast<uint32_t>(next_ - begin_) - 1; }
    bool escaped() const { return escaped_; }

private:
    const char *const begin_;
    const char *next_;
    const char *const end_;
    uint32_t string_start_ = 0;
    bool escaped_ = false;
};

const uint32_t no_token = UINT32_MAX;

// Takes RapidJSON's events: writes the tape, applies the limits, refuses what RapidJSON lets pass. A method that
// returns false stops the parser; `error` then says why.
class Scanner {
public:
    Scanner(const uint8_t *bytes, size_t length, const postrider_json_limits &limits, postrider_json_tape *tape,
            postrider_json_error *error)
        : document(bytes, length),
          bytes_(bytes),
          utf8_end_(static_cast<uint32_t>(postrider_utf8_valid_prefix(bytes, length))),
          limits_(limits),
          tape_(tape),
          error_(error),
          keys_(bytes, limits.keys) {}

    bool Null() { return scalar(POSTRIDER_JSON_NULL, 4); }
    bool Bool(bool value) { return value ? scalar(POSTRIDER_JSON_TRUE, 4) : scalar(POSTRIDER_JSON_FALSE, 5); }
    bool RawNumber(const char *, rapidjson::SizeType length, bool) { return scalar(POSTRIDER_JSON_NUMBER, length); }

    bool String(const char *, rapidjson::SizeType, bool) {
        const uint32_t flags = document.escaped() ? POSTRIDER_JSON_ESCAPED : 0;
        begin_value();
        if (!check_text()) return false;
        const uint32_t start = document.string_start() - 1, end = document.string_end() + 1;
        if (!append(POSTRIDER_JSON_STRING | flags, start, end)) return false;
        end_value();
        return true;
    }

    bool Key(const char *, rapidjson::SizeType, bool) {
        if (!check_text()) return false;
        Frame &frame = frames_[depth_ - 1];
        frame.key_start = document.string_start();
        frame.key_end = document.string_end();
        const uint32_t start = frame.key_start - 1;
        switch (keys_.add(frame.keys, frame.key_start, frame.key_end, document.escaped())) {
        case OpenKeys::ok: break;
        case OpenKeys::duplicate: frame.in_value = true; return fail(POSTRIDER_JSON_DUPLICATE_KEY, start);
        case OpenKeys::too_many: return fail(POSTRIDER_JSON_TOO_MANY_KEYS, start);
        case OpenKeys::no_memory: return fail(POSTRIDER_JSON_NO_MEMORY, start);
        }
        const uint32_t flags = document.escaped() ? POSTRIDER_JSON_ESCAPED : 0;
        if (!append(POSTRIDER_JSON_KEY | flags, start, frame.key_end + 1)) return false;
        frame.in_value = true;
        return true;
    }

    bool StartObject() { return open(POSTRIDER_JSON_OBJECT); }
    bool StartArray() { return open(POSTRIDER_JSON_ARRAY); }

    bool EndObject(rapidjson::SizeType) {
        Frame &frame = frames_[depth_ - 1];
        if (const OpenKeys::Key *repeated = keys_.close(frame.keys)) {
            frame.key_start = repeated->start;
            frame.key_end = repeated->end;
            frame.in_value = true;
            return fail(POSTRIDER_JSON_DUPLICATE_KEY, repeated->start - 1);
        }
        return close();
    }

    bool EndArray(rapidjson::SizeType) { return close(); }

    // RapidJSON calls only RawNumber.
    bool Int(int) { return false; }
    bool Uint(unsigned) { return false; }
    bool Int64(int64_t) { return false; }
    bool Uint64(uint64_t) { return false; }
    bool Double(double) { return false; }

    bool fail(postrider_json_reason reason, size_t position) {
        error_->reason = reason;
        error_->position = static_cast<uint32_t>(position);
        error_->steps_count = 0;
        for (uint32_t at = 0; at < depth_; at++) {
            const Frame &frame = frames_[at];
            if (!frame.in_value) break;
            postrider_json_step &step = error_->steps[error_->steps_count++];
            step.index = frame.is_array ? static_cast<int64_t>(frame.values) : -1;
            step.key_start = frame.key_start;
            step.key_end = frame.key_end;
        }
        return false;
    }

    // RapidJSON reports a broken value before its handler hears of it: in an array the error is about the next element.
    void expect_element() {
        if (depth_ > 0 && frames_[depth_ - 1].is_array) frames_[depth_ - 1].in_value = true;
    }

    Document document;

private:
    struct Frame {
        uint32_t token;
        OpenKeys::Mark keys;
        /// Complete ones.
        uint32_t values;
        uint32_t key_start;
        uint32_t key_end;
        bool is_array;
        /// An error now is about the value that is being read rather than about this container.
        bool in_value;
    };

    void begin_value() {
        if (depth_ > 0) frames_[depth_ - 1].in_value = true;
    }

    void end_value() {
        if (depth_ == 0) return;
        frames_[depth_ - 1].in_value = false;
        frames_[depth_ - 1].values++;
    }

    bool scalar(uint32_t kind, size_t length) {
        const uint32_t end = static_cast<uint32_t>(document.Tell());
        begin_value();
        if (!append(kind, end - static_cast<uint32_t>(length), end)) return false;
        end_value();
        return true;
    }

    bool open(uint32_t kind) {
        const uint32_t start = static_cast<uint32_t>(document.Tell()) - 1;
        begin_value();
        if (depth_ == limits_.depth) return fail(POSTRIDER_JSON_TOO_DEEP, start);
        const uint32_t opaque = depth_ >= limits_.tape_depth ? POSTRIDER_JSON_OPAQUE : 0;
        const uint32_t token = taped() ? tape_->count : no_token;
        if (!append(kind | opaque, start, start)) return false;
        Frame &frame = frames_[depth_++];
        frame.token = token;
        frame.keys = keys_.mark();
        frame.values = 0;
        frame.is_array = kind == POSTRIDER_JSON_ARRAY;
        frame.in_value = false;
        return true;
    }

    bool close() {
        const uint32_t token = frames_[--depth_].token;
        if (token != no_token) {
            tape_->tokens[token].end = static_cast<uint32_t>(document.Tell());
            tape_->tokens[token].next = tape_->count;
        }
        end_value();
        return true;
    }

    bool taped() const { return tape_ != nullptr && depth_ <= limits_.tape_depth; }

    bool append(uint32_t kind, uint32_t start, uint32_t end) {
        if (!taped()) return true;
        if (tape_->count == limits_.tokens) return fail(POSTRIDER_JSON_TOO_MANY_TOKENS, start);
        if (tape_->count == tape_->capacity && !grow()) return fail(POSTRIDER_JSON_NO_MEMORY, start);
        postrider_json_token &token = tape_->tokens[tape_->count++];
        token.start = start;
        token.end = end;
        token.next = tape_->count;
        token.kind = kind;
        return true;
    }

    bool grow() {
        const uint32_t capacity = tape_->capacity == 0 ? 64 : tape_->capacity * 2;
        void *const grown = std::realloc(tape_->tokens, static_cast<size_t>(capacity) * sizeof(postrider_json_token));
        if (grown == nullptr) return false;
        tape_->tokens = static_cast<postrider_json_token *>(grown);
        tape_->capacity = capacity;
        return true;
    }

    bool check_text() {
        const uint32_t start = document.string_start(), end = document.string_end();
        if (end > utf8_end_) return fail(POSTRIDER_JSON_NOT_UTF8, utf8_end_);
        if (document.escaped()) {
            const size_t lone = lone_surrogate(bytes_ + start, end - start);
            if (lone < end - start) return fail(POSTRIDER_JSON_LONE_SURROGATE, start + lone);
        }
        return true;
    }

    const uint8_t *const bytes_;
    const uint32_t utf8_end_;
    const postrider_json_limits limits_;
    postrider_json_tape *const tape_;
    postrider_json_error *const error_;
    OpenKeys keys_;
    uint32_t depth_ = 0;
    Frame frames_[POSTRIDER_JSON_DEPTH_MAX];
};

bool fail_syntax(Scanner &scanner, const rapidjson::ParseResult &result, const uint8_t *bytes, size_t length) {
    const size_t at = result.Offset();
    postrider_json_reason reason;
    switch (result.Code()) {
    case rapidjson::kParseErrorDocumentEmpty:
        reason = at < length ? POSTRIDER_JSON_VALUE_EXPECTED : POSTRIDER_JSON_EMPTY;
        return scanner.fail(reason, at);
    case rapidjson::kParseErrorDocumentRootNotSingular: reason = POSTRIDER_JSON_TRAILING_DATA; break;
    case rapidjson::kParseErrorObjectMissName: reason = POSTRIDER_JSON_KEY_EXPECTED; break;
    case rapidjson::kParseErrorObjectMissColon: reason = POSTRIDER_JSON_COLON_EXPECTED; break;
    case rapidjson::kParseErrorObjectMissCommaOrCurlyBracket:
        reason = POSTRIDER_JSON_OBJECT_SEPARATOR_EXPECTED;
        break;
    case rapidjson::kParseErrorArrayMissCommaOrSquareBracket:
        reason = POSTRIDER_JSON_ARRAY_SEPARATOR_EXPECTED;
        break;
    case rapidjson::kParseErrorNumberTooBig:
        scanner.expect_element();
        reason = POSTRIDER_JSON_NUMBER_OUT_OF_RANGE;
        break;
    case rapidjson::kParseErrorNumberMissFraction:
    case rapidjson::kParseErrorNumberMissExponent:
        scanner.expect_element();
        reason = POSTRIDER_JSON_BAD_NUMBER;
        break;
    case rapidjson::kParseErrorStringMissQuotationMark:
        scanner.expect_element();
        reason = POSTRIDER_JSON_CONTROL_CHARACTER;
        break;
    case rapidjson::kParseErrorStringEscapeInvalid:
        scanner.expect_element();
        reason = at < length && bytes[at] == '\\' ? POSTRIDER_JSON_BAD_ESCAPE : POSTRIDER_JSON_CONTROL_CHARACTER;
        break;
    case rapidjson::kParseErrorStringUnicodeEscapeInvalidHex:
        scanner.expect_element();
        reason = POSTRIDER_JSON_BAD_ESCAPE;
        break;
    case rapidjson::kParseErrorStringUnicodeSurrogateInvalid:
        scanner.expect_element();
        reason = POSTRIDER_JSON_LONE_SURROGATE;
        break;
    default:
        scanner.expect_element();
        reason = POSTRIDER_JSON_VALUE_EXPECTED;
        break;
    }
    if (at >= length) reason = POSTRIDER_JSON_UNEXPECTED_END;
    return scanner.fail(reason, at);
}

}  // namespace

int postrider_json_scan(const uint8_t *bytes, size_t length, const postrider_json_limits *limits,
                        postrider_json_tape *tape, postrider_json_error *error) {
    error->reason = POSTRIDER_JSON_OK;
    error->position = 0;
    error->steps_count = 0;
    if (length >= UINT32_MAX || limits->depth > POSTRIDER_JSON_DEPTH_MAX) {
        error->reason = POSTRIDER_JSON_TOO_LARGE;
        return 0;
    }
    Scanner scanner(bytes, length, *limits, tape, error);
    rapidjson::Reader reader;
    const unsigned flags = rapidjson::kParseInsituFlag | rapidjson::kParseNumbersAsStringsFlag;
    const rapidjson::ParseResult result = reader.Parse<flags>(scanner.document, scanner);
    bool valid;
    if (result.IsError()) {
        // Termination means that the scanner itself refused, and said why.
        valid = result.Code() == rapidjson::kParseErrorTermination ? false
                                                                   : fail_syntax(scanner, result, bytes, length);
    } else if (scanner.document.Tell() != length) {
        // RapidJSON takes a NUL for the end.
        valid = scanner.fail(POSTRIDER_JSON_TRAILING_DATA, scanner.document.Tell());
    } else {
        valid = true;
    }
    if (!valid && tape != nullptr) postrider_json_tape_release(tape);
    return valid ? 1 : 0;
}

void postrider_json_tape_release(postrider_json_tape *tape) {
    std::free(tape->tokens);
    tape->tokens = nullptr;
    tape->count = 0;
    tape->capacity = 0;
}
