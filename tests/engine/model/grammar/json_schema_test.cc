#include "engine/model/grammar/json_schema.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "engine/base/strings.h"
#include "engine/model/grammar/json_grammar.h"
#include "engine/model/grammar/matcher.h"
#include "tests/engine/model/grammar/list_tokenizer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using Json = nlohmann::json;

// ---- a validator for the keywords that are supported, written from the specification ----

size_t Characters(const std::string& text) {
  size_t count = 0;
  for (const char c : text) {
    count += (static_cast<uint8_t>(c) & 0xC0) != 0x80 ? 1 : 0;
  }
  return count;
}

bool IsDate(const std::string& text) {
  if (!std::regex_match(text, std::regex("\\d{4}-\\d\\d-\\d\\d"))) {
    return false;
  }
  const int year = std::stoi(text.substr(0, 4));
  const int month = std::stoi(text.substr(5, 2));
  const int day = std::stoi(text.substr(8));
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  const int days[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
}

bool IsTime(const std::string& text) {
  static const std::regex kTime(
      "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d+)?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)");
  return std::regex_match(text, kTime);
}

bool HasFormat(const std::string& text, const std::string& format) {
  if (format == "date") {
    return IsDate(text);
  }
  if (format == "time") {
    return IsTime(text);
  }
  if (format == "date-time") {
    return text.size() > 11 && text[10] == 'T' && IsDate(text.substr(0, 10)) &&
           IsTime(text.substr(11));
  }
  static const std::regex kUuid("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}");
  return format == "uuid" && std::regex_match(text, kUuid);
}

bool HasType(const Json& value, const std::string& type) {
  return type == "object"    ? value.is_object()
         : type == "array"   ? value.is_array()
         : type == "string"  ? value.is_string()
         : type == "number"  ? value.is_number()
         : type == "boolean" ? value.is_boolean()
         : type == "null"    ? value.is_null()
                             : value.is_number() && std::floor(value.get<double>()) == value;
}

bool IsValid(const Json& value, const Json& schema, const Json& root) {
  if (schema.is_boolean()) {
    return schema;
  }
  const auto all = [&](const char* keyword, auto holds) {
    return !schema.contains(keyword) || holds(schema[keyword]);
  };
  const auto valid = [&](const Json& inner) { return IsValid(value, inner, root); };
  const auto any_of = [&](const Json& list) {
    return std::any_of(list.begin(), list.end(), valid);
  };
  bool ok = all("$ref", [&](const Json& ref) {
    const std::string pointer = std::regex_replace(ref.get<std::string>(), std::regex("%25"), "%");
    return valid(root.at(Json::json_pointer(pointer.substr(1))));
  });
  ok = ok &&
       all("allOf", [&](const Json& list) { return std::all_of(list.begin(), list.end(), valid); });
  ok = ok && all("anyOf", any_of) && all("oneOf", any_of);
  ok = ok && all("const", [&](const Json& constant) { return value == constant; });
  ok = ok && all("enum", [&](const Json& list) {
         return std::find(list.begin(), list.end(), value) != list.end();
       });
  ok = ok && all("type", [&](const Json& type) {
         return type.is_string() ? HasType(value, type)
                                 : std::any_of(type.begin(), type.end(), [&](const Json& one) {
                                     return HasType(value, one);
                                   });
       });
  if (value.is_number()) {
    const double number = value;
    ok = ok && all("minimum", [&](double limit) { return number >= limit; }) &&
         all("maximum", [&](double limit) { return number <= limit; }) &&
         all("exclusiveMinimum", [&](double limit) { return number > limit; }) &&
         all("exclusiveMaximum", [&](double limit) { return number < limit; });
  }
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    ok = ok && all("minLength", [&](size_t least) { return Characters(text) >= least; }) &&
         all("maxLength", [&](size_t most) { return Characters(text) <= most; }) &&
         all("format", [&](const std::string& format) { return HasFormat(text, format); }) &&
         all("pattern", [&](const std::string& pattern) {
           return std::regex_search(text, std::regex(pattern));
         });
  }
  if (value.is_array()) {
    ok = ok && all("minItems", [&](size_t least) { return value.size() >= least; }) &&
         all("maxItems", [&](size_t most) { return value.size() <= most; });
    const size_t fixed = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
    for (size_t i = 0; i < value.size(); ++i) {
      ok = ok &&
           (i < fixed
                ? IsValid(value[i], schema["prefixItems"][i], root)
                : all("items", [&](const Json& items) { return IsValid(value[i], items, root); }));
    }
  }
  if (value.is_object()) {
    ok = ok && all("required", [&](const Json& names) {
           return std::all_of(names.begin(), names.end(), [&](const Json& name) {
             return value.contains(name.get<std::string>());
           });
         });
    for (const auto& [name, member] : value.items()) {
      const bool named = schema.contains("properties") && schema["properties"].contains(name);
      ok = ok && (named ? IsValid(member, schema["properties"][name], root)
                        : all("additionalProperties",
                              [&](const Json& inner) { return IsValid(member, inner, root); }));
    }
  }
  return ok;
}

