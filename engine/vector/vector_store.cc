#include "engine/vector/vector_store.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/collection.h"
#include "engine/vector/dead_rows.h"
#include "engine/vector/durable_file.h"
#include "engine/vector/point_db.h"
#include "engine/vector/scrubber.h"
#include "engine/vector/segment.h"
#include "engine/vector/segment_builder.h"
#include "engine/vector/segment_file.h"
#include "engine/vector/snapshot.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/view_filter.h"
#include "engine/vector/view_queries.h"

namespace baton {
namespace {

absl::Status UnknownCollection(const std::string& name) {
  return absl::NotFoundError(StrCat("collection \"", name, "\" does not exist"));
}

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

// The segment files in a directory.
absl::StatusOr<std::vector<SegmentFileName>> ListSegmentFiles(FileLayer& files,
                                                              const std::string& directory) {
  std::vector<SegmentFileName> found;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(files, directory));
  for (const std::string& text : names) {
    SegmentFileName name;
    if (SegmentFileName::Parse(text, &name)) found.push_back(name);
  }
  return found;
}

}  // namespace

VectorStore::VectorStore(const VectorOptions& options, Metrics& metrics,
                         std::shared_ptr<FileLayer> files)
    : options_(options),
      files_(std::move(files)),
      metrics_(metrics),
      points_written_(metrics.Counter(MetricId::kPointsWritten)),
      commit_seconds_(metrics.Histogram(MetricId::kWriteCommitSeconds)) {}

VectorStore::~VectorStore() { scrubber_.reset(); }

absl::StatusOr<std::unique_ptr<VectorStore>> VectorStore::Open(const VectorOptions& options,
                                                               Metrics& metrics,
                                                               std::shared_ptr<FileLayer> files,
                                                               const Clock& clock) {
  if (options.data_dir.empty()) {
    return absl::InvalidArgumentError("vector.data_dir is empty: it must name a directory");
  }
  if (options.unindexed_points_max <= options.seal_points) {
    return absl::InvalidArgumentError(
        StrCat("vector.unindexed_points_max is ", options.unindexed_points_max,
               ": it must be more than vector.seal_points, which is ", options.seal_points));
  }
  if (files == nullptr) files = SystemFiles();
  std::unique_ptr<VectorStore> store(new VectorStore(options, metrics, files));
  RETURN_IF_ERROR(MakeDirectories(*files, options.data_dir));
  ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(options.data_dir));
  store->lock_ = std::make_unique<DirectoryLock>(std::move(lock));
  if (!options.restore.empty()) RETURN_IF_ERROR(RestoreSnapshot(options, *files));
  store->snapshots_ = std::make_unique<Snapshots>(options, files);
  RETURN_IF_ERROR(store->snapshots_->RemoveLeftovers());
  RETURN_IF_ERROR(MakeDirectories(*files, DatabaseDirectory(options.data_dir)));
  RETURN_IF_ERROR(MakeDirectories(*files, SegmentDirectory(options.data_dir)));
  ASSIGN_OR_RETURN(store->db_, PointDb::Open(options, DatabaseDirectory(options.data_dir),
                                             StrCat(options.data_dir, "/damaged"), files));
  RETURN_IF_ERROR(store->Recover());
  const bool has_files = options.graph_files && store->db_->writable().ok();
  store->builder_ = std::make_unique<SegmentBuilder>(
      options, has_files ? SegmentDirectory(options.data_dir) : "", files, *store->db_, metrics,
      clock, [self = store.get()] { return self->Collections(); });
  store->builder_->Wake();
  store->scrubber_ = std::make_unique<Scrubber>(
      SegmentDirectory(options.data_dir), [self = store.get()] { return self->Collections(); },
      [self = store.get()](const std::string& collection, std::span<const PointId> ids) {
        return self->WriteAgain(collection, ids);
      });
  return store;
}

