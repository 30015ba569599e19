#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace baton::ctl {

// Where `text` stops being UTF-8 (RFC 3629: no overlong forms, no surrogates), as a byte offset;
// npos where it never does.
size_t FindInvalidUtf8(absl::string_view text);

// The longest prefix of at most `bytes_max` bytes that ends between characters. `text` is UTF-8.
absl::string_view TruncateUtf8(absl::string_view text, size_t bytes_max);

// What comes from documents and models, made safe for a terminal: control characters other than
// newline and tab (so no escape sequence works) become '?'.
std::string Printable(absl::string_view text);

// Printable(), on one line and at most `chars_max` characters, "..." where cut.
std::string OneLine(absl::string_view text, size_t chars_max);

// Characters, which for most scripts are columns.
size_t CountChars(absl::string_view text);

// Words of Printable(text), broken into lines of about `columns`, each indented.
std::string Wrap(absl::string_view text, size_t indent, size_t columns = 96);

// "850 us", "12.3 ms", "2.34 s".
std::string FormatUs(int64_t us);

// "512 B", "1.5 KiB", "2.0 GiB".
std::string FormatBytes(int64_t bytes);
std::string FormatBytesOrDash(int64_t bytes);  // "-" for 0

// The lower-case end of an enum's name: "WORK_CLASS_PREFILL" without "WORK_CLASS_" is "prefill".
std::string EnumWord(absl::string_view name, absl::string_view prefix);

}  // namespace baton::ctl
