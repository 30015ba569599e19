#include "engine/model/grammar/json_grammar.h"

#include <algorithm>
#include <map>

#include "engine/base/strings.h"
#include "engine/model/utf8.h"

namespace baton {

const std::string_view kJsonRules =
    R"(ws ::= " "? | "\n" " "{0,32}
hex ::= [0-9a-fA-F]
plain ::= [^"\\\x00-\x1F]
char ::= plain | "\\" ( ["\\/bfnrt] | "u" ( [0-9a-cA-CefEF] hex hex hex | [dD] [0-7] hex hex |
  [dD] [89abAB] hex hex "\\u" [dD] [c-fC-F] hex hex ) )
string ::= "\"" char* "\""
number ::= "-"? ("0" | [1-9] [0-9]{0,17}) ("." [0-9]{1,17})? ([eE] [-+]? [0-9]{1,2})?
boolean ::= "true" | "false"
null ::= "null"
object ::= "{" ws (string ":" ws value ws ("," ws string ":" ws value ws)*)? "}"
array ::= "[" ws (value ws ("," ws value ws)*)? "]"
value ::= object | array | string | number | boolean | null
year ::= [0-9]{4}
date ::= year "-" ( ("01" | "03" | "05" | "07" | "08" | "10" | "12") "-" (day | "29" | "3" [01]) |
  ("04" | "06" | "09" | "11") "-" (day | "29" | "30") | "02-" day ) | leap-year "-02-29"
day ::= "0" [1-9] | "1" [0-9] | "2" [0-8]
leap-year ::= [0-9] [0-9] ("0" [48] | [2468] [048] | [13579] [26]) |
  ([02468] [048] | [13579] [26]) "00"
time ::= hour ":" sixty ":" sixty ("." [0-9]{1,9})? ("Z" | [+-] hour ":" sixty)
hour ::= [01] [0-9] | "2" [0-3]
sixty ::= [0-5] [0-9]
uuid ::= hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}
)";

std::string JsonObjectGbnf() { return StrCat(kJsonRules, "root ::= object\n"); }

std::string GbnfLiteral(std::string_view text) {
  std::string literal = "\"";
  for (const char c : text) {
    literal += StrCat(c == '"' || c == '\\' ? "\\" : "", c);
  }
  return literal + "\"";
}

JsonGrammarWriter::JsonGrammarWriter() : text_(kJsonRules) {}

std::string JsonGrammarWriter::NewName() { return StrCat("r", rules_++); }

void JsonGrammarWriter::AddRule(std::string_view name, std::string_view body) {
  text_ += StrCat(name, " ::= ", body, "\n");
}

std::string JsonGrammarWriter::Rule(std::string_view body) {
  const auto [found, inserted] = names_.try_emplace(std::string(body));
  if (inserted) {
    found->second = NewName();
    AddRule(found->second, body);
  }
  return found->second;
}

std::string JsonGrammarWriter::Object(const std::vector<JsonMember>& members,
                                      std::string_view other) {
  // rests[i]: what follows a member, from number i on.
  std::vector<std::string> rests(members.size() + 1);
  if (!other.empty()) {
    rests.back() = Rule(StrCat("(\",\" ws ", other, ")*"));
  }
  for (size_t i = members.size(); i-- > 0;) {
    rests[i] = Rule(
        StrCat("(\",\" ws ", members[i].rule, members[i].required ? ") " : ")? ", rests[i + 1]));
  }
  // The first one there is any up to the first that is required.
  std::string first;
  bool may_be_empty = true;
  for (size_t i = 0; i < members.size() && may_be_empty; ++i) {
    first += StrCat(first.empty() ? "" : " | ", members[i].rule, " ", rests[i + 1]);
    may_be_empty = !members[i].required;
  }
  if (!other.empty() && may_be_empty) {
    first += StrCat(first.empty() ? "" : " | ", other, " ", rests.back());
  }
  return Rule(StrCat("\"{\" ws (", first, may_be_empty ? ")?" : ")", " \"}\""));
}

std::string JsonGrammarWriter::OtherKey(const std::vector<JsonMember>& members) {
  // The names as a tree, by character; each of its nodes becomes a rule. Names that JSON escapes
  // cannot come without escapes.
  struct Node {
    std::map<std::string, size_t> next;
    bool is_name = false;
  };
  std::vector<Node> nodes(1);
  for (const JsonMember& member : members) {
    const std::string& name = member.name;
    if (std::any_of(name.begin(), name.end(), [](char c) {
          return c == '"' || c == '\\' || static_cast<uint8_t>(c) < 0x20;
        })) {
      continue;
    }
    size_t node = 0;
    for (size_t at = 0; at < name.size();) {
      const std::string character =
          name.substr(at, Utf8CharBytes(std::string_view(name).substr(at)));
      at += character.size();
      const size_t next = nodes[node].next.try_emplace(character, nodes.size()).first->second;
      if (next == nodes.size()) {
        nodes.emplace_back();
      }
      node = next;
    }
    nodes[node].is_name = true;
  }
  if (nodes.size() == 1 && !nodes[0].is_name) {
    return "string";
  }
  const std::string rule = NewName();
  const auto rule_of = [&](size_t node) { return StrCat(rule, "-", node); };
  for (size_t i = 0; i < nodes.size(); ++i) {
    // A name's next character, and then what is no name; or another, and then anything; or the end.
    std::string excluded = "\"\\\\\\x00-\\x1F";
    std::string body;
    for (const auto& [character, next] : nodes[i].next) {
      const char32_t code_point = DecodeUtf8(character);
      excluded += "\\U";
      for (int shift = 28; shift >= 0; shift -= 4) {
        excluded += "0123456789abcdef"[(code_point >> shift) & 15];
      }
      body += StrCat(GbnfLiteral(character), " ", rule_of(next), " | ");
    }
    AddRule(rule_of(i),
            StrCat(body, "[^", excluded, "] plain*", nodes[i].is_name ? "" : " | \"\""));
  }
  AddRule(rule, StrCat("\"\\\"\" ", rule_of(0), " \"\\\"\""));
  return rule;
}

std::string JsonGrammarWriter::Array(const std::vector<std::string>& fixed, std::string_view other,
                                     const JsonCounts& counts) {
  std::string rest;  // behind the fixed items
  if (!other.empty() && fixed.empty()) {
    rest = StrCat("(", other, " (\",\" ws ", other, ")", Repetition(counts, 1), ")",
                  counts.min == 0 ? "?" : "");
  } else if (!other.empty()) {
    rest = StrCat("(\",\" ws ", other, ")", Repetition(counts, fixed.size()));
  }
  for (size_t i = fixed.size(); i-- > 0;) {
    rest = Rule(
        StrCat(i == 0 ? "(" : "(\",\" ws ", fixed[i], " ", rest, i >= counts.min ? ")?" : ")"));
  }
  return Rule(StrCat("\"[\" ws ", rest, " \"]\""));
}

std::string JsonGrammarWriter::Repetition(const JsonCounts& counts, uint64_t fixed) {
  const uint64_t least = counts.min > fixed ? counts.min - fixed : 0;
  return counts.max.has_value() ? StrCat("{", least, ",", *counts.max - fixed, "}")
                                : StrCat("{", least, ",}");
}

}  // namespace baton
