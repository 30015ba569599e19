#include "engine/vector/payload_snapshot.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/status_macros.h"
#include "engine/vector/payload_codec.h"
#include "engine/vector/point_db_codec.h"
#include "rocksdb/db.h"

namespace baton {

void SnapshotDoor::Close() {
  const std::unique_lock lock(mutex_);
  for (const rocksdb::Snapshot* const snapshot : snapshots_) db_->ReleaseSnapshot(snapshot);
  snapshots_.clear();
  db_ = nullptr;
}

PayloadSnapshot::PayloadSnapshot(std::shared_ptr<SnapshotDoor> door, uint32_t collection_id)
    : door_(std::move(door)), collection_id_(collection_id) {
  const std::unique_lock lock(door_->mutex_);
  if (door_->db_ == nullptr) return;
  snapshot_ = door_->db_->GetSnapshot();
  door_->snapshots_.insert(snapshot_);
}

PayloadSnapshot::~PayloadSnapshot() {
  const std::unique_lock lock(door_->mutex_);
  if (door_->snapshots_.erase(snapshot_) > 0) door_->db_->ReleaseSnapshot(snapshot_);
}

absl::Status PayloadSnapshot::Read(std::span<const PointId> ids, Visitor visit) const {
  constexpr size_t kAtOnce = 256;  // as many as RocksDB reads well together
  const std::shared_lock lock(door_->mutex_);
  if (door_->db_ == nullptr) return absl::UnavailableError("the vector store was closed");
  rocksdb::ReadOptions options;
  options.snapshot = snapshot_;
  for (; !ids.empty(); ids = ids.subspan(std::min(kAtOnce, ids.size()))) {
    const std::span<const PointId> some = ids.first(std::min(kAtOnce, ids.size()));
    std::vector<std::string> keys;
    for (const PointId id : some) keys.push_back(PointKey('P', collection_id_, id));
    const std::vector<rocksdb::Slice> slices(keys.begin(), keys.end());
    std::vector<rocksdb::PinnableSlice> values(some.size());
    std::vector<rocksdb::Status> statuses(some.size());
    door_->db_->MultiGet(options, door_->db_->DefaultColumnFamily(), some.size(), slices.data(),
                         values.data(), statuses.data());
    for (size_t i = 0; i < some.size(); ++i) {
      if (statuses[i].IsNotFound()) continue;
      RETURN_IF_ERROR(ToStatus(statuses[i], "cannot read a payload"));
      const absl::StatusOr<Payload> payload = DecodePayload(values[i].ToStringView());
      if (!payload.ok()) return DamagedPoint(some[i], "payload");
      visit(some[i], *payload);
    }
  }
  return absl::OkStatus();
}

}  // namespace baton
