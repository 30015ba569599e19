// What a VectorStore does about payload indexes: creates, drops and recovers them.

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/collection.h"
#include "engine/vector/durable_file.h"
#include "engine/vector/point_db.h"
#include "engine/vector/segment_builder.h"
#include "engine/vector/sidecar_file.h"
#include "engine/vector/snapshot.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/vector_store.h"

namespace baton {

absl::Status VectorStore::Reindex(Collection& collection, PayloadIndexes indexes) const {
  const auto source = [this, id = collection.id()](Collection::PayloadVisitor visit) {
    return db_->ForEachPayload(id, visit);
  };
  std::shared_ptr<const PayloadIndexes> shared;
  if (!indexes.empty()) shared = std::make_shared<const PayloadIndexes>(std::move(indexes));
  RETURN_IF_ERROR(collection.Reindex(shared, source));
  for (const auto& vector : collection.vectors()) RETURN_IF_ERROR(vector->Reindex(shared, source));
  return absl::OkStatus();
}

absl::Status VectorStore::RecoverIndexes(Collection& collection, PayloadIndexes indexes,
                                         absl::flat_hash_set<std::string>& used) {
  const bool has_files = options_.graph_files && db_->writable().ok();
  if (has_files) RETURN_IF_ERROR(db_->RaiseFormatForIndexes());
  // Without a manifest nothing tells which patches the files lack.
  if (!has_files || !db_->manifest_is_complete()) return Reindex(collection, std::move(indexes));
  const auto shared = std::make_shared<const PayloadIndexes>(std::move(indexes));
  RETURN_IF_ERROR(RecoverIndexesOf(collection, collection.id(), shared, used));
  for (const auto& vector : collection.vectors()) {
    RETURN_IF_ERROR(RecoverIndexesOf(*vector, collection.id(), shared, used));
  }
  return absl::OkStatus();
}

absl::Status VectorStore::RecoverIndexesOf(Collection& part, uint32_t payloads_id,
                                           const std::shared_ptr<const PayloadIndexes>& indexes,
                                           absl::flat_hash_set<std::string>& used) {
  const std::string directory = SegmentDirectory(options_.data_dir);
  absl::flat_hash_map<uint64_t, Collection::RecoveredSidecar> stored;
  ASSIGN_OR_RETURN(const std::vector<StoredSidecar> sidecars, db_->Sidecars(part.id()));
  for (const StoredSidecar& sidecar : sidecars) {
    part.ReserveNumber(sidecar.number);
    const int64_t rows = part.RowsOf(sidecar.segment);
    if (rows == 0) continue;  // its segment's file was lost
    const SidecarFileName name{.collection_id = part.id(), .number = sidecar.number};
    absl::StatusOr<SidecarColumns> read = ReadSidecarFile(directory, name, sidecar.file_sum);
    absl::Status status = read.status();
    if (status.ok() && (read->segment != sidecar.segment || read->rows != rows)) {
      status = absl::DataLossError(
          StrCat(directory, "/", name.ToString(), " is of other rows than those of its segment"));
    }
    if (!status.ok()) {
      Log().warn("collection {}: reading the payloads of segment {} for its indexes: {}",
                 FullName(part.spec()), sidecar.segment, status.ToString());
      const std::string path = StrCat(directory, "/", name.ToString());
      RenameFile(*files_, path, StrCat(path, ".damaged")).IgnoreError();
      continue;
    }
    used.insert(name.ToString());  // as long as the manifest names it
    // Of before an index was created or dropped, and not stored again.
    if (read->indexes != *indexes) continue;
    stored[sidecar.segment] = {
        .number = sidecar.number, .sequence = read->sequence, .columns = std::move(read->columns)};
  }
  const auto source = [this, payloads_id](Collection::PayloadVisitor visit) {
    return db_->ForEachPayload(payloads_id, visit);
  };
  // All at once is quicker than one by one.
  if (stored.empty()) return part.Reindex(indexes, source);
  ASSIGN_OR_RETURN(const std::vector<PatchedPoints> patched, db_->Patched(part.id(), UINT64_MAX));
  std::vector<PointId> ids;
  for (const PatchedPoints& write : patched) {
    ids.insert(ids.end(), write.ids.begin(), write.ids.end());
  }
  return part.RecoverIndexes(
      indexes, std::move(stored), std::move(ids),
      [this, payloads_id](std::span<const PointId> read, Collection::PayloadVisitor visit) {
        return db_->ReadPayloads(payloads_id, read, visit);
      });
}

absl::Status VectorStore::ChangeIndexes(
    const std::string& name, absl::FunctionRef<absl::Status(PayloadIndexes& indexes)> edit,
    IndexPoll poll) {
  std::shared_ptr<Collection> collection;
  std::vector<std::shared_ptr<Collection>> parts;  // it, and its named vectors
  PayloadIndexes before;
  const auto abandon = [&parts] {
    for (const auto& part : parts) part->AbandonIndexes();
  };
  // A job that is being finished takes its time: nobody else has to wait for it.
  const auto wait = [] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); };
  const auto begin = [&]() -> absl::StatusOr<bool> {
    const std::lock_guard commit_lock(commit_mutex_);
    parts.clear();
    collection = Find(name);
    if (collection == nullptr) return UnknownCollection(name);
    before = collection->Info().payload_indexes;
    PayloadIndexes after = before;
    RETURN_IF_ERROR(edit(after));
    auto change = std::make_shared<IndexChange>();
    for (const PayloadIndex& index : after) {
      const auto found = std::find(before.begin(), before.end(), index);
      change->from.push_back(found == before.end() ? IndexChange::kNew
                                                   : static_cast<int32_t>(found - before.begin()));
    }
    change->indexes = std::make_shared<const PayloadIndexes>(after);
    change->sequence = db_->last_sequence();
    change->payloads = db_->TakePayloads(collection->id());
    bool begun = collection->BeginIndexes(change);
    if (begun) parts.push_back(collection);
    for (const auto& vector : collection->vectors()) {
      begun = begun && vector->BeginIndexes(change);
      if (begun) parts.push_back(vector);
    }
    // Stored first: after a crash it is made at the next start.
    const absl::Status stored = begun ? db_->SetIndexes(collection->id(), after) : absl::OkStatus();
    if (!begun || !stored.ok()) abandon();
    RETURN_IF_ERROR(stored);
    return begun;
  };
  while (true) {
    ASSIGN_OR_RETURN(const bool begun, begin());
    if (begun) break;
    RETURN_IF_ERROR(poll());
    wait();
  }
  // An alias may come to stand for another.
  const std::string own_name = collection->spec().name;
  while (true) {
    absl::Status status;
    for (const auto& part : parts) status.Update(part->MakeIndexes(poll));
    if (!status.ok()) {
      const std::lock_guard commit_lock(commit_mutex_);
      abandon();
      // What `poll` ended is made at the next start; what cannot be made is not to be tried then.
      if (poll().ok() && Find(own_name) == collection) {
        if (const absl::Status undone = db_->SetIndexes(collection->id(), before); !undone.ok()) {
          Log().error(
              "collection {}: its payload indexes stay as they were until the next start: {}", name,
              undone.ToString());
        }
      }
      return status;
    }
    {
      const std::lock_guard commit_lock(commit_mutex_);
      if (Find(own_name) != collection) return UnknownCollection(name);
      std::erase_if(parts, [](const auto& part) { return part->FinishIndexes(); });
    }
    if (parts.empty()) break;
    wait();
  }
  builder_->Wake();
  return absl::OkStatus();
}

