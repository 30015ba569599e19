#include "engine/vector/vector_checks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/ivf_index.h"
#include "engine/vector/payload_codec.h"
#include "engine/vector/vector_format.h"

namespace baton {
namespace {

// Keeps every distance finite: 65,536 squared differences of 2e15 sum up to 2.6e35 < 3.4e38.
constexpr float kValueMax = 1e15f;
constexpr int32_t kDimensionMax = 65'536;
constexpr size_t kNameBytesMax = 128;
constexpr size_t kPayloadKeyBytesMax = 256;

absl::Status OutOfRange(const char* field, int64_t value, int64_t min, int64_t max) {
  return absl::InvalidArgumentError(
      StrCat(field, " is ", value, ", allowed is ", min, " to ", max));
}

const char* NameOf(VectorStorage storage) {
  constexpr const char* kNames[] = {"f32", "f16", "bf16", "int8"};
  return kNames[static_cast<size_t>(storage)];
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

}  // namespace

absl::Status CheckName(const std::string& field, const std::string& name) {
  if (name.empty() || name.size() > kNameBytesMax) {
    return absl::InvalidArgumentError(
        StrCat(field, " has ", name.size(), " characters, allowed is 1 to ", kNameBytesMax));
  }
  if (name.front() == '.' || !std::all_of(name.begin(), name.end(), IsNameCharacter)) {
    return absl::InvalidArgumentError(
        StrCat(field, " may hold only A-Z, a-z, 0-9, '_', '.', '-' and not start with '.'"));
  }
  return absl::OkStatus();
}

PayloadIndex PartitionIndex(const CollectionSpec& spec) {
  return {.field = spec.partition_key, .kind = PayloadIndexKind::kKeyword};
}

std::string Described(const CollectionSpec& spec) {
  const std::string collection = StrCat("collection \"", spec.name, "\"");
  if (spec.vector_name.empty()) return collection;
  return StrCat("vector \"", spec.vector_name, "\" of ", collection);
}

std::string FullName(const CollectionSpec& spec) {
  return spec.vector_name.empty() ? spec.name : StrCat(spec.name, "/", spec.vector_name);
}

namespace {

absl::Status CheckVectorSpec(const CollectionSpec& spec) {
  if (spec.dimension < 1 || spec.dimension > kDimensionMax) {
    return OutOfRange("dimension", spec.dimension, 1, kDimensionMax);
  }
  if (spec.metric != Metric::kCosine && spec.metric != Metric::kDot && spec.metric != Metric::kL2) {
    return absl::InvalidArgumentError(
        StrCat("metric ", static_cast<int>(spec.metric), " is not known"));
  }
  if (spec.hnsw_m < 2 || spec.hnsw_m > 128) return OutOfRange("hnsw_m", spec.hnsw_m, 2, 128);
  if (spec.hnsw_ef_construction < 8 || spec.hnsw_ef_construction > 4096) {
    return OutOfRange("hnsw_ef_construction", spec.hnsw_ef_construction, 8, 4096);
  }
  if (spec.index != IndexKind::kHnsw && spec.index != IndexKind::kIvfPq &&
      spec.index != IndexKind::kIvfSq) {
    return absl::InvalidArgumentError(
        StrCat("index ", static_cast<int>(spec.index), " is not known"));
  }
  if (spec.storage > VectorStorage::kInt8) {
    return absl::InvalidArgumentError(
        StrCat("storage ", static_cast<int>(spec.storage), " is not known"));
  }
  if (spec.ivf_lists < 0 || spec.ivf_lists > kIvfListsMax) {
    return OutOfRange("ivf_lists", spec.ivf_lists, 0, kIvfListsMax);
  }
  if (spec.ivf_pq_bytes < 0 || spec.ivf_pq_bytes > kPqBytesMax) {
    return OutOfRange("ivf_pq_bytes", spec.ivf_pq_bytes, 0, kPqBytesMax);
  }
  if (spec.ivf_pq_bits != 4 && spec.ivf_pq_bits != 8) {
    return absl::InvalidArgumentError(
        StrCat("ivf_pq_bits is ", spec.ivf_pq_bits, ", allowed are 4 and 8"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSpec(const CollectionSpec& spec, int64_t named_vectors_max) {
  RETURN_IF_ERROR(CheckName("name", spec.name));
  if (std::ssize(spec.vectors) > named_vectors_max) {
    return absl::InvalidArgumentError(StrCat("vectors has ", spec.vectors.size(),
                                             " entries, vector.named_vectors_max is ",
                                             named_vectors_max));
  }
  if (spec.partition_key.size() > kPayloadKeyBytesMax) {
    return absl::InvalidArgumentError(StrCat("partition_key has ", spec.partition_key.size(),
                                             " bytes, allowed is 0 to ", kPayloadKeyBytesMax));
  }
  absl::flat_hash_set<std::string> names;
  for (size_t i = 0; i < spec.vectors.size(); ++i) {
    const std::string& name = spec.vectors[i].vector_name;
    const std::string field = StrCat("vectors[", i, "].");
    RETURN_IF_ERROR(CheckName(StrCat(field, "name"), name));
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(
          StrCat(field, "name is \"", name, "\", which another vector has already"));
    }
    const absl::Status status = CheckVectorSpec(spec.vectors[i]);
    if (!status.ok()) return {status.code(), StrCat(field, status.message())};
  }
  if (spec.dimension != 0 || spec.vectors.empty()) return CheckVectorSpec(spec);
  if (spec.storage != VectorStorage::kF32 || spec.index != IndexKind::kHnsw) {
    return absl::InvalidArgumentError(
        "storage and index are of the unnamed vector, but dimension is 0, so that there is none");
  }
  return absl::OkStatus();
}

absl::Status CheckVector(const CollectionSpec& spec, const std::string& field,
                         const std::vector<float>& vector) {
  if (vector.size() != static_cast<size_t>(spec.dimension)) {
    return absl::InvalidArgumentError(StrCat(field, " has ", vector.size(),
                                             vector.size() == 1 ? " value" : " values", ", but ",
                                             Described(spec), " has dimension ", spec.dimension));
  }
  bool all_zero = true;
  for (size_t i = 0; i < vector.size(); ++i) {
    if (!(std::abs(vector[i]) <= kValueMax)) {  // also where it is no number
      return absl::InvalidArgumentError(StrCat(field, "[", i, "] is ", vector[i],
                                               ", values must be finite and at most ", kValueMax,
                                               " in magnitude"));
    }
    all_zero = all_zero && vector[i] == 0;
  }
  if (all_zero && spec.metric == Metric::kCosine) {
    return absl::InvalidArgumentError(StrCat(field,
                                             " is all zero, which has no direction: the metric of ",
                                             Described(spec), " is cosine"));
  }
  return absl::OkStatus();
}

absl::Status CheckStorable(const CollectionSpec& spec, const std::string& field,
                           const std::vector<float>& vector) {
  const ValueRange range = RangeOf(FormatOf(spec));
  if (range.max == std::numeric_limits<float>::max()) return absl::OkStatus();
  for (size_t i = 0; i < vector.size(); ++i) {
    if (vector[i] >= range.min && vector[i] <= range.max) continue;
    return absl::InvalidArgumentError(StrCat(field, "[", i, "] is ", vector[i], ", allowed is ",
                                             range.min, " to ", range.max, ": ", Described(spec),
                                             " stores ", NameOf(spec.storage)));
  }
  return absl::OkStatus();
}

absl::Status CheckPayload(const VectorOptions& options, const std::string& field,
                          const Payload& payload) {
  if (static_cast<int64_t>(payload.size()) > options.payload_keys_max) {
    return absl::InvalidArgumentError(
        StrCat(field, " has ", payload.size(), " keys, allowed is ", options.payload_keys_max));
  }
  for (const auto& [key, value] : payload) {
    if (key.empty() || key.size() > kPayloadKeyBytesMax) {
      return absl::InvalidArgumentError(StrCat(field, " has a key of ", key.size(),
                                               " bytes, allowed is 1 to ", kPayloadKeyBytesMax));
    }
  }
  const int64_t bytes = EncodedPayloadBytes(payload);
  if (bytes > options.payload_bytes_max) {
    return absl::InvalidArgumentError(
        StrCat(field, " takes ", bytes, " bytes, allowed is ", options.payload_bytes_max));
  }
  return absl::OkStatus();
}

absl::Status CheckPayloadIndex(const PayloadIndex& index) {
  if (index.field.empty() || index.field.size() > kPayloadKeyBytesMax) {
    return absl::InvalidArgumentError(
        StrCat("field has ", index.field.size(), " bytes, allowed is 1 to ", kPayloadKeyBytesMax));
  }
  if (index.kind > PayloadIndexKind::kText) {
    return absl::InvalidArgumentError(
        StrCat("kind ", static_cast<int>(index.kind), " is not known"));
  }
  return absl::OkStatus();
}

absl::Status UnknownCollection(const std::string& name) {
  return absl::NotFoundError(StrCat("collection \"", name, "\" does not exist"));
}

absl::Status UnknownVector(std::string_view field, const std::string& name,
                           const CollectionSpec& spec) {
  return absl::InvalidArgumentError(StrCat(field, " is \"", Escaped(name), "\", but ",
                                           Described(spec), " has no vector of that name"));
}

void Normalize(float* vector, int64_t dimension) {
  double sum = 0;
  for (int64_t i = 0; i < dimension; ++i) sum += double{vector[i]} * vector[i];
  const double length = std::sqrt(sum);
  for (int64_t i = 0; i < dimension; ++i) vector[i] = static_cast<float>(vector[i] / length);
}

absl::Status PrepareQuery(const CollectionView& view, std::vector<float>& query) {
  if (view.spec().dimension == 0) {
    std::string names;
    for (const CollectionSpec& vector : view.spec().vectors) {
      names += StrCat(names.empty() ? "\"" : ", \"", vector.vector_name, "\"");
    }
    return absl::InvalidArgumentError(StrCat("vector_name is missing: ", Described(view.spec()),
                                             " has no unnamed vector, but ", names));
  }
  RETURN_IF_ERROR(CheckVector(view.spec(), "query", query));
  if (view.spec().metric == Metric::kCosine) Normalize(query.data(), view.spec().dimension);
  return absl::OkStatus();
}

}  // namespace baton
