#pragma once

#include <string_view>

namespace baton {

// The keywords of JSON Schema that json_schema.h supports.

bool IsSchemaKeyword(std::string_view keyword);

// One that says nothing about which documents are valid: title, default, $defs ...
bool IsSchemaAnnotation(std::string_view keyword);

// The type of the documents that a keyword constrains; empty: any, or not such a keyword.
std::string_view SchemaKeywordType(std::string_view keyword);

// object, array, string, number, integer, boolean or null.
bool IsJsonType(std::string_view name);

}  // namespace baton