absl::Status VectorStore::Recover() {
  const TimeUs start_us = SystemClock().NowUs();
  const bool keep_manifest = options_.graph_files && db_->writable().ok();
  // Before the first write that it is not told of.
  if (!options_.graph_files && db_->writable().ok() && db_->manifest_is_complete()) {
    RETURN_IF_ERROR(db_->SetManifestComplete(false));
  }
  absl::flat_hash_set<std::string> used;
  ASSIGN_OR_RETURN(const std::vector<StoredCollection> stored, db_->Collections());
  RETURN_IF_ERROR(db_->PurgeDropped(stored));
  for (const StoredCollection& record : stored) {
    auto collection = std::make_shared<Collection>(record, options_, metrics_);
    ASSIGN_OR_RETURN(const bool whole, RecoverSegments(record, *collection, used));
    if (whole && db_->manifest_is_complete()) {
      RETURN_IF_ERROR(ReplayPending(record, *collection));
    } else {
      RETURN_IF_ERROR(db_->ForEachVector(
          record, [&collection](PointId id, WriteSequence sequence, const float* vector) {
            collection->RecoverRow(id, sequence, vector);
            return absl::OkStatus();
          }));
      if (keep_manifest) RETURN_IF_ERROR(StoreManifest(record, *collection));
    }
    collection->FinishRecovery(db_->last_sequence());
    ASSIGN_OR_RETURN(PayloadIndexes indexes, db_->Indexes(record.id));
    if (!indexes.empty()) RETURN_IF_ERROR(Reindex(*collection, std::move(indexes)));
    const CollectionInfo info = collection->Info();
    points_ += info.points;
    Log().info("collection {}: {} points, {} of them without a graph, {} segments",
               record.spec.name, info.points, info.points_unindexed, info.segments);
    collections_.emplace(record.spec.name, std::move(collection));
  }
  RETURN_IF_ERROR(RecoverAliases());
  if (keep_manifest && !db_->manifest_is_complete()) {
    RETURN_IF_ERROR(db_->SetManifestComplete(true));
  }
  if (db_->writable().ok()) RETURN_IF_ERROR(RemoveUnused(used));
  Log().info("vector store: {} collections with {} points opened in {} ms", collections_.size(),
             points_, (SystemClock().NowUs() - start_us) / 1000);
  return absl::OkStatus();
}

absl::StatusOr<bool> VectorStore::RecoverSegments(const StoredCollection& record,
                                                  Collection& collection,
                                                  absl::flat_hash_set<std::string>& used) {
  if (!options_.graph_files) return false;
  const std::string directory = SegmentDirectory(options_.data_dir);
  ASSIGN_OR_RETURN(const std::vector<StoredSegment> segments, db_->Segments(record.id));
  bool whole = true;
  struct Read {
    std::shared_ptr<Segment> segment;
    std::vector<int64_t> dead;
  };
  std::vector<Read> read;
  for (const StoredSegment& stored : segments) {
    collection.ReserveNumber(stored.number);
    const SegmentFileName name{.collection_id = record.id, .number = stored.number};
    absl::StatusOr<SegmentFile> file = ReadSegmentFile(directory, name, record.spec, /*live=*/true);
    absl::Status status = file.status();
    if (status.ok() && (file->sum != stored.file_sum || file->segment->rows() != stored.rows)) {
      status = absl::DataLossError(
          StrCat(directory, "/", name.ToString(), " is not the file that the manifest names"));
    }
    if (status.ok()) {
      ASSIGN_OR_RETURN(std::vector<int64_t> dead, DecodeDeadRows(stored.dead, stored.rows));
      const std::optional<RecallCurve> recall = RecallCurve::Decode(stored.recall);
      if (!recall.has_value()) {
        return absl::DataLossError("the manifest's recall of a segment is damaged");
      }
      file->segment->set_recall(*recall);
      used.insert(name.ToString());
      read.push_back({.segment = std::move(file->segment), .dead = std::move(dead)});
      continue;
    }
    Log().warn("collection {}: building a graph again: {}", record.spec.name, status.ToString());
    whole = false;
    if (db_->writable().ok()) {
      const std::string path = StrCat(directory, "/", name.ToString());
      RenameFile(*files_, path, StrCat(path, ".damaged")).IgnoreError();
    }
  }
  for (Read& one : read) {
    // Looking through all points revives those that are to be live.
    const bool revive = !whole || !db_->manifest_is_complete();
    for (int64_t row = 0; revive && row < one.segment->rows(); ++row) one.segment->Kill(row);
    for (const int64_t row : one.dead) one.segment->Kill(row);
    const int64_t live = revive ? 0 : one.segment->rows() - std::ssize(one.dead);
    collection.RecoverSegment(std::move(one.segment), live);
  }
  return whole;
}

