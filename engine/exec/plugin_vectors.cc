#include "engine/exec/plugin_vectors.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// Rows that are copied between two questions whether to go on: a millisecond or so.
constexpr int64_t kValuesOfCopy = 1 << 20;

// So many rows that are dead by now may still be found, for some are looked for in vain; beyond,
// they are marked anew.
int64_t DeadRowsMax(int64_t live) { return 16 + live / 64; }

}  // namespace

baton_rows_shape PluginVectors::ShapeOf(const CollectionSpec& spec, const ViewPart& part) {
  constexpr uint64_t kGrowingMin = 1024;
  const auto rows = static_cast<uint64_t>(part.rows());
  return {.struct_size = sizeof(baton_rows_shape),
          .metric = AbiMetricOf(spec.metric),
          .dimension = spec.dimension,
          .reserved = 0,
          .capacity = static_cast<int64_t>(part.grows() ? std::bit_ceil(std::max(rows, kGrowingMin))
                                                        : rows)};
}

int64_t PluginVectors::BytesOf(const CollectionSpec& spec, std::span<const ViewPart> parts) const {
  int64_t bytes = 0;
  for (const ViewPart& part : parts) {
    const baton_rows_shape shape = ShapeOf(spec, part);
    bytes += static_cast<int64_t>(device_->table().rows_bytes(&shape));
  }
  return bytes;
}

absl::StatusOr<PluginVectors::Brought> PluginVectors::Bring(const CollectionView& view,
                                                            std::span<const ViewPart> parts,
                                                            bool fresh, SearchPoll poll) {
  memory_.BeginTurn();
  DropDead();
  // First all that are there: they must not make room for the others.
  for (const ViewPart& part : parts) {
    const auto found = entries_.find(part.owner().get());
    if (found != entries_.end()) found->second.place.Use();
  }
  Brought brought;
  for (const ViewPart& part : parts) {
    ASSIGN_OR_RETURN(Entry* const entry, Hold(view.spec(), part));
    RETURN_IF_ERROR(Load(view.spec(), part, poll, *entry));
    Resident& resident = brought.parts.emplace_back();
    RETURN_IF_ERROR(Mark(view, part, fresh, *entry, &resident));
    resident.rows = entry->rows.get();
    brought.rounded.Add(entry->rounded);
  }
  return brought;
}

absl::StatusOr<PluginVectors::Entry*> PluginVectors::Hold(const CollectionSpec& spec,
                                                          const ViewPart& part) {
  const void* const owner = part.owner().get();
  if (const auto found = entries_.find(owner); found != entries_.end()) {
    if (found->second.capacity >= part.rows()) return &found->second;
    Erase(owner);  // a buffer that has outgrown its room
  }
  const baton_rows_shape shape = ShapeOf(spec, part);
  Entry entry{.owner = part.owner(),
              .rows = {nullptr, {device_.get()}},
              .capacity = shape.capacity,
              .rounded = {},
              .place = {}};
  const auto bytes = static_cast<int64_t>(device_->table().rows_bytes(&shape));
  if (!memory_.MakeRoom(bytes)) {
    return absl::ResourceExhaustedError(
        StrCat("collection \"", spec.name, "\" needs more than the ", memory_.bytes_max(),
               " bytes that the ", device_->options().label, " has for vectors"));
  }
  RETURN_IF_ERROR(Create(shape, &entry));
  entry.place = memory_.Take(bytes, [this, owner] { Erase(owner); });
  return &entries_.emplace(owner, std::move(entry)).first->second;
}

absl::Status PluginVectors::Create(const baton_rows_shape& shape, Entry* entry) {
  for (;;) {
    baton_error error = {.struct_size = sizeof(error), .message = {}};
    baton_vector_rows* rows = nullptr;
    const absl::Status created = PluginDevice::StatusOf(
        device_->table().rows_create(device_->handle(), &shape, &rows, &error), error);
    if (created.ok()) entry->rows.reset(rows);
    // Others may have taken of the device's memory what was meant for vectors.
    if (!absl::IsResourceExhausted(created)) return created;
    if (!memory_.EvictOldest()) return created;
  }
}

absl::Status PluginVectors::Load(const CollectionSpec& spec, const ViewPart& part, SearchPoll poll,
                                 Entry& entry) {
  struct Source {
    const ViewPart& part;
    const int64_t first;
    const int64_t dimension;
    RoundedRows rounded;
  };
  const int64_t step = std::max<int64_t>(kValuesOfCopy / spec.dimension, 1);
  while (entry.loaded < part.rows()) {
    RETURN_IF_ERROR(poll());
    const int64_t count = std::min(step, part.rows() - entry.loaded);
    Source source{.part = part, .first = entry.loaded, .dimension = spec.dimension, .rounded = {}};
    const baton_rows_source reader = {
        .context = &source, .read = [](void* context, int64_t first, int64_t rows, float* vectors) {
          Source& from = *static_cast<Source*>(context);
          from.part.ReadVectors(from.first + first, rows, vectors);
          from.rounded.Add(vectors, rows, from.dimension);
        }};
    baton_error error = {.struct_size = sizeof(error), .message = {}};
    const absl::Status appended = PluginDevice::StatusOf(
        device_->table().rows_append(device_->handle(), entry.rows.get(), &reader, count, &error),
        error);
    if (!appended.ok()) {
      Erase(part.owner().get());  // some of them may have arrived
      return appended;
    }
    entry.rounded.Add(source.rounded);
    entry.loaded += count;
  }
  return absl::OkStatus();
}

absl::Status PluginVectors::Mark(const CollectionView& view, const ViewPart& part, bool fresh,
                                 Entry& entry, Resident* resident) {
  // Rows die and do not come back: marks of an earlier time than the view's leave some dead ones
  // live, those of a later time would hide live ones.
  const bool later = view.sequence() < entry.marked_at;
  if (!later && !fresh && part.live().has_value()) {
    const int64_t taken_for_live = entry.marked_live + part.rows() - entry.marked_rows;
    if (taken_for_live - *part.live() <= DeadRowsMax(*part.live())) return absl::OkStatus();
  }
  ViewPart::LiveRows live = part.FindLive();
  if (later || part.rows() < entry.marked_rows) {
    resident->live = std::move(live.words);
    return absl::OkStatus();
  }
  const int64_t taken_for_live = entry.marked_live + part.rows() - entry.marked_rows;
  if (live.count == taken_for_live) return absl::OkStatus();
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  RETURN_IF_ERROR(
      PluginDevice::StatusOf(device_->table().rows_mark(device_->handle(), entry.rows.get(),
                                                        live.words.data(), part.rows(), &error),
                             error));
  entry.marked_at = view.sequence();
  entry.marked_rows = part.rows();
  entry.marked_live = live.count;
  return absl::OkStatus();
}

void PluginVectors::DropDead() {
  std::vector<const void*> dead;
  for (const auto& [owner, entry] : entries_) {
    if (entry.owner.expired()) dead.push_back(owner);
  }
  for (const void* owner : dead) Erase(owner);
}

void PluginVectors::Forget(const ViewPart& part) {
  if (entries_.contains(part.owner().get())) Erase(part.owner().get());
}

void PluginVectors::Erase(const void* owner) { entries_.erase(owner); }

}  // namespace baton
