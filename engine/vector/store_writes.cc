// How a VectorStore checks and commits writes.
#include <algorithm>
#include <deque>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "engine/base/clock.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/collection.h"
#include "engine/vector/partition.h"
#include "engine/vector/point_db.h"
#include "engine/vector/segment_builder.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/vector_store.h"
#include "engine/vector/view_filter.h"
#include "engine/vector/view_queries.h"

namespace baton {
namespace {

absl::Status CheckCount(const char* field, size_t count, int64_t max) {
  if (static_cast<int64_t>(count) <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(field, " has ", count, " entries, allowed is ", max));
}

// Leaves every id once: the last upsert of it, or one delete.
void DropSuperseded(Write& write) {
  absl::flat_hash_set<PointId> seen;
  std::vector<Point> upserts;
  upserts.reserve(write.upserts.size());
  for (auto point = write.upserts.rbegin(); point != write.upserts.rend(); ++point) {
    if (seen.insert(point->id).second) upserts.push_back(std::move(*point));
  }
  std::reverse(upserts.begin(), upserts.end());
  write.upserts = std::move(upserts);
  std::erase_if(write.deletes, [&seen](PointId id) { return !seen.insert(id).second; });
}

// Makes of a valid write's vectors what will be stored of them, where that is not all.
void RoundVectors(const CollectionSpec& spec, Write& write) {
  const VectorFormat format = FormatOf(spec);
  if (format.storage() == VectorStorage::kF32 || write.as_stored) return;
  std::vector<std::byte> row(static_cast<size_t>(format.row_bytes()));
  for (Point& point : write.upserts) {
    if (spec.metric == Metric::kCosine) Normalize(point.vector.data(), spec.dimension);
    format.Encode(point.vector.data(), row.data());
    format.Decode(row.data(), 1, point.vector.data());
  }
}

// A point's vectors; the client calls the point `field`.
absl::Status CheckVectors(const Point& point, const std::string& field,
                          const CollectionSpec& spec) {
  if (spec.dimension > 0) {
    RETURN_IF_ERROR(CheckVector(spec, StrCat(field, ".vector"), point.vector));
    RETURN_IF_ERROR(CheckStorable(spec, StrCat(field, ".vector"), point.vector));
  } else if (!point.vector.empty()) {
    return absl::InvalidArgumentError(StrCat(field, ".vector has ", point.vector.size(),
                                             " values, but ", Described(spec),
                                             " has named vectors only"));
  }
  for (size_t i = 0; i < point.named.size(); ++i) {
    const std::string& name = point.named[i].name;
    const std::string of_vector = StrCat(field, ".vectors[", i, "]");
    const auto found =
        std::find_if(spec.vectors.begin(), spec.vectors.end(),
                     [&name](const CollectionSpec& vector) { return vector.vector_name == name; });
    if (found == spec.vectors.end()) return UnknownVector(StrCat(of_vector, ".name"), name, spec);
    for (size_t other = 0; other < i; ++other) {
      if (point.named[other].name != name) continue;
      return absl::InvalidArgumentError(
          StrCat(of_vector, ".name is \"", name, "\", as that of vectors[", other, "]"));
    }
    const std::string values = StrCat(of_vector, ".values");
    RETURN_IF_ERROR(CheckVector(*found, values, point.named[i].values));
    RETURN_IF_ERROR(CheckStorable(*found, values, point.named[i].values));
  }
  return absl::OkStatus();
}

// What of a valid write, each id once, is for one of its collection's named vectors: points that
// lack it are deleted there. Takes that vector of each point.
Write TakeNamed(const CollectionView& vector, Write& write) {
  const std::string& name = vector.spec().vector_name;
  Write named{
      .collection = write.collection, .deletes = write.deletes, .as_stored = write.as_stored};
  for (Point& point : write.upserts) {
    const auto found =
        std::find_if(point.named.begin(), point.named.end(),
                     [&name](const NamedVector& other) { return other.name == name; });
    if (found == point.named.end()) {
      named.deletes.push_back(point.id);
      continue;
    }
    named.upserts.push_back({.id = point.id, .vector = std::move(found->values), .payload = {}});
    if (vector.is_indexed()) named.upserts.back().payload = point.payload;
  }
  return named;
}

}  // namespace

absl::Status VectorStore::CheckWrite(const Write& write) const {
  const std::shared_ptr<Collection> collection = Find(write.collection);
  if (collection == nullptr) return UnknownCollection(write.collection);
  RETURN_IF_ERROR(CheckWrite(write, collection->spec()));
  if (write.filter == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const FilterPtr filter,
                   FilterOf(collection->spec(), write.partition, write.filter));
  return baton::CheckFilter(*collection->View(), *filter);
}

absl::Status VectorStore::CheckWrite(const Write& write, const CollectionSpec& spec) const {
  if (write.upserts.empty() && write.deletes.empty() && write.patches.empty() &&
      write.filter == nullptr) {
    return absl::InvalidArgumentError("points is empty: there is nothing to write");
  }
  RETURN_IF_ERROR(CheckCount("points", write.upserts.size(), options_.write_points_max));
  RETURN_IF_ERROR(CheckCount("ids", write.deletes.size(), options_.write_points_max));
  for (size_t i = 0; i < write.upserts.size(); ++i) {
    const Point& point = write.upserts[i];
    RETURN_IF_ERROR(CheckVectors(point, StrCat("points[", i, "]"), spec));
    const std::string payload = StrCat("points[", i, "].payload");
    RETURN_IF_ERROR(CheckPayload(options_, payload, point.payload));
    RETURN_IF_ERROR(CheckPartition(spec, payload, point.payload));
  }
  for (const PayloadPatch& patch : write.patches) {
    RETURN_IF_ERROR(CheckCount("ids", patch.ids.size(), options_.write_points_max));
    RETURN_IF_ERROR(CheckPayload(options_, "set", patch.set));
    RETURN_IF_ERROR(CheckPartition(spec, patch));
    if (!patch.clear && patch.delete_keys.empty() && patch.set.empty()) {
      return absl::InvalidArgumentError("the patch is empty: it needs clear, delete_keys or set");
    }
  }
  if (write.filter != nullptr) {
    RETURN_IF_ERROR(CheckFilter(spec, write.partition, write.filter).status());
  } else if (!write.partition.name.empty() || write.partition.all) {
    return absl::InvalidArgumentError(
        "partition and all_partitions go with a filter, but the write names its points");
  }
  if (write.filter != nullptr &&
      !(write.upserts.empty() && write.deletes.empty() && write.patches.size() <= 1 &&
        (write.patches.empty() || write.patches.front().ids.empty()))) {
    return absl::InvalidArgumentError("a write has either ids or a filter, not both");
  }
  return absl::OkStatus();
}

absl::Status VectorStore::CheckBacklog(const std::string& name) const {
  const std::shared_ptr<Collection> collection = Find(name);
  if (collection == nullptr) return absl::OkStatus();  // Commit says so
  const int64_t unindexed = collection->Unindexed();
  if (unindexed < options_.unindexed_points_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      StrCat(unindexed, " points of collection \"", name,
             "\" have no graph yet, vector.unindexed_points_max is ", options_.unindexed_points_max,
             "; retry in 1000 ms"));
}

absl::Status VectorStore::CheckRoom(const Write& write, const Collection& collection,
                                    int64_t points) const {
  constexpr int64_t kMegabyte = 1 << 20;
  const int64_t free = memory_free_.load(std::memory_order_relaxed);
  if (!write.upserts.empty() && free < options_.memory_reserve_mb * kMegabyte) {
    return absl::ResourceExhaustedError(
        StrCat("vector.memory_reserve_mb is ", options_.memory_reserve_mb, ", but only ",
               free / kMegabyte, " MiB of memory are free; retry in 5000 ms"));
  }
  // Most writes are far from the limit: then no id is looked up.
  if (points + static_cast<int64_t>(write.upserts.size()) <= options_.points_max) {
    return absl::OkStatus();
  }
  const int64_t added = collection.CountNew(write.upserts);
  if (added == 0 || points + added <= options_.points_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(StrCat("there are ", points, " points, ", added,
                                             " more would exceed vector.points_max, ",
                                             options_.points_max));
}

absl::Status VectorStore::CheckPartitions(const Write& write, const Collection& collection,
                                          absl::flat_hash_set<std::string>& added) const {
  const std::string& key = collection.spec().partition_key;
  if (key.empty() || write.upserts.empty()) return absl::OkStatus();
  std::vector<std::string> names;
  for (const Point& point : write.upserts) {
    const std::string& name = std::get<std::string>(point.payload.at(key));
    if (!added.contains(name)) names.push_back(name);
  }
  names = collection.NewPartitions(std::move(names));
  const int64_t count = collection.partitions() + std::ssize(added) + std::ssize(names);
  if (!names.empty() && count > options_.partitions_max) {
    return absl::ResourceExhaustedError(
        StrCat("collection \"", collection.spec().name, "\" would have ", count,
               " partitions, vector.partitions_max is ", options_.partitions_max));
  }
  added.insert(names.begin(), names.end());
  return absl::OkStatus();
}

absl::Status VectorStore::WriteAgain(const std::string& collection_name,
                                     std::span<const PointId> ids) {
  // As many at a time as other writers may have to wait for.
  constexpr size_t kAtOnce = 256;
  for (; !ids.empty(); ids = ids.subspan(std::min(kAtOnce, ids.size()))) {
    const std::lock_guard commit_lock(commit_mutex_);
    Write write{.collection = collection_name, .as_stored = true};
    ASSIGN_OR_RETURN(write.upserts, Get(collection_name, ids.first(std::min(kAtOnce, ids.size())),
                                        /*with_vectors=*/true, /*with_payload=*/true));
    if (write.upserts.empty()) continue;
    std::vector<Write> writes;
    writes.push_back(std::move(write));
    RETURN_IF_ERROR(CommitLocked(std::move(writes)).at(0).status);
  }
  return absl::OkStatus();
}

std::vector<WriteResult> VectorStore::Commit(std::vector<Write> writes) {
  const std::lock_guard commit_lock(commit_mutex_);
  return CommitLocked(std::move(writes));
}

absl::Status VectorStore::ResolveFilter(const Collection& collection, Write& write) const {
  const std::shared_ptr<const CollectionView> view = collection.View();
  ASSIGN_OR_RETURN(const FilterPtr filter,
                   FilterOf(collection.spec(), write.partition, write.filter));
  ASSIGN_OR_RETURN(std::vector<PointId> ids,
                   MatchingIds(*view, *filter, options_.filter_write_points_max));
  (write.patches.empty() ? write.deletes : write.patches.front().ids) = std::move(ids);
  return absl::OkStatus();
}

// Follows the payloads of a group of writes, of which nothing is stored yet.
class VectorStore::PatchResolver {
 public:
  PatchResolver(const PointDb& db, const VectorOptions& options) : db_(db), options_(options) {}

  // In the order of the writes. On an error the write is as if it had never come.
  absl::StatusOr<std::vector<PatchedPayload>> Resolve(uint32_t collection_id, const Write& write) {
    absl::flat_hash_map<Key, std::optional<Payload>> changed;
    for (const PointId id : write.deletes) changed[{collection_id, id}] = std::nullopt;
    for (const Point& point : write.upserts) changed[{collection_id, point.id}] = point.payload;
    absl::flat_hash_set<PointId> ids;
    for (const PayloadPatch& patch : write.patches) {
      for (const PointId id : patch.ids) {
        const Key key = {collection_id, id};
        auto found = changed.find(key);
        if (found == changed.end()) {
          ASSIGN_OR_RETURN(std::optional<Payload> before, Before(key));
          found = changed.emplace(key, std::move(before)).first;
        }
        if (!found->second.has_value()) continue;
        Apply(patch, *found->second);
        RETURN_IF_ERROR(CheckPayload(options_, StrCat("the patched payload of point ", IdText(id)),
                                     *found->second));
        ids.insert(id);
      }
    }
    std::vector<PatchedPayload> patched;
    patched.reserve(ids.size());
    for (const PointId id : ids) {
      patched.push_back({.id = id, .payload = *changed.at({collection_id, id})});
    }
    for (auto& [key, payload] : changed) changed_[key] = std::move(payload);
    return patched;
  }

 private:
  using Key = std::pair<uint32_t, PointId>;

  absl::StatusOr<std::optional<Payload>> Before(const Key& key) const {
    const auto found = changed_.find(key);
    if (found != changed_.end()) return found->second;
    return db_.GetPayload(key.first, key.second);
  }

  static void Apply(const PayloadPatch& patch, Payload& payload) {
    if (patch.clear) payload.clear();
    for (const std::string& key : patch.delete_keys) payload.erase(key);
    for (const auto& [key, value] : patch.set) payload.insert_or_assign(key, value);
  }

  const PointDb& db_;
  const VectorOptions& options_;
  absl::flat_hash_map<Key, std::optional<Payload>> changed_;  // nothing: deleted
};

std::vector<WriteResult> VectorStore::CommitLocked(std::vector<Write> writes) {
  std::vector<WriteResult> results;
  results.reserve(writes.size());
  // A filter looks at what was written before it: such a write is a group of its own.
  for (size_t first = 0; first < writes.size();) {
    size_t end = first + 1;
    if (writes[first].filter == nullptr) {
      while (end < writes.size() && writes[end].filter == nullptr) ++end;
    }
    for (WriteResult& result : CommitGroup(std::span(writes).subspan(first, end - first))) {
      results.push_back(std::move(result));
    }
    first = end;
  }
  return results;
}

struct VectorStore::Group {
  // Of a write, and of what it does to named vectors.
  struct Place {
    std::shared_ptr<Collection> part;
    bool is_named = false;
  };
  std::deque<Write> named;  // in places that stay
  std::deque<WriteResult> named_results;
  std::vector<PlacedWrite> placed;
  absl::flat_hash_map<uint32_t, Place> parts;                                  // by id
  absl::flat_hash_map<uint32_t, absl::flat_hash_set<std::string>> partitions;  // new ones, by id
};

void VectorStore::PlaceNamed(const Collection& collection, Write& write,
                             const std::vector<PatchedPayload>& patched, Group& group) {
  for (const auto& vector : collection.vectors()) {
    Write named = TakeNamed(*vector->View(), write);
    if (named.upserts.empty() && named.deletes.empty() && patched.empty()) continue;
    RoundVectors(vector->spec(), named);
    group.placed.push_back({.collection_id = vector->id(),
                            .format = FormatOf(vector->spec()),
                            .write = &group.named.emplace_back(std::move(named)),
                            .result = &group.named_results.emplace_back(),
                            .is_indexed = vector->View()->is_indexed(),
                            .is_named = true,
                            .patched = patched});
    group.parts[vector->id()] = {.part = vector, .is_named = true};
  }
}

std::vector<WriteResult> VectorStore::CommitGroup(std::span<Write> writes) {
  std::vector<WriteResult> results(writes.size());
  Group group;
  int64_t points = points_;  // at most, once those placed so far are applied
  const bool patches = std::any_of(writes.begin(), writes.end(),
                                   [](const Write& write) { return !write.patches.empty(); });
  PatchResolver resolver(*db_, options_);
  for (size_t i = 0; i < writes.size(); ++i) {
    std::shared_ptr<Collection> collection = Find(writes[i].collection);
    absl::Status& status = results[i].status;
    status = collection == nullptr ? UnknownCollection(writes[i].collection)
                                   : CheckWrite(writes[i], collection->spec());
    if (status.ok() && writes[i].filter != nullptr) status = ResolveFilter(*collection, writes[i]);
    if (!status.ok()) continue;
    DropSuperseded(writes[i]);
    status = CheckRoom(writes[i], *collection, points);
    if (!status.ok()) continue;
    status = CheckPartitions(writes[i], *collection, group.partitions[collection->id()]);
    if (!status.ok()) continue;
    std::vector<PatchedPayload> patched;
    if (patches) {
      auto resolved = resolver.Resolve(collection->id(), writes[i]);
      status = resolved.status();
      if (!status.ok()) continue;
      patched = *std::move(resolved);
    }
    points += static_cast<int64_t>(writes[i].upserts.size());
    RoundVectors(collection->spec(), writes[i]);
    PlaceNamed(*collection, writes[i], patched, group);
    group.placed.push_back({.collection_id = collection->id(),
                            .format = FormatOf(collection->spec()),
                            .write = &writes[i],
                            .result = &results[i],
                            .is_indexed = collection->View()->is_indexed(),
                            .patched = std::move(patched)});
    const uint32_t id = collection->id();
    group.parts[id] = {.part = std::move(collection)};
  }
  std::vector<PlacedWrite>& placed = group.placed;
  if (placed.empty()) return results;

  const TimeUs start_us = SystemClock().NowUs();
  const absl::Status stored = db_->Commit(placed);
  commit_seconds_.Observe(static_cast<double>(SystemClock().NowUs() - start_us) / 1e6);
  if (!stored.ok()) {
    for (const PlacedWrite& write : placed) write.result->status = stored;
    return results;
  }
  // A part's writes together, in their order.
  std::sort(placed.begin(), placed.end(), [](const PlacedWrite& a, const PlacedWrite& b) {
    return std::pair(a.collection_id, a.sequence) < std::pair(b.collection_id, b.sequence);
  });
  bool sealable = false;
  for (auto first = placed.begin(); first != placed.end();) {
    const auto end = std::find_if(first, placed.end(), [first](const PlacedWrite& write) {
      return write.collection_id != first->collection_id;
    });
    const Group::Place& place = group.parts.at(first->collection_id);
    const int64_t points_before = place.part->View()->points();
    if (place.part->Apply(std::span(first, end))) sealable = true;
    if (!place.is_named) points_ += place.part->View()->points() - points_before;
    first = end;
  }
  for (const WriteResult& result : results) {
    points_written_.Increment(static_cast<double>(result.upserted));
  }
  if (sealable) builder_->Wake();
  return results;
}

}  // namespace baton
