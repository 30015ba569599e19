#include "engine/vector/vector_store.h"

#include <algorithm>
#include <optional>
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
#include "engine/vector/partition.h"
#include "engine/vector/point_db.h"
#include "engine/vector/scrubber.h"
#include "engine/vector/segment.h"
#include "engine/vector/segment_builder.h"
#include "engine/vector/segment_file.h"
#include "engine/vector/sidecar_file.h"
#include "engine/vector/snapshot.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/view_filter.h"
#include "engine/vector/view_queries.h"

namespace baton {
namespace {

// Of a segment's file or that of its payload indexes: the collection's id. Nothing: it is neither.
std::optional<uint32_t> CollectionOf(const std::string& name) {
  SegmentFileName segment;
  if (SegmentFileName::Parse(name, &segment)) return segment.collection_id;
  SidecarFileName sidecar;
  if (SidecarFileName::Parse(name, &sidecar)) return sidecar.collection_id;
  return std::nullopt;
}

}  // namespace

VectorStore::VectorStore(const VectorOptions& options, Metrics& metrics,
                         std::shared_ptr<FileLayer> files)
    : options_(options),
      files_(std::move(files)),
      metrics_(metrics),
      points_written_(metrics.Counter(MetricId::kPointsWritten)),
      commit_seconds_(metrics.Histogram(MetricId::kWriteCommitSeconds)),
      makers_(metrics) {}

VectorStore::~VectorStore() { scrubber_.reset(); }

absl::StatusOr<std::unique_ptr<VectorStore>> VectorStore::Open(const VectorOptions& options,
                                                               Metrics& metrics,
                                                               std::shared_ptr<FileLayer> files,
                                                               const Clock& clock) {
  if (options.data_dir.empty()) {
    return absl::InvalidArgumentError("vector.data_dir is empty: it must name a directory");
  }
  const int64_t seal_points_max = SealPointsFor(options, 1);
  if (options.unindexed_points_max <= seal_points_max) {
    return absl::InvalidArgumentError(
        StrCat("vector.unindexed_points_max is ", options.unindexed_points_max,
               ": it must be more than vector.seal_points, which is ", seal_points_max));
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
      options, has_files ? SegmentDirectory(options.data_dir) : "", files, *store->db_,
      store->makers_, metrics, clock, [self = store.get()] { return self->Parts(); });
  store->builder_->Wake();
  store->scrubber_ = std::make_unique<Scrubber>(
      SegmentDirectory(options.data_dir), [self = store.get()] { return self->Parts(); },
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
    if (record.parent_id != 0) continue;  // recovered with its collection
    auto collection = std::make_shared<Collection>(record, options_, metrics_);
    RETURN_IF_ERROR(RecoverPart(record, *collection, used));
    for (const StoredCollection& vector : stored) {
      if (vector.parent_id != record.id) continue;
      auto part = std::make_shared<Collection>(vector, options_, metrics_);
      RETURN_IF_ERROR(RecoverPart(vector, *part, used));
      collection->AddVector(std::move(part));
    }
    ASSIGN_OR_RETURN(PayloadIndexes indexes, db_->Indexes(record.id));
    if (!indexes.empty()) {
      RETURN_IF_ERROR(RecoverIndexes(*collection, std::move(indexes), used));
    } else if (keep_manifest) {
      RETURN_IF_ERROR(db_->DropSidecars(record.id));
      for (const auto& vector : collection->vectors()) {
        RETURN_IF_ERROR(db_->DropSidecars(vector->id()));
      }
    }
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

absl::Status VectorStore::RecoverPart(const StoredCollection& record, Collection& part,
                                      absl::flat_hash_set<std::string>& used) {
  ASSIGN_OR_RETURN(const bool whole, RecoverSegments(record, part, used));
  if (whole && db_->manifest_is_complete()) {
    RETURN_IF_ERROR(ReplayPending(record, part));
  } else {
    RETURN_IF_ERROR(db_->ForEachVector(
        record, [&part](PointId id, WriteSequence sequence, const float* vector) {
          part.RecoverRow(id, sequence, vector);
          return absl::OkStatus();
        }));
    const bool keep_manifest = options_.graph_files && db_->writable().ok();
    if (keep_manifest) RETURN_IF_ERROR(StoreManifest(record, part));
  }
  part.FinishRecovery(db_->last_sequence());
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
    Log().warn("collection {}: building a graph again: {}", FullName(record.spec),
               status.ToString());
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
    const bool unused = CollectionOf(name).has_value() && !used.contains(name);
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

std::vector<std::shared_ptr<Collection>> VectorStore::Parts() const {
  std::vector<std::shared_ptr<Collection>> parts = Collections();
  for (size_t i = 0, collections = parts.size(); i < collections; ++i) {
    const auto vectors = parts[i]->vectors();
    parts.insert(parts.end(), vectors.begin(), vectors.end());
  }
  return parts;
}

absl::Status VectorStore::writable() const { return db_->writable(); }

absl::Status VectorStore::CreateCollection(const CollectionSpec& spec,
                                           const std::string& embedder) {
  RETURN_IF_ERROR(CheckSpec(spec, options_.named_vectors_max));
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
  ASSIGN_OR_RETURN(std::vector<StoredCollection> stored, db_->CreateCollection(spec, embedder));
  auto collection = std::make_shared<Collection>(std::move(stored.front()), options_, metrics_);
  for (size_t i = 1; i < stored.size(); ++i) {
    collection->AddVector(std::make_shared<Collection>(std::move(stored[i]), options_, metrics_));
  }
  if (!spec.partition_key.empty()) {
    RETURN_IF_ERROR(Reindex(*collection, {PartitionIndex(spec)}));
  }
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
  std::vector<uint32_t> ids = {collection->id()};
  for (const auto& vector : collection->vectors()) ids.push_back(vector->id());
  RETURN_IF_ERROR(db_->DropCollection(ids, ToStored(aliases)));
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
  const auto files = ListDirectory(*files_, directory);
  if (!files.ok()) return absl::OkStatus();
  for (const std::string& file : *files) {
    const std::optional<uint32_t> id = CollectionOf(file);
    if (!id.has_value() || std::count(ids.begin(), ids.end(), *id) == 0) continue;
    RemoveFile(*files_, StrCat(directory, "/", file)).IgnoreError();
  }
  return absl::OkStatus();
}

absl::Status VectorStore::CheckFilter(const Filter& filter) const {
  return filter.Check({.conditions_max = options_.filter_conditions_max,
                       .depth_max = options_.filter_depth_max,
                       .values_max = options_.filter_values_max});
}

absl::StatusOr<FilterPtr> VectorStore::CheckFilter(const CollectionSpec& spec,
                                                   const PartitionChoice& partition,
                                                   FilterPtr filter) const {
  if (filter != nullptr) RETURN_IF_ERROR(CheckFilter(*filter));
  return FilterOf(spec, partition, std::move(filter));
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
    const std::string& name, const std::string& vector_name) const {
  const std::shared_ptr<Collection> collection = Find(name);
  if (collection == nullptr) return UnknownCollection(name);
  if (vector_name.empty()) return collection->View();
  const Collection* const vector = collection->FindVector(vector_name);
  if (vector == nullptr) return UnknownVector("vector_name", vector_name, collection->spec());
  return vector->View();
}

void VectorStore::ScrubNow() { scrubber_->ScrubNow(); }

absl::StatusOr<std::vector<Point>> VectorStore::Get(const std::string& collection_name,
                                                    std::span<const PointId> ids, bool with_vectors,
                                                    bool with_payload) const {
  const std::shared_ptr<Collection> collection = Find(collection_name);
  if (collection == nullptr) return UnknownCollection(collection_name);
  std::vector<StoredVector> named;
  for (const auto& vector : collection->vectors()) {
    named.push_back({.id = vector->id(),
                     .format = FormatOf(vector->spec()),
                     .name = vector->spec().vector_name});
  }
  return db_->Get(collection->id(), FormatOf(collection->spec()), named, ids, with_vectors,
                  with_payload);
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