absl::Status VectorStore::CreatePayloadIndex(const std::string& name, const PayloadIndex& index,
                                             IndexPoll poll) {
  RETURN_IF_ERROR(CheckPayloadIndex(index));
  const std::lock_guard index_lock(index_mutex_);
  return ChangeIndexes(
      name,
      [&](PayloadIndexes& indexes) -> absl::Status {
        const auto place = std::lower_bound(
            indexes.begin(), indexes.end(), index.field,
            [](const PayloadIndex& a, const std::string& b) { return a.field < b; });
        if (place != indexes.end() && place->field == index.field) {
          return absl::AlreadyExistsError(
              StrCat("field \"", Escaped(index.field), "\" of collection \"", name,
                     "\" has a payload index of kind ", NameOf(place->kind), " already"));
        }
        if (std::ssize(indexes) >= options_.payload_indexes_max) {
          return absl::ResourceExhaustedError(StrCat(
              "collection \"", name, "\" has ", indexes.size(),
              " payload indexes, vector.payload_indexes_max is ", options_.payload_indexes_max));
        }
        indexes.insert(place, index);
        return absl::OkStatus();
      },
      poll);
}

absl::Status VectorStore::DropPayloadIndex(const std::string& name, const std::string& field,
                                           IndexPoll poll) {
  const std::lock_guard index_lock(index_mutex_);
  return ChangeIndexes(
      name,
      [&](PayloadIndexes& indexes) -> absl::Status {
        if (!field.empty() && field == Find(name)->spec().partition_key) {
          return absl::FailedPreconditionError(StrCat("field \"", Escaped(field),
                                                      "\" is the partition key of collection \"",
                                                      name, "\": its index cannot be dropped"));
        }
        const size_t dropped = std::erase_if(
            indexes, [&field](const PayloadIndex& index) { return index.field == field; });
        if (dropped > 0) return absl::OkStatus();
        return absl::NotFoundError(StrCat("field \"", Escaped(field), "\" of collection \"", name,
                                          "\" has no payload index"));
      },
      poll);
}

}  // namespace baton