absl::Status VectorStore::ReplayPending(const StoredCollection& record, Collection& collection) {
  ASSIGN_OR_RETURN(const std::vector<PendingWrite> writes, db_->Pending(record.id));
  std::vector<PointId> ids;
  for (const PendingWrite& write : writes) {
    for (const PointId id : write.deletes) collection.RecoverDelete(id, write.sequence);
    for (const PointId id : write.upserts) collection.RecoverDelete(id, write.sequence);
    ids.insert(ids.end(), write.upserts.begin(), write.upserts.end());
  }
  // The database has the newest version of each, if it was not deleted since.
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return db_->ReadVectors(record, ids,
                          [&collection](PointId id, WriteSequence sequence, const float* vector) {
                            collection.RecoverRow(id, sequence, vector);
                            return absl::OkStatus();
                          });
}

absl::Status VectorStore::StoreManifest(const StoredCollection& record,
                                        const Collection& collection) {
  std::vector<PendingWrite> pending;
  ManifestChange change = collection.WholeManifest(&pending);
  ASSIGN_OR_RETURN(const std::vector<StoredSegment> segments, db_->Segments(record.id));
  for (const StoredSegment& stored : segments) {
    const bool there = std::any_of(
        change.dead.begin(), change.dead.end(),
        [&stored](const StoredSegment& segment) { return segment.number == stored.number; });
    if (!there) change.removed.push_back(stored.number);
  }
  return db_->ReplaceManifest(record.id, change, pending);
}

absl::Status VectorStore::RemoveUnused(const absl::flat_hash_set<std::string>& used) {
  const std::string directory = SegmentDirectory(options_.data_dir);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(*files_, directory));
  for (const std::string& name : names) {
    SegmentFileName parsed;
    const bool unused = SegmentFileName::Parse(name, &parsed) && !used.contains(name);
    if (!unused && !name.ends_with(".tmp")) continue;
    RemoveFile(*files_, StrCat(directory, "/", name)).IgnoreError();
  }
  return absl::OkStatus();
}

std::shared_ptr<Collection> VectorStore::Find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = collections_.find(name);
  if (found != collections_.end()) return found->second;
  const auto alias = aliases_.find(name);
  return alias == aliases_.end() ? nullptr : alias->second;
}

std::vector<std::shared_ptr<Collection>> VectorStore::Collections() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Collection>> collections;
  for (const auto& [name, collection] : collections_) collections.push_back(collection);
  return collections;
}

absl::Status VectorStore::writable() const { return db_->writable(); }

