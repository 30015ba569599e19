#include "engine/model/grammar/json_schema.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/grammar/json_grammar.h"
#include "engine/model/grammar/json_number.h"
#include "engine/model/grammar/json_pattern.h"
#include "engine/model/grammar/json_pointer.h"
#include "engine/model/grammar/schema_keywords.h"

namespace baton {
namespace {

using Json = nlohmann::ordered_json;  // keeps the order of properties

constexpr size_t kGrammarBytesMax = 512 * 1024;
constexpr int kNestingMax = 64;         // of the schema's JSON
constexpr int kDepthMax = 200;          // of schemas within schemas, references followed
constexpr uint64_t kCountMax = 16'384;  // of maxLength and maxItems

// Schemas that are written, one anew for each way to it that is no plain reference.
constexpr size_t kWrittenMax = 50'000;
constexpr size_t kMergedMax = 1000;  // schemas, and properties or required names, of one allOf

template <class List>
bool Contains(const List& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::string Compact(const Json& value) { return value.dump(); }

// A member of an object; nullptr: not there.
const Json* Find(const Json& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  return found == object.end() ? nullptr : &*found;
}

std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

absl::Status Error(const std::string& pointer, std::string_view message) {
  return absl::InvalidArgumentError(StrCat("json_schema at ", Escaped(pointer), ": ", message));
}

bool HasType(const Json& value, std::string_view type) {
  if (type == "integer") {
    return value.is_number_integer() ||
           (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>());
  }
  return (type == "object" && value.is_object()) || (type == "array" && value.is_array()) ||
         (type == "string" && value.is_string()) || (type == "number" && value.is_number()) ||
         (type == "boolean" && value.is_boolean()) || (type == "null" && value.is_null());
}

// Turns each schema into an expression of GBNF, and those that are used from elsewhere into rules.
class SchemaWriter {
 public:
  explicit SchemaWriter(const Json& root) : root_(root) {}

  absl::StatusOr<std::string> Write() {
    rules_["#"] = "root";
    direct_.push_back("#");
    ASSIGN_OR_RETURN(const std::string root, Expression(root_, "#", 0));
    writer_.AddRule("root", root);
    if (writer_.bytes() > kGrammarBytesMax) {
      return absl::InvalidArgumentError(StrCat("json_schema: its grammar has ", writer_.bytes(),
                                               " bytes, at most ", kGrammarBytesMax,
                                               " are allowed"));
    }
    return writer_.Take();
  }

 private:
  using Text = absl::StatusOr<std::string>;

  Text Expression(const Json& schema, const std::string& pointer, int depth) {
    if (depth > kDepthMax || writer_.bytes() > kGrammarBytesMax) {
      return Error(pointer,
                   depth > kDepthMax
                       ? StrCat("more than ", kDepthMax, " schemas within one another")
                       : StrCat("the schema's grammar exceeds ", kGrammarBytesMax, " bytes"));
    }
    if (++written_ > kWrittenMax) {
      return Error(pointer, StrCat("written out, the schema is of more than ", kWrittenMax,
                                   " schemas; use $ref without allOf for those that repeat"));
    }
    if (schema.is_boolean()) {
      return schema.get<bool>() ? Text("value") : Error(pointer, "false allows no document");
    }
    if (!schema.is_object()) {
      return Error(pointer, "a schema is an object or true");
    }
    RETURN_IF_ERROR(CheckKeywords(schema, pointer));
    if (const Json* reference = Find(schema, "$ref")) {
      RETURN_IF_ERROR(CheckAlone(schema, pointer, "$ref", /*beside_type=*/false));
      return Reference(*reference, pointer, depth);
    }
    if (const Json* all = Find(schema, "allOf")) {
      return AllOf(schema, *all, pointer, depth);
    }
    for (const char* const keyword : {"anyOf", "oneOf"}) {
      if (const Json* branches = Find(schema, keyword)) {
        RETURN_IF_ERROR(CheckAlone(schema, pointer, keyword, /*beside_type=*/false));
        return AnyOf(*branches, JsonPointerTo(pointer, keyword), depth);
      }
    }
    ASSIGN_OR_RETURN(const std::vector<std::string> types, Types(schema, pointer));
    for (const char* const keyword : {"enum", "const"}) {
      if (const Json* values = Find(schema, keyword)) {
        RETURN_IF_ERROR(CheckAlone(schema, pointer, keyword, /*beside_type=*/true));
        return Values(*values, keyword, types, pointer);
      }
    }
    std::string text;
    for (const std::string& type : types) {
      ASSIGN_OR_RETURN(const std::string one, OfType(schema, type, pointer, depth));
      text += StrCat(text.empty() ? "(" : " | ", one);
    }
    return text + ")";
  }

  // As Expression, of a schema that stands inside an object or array: a reference back from there
  // does not come back to the same place of the document.
  Text Inner(const Json& schema, const std::string& pointer, int depth) {
    std::vector<std::string> direct;
    direct.swap(direct_);
    Text text = Expression(schema, pointer, depth + 1);
    direct.swap(direct_);
    return text;
  }

  static absl::Status CheckKeywords(const Json& schema, const std::string& pointer) {
    for (const auto& [keyword, value] : schema.items()) {
      if (!IsSchemaKeyword(keyword)) {
        return Error(pointer, StrCat("the keyword ", Escaped(keyword), " is not supported"));
      }
      if (keyword == "$id" && pointer != "#") {
        return Error(pointer, "the keyword $id is supported at the root only");
      }
    }
    return absl::OkStatus();
  }

  // That nothing else in `schema` constrains it.
  static absl::Status CheckAlone(const Json& schema, const std::string& pointer,
                                 std::string_view keyword, bool beside_type) {
    for (const auto& [other, value] : schema.items()) {
      if (other != keyword && !IsSchemaAnnotation(other) && !(beside_type && other == "type")) {
        return Error(pointer,
                     StrCat("the keyword ", other, " beside ", keyword, " is not supported"));
      }
    }
    return absl::OkStatus();
  }

  // ---- references and combinations ----

  // The schema that "#/..." names, and its pointer.
  absl::StatusOr<std::pair<const Json*, std::string>> Resolve(const Json& reference,
                                                              const std::string& pointer) const {
    const std::string* text = reference.get_ptr<const std::string*>();
    if (text == nullptr) {
      return Error(pointer, "$ref is a string");
    }
    if (*text != "#" && !text->starts_with("#/")) {
      return Error(pointer, StrCat("$ref ", Escaped(*text),
                                   ": only references into the same schema, #/..., are supported"));
    }
    const Json* target = &root_;
    std::string canonical = "#";
    for (size_t at = 2; at <= text->size();) {
      const size_t end = std::min(text->find('/', at), text->size());
      const std::string key = JsonPointerKey(std::string_view(*text).substr(at, end - at));
      at = end + 1;
      if (target->is_array()) {
        size_t index = 0;
        for (const char c : key) {
          const bool digit = c >= '0' && c <= '9' && index <= target->size();
          index = digit ? index * 10 + static_cast<size_t>(c - '0') : target->size() + 1;
        }
        target = !key.empty() && index < target->size() ? &(*target)[index] : nullptr;
      } else {
        target = target->is_object() ? Find(*target, key) : nullptr;
      }
      if (target == nullptr) {
        return Error(pointer, StrCat("$ref ", Escaped(*text), " leads nowhere, there is no ",
                                     Escaped(key), " at ", Escaped(canonical)));
      }
      canonical = JsonPointerTo(canonical, key);
    }
    return std::pair(target, canonical);
  }

  Text Reference(const Json& reference, const std::string& pointer, int depth) {
    ASSIGN_OR_RETURN(const auto resolved, Resolve(reference, pointer));
    const auto& [target, target_pointer] = resolved;
    if (Contains(direct_, target_pointer)) {
      return Error(pointer, StrCat("$ref ", Escaped(target_pointer),
                                   " refers to itself without an object or array between"));
    }
    if (const auto known = rules_.find(target_pointer); known != rules_.end()) {
      return known->second;
    }
    const std::string name = writer_.NewName();
    rules_[target_pointer] = name;
    direct_.push_back(target_pointer);
    ASSIGN_OR_RETURN(const std::string text, Expression(*target, target_pointer, depth + 1));
    direct_.pop_back();
    writer_.AddRule(name, text);
    return name;
  }

  Text AnyOf(const Json& branches, const std::string& pointer, int depth) {
    if (!branches.is_array() || branches.empty()) {
      return Error(pointer, "a list of at least one schema is needed");
    }
    std::string text;
    for (size_t i = 0; i < branches.size(); ++i) {
      ASSIGN_OR_RETURN(const std::string branch,
                       Expression(branches[i], JsonPointerTo(pointer, StrCat(i)), depth + 1));
      text += StrCat(text.empty() ? "(" : " | ", branch);
    }
    return text + ")";
  }

  // One schema of all that must hold at the same time.
  Text AllOf(const Json& schema, const Json& all, const std::string& pointer, int depth) {
    if (!all.is_array() || all.empty()) {
      return Error(JsonPointerTo(pointer, "allOf"), "a list of at least one schema is needed");
    }
    const bool alone = CheckAlone(schema, pointer, "allOf", /*beside_type=*/false).ok();
    if (alone && all.size() == 1) {
      return Expression(all[0], JsonPointerTo(JsonPointerTo(pointer, "allOf"), "0"), depth + 1);
    }
    Json merged = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
    size_t schemas = 0;
    RETURN_IF_ERROR(Merge(schema, pointer, depth, schemas, merged));
    return Expression(merged, pointer, depth + 1);
  }

  // schemas: how many have been merged.
  absl::Status Merge(const Json& schema, const std::string& pointer, int depth, size_t& schemas,
                     Json& merged) {
    if (depth > kDepthMax) {
      return Error(pointer, StrCat("more than ", kDepthMax, " schemas within one another"));
    }
    if (++schemas > kMergedMax) {
      return Error(pointer, StrCat("allOf is of more than ", kMergedMax, " schemas"));
    }
    if (!schema.is_object()) {
      return Error(pointer, "in allOf, only objects are supported");
    }
    for (const auto& [keyword, value] : schema.items()) {
      const std::string inner = JsonPointerTo(pointer, keyword);
      if (keyword == "$ref") {
        ASSIGN_OR_RETURN(const auto resolved, Resolve(value, pointer));
        RETURN_IF_ERROR(Merge(*resolved.first, resolved.second, depth + 1, schemas, merged));
      } else if (keyword == "allOf") {
        if (!value.is_array()) {
          return Error(inner, "a list of schemas is needed");
        }
        for (size_t i = 0; i < value.size(); ++i) {
          RETURN_IF_ERROR(
              Merge(value[i], JsonPointerTo(inner, StrCat(i)), depth + 1, schemas, merged));
        }
      } else if (keyword == "properties" && value.is_object()) {
        for (const auto& [name, property] : value.items()) {
          Json& properties = merged["properties"];
          const Json* known = Find(properties, name);
          if (known != nullptr && *known != property) {
            return Error(JsonPointerTo(inner, name),
                         "allOf has another schema for the same property, which is not supported");
          }
          properties[name] = property;
        }
      } else if (keyword == "required" && value.is_array()) {
        merged["required"].insert(merged["required"].end(), value.begin(), value.end());
      } else if (!IsSchemaAnnotation(keyword) && !(keyword == "type" && value == "object") &&
                 !(keyword == "additionalProperties" && value == true)) {
        return Error(pointer, StrCat("the keyword ", Escaped(keyword), " with the value ",
                                     Escaped(Compact(value)),
                                     " is not supported in allOf, only objects with properties and "
                                     "required are"));
      }
    }
    if (merged["properties"].size() > kMergedMax || merged["required"].size() > kMergedMax) {
      return Error(pointer, StrCat("allOf has more than ", kMergedMax, " properties"));
    }
    return absl::OkStatus();
  }

  // ---- types ----

  static absl::StatusOr<std::vector<std::string>> Types(const Json& schema,
                                                        const std::string& pointer) {
    std::vector<std::string> types;
    const auto add = [&](const Json& type) {
      const std::string* name = type.get_ptr<const std::string*>();
      if (name == nullptr || !IsJsonType(*name)) {
        return Error(JsonPointerTo(pointer, "type"),
                     StrCat(Escaped(Compact(type)),
                            " is no type; types are object, array, string, number, integer, "
                            "boolean and null"));
      }
      if (!Contains(types, *name)) {
        types.push_back(*name);
      }
      return absl::OkStatus();
    };
    const Json* type = Find(schema, "type");
    if (type == nullptr) {
      for (const auto& [keyword, value] : schema.items()) {
        const std::string_view keyword_type = SchemaKeywordType(keyword);
        if (!keyword_type.empty() && !Contains(types, keyword_type)) {
          types.emplace_back(keyword_type);
        }
      }
      if (types.empty()) {
        types = {"object", "array", "string", "number", "boolean", "null"};
      }
    } else if (type->is_array() && !type->empty()) {
      for (const Json& one : *type) {
        RETURN_IF_ERROR(add(one));
      }
    } else {
      RETURN_IF_ERROR(add(*type));
    }
    return types;
  }

  static Text Values(const Json& values, std::string_view keyword,
                     const std::vector<std::string>& types, const std::string& pointer) {
    if (keyword == "enum" && (!values.is_array() || values.empty())) {
      return Error(pointer, "enum is a list of at least one value");
    }
    const Json list = keyword == "enum" ? values : Json::array({values});
    std::string text;
    for (const Json& value : list) {
      if (std::any_of(types.begin(), types.end(),
                      [&](const std::string& type) { return HasType(value, type); })) {
        text += StrCat(text.empty() ? "(" : " | ", GbnfLiteral(Compact(value)));
      }
    }
    return text.empty() ? Error(pointer, StrCat("no value of ", keyword, " is of the type"))
                        : Text(text + ")");
  }

  Text OfType(const Json& schema, const std::string& type, const std::string& pointer, int depth) {
    if (type == "object") {
      return Object(schema, pointer, depth);
    }
    if (type == "array") {
      return Array(schema, pointer, depth);
    }
    if (type == "string") {
      return String(schema, pointer);
    }
    if (type == "integer" || type == "number") {
      return Number(schema, type == "integer", pointer);
    }
    return type;  // boolean and null are rules
  }

  // ---- objects ----

  Text Member(std::string_view key, const Json& schema, const std::string& pointer, int depth) {
    ASSIGN_OR_RETURN(const std::string value, Inner(schema, pointer, depth));
    return writer_.Rule(StrCat(key, " \":\" ws ", value, " ws"));
  }

  Text Object(const Json& schema, const std::string& pointer, int depth) {
    const Json* named = Find(schema, "properties");
    const Json* required = Find(schema, "required");
    const Json* additional = Find(schema, "additionalProperties");
    if (named == nullptr && required == nullptr && (additional == nullptr || *additional == true)) {
      return std::string("object");
    }
    if (named != nullptr && !named->is_object()) {
      return Error(pointer, "properties is an object");
    }
    if (required != nullptr && !required->is_array()) {
      return Error(pointer, "required is a list of names");
    }
    const Json any = true;
    if (additional == nullptr && named == nullptr) {
      additional = &any;
    }
    const bool open = additional != nullptr && *additional != false;

    std::vector<JsonMember> properties;
    absl::flat_hash_map<std::string, size_t> numbers;
    if (named != nullptr) {
      for (const auto& [name, property] : named->items()) {
        ASSIGN_OR_RETURN(std::string member,
                         Member(GbnfLiteral(Compact(name)), property,
                                JsonPointerTo(JsonPointerTo(pointer, "properties"), name), depth));
        numbers[name] = properties.size();
        properties.push_back({name, std::move(member), false});
      }
    }
    for (size_t i = 0; required != nullptr && i < required->size(); ++i) {
      const std::string* name = (*required)[i].get_ptr<const std::string*>();
      if (name == nullptr) {
        return Error(pointer, "required is a list of names");
      }
      if (!numbers.contains(*name)) {
        if (additional != nullptr && !open) {
          return Error(pointer, StrCat("required names ", Escaped(*name),
                                       ", which additionalProperties forbids"));
        }
        ASSIGN_OR_RETURN(std::string member,
                         Member(GbnfLiteral(Compact(*name)), open ? *additional : any,
                                JsonPointerTo(pointer, "additionalProperties"), depth));
        numbers[*name] = properties.size();
        properties.push_back({*name, std::move(member), false});
      }
      properties[numbers[*name]].required = true;
    }

    std::string other;  // a member of another name
    if (open) {
      ASSIGN_OR_RETURN(other, Member(writer_.OtherKey(properties), *additional,
                                     JsonPointerTo(pointer, "additionalProperties"), depth));
    }
    return writer_.Object(properties, other);
  }

  // ---- arrays, strings, numbers ----

  // A keyword's whole number of at least 0; `fallback` where it is absent.
  static absl::StatusOr<uint64_t> Count(const Json& schema, std::string_view keyword,
                                        uint64_t fallback, const std::string& pointer) {
    const Json* count = Find(schema, keyword);
    if (count == nullptr) {
      return fallback;
    }
    if (count->is_number_unsigned()) {
      return count->get<uint64_t>();
    }
    if (count->is_number_float() && count->get<double>() >= 0 && count->get<double>() < 1e15 &&
        std::floor(count->get<double>()) == count->get<double>()) {
      return static_cast<uint64_t>(count->get<double>());
    }
    return Error(pointer, StrCat(keyword, " is ", Escaped(Compact(*count)),
                                 ", a whole number of at least 0 is needed"));
  }

  static absl::StatusOr<JsonCounts> CountsOf(const Json& schema, std::string_view min_keyword,
                                             std::string_view max_keyword,
                                             const std::string& pointer) {
    constexpr uint64_t kAbsent = UINT64_MAX;
    ASSIGN_OR_RETURN(const uint64_t min, Count(schema, min_keyword, 0, pointer));
    ASSIGN_OR_RETURN(const uint64_t max, Count(schema, max_keyword, kAbsent, pointer));
    if (min > max) {
      return Error(pointer, StrCat(min_keyword, " ", min, " is above ", max_keyword, " ", max));
    }
    if (min > kCountMax) {
      return Error(pointer,
                   StrCat(min_keyword, " is ", min, ", at most ", kCountMax, " is supported"));
    }
    return JsonCounts{min, max == kAbsent ? std::nullopt : std::optional(std::min(max, kCountMax))};
  }

  Text Array(const Json& schema, const std::string& pointer, int depth) {
    if (const Json* unique = Find(schema, "uniqueItems"); unique != nullptr && *unique != false) {
      return Error(pointer, "the keyword uniqueItems is not supported, except as false");
    }
    ASSIGN_OR_RETURN(const JsonCounts counts, CountsOf(schema, "minItems", "maxItems", pointer));
    const Json* items = Find(schema, "items");
    const Json* prefix = Find(schema, "prefixItems");
    if (items != nullptr && items->is_array()) {
      return Error(pointer, "items as a list is not supported, use prefixItems");
    }
    if (prefix != nullptr && !prefix->is_array()) {
      return Error(pointer, "prefixItems is a list of schemas");
    }
    if (items == nullptr && prefix == nullptr && counts.min == 0 && !counts.max.has_value()) {
      return std::string("array");
    }
    std::vector<std::string> fixed;  // rules of the first items
    for (size_t i = 0; prefix != nullptr && i < prefix->size(); ++i) {
      if (counts.max.has_value() && i == *counts.max) {
        break;
      }
      ASSIGN_OR_RETURN(
          const std::string item,
          Inner((*prefix)[i], JsonPointerTo(JsonPointerTo(pointer, "prefixItems"), StrCat(i)),
                depth));
      fixed.push_back(writer_.Rule(item + " ws"));
    }
    const bool closed = items != nullptr ? *items == false : prefix != nullptr;
    const bool full = counts.max.has_value() && *counts.max == fixed.size();
    if (closed && counts.min > fixed.size()) {
      return Error(pointer, StrCat("minItems is ", counts.min, ", but only ", fixed.size(),
                                   " items can be there"));
    }
    std::string other;  // a rule for those behind
    if (!closed && !full) {
      const Json any = true;
      ASSIGN_OR_RETURN(
          other, Inner(items == nullptr ? any : *items, JsonPointerTo(pointer, "items"), depth));
      other = writer_.Rule(other + " ws");
    }
    return writer_.Array(fixed, other, counts);
  }

  Text String(const Json& schema, const std::string& pointer) {
    const Json* pattern = Find(schema, "pattern");
    const Json* format = Find(schema, "format");
    ASSIGN_OR_RETURN(const JsonCounts counts, CountsOf(schema, "minLength", "maxLength", pointer));
    const bool counted = counts.min > 0 || counts.max.has_value();
    if ((pattern != nullptr) + (format != nullptr) + counted > 1) {
      return Error(pointer,
                   "of pattern, format, and minLength and maxLength only one is supported "
                   "at a time");
    }
    if (pattern != nullptr) {
      const std::string* text = pattern->get_ptr<const std::string*>();
      if (text == nullptr) {
        return Error(pointer, "pattern is a string");
      }
      const Text inside = JsonPatternToGbnf(*text, "char");
      if (!inside.ok()) {
        return Error(JsonPointerTo(pointer, "pattern"), ToStd(inside.status().message()));
      }
      return writer_.Rule(StrCat("\"\\\"\" ", *inside, " \"\\\"\""));
    }
    if (format != nullptr) {
      const std::string* name = format->get_ptr<const std::string*>();
      if (name != nullptr && *name == "date-time") {
        return std::string(R"("\"" date "T" time "\"")");
      }
      if (name != nullptr && (*name == "date" || *name == "time" || *name == "uuid")) {
        return StrCat("\"\\\"\" ", *name, " \"\\\"\"");
      }
      return Error(pointer,
                   StrCat("format ", Escaped(Compact(*format)),
                          " is not supported, formats are date, time, date-time and uuid"));
    }
    if (counted) {
      return writer_.Rule(
          StrCat("\"\\\"\" char", JsonGrammarWriter::Repetition(counts, 0), " \"\\\"\""));
    }
    return std::string("string");
  }

  static Text Number(const Json& schema, bool whole, const std::string& pointer) {
    JsonNumberLimits limits;
    for (const auto& [keyword, limit] :
         {std::pair("minimum", &limits.min), std::pair("exclusiveMinimum", &limits.min_excluded),
          std::pair("maximum", &limits.max), std::pair("exclusiveMaximum", &limits.max_excluded)}) {
      if (const Json* value = Find(schema, keyword)) {
        if (!value->is_number()) {
          return Error(pointer, StrCat(keyword, " is a number"));
        }
        *limit = value->get<double>();
      }
    }
    if (!whole && limits.none()) {
      return std::string("number");
    }
    Text text = whole ? JsonIntegerGbnf(limits) : JsonNumberGbnf(limits);
    if (!text.ok()) {
      return Error(pointer, ToStd(text.status().message()));
    }
    return text;
  }

  const Json& root_;
  JsonGrammarWriter writer_;
  absl::flat_hash_map<std::string, std::string> rules_;  // by the pointer they stand for
  // Pointers whose expressions are being written and start at the same place of the document.
  std::vector<std::string> direct_;
  size_t written_ = 0;
};

// Finds the byte at which a text stops being JSON.
class ErrorPosition : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    byte = position;
    return false;
  }

  size_t byte = 0;
};

}  // namespace

absl::StatusOr<std::string> JsonSchemaToGbnf(std::string_view schema) {
  if (schema.size() > kJsonSchemaBytesMax) {
    return absl::InvalidArgumentError(StrCat("json_schema: ", schema.size(), " bytes, at most ",
                                             kJsonSchemaBytesMax, " are allowed"));
  }
  RETURN_IF_ERROR(CheckJsonNesting(schema, kNestingMax));
  const Json root = Json::parse(schema, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) {
    ErrorPosition position;
    Json::sax_parse(schema, &position);
    return absl::InvalidArgumentError(
        StrCat("json_schema: the text is not JSON, see byte ", position.byte));
  }
  return SchemaWriter(root).Write();
}

}  // namespace baton