// ---- generating ----

std::shared_ptr<const GrammarVocabulary> JsonVocabulary() {
  static const auto kVocabulary =
      ByteVocabulary({"{\"",    "\":",    "\": \"",   "\",",   "\", \"", "\"}",     "}}",
                      "[[",     "]]",     "},{",      "true",  "false",  "null",    "12",
                      "000",    "name",   "a",        "ab",    "value",  "\\u00e9", "\\n",
                      "\u00e9", "\u4e2d", "\xE4\xB8", "2024-", "-02-29", "T12:",    "}",
                      "]",      "\"",     "}",        "]",     "\"",     "\"",      "\""});
  return kVocabulary;
}

std::shared_ptr<const Grammar> MakeGrammar(const std::string& schema) {
  const auto gbnf = JsonSchemaToGbnf(schema);
  INFO(schema);
  REQUIRE_OK(gbnf);
  auto grammar = Grammar::FromGbnf(*gbnf, JsonVocabulary());
  INFO(*gbnf);
  REQUIRE_OK(grammar);
  return *std::move(grammar);
}

// A document, by random allowed tokens; after a while by those that close something. Empty: it did
// not end in time.
std::string RandomDocument(const std::shared_ptr<const Grammar>& grammar, std::mt19937& random) {
  auto matcher = GrammarMatcher::Make(grammar);
  REQUIRE_OK(matcher);
  const GrammarVocabulary& vocabulary = grammar->vocabulary();
  std::vector<uint64_t> mask(GrammarMatcher::Words(vocabulary.size()));
  std::string document;
  for (int step = 0; step < 2'000; ++step) {
    const auto count = matcher->Allowed(mask);
    INFO(document);
    REQUIRE_OK(count);
    if (matcher->CanEnd() && (matcher->Finished() || step > 200 || random() % 4 == 0)) {
      return document;
    }
    std::vector<TokenId> tokens;
    std::vector<TokenId> closing;
    for (TokenId token = 1; token < vocabulary.size(); ++token) {
      if ((mask[static_cast<size_t>(token) / 64] >> (token % 64) & 1) == 0) {
        continue;
      }
      tokens.push_back(token);
      const std::string_view bytes = vocabulary.Bytes(token);
      if (bytes == "\"" || bytes == "}" || bytes == "]" || bytes == "1" || bytes == "null") {
        closing.push_back(token);
      }
    }
    REQUIRE_FALSE(tokens.empty());
    const bool close = !closing.empty() && (step > 60 || random() % 3 == 0);
    const std::vector<TokenId>& from = close ? closing : tokens;
    const TokenId token = from[random() % from.size()];
    document += vocabulary.Bytes(token);
    REQUIRE_OK(matcher->Advance(token));
  }
  return "";
}

bool Accepts(const std::shared_ptr<const Grammar>& grammar, const std::string& document) {
  auto matcher = GrammarMatcher::Make(grammar);
  REQUIRE_OK(matcher);
  return matcher->AdvanceBytes(document).ok() && matcher->CanEnd();
}

struct Case {
  const char* schema;
  std::vector<const char*> yes;
  std::vector<const char*> no;
};