absl::Status VectorStore::CreateCollection(const CollectionSpec& spec,
                                           const std::string& embedder) {
  RETURN_IF_ERROR(CheckSpec(spec));
  RETURN_IF_ERROR(db_->writable());
  const std::lock_guard commit_lock(commit_mutex_);
  if (const auto found = Find(spec.name); found != nullptr) {
    const std::string& name = found->spec().name;
    return absl::AlreadyExistsError(
        name == spec.name
            ? StrCat("collection \"", name, "\" exists already")
            : StrCat("\"", spec.name, "\" is an alias of collection \"", name, "\" already"));
  }
  const size_t count = Collections().size();
  if (static_cast<int64_t>(count) >= options_.collections_max) {
    return absl::ResourceExhaustedError(StrCat(
        "there are ", count, " collections, vector.collections_max is ", options_.collections_max));
  }
  ASSIGN_OR_RETURN(const uint32_t id, db_->CreateCollection(spec, embedder));
  auto collection =
      std::make_shared<Collection>(StoredCollection{id, spec, embedder}, options_, metrics_);
  const std::lock_guard lock(mutex_);
  collections_.emplace(spec.name, std::move(collection));
  return absl::OkStatus();
}

absl::Status VectorStore::DropCollection(const std::string& name) {
  const std::lock_guard commit_lock(commit_mutex_);
  const std::shared_ptr<Collection> collection = Find(name);
  if (collection == nullptr) return UnknownCollection(name);
  if (collection->spec().name != name) {
    return absl::FailedPreconditionError(StrCat("\"", name, "\" is an alias: drop collection \"",
                                                collection->spec().name,
                                                "\" itself, or delete the alias"));
  }
  AliasMap aliases = Aliases();
  std::erase_if(aliases, [&](const auto& alias) { return alias.second == collection; });
  RETURN_IF_ERROR(db_->DropCollection(collection->id(), ToStored(aliases)));
  points_ -= collection->View()->points();
  collection->Drop();
  {
    const std::lock_guard lock(mutex_);
    collections_.erase(name);
    aliases_ = std::move(aliases);
  }
  // A file that is just being written is removed by the builder, or at the next start.
  const auto keep = builder_->KeepFiles();
  const std::string directory = SegmentDirectory(options_.data_dir);
  const auto files = ListSegmentFiles(*files_, directory);
  if (!files.ok()) return absl::OkStatus();
  for (const SegmentFileName& file : *files) {
    if (file.collection_id != collection->id()) continue;
    RemoveFile(*files_, StrCat(directory, "/", file.ToString())).IgnoreError();
  }
  return absl::OkStatus();
}

absl::Status VectorStore::Reindex(Collection& collection, PayloadIndexes indexes) const {
  const auto source = [this, id = collection.id()](Collection::PayloadVisitor visit) {
    return db_->ForEachPayload(id, visit);
  };
  if (indexes.empty()) return collection.Reindex(nullptr, source);
  return collection.Reindex(std::make_shared<const PayloadIndexes>(std::move(indexes)), source);
}

absl::Status VectorStore::CreatePayloadIndex(const std::string& name, const PayloadIndex& index) {
  RETURN_IF_ERROR(CheckPayloadIndex(index));
  const std::lock_guard commit_lock(commit_mutex_);
  const std::shared_ptr<Collection> collection = Find(name);
  if (collection == nullptr) return UnknownCollection(name);
  PayloadIndexes indexes = collection->Info().payload_indexes;
  const auto place =
      std::lower_bound(indexes.begin(), indexes.end(), index.field,
                       [](const PayloadIndex& a, const std::string& b) { return a.field < b; });
  if (place != indexes.end() && place->field == index.field) {
    return absl::AlreadyExistsError(StrCat("field \"", Escaped(index.field), "\" of collection \"",
                                           name, "\" has a payload index of kind ",
                                           NameOf(place->kind), " already"));
  }
  if (std::ssize(indexes) >= options_.payload_indexes_max) {
    return absl::ResourceExhaustedError(StrCat("collection \"", name, "\" has ", indexes.size(),
                                               " payload indexes, vector.payload_indexes_max is ",
                                               options_.payload_indexes_max));
  }
  indexes.insert(place, index);
  // Stored first: after a crash it is filled at the next start.
  RETURN_IF_ERROR(db_->SetIndexes(collection->id(), indexes));
  return Reindex(*collection, std::move(indexes));
}

