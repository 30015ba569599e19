#include "engine/model/chat/value_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/limits.h"
#include "engine/model/chat/python_text.h"
#include "engine/model/utf8.h"

namespace baton::chat {
namespace {

using Kind = Value::Kind;

absl::Status CheckDepth(int depth) {
  if (depth <= kValueDepthMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("lists and objects are nested deeper than ", kValueDepthMax));
}

std::string Hex(std::string_view prefix, uint32_t value, int digits) {
  char buffer[16];
  std::snprintf(buffer, sizeof(buffer), "%0*x", digits, value);
  return StrCat(prefix, buffer);
}

// Integers before texts.
bool KeyLess(const Value& a, const Value& b) {
  if (a.IsText() && b.IsText()) return a.text().bytes() < b.text().bytes();
  if (a.IsText() || b.IsText()) return b.IsText();
  return a.integer() < b.integer();
}

// A text between its quotes, each character by itself so that its origin stays.
template <class Escape>
void AppendEscaped(const MarkedText& text, Escape escape, MarkedText& out) {
  const std::string_view bytes = text.bytes();
  size_t plain = 0;  // from here on nothing was escaped
  for (size_t at = 0; at < bytes.size();) {
    const std::string_view character = bytes.substr(at, CharacterBytes(bytes.substr(at)));
    const std::string escaped = escape(character);
    if (!escaped.empty()) {
      out.Append(text, {plain, at});
      out.Append(escaped, text.OriginOf(at));
      plain = at + character.size();
    }
    at += character.size();
  }
  out.Append(text, {plain, bytes.size()});
}

class Printer {
 public:
  explicit Printer(Workspace& workspace) : workspace_(workspace) {}

  // As repr() shows it.
  absl::Status Repr(const Value& value, int depth, MarkedText& out) {
    RETURN_IF_ERROR(CheckDepth(depth));
    RETURN_IF_ERROR(workspace_.Spend(1));
    switch (value.kind()) {
      case Kind::kText:
        return ReprText(value.text(), out);
      case Kind::kList:
        return ReprList(value.list(), depth, out);
      case Kind::kDict:
        return ReprDict(value.dict(), depth, out);
      case Kind::kUndefined:
        Plain("Undefined", out);
        break;
      case Kind::kNone:
        Plain("None", out);
        break;
      case Kind::kBool:
        Plain(value.boolean() ? "True" : "False", out);
        break;
      case Kind::kInt:
        Plain(StrCat(value.integer()), out);
        break;
      case Kind::kFloat:
        Plain(FloatText(value.number()), out);
        break;
      case Kind::kNamespace:
      case Kind::kLoop:
      case Kind::kMacro:
      case Kind::kMethod:
      case Kind::kFunction:
        Plain(StrCat("<", TypeName(value), ">"), out);
        break;
    }
    return absl::OkStatus();
  }

 private:
  static void Plain(std::string_view text, MarkedText& out) { out.Append(text, Origin::kTemplate); }

  absl::Status ReprText(const MarkedText& text, MarkedText& out) {
    RETURN_IF_ERROR(workspace_.SpendText(text.size()));
    const bool single = text.bytes().find('\'') != std::string::npos;
    const char quote = single && text.bytes().find('"') == std::string::npos ? '"' : '\'';
    Plain({&quote, 1}, out);
    AppendEscaped(
        text,
        [quote](std::string_view character) -> std::string {
          const auto c = static_cast<uint8_t>(character[0]);
          if (character[0] == quote || c == '\\') return StrCat("\\", character);
          if (c == '\n') return "\\n";
          if (c == '\r') return "\\r";
          if (c == '\t') return "\\t";
          if (c < 0x20 || c == 0x7F) return Hex("\\x", c, 2);
          return "";
        },
        out);
    Plain({&quote, 1}, out);
    return absl::OkStatus();
  }

  absl::Status ReprList(const List& list, int depth, MarkedText& out) {
    Plain(list.tuple ? "(" : "[", out);
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) Plain(", ", out);
      RETURN_IF_ERROR(Repr(list.items[i], depth + 1, out));
    }
    if (list.tuple && list.items.size() == 1) Plain(",", out);
    Plain(list.tuple ? ")" : "]", out);
    return absl::OkStatus();
  }

  absl::Status ReprDict(const Dict& dict, int depth, MarkedText& out) {
    Plain("{", out);
    for (size_t i = 0; i < dict.entries().size(); ++i) {
      if (i > 0) Plain(", ", out);
      RETURN_IF_ERROR(Repr(dict.entries()[i].key, depth + 1, out));
      Plain(": ", out);
      RETURN_IF_ERROR(Repr(dict.entries()[i].value, depth + 1, out));
    }
    Plain("}", out);
    return absl::OkStatus();
  }

