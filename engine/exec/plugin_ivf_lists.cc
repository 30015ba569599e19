#include "engine/exec/plugin_ivf_lists.h"

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kIvfTableBytes =
    offsetof(baton_executor_plugin, ivf_scan) + sizeof(baton_executor_plugin::ivf_scan);

// Valid while the segment is.
baton_ivf_job JobOf(const ViewIvf& file) {
  const IvfIndex::Arrays arrays = file.index().arrays();
  return {.struct_size = sizeof(baton_ivf_job),
          .codes_of = arrays.groups > 0 ? BATON_IVF_PRODUCT_CODES : BATON_IVF_BYTES,
          .row_bytes = arrays.groups > 0 ? 2 * arrays.groups : arrays.stride,
          .lists = std::ssize(arrays.list_rows),
          .places = std::ssize(arrays.rows),
          .rows = file.rows(),
          .list_begin = arrays.list_begin.data(),
          .list_rows = arrays.list_rows.data(),
          .place_rows = arrays.rows.data(),
          .codes = arrays.codes,
          .terms = arrays.terms};
}

// What of some queries a scan takes, one behind the other.
struct Prepared {
  std::vector<uint32_t> lists;
  std::vector<float> bases;
  std::vector<uint8_t> tables;
  std::vector<float> scales;
  std::vector<int8_t> high;
  std::vector<int8_t> low;
  float square_factor = 0;
};

template <typename T>
void Append(const std::vector<T>& from, std::vector<T>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

Prepared Prepare(const ListProbe& probe, std::span<const std::vector<float>> queries) {
  Prepared all;
  IvfIndex::Probe one;
  for (const std::vector<float>& query : queries) {
    probe.file.index().Prepare(query.data(), probe.nprobe, &one);
    Append(one.lists, &all.lists);
    Append(one.bases, &all.bases);
    Append(one.tables, &all.tables);
    Append(one.high, &all.high);
    Append(one.low, &all.low);
    all.scales.push_back(one.scale);
    all.square_factor = one.square_factor;
  }
  return all;
}

}  // namespace

bool PluginIvfLists::CanWork(const baton_executor_plugin& table) {
  return PluginDevice::CanWork(table) && table.struct_size >= kIvfTableBytes &&
         table.ivf_scan != nullptr;
}

int64_t PluginIvfLists::BytesOf(const ViewIvf& file) const {
  const baton_ivf_job job = JobOf(file);
  return static_cast<int64_t>(device_->table().ivf_bytes(&job));
}

bool PluginIvfLists::Takes(const ViewIvf& file, int64_t candidates) const {
  if (file.index().codes() == IvfCodes::kPq8) return false;  // the processor scans those
  const int64_t bytes = BytesOf(file);
  return candidates <= BATON_SEARCH_K_MAX && bytes > 0 && bytes <= memory_.bytes_max();
}

absl::Status PluginIvfLists::Probe(const ListProbe& probe,
                                   std::span<const std::vector<float>> queries, SearchPoll poll,
                                   std::vector<uint32_t>* rows) {
  RETURN_IF_ERROR(poll());
  const Prepared prepared = Prepare(probe, queries);
  rows->assign(queries.size() * static_cast<size_t>(probe.candidates), UINT32_MAX);
  RETURN_IF_ERROR(poll());

  const std::lock_guard lock(mutex_);
  absl::StatusOr<Entry*> brought = Bring(probe.file);
  // Another executor may have the room that lacks here.
  if (absl::IsResourceExhausted(brought.status())) {
    return absl::UnavailableError(std::string(brought.status().message()));
  }
  RETURN_IF_ERROR(brought.status());
  Entry& entry = **brought;
  const uint32_t* live = probe.matching.empty() ? nullptr : probe.matching.data();
  if (live == nullptr && probe.file.live() < probe.file.rows()) {
    if (entry.live_rows != probe.file.live()) {
      entry.live = probe.file.FindLive();
      entry.live_rows = probe.file.live();
    }
    live = entry.live.data();
  }
  const baton_ivf_scan scan = {.struct_size = sizeof(scan),
                               .k = probe.candidates,
                               .lists = entry.lists.get(),
                               .query_count = std::ssize(queries),
                               .probe_count = std::ssize(prepared.lists) / std::ssize(queries),
                               .probes = prepared.lists.data(),
                               .live = live,
                               .scales = prepared.scales.data(),
                               .tables = prepared.tables.data(),
                               .bases = prepared.bases.data(),
                               .high = prepared.high.data(),
                               .low = prepared.low.data(),
                               .square_factor = prepared.square_factor,
                               .reserved = 0,
                               .nearest = rows->data()};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  const absl::Status scanned =
      PluginDevice::StatusOf(device_->table().ivf_scan(device_->handle(), &scan, &error), error);
  if (absl::IsResourceExhausted(scanned)) {
    return absl::UnavailableError(std::string(scanned.message()));
  }
  if (scanned.ok()) scans_ += std::ssize(queries);
  return scanned;
}

absl::StatusOr<PluginIvfLists::Entry*> PluginIvfLists::Bring(const ViewIvf& file) {
  memory_.BeginTurn();
  std::erase_if(entries_, [](const auto& entry) { return entry.second.owner.expired(); });
  const std::shared_ptr<const void> owner = file.owner();
  if (const auto found = entries_.find(owner.get()); found != entries_.end()) {
    found->second.place.Use();
    return &found->second;
  }
  Entry entry{.owner = owner, .lists = {nullptr, {device_.get()}}, .live = {}, .place = {}};
  const int64_t bytes = BytesOf(file);
  if (!memory_.MakeRoom(bytes)) {
    return absl::ResourceExhaustedError(
        StrCat("collection \"", file.view().spec().name, "\" has an inverted file of ", bytes,
               " bytes, more than the ", memory_.bytes_max(), " that the ",
               device_->options().label, " has for vectors"));
  }
  const baton_ivf_job job = JobOf(file);
  for (;;) {
    baton_error error = {.struct_size = sizeof(error), .message = {}};
    baton_ivf_lists* lists = nullptr;
    const absl::Status created = PluginDevice::StatusOf(
        device_->table().ivf_create(device_->handle(), &job, &lists, &error), error);
    if (created.ok()) {
      entry.lists.reset(lists);
      break;
    }
    // Others may have taken of the device's memory what was meant for vectors.
    if (!absl::IsResourceExhausted(created) || !memory_.EvictOldest()) return created;
  }
  ++loads_;
  entry.place = memory_.Take(bytes, [this, owner = owner.get()] { Evict(owner); });
  return &entries_.emplace(owner.get(), std::move(entry)).first->second;
}

void PluginIvfLists::Evict(const void* owner) {
  ++evictions_;
  entries_.erase(owner);
}

}  // namespace baton
