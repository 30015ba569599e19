#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/request/filter.h"
#include "engine/request/vector_request.h"

namespace baton {

// Of one kind: integers for kInteger, kBoolean (0, 1) and kDatetime (microseconds), numbers for
// kNumber, texts for kKeyword and kText (words).
using ValueList = std::variant<std::vector<int64_t>, std::vector<double>, std::vector<std::string>>;

// An empty list of the kind's type.
ValueList EmptyValues(PayloadIndexKind kind);

// What an index takes of one field of one point.
struct FieldValues {
  uint32_t count = 0;  // values in the payload, of whatever type
  ValueList values;    // sorted, distinct
  // Of kText: how often each word is there, kFrequencyMax at most; empty: each once.
  std::vector<uint32_t> frequencies = {};

  static constexpr uint32_t kFrequencyMax = UINT16_MAX;

  uint32_t FrequencyOf(size_t value) const { return frequencies.empty() ? 1 : frequencies[value]; }
  // Of kText: how many words there are, each counted as often as its frequency says.
  uint32_t Length() const;
};

// The same for all indexes of a collection, in their order.
using IndexedRow = std::vector<FieldValues>;

FieldValues TakeValues(const PayloadIndex& index, const Payload& payload);
IndexedRow TakeValues(std::span<const PayloadIndex> indexes, const Payload& payload);

}  // namespace baton