const std::vector<Case>& Cases() {
  static const auto& kCases = *new std::vector<Case>{
      {R"(true)",
       {"1", "{}", "[[]]", "\"x\"", "null", "-1.5e+3", "{\"a\": 1}"},
       {"", "{", "01", "nul", "'a'"}},
      {R"({})", {"1", "{\"a\": [true, false]}"}, {"tru", "\"\t\"", "[1,]", "\"\\ud800\"", "1 "}},
      {R"({"type": "string"})",
       {"\"\"", "\"a\\\"b\\u00e9\\ud83d\\ude00 \u4e2d\""},
       {"1", "\"", "\"\\x\"", "\"\\udc00\""}},
      {R"({"type": "integer"})", {"0", "-12", "123456789012345678"}, {"1.5", "01", "-", "1e3"}},
      {R"({"type": "number"})", {"0", "-1.25e-7"}, {"\"1\"", "1.", "NaN"}},
      {R"({"type": "boolean"})", {"true", "false"}, {"True", "null"}},
      {R"({"type": ["string", "null"], "maxLength": 2})",
       {"null", "\"ab\"", "\"\""},
       {"\"abc\"", "0"}},
      {R"({"type": "string", "minLength": 2, "maxLength": 4})",
       {"\"ab\"", "\"\u4e2d\U0001F600\"", "\"\\n\\u00e9\\ud83d\\ude00d\""},
       {"\"a\"", "\"abcde\"", "\"\u4e2d\""}},
      {R"({"type": "string", "minLength": 3})", {"\"abc\"", "\"abcdefgh\""}, {"\"ab\""}},
      {R"({"pattern": "^[A-Z]{2}-\\d+$"})",
       {"\"AB-1\"", "\"XY-123\""},
       {"\"A-1\"", "\"AB-\"", "1"}},
      {R"({"type": "string", "pattern": "^[a-z]{0,2}b\"c.?"})",
       {"\"ab\\\"cd\"", "\"b\\\"c\""},
       {"\"bc\"", "\"\""}},
      {R"({"type": "string", "format": "date"})",
       {"\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\""},
       {"\"2023-02-29\"", "\"1900-02-29\"", "\"2024-13-01\"", "\"2024-04-31\"", "\"24-01-01\""}},
      {R"({"type": "string", "format": "time"})",
       {"\"23:59:59Z\"", "\"00:00:00.5+01:30\""},
       {"\"24:00:00Z\"", "\"12:00:00\""}},
      {R"({"type": "string", "format": "date-time"})",
       {"\"2024-02-29T12:00:00Z\""},
       {"\"2024-02-29\"", "\"2023-02-29T12:00:00Z\""}},
      {R"({"type": "string", "format": "uuid"})",
       {"\"123e4567-e89b-12d3-a456-426614174000\""},
       {"\"123e4567e89b12d3a456426614174000\""}},
      {R"({"type": "integer", "minimum": -3, "exclusiveMaximum": 12})",
       {"-3", "0", "11"},
       {"-4", "12", "100"}},
      {R"({"type": "number", "minimum": 0, "maximum": 1})",
       {"0", "0.25", "1", "1.0"},
       {"1.5", "-0.5", "2"}},
      {R"({"type": "number", "exclusiveMinimum": 0})", {"0.01", "5", "12.5"}, {"0", "-1", "0.0"}},
      {R"({"enum": ["red", 2, null, {"a": [1, "x\"y"]}, "l\nf"]})",
       {"\"red\"", "2", "null", "{\"a\":[1,\"x\\\"y\"]}", "\"l\\nf\""},
       {"\"re\"", "3", "\"blue\""}},
      {R"({"type": "string", "enum": ["a", 1]})", {"\"a\""}, {"1"}},
      {R"({"const": 1.5})", {"1.5"}, {"1", "1.50"}},
      {R"({"type": "object"})", {"{}", "{\"x\": {\"y\": []}}"}, {"[]", "{\"x\"}", "{\"x\":1,}"}},
      {R"({"type": "object", "properties": {}, "additionalProperties": false})",
       {"{}", "{ }"},
       {"{\"a\":1}"}},
      {R"({"type": "object", "properties": {"name": {"type": "string"}, "age":
          {"type": "integer"}}, "required": ["name", "age"]})",
       {"{\"name\": \"x\", \"age\": 3}", "{\"name\":\"\",\"age\":0}",
        "{\n  \"name\": \"x\",\n  \"age\": 3\n}"},
       {"{}", "{\"name\": \"x\"}", "{\"name\": 1, \"age\": 3}",
        "{\"name\": \"x\", \"age\": 3, \"z\": 1}"}},
      {R"({"properties": {"a": {"type": "null"}, "b": {"type": "boolean"}, "c":
          {"type": "null"}, "d": {"type": "null"}}, "required": ["c"]})",
       {"{\"c\":null}", "{\"a\":null,\"c\":null}", "{\"b\":true,\"c\":null,\"d\":null}",
        "{\"a\":null,\"b\":false,\"c\":null}"},
       {"{}", "{\"a\":null}", "{\"c\":null,}", "{,\"c\":null}", "{\"a\":null \"c\":null}"}},
      {R"({"properties": {"a": {}, "ab": {"type": "integer"}, "\u00e9\"": {"type": "null"}},
          "additionalProperties": {"type": "boolean"}})",
       {"{}", "{\"x\":true}", "{\"ab\":1,\"abc\":true,\"\":false}", "{\"a\":[],\"b\":true}",
        "{\"\u00e9\\\"\":null}"},
       {"{\"ab\":true}", "{\"x\":1}", "{\"\\u0061b\":true}", "{\"x\":true,\"ab\":true}"}},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
       {"{}", "{\"a\":1,\"b\":2}"},
       {"{\"a\":\"x\"}"}},
      {R"({"type": "object", "required": ["id"]})",
       {"{\"id\":1}", "{\"id\":null,\"x\":2}"},
       {"{}", "{\"x\":2}"}},
      {R"({"type": "array"})", {"[]", "[1,\"a\"]"}, {"{}"}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3})",
       {"[1]", "[1, 2,3]"},
       {"[]", "[1,2,3,4]", "[\"a\"]"}},
      {R"({"items": {"type": "boolean"}, "minItems": 2})",
       {"[true,false]", "[true,true,true,true]"},
       {"[true]"}},
      {R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"}},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]})",
       {"[]", "[1]", "[1,\"a\"]"},
       {"[\"a\"]", "[1,\"a\",2]"}},
      {R"({"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "null"},
          "minItems": 1, "maxItems": 4})",
       {"[1]", "[1,\"a\"]", "[1,\"a\",null,null]"},
       {"[]", "[1,\"a\",null,null,null]", "[1,\"a\",2]", "[1,null]"}},
      {R"({"prefixItems": [{"type": "null"}], "items": true, "minItems": 3})",
       {"[null,1,2]", "[null,1,2,3]"},
       {"[null,1]", "[1,1,1]"}},
      {R"({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "null"}}],
          "title": "t"})",
       {"1", "[null]"},
       {"\"x\"", "[1]"}},
      {R"({"oneOf": [{"const": "a"}, {"const": "b"}]})", {"\"a\"", "\"b\""}, {"\"c\""}},
      {R"({"allOf": [{"type": "string", "maxLength": 1}]})", {"\"\"", "\"a\""}, {"\"ab\""}},
      {R"({"allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": {"type": "null"}},
          "required": ["b"]}], "$defs": {"base": {"type": "object", "properties": {"a":
          {"type": "integer"}}, "required": ["a"]}}})",
       {"{\"a\":1,\"b\":null}"},
       {"{\"a\":1}", "{\"b\":null}"}},
      {R"({"$ref": "#/definitions/x~1y%25", "definitions": {"x/y%": {"const": 1}}})", {"1"}, {"2"}},
      {R"({"$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"},
          "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
          "required": ["value", "next"]}}, "$ref": "#/$defs/node"})",
       {"{\"value\":1,\"next\":null}", "{\"value\":1,\"next\":{\"value\":2,\"next\":null}}"},
       {"{\"value\":1}", "{\"value\":1,\"next\":{}}"}},
      {R"({"type": "array", "items": {"$ref": "#"}})", {"[]", "[[],[[]]]"}, {"[1]"}},
      {R"({"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}},
          "also": {"$ref": "#/properties/kids"}}})",
       {"{\"kids\":[{\"also\":[]}]}"},
       {"{\"kids\":[[]]}"}},
  };
  return kCases;
}

