// What the store takes of the disk.

#include <sys/statvfs.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/vector/collection.h"
#include "engine/vector/file_layer.h"
#include "engine/vector/point_db.h"
#include "engine/vector/segment_file.h"
#include "engine/vector/sidecar_file.h"
#include "engine/vector/snapshot.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/vector_store.h"
#include "rocksdb/file_system.h"

namespace baton {

void VectorStore::TellUsage() {
  const PointDb::Usage usage = db_->TellUsage();
  metrics_.Gauge(MetricId::kStoreBytes).Set(static_cast<double>(usage.file_bytes));
  metrics_.Gauge(MetricId::kStoreUnflushedBytes).Set(static_cast<double>(usage.unflushed_bytes));
  metrics_.Gauge(MetricId::kStoreWriteBufferBytes, {"total"})
      .Set(static_cast<double>(options_.write_buffer_mb << 20));
  metrics_.Gauge(MetricId::kStoreWriteBufferBytes, {"used"})
      .Set(static_cast<double>(usage.write_buffer_bytes));
  metrics_.Gauge(MetricId::kStoreCompactionBytes).Set(static_cast<double>(usage.compaction_bytes));

  std::map<uint32_t, uint64_t> bytes;  // by collection
  std::vector<rocksdb::FileAttributes> files;
  // What vanishes meanwhile is left out.
  if (files_->GetChildrenFileAttributes(SegmentDirectory(options_.data_dir), {}, &files, nullptr)
          .ok()) {
    for (const rocksdb::FileAttributes& file : files) {
      SegmentFileName segment;
      SidecarFileName sidecar;
      if (SegmentFileName::Parse(file.name, &segment)) {
        bytes[segment.collection_id] += file.size_bytes;
      } else if (SidecarFileName::Parse(file.name, &sidecar)) {
        bytes[sidecar.collection_id] += file.size_bytes;
      }
    }
  }
  std::map<std::string, uint64_t> by_name;
  for (const auto& part : Parts()) by_name[FullName(part->spec())] = bytes[part->id()];
  for (const std::string& gone : std::exchange(usage_told_, {})) {
    if (!by_name.contains(gone)) metrics_.RemoveGauge(MetricId::kCollectionBytes, {gone});
  }
  for (const auto& [name, size] : by_name) {
    metrics_.Gauge(MetricId::kCollectionBytes, {name}).Set(static_cast<double>(size));
    usage_told_.insert(name);
  }

  struct statvfs disk = {};
  if (statvfs(options_.data_dir.c_str(), &disk) != 0) return;
  const auto block_bytes = static_cast<double>(disk.f_frsize);
  metrics_.Gauge(MetricId::kDiskBytes, {"total"})
      .Set(block_bytes * static_cast<double>(disk.f_blocks));
  metrics_.Gauge(MetricId::kDiskBytes, {"free"})
      .Set(block_bytes * static_cast<double>(disk.f_bavail));
}

}  // namespace baton
