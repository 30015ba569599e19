#include "engine/model/grammar/schema_keywords.h"

#include <algorithm>
#include <array>

namespace baton {
namespace {

constexpr std::array<std::string_view, 7> kTypes = {"object",  "array",   "string", "number",
                                                    "integer", "boolean", "null"};
constexpr std::array<std::string_view, 7> kGeneralKeywords = {"type",  "enum",  "const", "$ref",
                                                              "allOf", "anyOf", "oneOf"};
constexpr std::array<std::string_view, 12> kAnnotations = {
    "title",     "description", "default", "examples", "deprecated", "readOnly",
    "writeOnly", "$schema",     "$id",     "$comment", "$defs",      "definitions"};
constexpr std::array<std::string_view, 3> kObjectKeywords = {"properties", "required",
                                                             "additionalProperties"};
constexpr std::array<std::string_view, 5> kArrayKeywords = {"items", "prefixItems", "minItems",
                                                            "maxItems", "uniqueItems"};
constexpr std::array<std::string_view, 4> kStringKeywords = {"minLength", "maxLength", "pattern",
                                                             "format"};
constexpr std::array<std::string_view, 4> kNumberKeywords = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};

template <class List>
bool Contains(const List& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace

bool IsSchemaKeyword(std::string_view keyword) {
  return Contains(kGeneralKeywords, keyword) || IsSchemaAnnotation(keyword) ||
         !SchemaKeywordType(keyword).empty();
}

bool IsSchemaAnnotation(std::string_view keyword) { return Contains(kAnnotations, keyword); }

std::string_view SchemaKeywordType(std::string_view keyword) {
  if (Contains(kObjectKeywords, keyword)) {
    return "object";
  }
  if (Contains(kArrayKeywords, keyword)) {
    return "array";
  }
  if (Contains(kStringKeywords, keyword)) {
    return "string";
  }
  return Contains(kNumberKeywords, keyword) ? "number" : "";
}

bool IsJsonType(std::string_view name) { return Contains(kTypes, name); }

}  // namespace baton
