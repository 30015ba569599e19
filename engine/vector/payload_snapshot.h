#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <shared_mutex>
#include <span>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/request/vector_request.h"

namespace rocksdb {
class DB;
class Snapshot;
}  // namespace rocksdb

namespace baton {

// What snapshots of a database read through. A view that holds one may outlive the store.
class SnapshotDoor {
 public:
  explicit SnapshotDoor(rocksdb::DB* db) : db_(db) {}
  SnapshotDoor(const SnapshotDoor&) = delete;
  SnapshotDoor& operator=(const SnapshotDoor&) = delete;

  // The database is about to be closed: gives all snapshots back. Waits for those who read.
  void Close();

 private:
  friend class PayloadSnapshot;

  std::shared_mutex mutex_;
  rocksdb::DB* db_;  // null once closed
  std::set<const rocksdb::Snapshot*> snapshots_;
};

// The payloads of a collection as they were at one moment, whatever is written later. The database
// keeps what it would drop otherwise while this lives. Thread safe.
class PayloadSnapshot {
 public:
  PayloadSnapshot(std::shared_ptr<SnapshotDoor> door, uint32_t collection_id);
  ~PayloadSnapshot();
  PayloadSnapshot(const PayloadSnapshot&) = delete;
  PayloadSnapshot& operator=(const PayloadSnapshot&) = delete;

  using Visitor = absl::FunctionRef<void(PointId id, const Payload& payload)>;
  // In the order asked, missing ones left out. UNAVAILABLE once the store was closed.
  absl::Status Read(std::span<const PointId> ids, Visitor visit) const;

 private:
  const std::shared_ptr<SnapshotDoor> door_;
  const uint32_t collection_id_;
  const rocksdb::Snapshot* snapshot_ = nullptr;  // the door's
};

}  // namespace baton
