#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/request/vector_request.h"
#include "engine/vector/vector_options.h"

namespace baton {

// Checks of what a client sends. INVALID_ARGUMENT or RESOURCE_EXHAUSTED, naming the field, the
// limit and the value. `field` is how the client knows it, e.g. "points[3].vector".

// Of a collection or an alias.
absl::Status CheckName(const std::string& field, const std::string& name);
// With its named vectors, of which there are at most `named_vectors_max`.
absl::Status CheckSpec(const CollectionSpec& spec, int64_t named_vectors_max = INT64_MAX);
// Of its partition key.
PayloadIndex PartitionIndex(const CollectionSpec& spec);
// A collection as messages call it, or one of its named vectors.
std::string Described(const CollectionSpec& spec);
// The same in one word, for logs and metrics.
std::string FullName(const CollectionSpec& spec);
absl::Status CheckVector(const CollectionSpec& spec, const std::string& field,
                         const std::vector<float>& vector);
// Of a vector that CheckVector takes: whether the collection can store it.
absl::Status CheckStorable(const CollectionSpec& spec, const std::string& field,
                           const std::vector<float>& vector);
absl::Status CheckPayload(const VectorOptions& options, const std::string& field,
                          const Payload& payload);
absl::Status CheckPayloadIndex(const PayloadIndex& index);

// NOT_FOUND and INVALID_ARGUMENT: what a request names is not there.
absl::Status UnknownCollection(const std::string& name);
absl::Status UnknownVector(std::string_view field, const std::string& name,
                           const CollectionSpec& spec);

// Scales `vector` to unit length in double precision; it is not zero.
void Normalize(float* vector, int64_t dimension);

}  // namespace baton