TEST_CASE("documents of a schema's grammar are valid, and the expected ones are of it",
          "[schema]") {
  std::mt19937 random(Catch::rngSeed());
  for (const Case& one : Cases()) {
    INFO("seed " << Catch::rngSeed() << ", schema " << one.schema);
    const auto grammar = MakeGrammar(one.schema);
    const Json schema = Json::parse(one.schema);
    for (const std::string document : one.yes) {
      CAPTURE(document);
      CHECK(IsValid(Json::parse(document), schema, schema));
      CHECK(Accepts(grammar, document));
    }
    for (const std::string document : one.no) {
      CAPTURE(document);
      CHECK_FALSE(Accepts(grammar, document));
    }
    int finished = 0;
    for (int round = 0; round < 25; ++round) {
      const std::string text = RandomDocument(grammar, random);
      if (text.empty()) {
        continue;
      }
      ++finished;
      const Json document = Json::parse(text, nullptr, /*allow_exceptions=*/false);
      CAPTURE(text);
      REQUIRE_FALSE(document.is_discarded());
      REQUIRE(IsValid(document, schema, schema));
    }
    CHECK(finished > 10);
  }
}

TEST_CASE("any JSON object", "[schema]") {
  const auto grammar = Grammar::FromGbnf(JsonObjectGbnf(), JsonVocabulary());
  REQUIRE_OK(grammar);
  CHECK(Accepts(*grammar, R"({"a": [1, 2.5e-3, "x", {"b": null}], "c" :true})") == false);
  CHECK(Accepts(*grammar, R"({"a": [1, 2.5e-3, "x", {"b": null}], "c": true})"));
  CHECK_FALSE(Accepts(*grammar, "[1]"));
  std::mt19937 random(Catch::rngSeed());
  for (int round = 0; round < 50; ++round) {
    const std::string text = RandomDocument(*grammar, random);
    INFO("seed " << Catch::rngSeed() << ": " << text);
    REQUIRE((text.empty() || Json::parse(text, nullptr, false).is_object()));
  }
}