  Workspace& workspace_;
};

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Workspace& workspace) : style_(style), workspace_(workspace) {}

  absl::Status Write(const Value& value, int depth, MarkedText& out) {
    RETURN_IF_ERROR(CheckDepth(depth));
    RETURN_IF_ERROR(workspace_.Spend(1));
    switch (value.kind()) {
      case Kind::kNone:
        Plain("null", out);
        return absl::OkStatus();
      case Kind::kBool:
        Plain(value.boolean() ? "true" : "false", out);
        return absl::OkStatus();
      case Kind::kInt:
        Plain(StrCat(value.integer()), out);
        return absl::OkStatus();
      case Kind::kFloat:
        WriteFloat(value.number(), out);
        return absl::OkStatus();
      case Kind::kText:
        return WriteText(value.text(), out);
      case Kind::kList:
        return WriteList(value.list(), depth, out);
      case Kind::kDict:
        return WriteDict(value.dict(), depth, out);
      case Kind::kUndefined:
      case Kind::kNamespace:
      case Kind::kLoop:
      case Kind::kMacro:
      case Kind::kMethod:
      case Kind::kFunction:
        break;
    }
    return absl::InvalidArgumentError(
        StrCat("tojson: a value of type ", TypeName(value), " has no JSON"));
  }

 private:
  static void Plain(std::string_view text, MarkedText& out) { out.Append(text, Origin::kTemplate); }

  static void WriteFloat(double value, MarkedText& out) {
    if (std::isfinite(value)) {
      Plain(FloatText(value), out);
    } else {
      Plain(std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity", out);
    }
  }

  std::string Escape(std::string_view character) const {
    const auto c = static_cast<uint8_t>(character[0]);
    switch (c) {
      case '"':
        return "\\\"";
      case '\\':
        return "\\\\";
      case '\n':
        return "\\n";
      case '\r':
        return "\\r";
      case '\t':
        return "\\t";
      case '\b':
        return "\\b";
      case '\f':
        return "\\f";
      default:
        break;
    }
    if (c < 0x20) return Hex("\\u", c, 4);
    if (!style_.ensure_ascii || c < 0x80 || Utf8CharBytes(character) == 0) return "";
    const char32_t code = DecodeUtf8(character);
    if (code < 0x10000) return Hex("\\u", code, 4);
    return Hex("\\u", 0xD800 + ((code - 0x10000) >> 10), 4) +
           Hex("\\u", 0xDC00 + ((code - 0x10000) & 0x3FF), 4);
  }

  absl::Status WriteText(const MarkedText& text, MarkedText& out) {
    RETURN_IF_ERROR(workspace_.SpendText(text.size()));
    Plain("\"", out);
    AppendEscaped(
        text, [this](std::string_view character) { return Escape(character); }, out);
    Plain("\"", out);
    return absl::OkStatus();
  }

  // In front of an item, or of the closing bracket.
  absl::Status NewLine(int depth, MarkedText& out) {
    if (!style_.indent.has_value()) return absl::OkStatus();
    RETURN_IF_ERROR(workspace_.SpendText(style_.indent->size() * static_cast<size_t>(depth)));
    Plain("\n", out);
    for (int i = 0; i < depth; ++i) Plain(*style_.indent, out);
    return absl::OkStatus();
  }

  absl::Status WriteList(const List& list, int depth, MarkedText& out) {
    Plain("[", out);
    for (size_t i = 0; i < list.items.size(); ++i) {
      RETURN_IF_ERROR(Separate(i, out));
      RETURN_IF_ERROR(NewLine(depth + 1, out));
      RETURN_IF_ERROR(Write(list.items[i], depth + 1, out));
    }
    if (!list.items.empty()) RETURN_IF_ERROR(NewLine(depth, out));
    Plain("]", out);
    return absl::OkStatus();
  }

  absl::Status WriteDict(const Dict& dict, int depth, MarkedText& out) {
    std::vector<Dict::Entry> entries = dict.entries();
    if (style_.sort_keys) {
      std::sort(entries.begin(), entries.end(),
                [](const auto& a, const auto& b) { return KeyLess(a.key, b.key); });
    }
    Plain("{", out);
    for (size_t i = 0; i < entries.size(); ++i) {
      RETURN_IF_ERROR(Separate(i, out));
      RETURN_IF_ERROR(NewLine(depth + 1, out));
      const Value& key = entries[i].key;
      RETURN_IF_ERROR(WriteText(
          key.IsText() ? key.text() : MarkedText(std::to_string(key.integer()), Origin::kTemplate),
          out));
      RETURN_IF_ERROR(workspace_.SpendText(style_.key_separator.size()));
      Plain(style_.key_separator, out);
      RETURN_IF_ERROR(Write(entries[i].value, depth + 1, out));
    }
    if (!entries.empty()) RETURN_IF_ERROR(NewLine(depth, out));
    Plain("}", out);
    return absl::OkStatus();
  }

  absl::Status Separate(size_t item, MarkedText& out) {
    if (item == 0) return absl::OkStatus();
    RETURN_IF_ERROR(workspace_.SpendText(style_.item_separator.size()));
    Plain(style_.item_separator, out);
    return absl::OkStatus();
  }

  const JsonStyle& style_;
  Workspace& workspace_;
};

}  // namespace

absl::StatusOr<MarkedText> ToText(const Value& value, Workspace& workspace) {
  if (value.IsUndefined()) return MarkedText();
  if (value.IsText()) {
    RETURN_IF_ERROR(workspace.SpendText(value.text()));
    return value.text();
  }
  MarkedText text;
  RETURN_IF_ERROR(Printer(workspace).Repr(value, 0, text));
  return text;
}

absl::StatusOr<MarkedText> ToJson(const Value& value, const JsonStyle& style,
                                  Workspace& workspace) {
  MarkedText text;
  RETURN_IF_ERROR(JsonWriter(style, workspace).Write(value, 0, text));
  return text;
}

}  // namespace baton::chat