absl::Status VectorStore::DropPayloadIndex(const std::string& name, const std::string& field) {
  const std::lock_guard commit_lock(commit_mutex_);
  const std::shared_ptr<Collection> collection = Find(name);
  if (collection == nullptr) return UnknownCollection(name);
  PayloadIndexes indexes = collection->Info().payload_indexes;
  const size_t dropped =
      std::erase_if(indexes, [&field](const PayloadIndex& index) { return index.field == field; });
  if (dropped == 0) {
    return absl::NotFoundError(
        StrCat("field \"", Escaped(field), "\" of collection \"", name, "\" has no payload index"));
  }
  RETURN_IF_ERROR(db_->SetIndexes(collection->id(), indexes));
  return Reindex(*collection, std::move(indexes));
}

absl::Status VectorStore::CheckFilter(const Filter& filter) const {
  return filter.Check({.conditions_max = options_.filter_conditions_max,
                       .depth_max = options_.filter_depth_max,
                       .values_max = options_.filter_values_max});
}

std::vector<CollectionInfo> VectorStore::List() const {
  std::vector<CollectionInfo> infos;
  const AliasMap aliases = Aliases();
  for (const auto& collection : Collections()) infos.push_back(InfoOf(*collection, aliases));
  return infos;
}

absl::StatusOr<CollectionInfo> VectorStore::Describe(const std::string& name) const {
  const std::shared_ptr<Collection> collection = Find(name);
  if (collection == nullptr) return UnknownCollection(name);
  return InfoOf(*collection, Aliases());
}

absl::StatusOr<std::shared_ptr<const CollectionView>> VectorStore::View(
    const std::string& name) const {
  const std::shared_ptr<Collection> collection = Find(name);
  if (collection == nullptr) return UnknownCollection(name);
  return collection->View();
}

absl::Status VectorStore::CheckWrite(const Write& write) const {
  const std::shared_ptr<Collection> collection = Find(write.collection);
  if (collection == nullptr) return UnknownCollection(write.collection);
  RETURN_IF_ERROR(CheckWrite(write, collection->spec()));
  return write.filter == nullptr ? absl::OkStatus()
                                 : baton::CheckFilter(*collection->View(), *write.filter);
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
    const std::string field = StrCat("points[", i, "].vector");
    RETURN_IF_ERROR(CheckVector(spec, field, point.vector));
    RETURN_IF_ERROR(CheckStorable(spec, field, point.vector));
    RETURN_IF_ERROR(CheckPayload(options_, StrCat("points[", i, "].payload"), point.payload));
  }
  for (const PayloadPatch& patch : write.patches) {
    RETURN_IF_ERROR(CheckCount("ids", patch.ids.size(), options_.write_points_max));
    RETURN_IF_ERROR(CheckPayload(options_, "set", patch.set));
    if (!patch.clear && patch.delete_keys.empty() && patch.set.empty()) {
      return absl::InvalidArgumentError("the patch is empty: it needs clear, delete_keys or set");
    }
  }
  if (write.filter != nullptr) RETURN_IF_ERROR(CheckFilter(*write.filter));
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

void VectorStore::ScrubNow() { scrubber_->ScrubNow(); }

std::vector<WriteResult> VectorStore::Commit(std::vector<Write> writes) {
  const std::lock_guard commit_lock(commit_mutex_);
  return CommitLocked(std::move(writes));
}