TEST_CASE("what a schema asks for in vain is named with its place", "[schema]") {
  struct Wrong {
    const char* schema;
    const char* error;
  };
  const Wrong wrongs[] = {
      {"{", "the text is not JSON, see byte 2"},
      {"{\"type\": }", "not JSON, see byte "},
      {"1", "json_schema at #: a schema is an object or true"},
      {"false", "false allows no document"},
      {R"({"not": {}})", "json_schema at #: the keyword not is not supported"},
      {R"({"properties": {"a/b": {"items": {"uniqueItem": 1}}}})",
       "json_schema at #/properties/a~1b/items: the keyword uniqueItem is not supported"},
      {R"({"type": "array", "uniqueItems": true})", "uniqueItems is not supported"},
      {R"({"type": "integer", "multipleOf": 2})", "multipleOf"},
      {R"({"type": "object", "patternProperties": {}})", "patternProperties"},
      {R"({"if": {}, "then": {}})", "the keyword if is not supported"},
      {R"({"type": "strin"})", "json_schema at #/type: \\\"strin\\\" is no type"},
      {R"({"type": []})", "json_schema at #/type: [] is no type"},
      {R"({"type": ["string", 1]})", "1 is no type"},
      {R"({"enum": []})", "enum is a list of at least one value"},
      {R"({"enum": [1], "type": "string"})", "no value of enum is of the type"},
      {R"({"enum": ["a"], "minLength": 1})", "the keyword minLength beside enum"},
      {R"({"$ref": "#/a", "type": "string"})", "the keyword type beside $ref"},
      {R"({"anyOf": [{}], "oneOf": [{}]})", "the keyword oneOf beside anyOf"},
      {R"({"anyOf": []})", "json_schema at #/anyOf: a list of at least one schema"},
      {R"({"anyOf": [{"anyOf": [{"minLength": -1}]}]})",
       "json_schema at #/anyOf/0/anyOf/0: minLength is -1, a whole number"},
      {R"({"$ref": "http://x/y"})", "only references into the same schema"},
      {R"({"$ref": 1})", "$ref is a string"},
      {R"({"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {}})",
       "json_schema at #/properties/a: $ref #/$defs/b leads nowhere, there is no b at #/$defs"},
      {R"({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}})",
       "json_schema at #/$defs/a/anyOf/0: $ref #/$defs/a refers to itself"},
      {R"({"$ref": "#"})", "refers to itself"},
      {R"({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"a": {"const": 2}}}]})",
       "json_schema at #/allOf/1/properties/a: allOf has another schema for the same property"},
      {R"({"allOf": [{"type": "string"}, {"minLength": 1}]})", "is not supported in allOf"},
      {R"({"allOf": [{"$ref": "#"}, {"type": "object"}]})", "schemas within one another"},
      {R"({"properties": [1]})", "properties is an object"},
      {R"({"required": "a"})", "required is a list of names"},
      {R"({"properties": {}, "required": ["a"], "additionalProperties": false})",
       "required names a, which additionalProperties forbids"},
      {R"({"minItems": 3, "maxItems": 2})", "minItems 3 is above maxItems 2"},
      {R"({"prefixItems": [{}], "minItems": 2})", "minItems is 2, but only 1 items can be there"},
      {R"({"items": [{}]})", "items as a list is not supported, use prefixItems"},
      {R"({"minLength": 1.5})", "minLength is 1.5, a whole number"},
      {R"({"minLength": 100000})", "minLength is 100000, at most 16384"},
      {R"x({"pattern": "a(?=b)"})x", "json_schema at #/pattern: pattern, byte 2: assertions"},
      {R"({"pattern": "a", "maxLength": 3})", "only one is supported at a time"},
      {R"({"format": "email"})", "format \\\"email\\\" is not supported, formats are date, time"},
      {R"({"minimum": "1"})", "minimum is a number"},
      {R"({"type": "integer", "minimum": 5, "maximum": 3})", "no number lies between"},
      {R"({"type": "number", "minimum": 0.5})", "only whole limits within 10^9"},
      {R"({"items": {"$id": "x"}})", "json_schema at #/items: the keyword $id"},
  };
  for (const Wrong& wrong : wrongs) {
    INFO(wrong.schema);
    REQUIRE_STATUS(JsonSchemaToGbnf(wrong.schema), absl::StatusCode::kInvalidArgument, wrong.error);
  }
}

TEST_CASE("a schema without a finite document is refused", "[schema]") {
  const auto gbnf = JsonSchemaToGbnf(
      R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})");
  REQUIRE_OK(gbnf);
  REQUIRE_STATUS(Grammar::FromGbnf(*gbnf, JsonVocabulary()), absl::StatusCode::kInvalidArgument,
                 "cannot match any text");
}

TEST_CASE("schemas are bounded", "[schema]") {
  REQUIRE_STATUS(JsonSchemaToGbnf(std::string(300'000, ' ')), absl::StatusCode::kInvalidArgument,
                 "300000 bytes, at most 262144");
  REQUIRE_STATUS(JsonSchemaToGbnf(std::string(100'000, '[')), absl::StatusCode::kInvalidArgument,
                 "nested deeper than 64");
  // Each definition refers to the next.
  std::string chain = "{\"$ref\": \"#/$defs/0\", \"$defs\": {";
  for (int i = 0; i < 2'000; ++i) {
    chain += StrCat("\"", i, "\": {\"items\": {\"$ref\": \"#/$defs/", i + 1, "\"}},");
  }
  REQUIRE_STATUS(JsonSchemaToGbnf(chain + "\"2000\": {}}}"), absl::StatusCode::kInvalidArgument,
                 "more than 200 schemas within one another");
}

TEST_CASE("merging that doubles with each definition ends", "[schema]") {
  std::string schema = "{\"$ref\": \"#/$defs/0\", \"$defs\": {";
  for (int i = 0; i < 50; ++i) {
    schema += StrCat("\"", i, "\": {\"allOf\": [{\"$ref\": \"#/$defs/", i + 1,
                     "\"}, {\"$ref\": \"#/$defs/", i + 1, "\"}]},");
  }
  REQUIRE_STATUS(JsonSchemaToGbnf(schema + "\"50\": {\"type\": \"object\"}}}"),
                 absl::StatusCode::kInvalidArgument, "allOf is of more than 1000 schemas");
  // Likewise where the merged ones stand inside one another.
  schema = "{\"$ref\": \"#/$defs/0\", \"$defs\": {";
  for (int i = 0; i < 50; ++i) {
    const std::string next = StrCat("{\"allOf\": [{\"$ref\": \"#/$defs/", i + 1, "\"}, {}]}");
    schema += StrCat("\"", i, "\": {\"properties\": {\"x\": ", next, ", \"y\": ", next, "}},");
  }
  REQUIRE_STATUS(JsonSchemaToGbnf(schema + "\"50\": {\"type\": \"object\"}}}"),
                 absl::StatusCode::kInvalidArgument, "more than 50000 schemas");
}

TEST_CASE("a schema of many properties stays small", "[schema]") {
  std::string schema = "{\"type\": \"object\", \"properties\": {";
  for (int i = 0; i < 500; ++i) {
    schema += StrCat(i == 0 ? "" : ",", "\"property_", i,
                     "\": {\"type\": \"string\", \"maxLength\": 50}");
  }
  const auto grammar = MakeGrammar(schema + "}}");
  CHECK(grammar->automaton().states.size() < 150'000);
  CHECK(Accepts(grammar, "{\"property_3\": \"x\", \"property_499\": \"y\"}"));
  CHECK_FALSE(Accepts(grammar, "{\"property_3\": \"x\", \"property_2\": \"y\"}"));
}

}  // namespace
}  // namespace baton
