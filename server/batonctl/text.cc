#include "server/batonctl/text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace baton::ctl {
namespace {

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Length of the character at the front of `text`, 0 where it is not one.
size_t CharLength(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    return 1;
  }
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : lead >= 0xE0 && lead <= 0xEF ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0 || text.size() < length) {
    return 0;
  }
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[i])) {
      return 0;
    }
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xED && byte(1) > 0x9F;
  const bool beyond_unicode = lead == 0xF4 && byte(1) > 0x8F;
  return overlong || surrogate || beyond_unicode ? 0 : length;
}

}  // namespace

size_t FindInvalidUtf8(absl::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = CharLength(text.substr(at));
    if (length == 0) {
      return at;
    }
    at += length;
  }
  return absl::string_view::npos;
}

absl::string_view TruncateUtf8(absl::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) {
    return text;
  }
  size_t end = bytes_max;
  while (end > 0 && IsContinuation(text[end])) {
    --end;
  }
  return text.substr(0, end);
}

std::string Printable(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharLength(text.substr(at));
    const unsigned char lead = static_cast<unsigned char>(text[at]);
    // 0xC2 0x80 to 0x9F are the C1 controls, which some terminals obey.
    const bool control = length == 0 || (lead < 0x20 && lead != '\n' && lead != '\t') ||
                         lead == 0x7F ||
                         (lead == 0xC2 && static_cast<unsigned char>(text[at + 1]) < 0xA0);
    if (control) {
      out += '?';
    } else {
      out.append(text.data() + at, length);
    }
    at += length == 0 ? 1 : length;
  }
  return out;
}

std::string OneLine(absl::string_view text, size_t chars_max) {
  std::string line = Printable(text);
  absl::RemoveExtraAsciiWhitespace(&line);
  if (CountChars(line) <= chars_max) {
    return line;
  }
  size_t end = 0;
  for (size_t chars = 0; chars + 3 < chars_max; ++chars) {
    end += CharLength(absl::string_view(line).substr(end));
  }
  return line.substr(0, end) + "...";
}

size_t CountChars(absl::string_view text) {
  size_t count = 0;
  for (char byte : text) {
    count += IsContinuation(byte) ? 0 : 1;
  }
  return count;
}

std::string Wrap(absl::string_view text, size_t indent, size_t columns) {
  const std::string printable = Printable(text);
  std::string out;
  size_t column = 0;
  for (absl::string_view word :
       absl::StrSplit(printable, absl::ByAnyChar(" \n\t"), absl::SkipEmpty())) {
    const size_t width = CountChars(word);
    if (column > 0 && column + 1 + width > columns) {
      out += '\n';
      column = 0;
    }
    if (column == 0) {
      out.append(indent, ' ');
      column = indent;
    } else {
      out += ' ';
      ++column;
    }
    out.append(word.data(), word.size());
    column += width;
  }
  out += '\n';
  return out;
}

std::string FormatUs(int64_t us) {
  if (us < 1'000) {
    return absl::StrFormat("%d us", us);
  }
  const double value = static_cast<double>(us);
  return us < 1'000'000 ? absl::StrFormat("%.1f ms", value / 1e3)
                        : absl::StrFormat("%.2f s", value / 1e6);
}

std::string FormatBytes(int64_t bytes) {
  if (bytes < 1024) {
    return absl::StrFormat("%d B", bytes);
  }
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string FormatBytesOrDash(int64_t bytes) { return bytes == 0 ? "-" : FormatBytes(bytes); }

std::string EnumWord(absl::string_view name, absl::string_view prefix) {
  return absl::AsciiStrToLower(absl::StripPrefix(name, prefix));
}

}  // namespace baton::ctl
