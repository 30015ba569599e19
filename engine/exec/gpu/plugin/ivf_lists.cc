#include "engine/exec/gpu/plugin/ivf_lists.h"

#include <limits>

namespace baton::gpu {
namespace {

constexpr int64_t kIvfBlockPlaces = 32;  // of product codes
// Bytes of a row's product codes to a group of four parts.
constexpr int64_t kGroupBytes = 2;
constexpr int64_t kByteCodesAlignment = 16;

}  // namespace

IvfLists::IvfLists(const baton_ivf_job& job)
    : product_codes_(job.codes_of == BATON_IVF_PRODUCT_CODES),
      has_terms_(job.terms != nullptr),
      row_bytes_(job.row_bytes),
      lists_(job.lists),
      places_(job.places),
      rows_(job.rows) {}

void IvfLists::Place(Arena& arena) {
  list_begin_ = arena.Take<uint32_t>(lists_);
  list_rows_ = arena.Take<uint32_t>(lists_);
  place_rows_ = arena.Take<uint32_t>(places_);
  codes_ = arena.Take<uint8_t>(places_ * row_bytes_);
  if (has_terms_) terms_ = arena.Take<float>(places_);
}

int64_t IvfLists::Bytes(const baton_ivf_job& job) {
  IvfLists lists(job);
  Arena counts;
  lists.Place(counts);
  return counts.bytes();
}

// All that a scan follows, so that no file has it read elsewhere.
Fault IvfLists::Check(const baton_ivf_job& job) {
  const auto refuse = [](const auto&... why) -> Fault {
    return {BATON_INVALID_ARGUMENT, Text("an inverted file of ", why...)};
  };
  const bool product_codes = job.codes_of == BATON_IVF_PRODUCT_CODES;
  if (!product_codes && job.codes_of != BATON_IVF_BYTES) {
    return refuse("codes of an unknown kind, ", job.codes_of);
  }
  const int64_t step = product_codes ? kGroupBytes : kByteCodesAlignment;
  const int64_t most = product_codes ? kGroupBytes * cuda::kIvfGroupsMax : cuda::kIvfStrideMax;
  if (job.row_bytes < 1 || job.row_bytes > most || job.row_bytes % step != 0) {
    return {BATON_UNIMPLEMENTED, Text("an inverted file with codes of ", job.row_bytes,
                                      " bytes, must be a multiple of ", step, " up to ", most)};
  }
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  if (job.lists < 1 || job.lists > kMax) {
    return refuse(job.lists, " lists, must be 1 to ", kMax);
  }
  if (job.places < 0 || job.places > kMax || job.rows < 0 || job.rows > kMax) {
    return refuse(job.rows, " rows in ", job.places, " places, must be 0 to ", kMax, " each");
  }
  if (product_codes && job.places % kIvfBlockPlaces != 0) {
    return refuse(job.places, " places, must be a multiple of ", kIvfBlockPlaces);
  }
  return {};
}

namespace {

Fault CheckLists(const baton_ivf_job& job) {
  const bool blocks = job.codes_of == BATON_IVF_PRODUCT_CODES;
  for (int64_t list = 0; list < job.lists; ++list) {
    const int64_t begin = job.list_begin[list];
    const int64_t end = begin + job.list_rows[list];
    if (end > job.places || (blocks && begin % kIvfBlockPlaces != 0)) {
      return {BATON_INVALID_ARGUMENT, Text("an inverted file whose list ", list, " is at places ",
                                           begin, " to ", end, " of ", job.places)};
    }
    for (int64_t place = begin; place < end; ++place) {
      if (job.place_rows[place] >= job.rows) {
        return {BATON_INVALID_ARGUMENT, Text("an inverted file with row ", job.place_rows[place],
                                             " at place ", place, ", there are ", job.rows)};
      }
    }
  }
  return {};
}

}  // namespace

Fault IvfLists::Create(Device& device, const baton_ivf_job& job, std::unique_ptr<IvfLists>* lists) {
  BATON_GPU_TRY(Check(job));
  BATON_GPU_TRY(CheckLists(job));
  std::unique_ptr<IvfLists> created(new IvfLists(job));
  BATON_GPU_TRY(device.Allocate("an inverted file", Bytes(job), &created->memory_));
  Arena arena(created->memory_.data());
  created->Place(arena);
  *lists = std::move(created);
  return {};
}

}  // namespace baton::gpu
