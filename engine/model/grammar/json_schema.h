#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace baton {

inline constexpr size_t kJsonSchemaBytesMax = size_t{256} << 10;

// A JSON schema as a grammar (GBNF, see grammar.h) of documents that are valid under it. Every text
// of the grammar is valid; not every valid document is a text of it:
//
// - Properties come in the order of `properties`; those that are not required may be left out.
// - Without additionalProperties, an object with `properties` has no others, and one without has
//   any; with it, others follow the named ones, their keys without escapes. Likewise `items` behind
//   `prefixItems`.
// - Without `type`, the keywords that are there say the types; a schema without any allows all.
// - Whole numbers have at most 18 digits; maxLength and maxItems are cut to 16,384.
// - White space is one blank, or a line end and up to 32 blanks, where JSON allows it inside.
// - A key may be repeated among the additional ones.
//
// One difference goes the other way: oneOf is treated as anyOf, a document may fit several
// branches.
//
// Supported: type (one or several), enum, const, properties, required, additionalProperties, items,
// prefixItems, minItems, maxItems, minLength, maxLength, pattern (see json_pattern.h), format
// (date, time, date-time, uuid), minimum, maximum, exclusiveMinimum, exclusiveMaximum (of numbers
// that need not be whole: whole limits within 10^9), anyOf, oneOf, allOf (of objects, merged), $ref
// (#/..., recursive too), $defs, definitions, true. Titles, descriptions, defaults and other
// annotations say nothing about validity and are passed over.
//
// schema: at most kJsonSchemaBytesMax. INVALID_ARGUMENT: names the JSON pointer and the keyword
// that is not supported, is malformed, or leaves no valid document; or the byte where the text is
// not JSON.
absl::StatusOr<std::string> JsonSchemaToGbnf(std::string_view schema);

}  // namespace baton
