#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace baton {

// GBNF rules of JSON: ws (white space), plain (a character that is not escaped), char (one that may
// be), string, number, boolean, null, object, array, value; and of what strings may hold: date,
// time, uuid, as RFC 3339 and RFC 4122 write them. Other names they use: hex, year, leap-year, day,
// hour, sixty.
//
// Numbers have at most 18 digits before the point, so that they are finite and whole ones fit an
// int64_t. Escaped lone surrogates, which readers refuse, are left out; a pair is one char.
extern const std::string_view kJsonRules;

// A whole grammar: any JSON object.
std::string JsonObjectGbnf();

// A literal of GBNF. text: UTF-8 without line ends.
std::string GbnfLiteral(std::string_view text);

// A member of an object.
struct JsonMember {
  std::string name;  // UTF-8, as it is when JSON's escapes are undone
  std::string rule;  // key, colon and value, with white space behind
  bool required;
};

// How many elements there are.
struct JsonCounts {
  uint64_t min = 0;
  std::optional<uint64_t> max;
};

// Writes the rules of one grammar, behind kJsonRules. An expression is what may stand in a rule as
// one element. Not thread safe.
class JsonGrammarWriter {
 public:
  JsonGrammarWriter();

  std::string NewName();
  void AddRule(std::string_view name, std::string_view body);
  // The name of a rule: of the one that has the same body already, or of a new one.
  std::string Rule(std::string_view body);

  // Members in their order, then any number of `other`, a rule; none if it is empty.
  std::string Object(const std::vector<JsonMember>& members, std::string_view other);
  // A key that is none of the members' names. It has no escapes, so that it cannot spell a name in
  // another way.
  std::string OtherKey(const std::vector<JsonMember>& members);
  // `fixed`, rules with white space behind, the first counts.min of them at least; then `other`, a
  // rule of the same kind, until counts are met; none if it is empty. counts.max, where it is
  // there, is not below fixed.size().
  std::string Array(const std::vector<std::string>& fixed, std::string_view other,
                    const JsonCounts& counts);
  // Times that `counts` asks for behind `fixed` elements, in GBNF.
  static std::string Repetition(const JsonCounts& counts, uint64_t fixed);

  size_t bytes() const { return text_.size(); }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
  size_t rules_ = 0;
  absl::flat_hash_map<std::string, std::string> names_;  // of Rule's rules, by body
};

}  // namespace baton