absl::Status VectorStore::ResolveFilter(const Collection& collection, Write& write) const {
  const std::shared_ptr<const CollectionView> view = collection.View();
  ASSIGN_OR_RETURN(std::vector<PointId> ids,
                   MatchingIds(*view, *write.filter, options_.filter_write_points_max));
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

std::vector<WriteResult> VectorStore::CommitGroup(std::span<Write> writes) {
  std::vector<WriteResult> results(writes.size());
  std::vector<std::shared_ptr<Collection>> collections(writes.size());  // null where refused
  std::vector<PlacedWrite> placed;
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
    std::vector<PatchedPayload> patched;
    if (patches) {
      auto resolved = resolver.Resolve(collection->id(), writes[i]);
      status = resolved.status();
      if (!status.ok()) continue;
      patched = *std::move(resolved);
    }
    points += static_cast<int64_t>(writes[i].upserts.size());
    RoundVectors(collection->spec(), writes[i]);
    placed.push_back({.collection_id = collection->id(),
                      .format = FormatOf(collection->spec()),
                      .write = &writes[i],
                      .result = &results[i],
                      .patched = std::move(patched)});
    collections[i] = std::move(collection);
  }
  if (placed.empty()) return results;

  const TimeUs start_us = SystemClock().NowUs();
  const absl::Status stored = db_->Commit(placed);
  commit_seconds_.Observe(static_cast<double>(SystemClock().NowUs() - start_us) / 1e6);
  if (!stored.ok()) {
    for (const PlacedWrite& write : placed) write.result->status = stored;
    return results;
  }
  // A collection's writes together, in their order.
  std::sort(placed.begin(), placed.end(), [](const PlacedWrite& a, const PlacedWrite& b) {
    return std::pair(a.collection_id, a.sequence) < std::pair(b.collection_id, b.sequence);
  });
  bool sealable = false;
  for (auto first = placed.begin(); first != placed.end();) {
    const auto end = std::find_if(first, placed.end(), [first](const PlacedWrite& write) {
      return write.collection_id != first->collection_id;
    });
    Collection& collection = *collections[static_cast<size_t>(first->write - writes.data())];
    const int64_t points_before = collection.View()->points();
    if (collection.Apply(std::span(first, end))) sealable = true;
    points_ += collection.View()->points() - points_before;
    first = end;
  }
  for (const WriteResult& result : results) {
    points_written_.Increment(static_cast<double>(result.upserted));
  }
  if (sealable) builder_->Wake();
  return results;
}

absl::StatusOr<std::vector<Point>> VectorStore::Get(const std::string& collection_name,
                                                    std::span<const PointId> ids, bool with_vectors,
                                                    bool with_payload) const {
  const std::shared_ptr<Collection> collection = Find(collection_name);
  if (collection == nullptr) return UnknownCollection(collection_name);
  return db_->Get(collection->id(), FormatOf(collection->spec()), ids, with_vectors, with_payload);
}

absl::StatusOr<SnapshotInfo> VectorStore::CreateSnapshot(const std::string& name) {
  const std::lock_guard lock(snapshot_mutex_);
  const auto keep = builder_->KeepFiles();
  return snapshots_->Create(name, *db_, SegmentDirectory(options_.data_dir));
}

absl::StatusOr<std::vector<SnapshotInfo>> VectorStore::ListSnapshots() const {
  const std::lock_guard lock(snapshot_mutex_);
  return snapshots_->List();
}

absl::Status VectorStore::DeleteSnapshot(const std::string& name) {
  const std::lock_guard lock(snapshot_mutex_);
  return snapshots_->Delete(name);
}

absl::StatusOr<VerifyReport> VectorStore::VerifySnapshot(const std::string& name) const {
  const std::lock_guard lock(snapshot_mutex_);
  return snapshots_->Verify(name);
}

absl::StatusOr<VerifyReport> VectorStore::Verify() {
  const std::lock_guard lock(snapshot_mutex_);
  {
    const auto keep = builder_->KeepFiles();
    RETURN_IF_ERROR(snapshots_->BeginVerifyStore(*db_, SegmentDirectory(options_.data_dir)));
  }
  return snapshots_->VerifyStore();
}

void VectorStore::WaitUntilIdle() const { builder_->WaitUntilIdle(); }

}  // namespace baton
