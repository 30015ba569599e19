#include "engine/vector/point_db.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/thread_name.h"
#include "engine/vector/byte_codec.h"
#include "engine/vector/durable_file.h"
#include "engine/vector/log_check.h"
#include "engine/vector/payload_codec.h"
#include "engine/vector/point_db_codec.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/vector_store.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/listener.h"
#include "rocksdb/table.h"
#include "rocksdb/utilities/checkpoint.h"
#include "rocksdb/write_batch.h"
#include "rocksdb/write_buffer_manager.h"

namespace baton {
namespace {

// Keys of a dropped collection that are deleted by one write.
constexpr int kPurgeKeys = 16'384;

// What RocksDB has to say goes where all else does. Its own log file, of a disk that failed once,
// ends the process when it is written to again.
class ForwardingLogger : public rocksdb::Logger {
 public:
  ForwardingLogger() : Logger(rocksdb::InfoLogLevel::WARN_LEVEL) {}
  using Logger::Logv;
  void LogHeader(const char*, va_list) override {}
  void Logv(const char* format, va_list arguments) override {
    std::array<char, 1024> text;
    const int length = std::vsnprintf(text.data(), text.size(), format, arguments);
    if (length > 0) Log().warn("rocksdb: {}", text.data());
  }
};

// Memory of writes that are in no table yet: one part takes writes while the other is written to a
// table, and while both are full, writes wait. The manager counts what they really take, of
// whatever column family, and has one written when that is all.
std::shared_ptr<rocksdb::WriteBufferManager> WriteBuffers(const VectorOptions& options) {
  return std::make_shared<rocksdb::WriteBufferManager>(static_cast<size_t>(options.write_buffer_mb)
                                                       << 20);
}
constexpr int kWriteBufferParts = 2;

// Of each key, in memory: one of a hundred tables that lack a key is read for it all the same
// (RocksDB's wiki, "RocksDB Bloom Filter"). Payloads of points that were found are read one by one,
// and of the tables that may have one the newest are small and many.
constexpr double kFilterBits = 10;

rocksdb::Options DbOptions(const VectorOptions& options,
                           const std::shared_ptr<rocksdb::WriteBufferManager>& write_buffers) {
  rocksdb::BlockBasedTableOptions tables;
  tables.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kFilterBits));
  tables.block_cache = rocksdb::NewLRUCache(static_cast<size_t>(options.read_cache_mb) << 20);
  rocksdb::Options db;
  db.table_factory.reset(rocksdb::NewBlockBasedTableFactory(tables));
  db.info_log = std::make_shared<ForwardingLogger>();
  db.create_if_missing = true;
  db.paranoid_checks = true;
  // Up to the first tear: FindLogDamage has seen to it that nothing acknowledged is behind it.
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  db.compression = rocksdb::kNoCompression;  // floats do not compress
  db.write_buffer_manager = write_buffers;
  db.write_buffer_size = write_buffers->buffer_size() / kWriteBufferParts;
  db.max_write_buffer_number = kWriteBufferParts;
  db.max_total_wal_size = 128 << 20;
  db.max_background_jobs = 2;
  db.max_open_files = 512;
  // Apply resumes, so that what failed is over when the next write is tried.
  db.max_bgerror_resume_count = 0;
  db.avoid_flush_during_shutdown = true;  // the log has all that counts
  return db;
}

}  // namespace

// What RocksDB tells of itself.
struct PointDb::Listener : rocksdb::EventListener {
  // Resuming is Resume's, when a write is tried.
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status*) override {
    if (reason == rocksdb::BackgroundErrorReason::kWriteCallback) log_failed = true;
  }
  void OnMemTableSealed(const rocksdb::MemTableInfo&) override { memory_is_empty = true; }

  // RocksDB begins a new log only with something to flush.
  std::atomic<bool> memory_is_empty = true;
  std::atomic<bool> log_failed = false;
};

PointDb::PointDb(const VectorOptions& options, std::string directory,
                 std::shared_ptr<FileLayer> files)
    : options_(options),
      directory_(std::move(directory)),
      files_(std::move(files)),
      env_(rocksdb::NewCompositeEnv(ResumableFiles(files_))),
      write_buffers_(WriteBuffers(options)),
      listener_(std::make_shared<Listener>()) {}

PointDb::~PointDb() {
  if (sync_thread_.joinable()) {
    {
      const std::lock_guard lock(sync_mutex_);
      stopping_ = true;
    }
    stop_sync_.notify_all();
    sync_thread_.join();
  }
  if (db_ == nullptr) return;
  if (door_ != nullptr) door_->Close();
  if (const absl::Status status = failed_ ? absl::OkStatus() : Sync(); !status.ok()) {
    Log().warn("vector store: while closing: {}", status.ToString());
  }
  const rocksdb::Status closed = db_->Close();
  if (!closed.ok()) Log().warn("vector store: while closing: {}", closed.ToString());
}

PointDb::Usage PointDb::TellUsage() const {
  const auto tell = [this](const std::string& property) {
    uint64_t value = 0;
    return db_->GetIntProperty(property, &value) ? static_cast<int64_t>(value) : 0;
  };
  using Properties = rocksdb::DB::Properties;
  Usage usage{.file_bytes = tell(Properties::kTotalSstFilesSize),
              .unflushed_bytes = tell(Properties::kCurSizeAllMemTables),
              .compaction_bytes = tell(Properties::kEstimatePendingCompactionBytes),
              .write_buffer_bytes = static_cast<int64_t>(write_buffers_->memory_usage())};
  rocksdb::VectorLogPtr logs;
  if (db_->GetSortedWalFiles(logs).ok()) {
    for (const auto& log : logs) usage.file_bytes += static_cast<int64_t>(log->SizeFileBytes());
  }
  return usage;
}

absl::StatusOr<std::unique_ptr<PointDb>> PointDb::Open(const VectorOptions& options,
                                                       const std::string& directory,
                                                       const std::string& damaged_directory,
                                                       std::shared_ptr<FileLayer> files) {
  std::unique_ptr<PointDb> db(new PointDb(options, directory, std::move(files)));
  RETURN_IF_ERROR(db->OpenDatabase(damaged_directory));
  RETURN_IF_ERROR(db->Load());
  if (options.fsync == "interval") {
    db->sync_thread_ = std::thread([self = db.get()] { self->SyncPeriodically(); });
  }
  return db;
}

absl::StatusOr<std::unique_ptr<PointDb>> PointDb::OpenForReading(const VectorOptions& options,
                                                                 const std::string& directory,
                                                                 std::shared_ptr<FileLayer> files) {
  std::unique_ptr<PointDb> db(new PointDb(options, directory, std::move(files)));
  rocksdb::Options db_options = DbOptions(options, db->write_buffers_);
  db_options.create_if_missing = false;
  db_options.env = db->env_.get();
  rocksdb::DB* raw = nullptr;
  RETURN_IF_ERROR(ToStatus(rocksdb::DB::OpenForReadOnly(db_options, directory, &raw),
                           StrCat("cannot open the database in ", directory)));
  db->db_.reset(raw);
  db->writable_ = absl::FailedPreconditionError(
      StrCat("the database in ", directory, " is opened for reading"));
  RETURN_IF_ERROR(db->Load());
  return db;
}

absl::Status PointDb::OpenDatabase(const std::string& damaged_directory) {
  rocksdb::Options db_options = DbOptions(options_, write_buffers_);
  db_options.env = env_.get();
  db_options.listeners = {listener_};
  const std::string what = StrCat("cannot open the database in ", directory_);
  rocksdb::DB* raw = nullptr;
  ASSIGN_OR_RETURN(std::optional<LogDamage> damage,
                   FindLogDamage(*files_, directory_, options_.fsync == "always"));
  if (damage.has_value()) {
    db_options.wal_recovery_mode = rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
    RETURN_IF_ERROR(ToStatus(rocksdb::DB::OpenForReadOnly(db_options, directory_, &raw), what));
    db_.reset(raw);
    // A log that failed and was replaced may wait for its removal still: its writes are in tables.
    uint64_t oldest_needed = 0;
    db_->GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep, &oldest_needed);
    const bool needed = damage->number >= oldest_needed;
    log_is_damaged_ = needed;
    if (needed && !options_.repair) {
      writable_ = absl::FailedPreconditionError(
          StrCat("the store is read-only: the write-ahead log ", damage->path,
                 " is damaged at byte ", damage->offset,
                 "; to give up the damaged writes, start batond with --vector.repair=true"));
      Log().error("vector store: {}", writable_.ToString());
      return absl::OkStatus();
    }
    db_.reset();
    if (needed) {
      RETURN_IF_ERROR(KeepDamagedLogs(damaged_directory));
      Log().warn(
          "vector store: the write-ahead log {} is damaged at byte {}: giving up what it "
          "does not tell any more; a copy is in {}",
          damage->path, damage->offset, damaged_directory);
    } else {
      db_options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
    }
  }
  RETURN_IF_ERROR(ToStatus(rocksdb::DB::Open(db_options, directory_, &raw), what));
  db_.reset(raw);
  door_ = std::make_shared<SnapshotDoor>(raw);
  return LeaveOldLogs();
}

absl::Status PointDb::LeaveOldLogs() {
  uint64_t oldest_needed = 0;
  db_->GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep, &oldest_needed);
  std::unique_ptr<rocksdb::LogFile> log;
  RETURN_IF_ERROR(ToStatus(db_->GetCurrentWalFile(&log), "cannot look at the log"));
  if (oldest_needed >= log->LogNumber()) return absl::OkStatus();
  RETURN_IF_ERROR(ToStatus(HaveSomethingToFlush(), "cannot write to the database"));
  return ToStatus(db_->Flush({}), "cannot write to the database");
}

absl::Status PointDb::KeepDamagedLogs(const std::string& damaged_directory) const {
  RETURN_IF_ERROR(MakeDirectories(*files_, damaged_directory));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(*files_, directory_));
  for (const std::string& name : names) {
    if (!name.ends_with(".log")) continue;
    std::string log;
    const std::string path = StrCat(directory_, "/", name);
    RETURN_IF_ERROR(ToStatus(rocksdb::ReadFileToString(files_.get(), path, &log),
                             StrCat("cannot read ", path)));
    const std::string_view part = log;
    RETURN_IF_ERROR(WriteFileDurably(*files_, damaged_directory, name, std::span(&part, 1)));
  }
  return absl::OkStatus();
}

absl::Status PointDb::Load() {
  // Absent in a new database: `value` then keeps its default.
  const auto read_number = [this](const char* key, uint64_t* value) -> absl::Status {
    std::string bytes;
    const rocksdb::Status status = db_->Get({}, key, &bytes);
    if (status.IsNotFound()) return absl::OkStatus();
    RETURN_IF_ERROR(ToStatus(status, "cannot read the database"));
    ByteReader reader(bytes);
    const std::optional<uint64_t> number = reader.Take<uint64_t>();
    if (!number.has_value() || !reader.at_end()) {
      return absl::DataLossError(StrCat("the database's record ", key, " is damaged"));
    }
    *value = *number;
    return absl::OkStatus();
  };
  uint64_t format = 0;
  uint64_t next_collection_id = 1;
  RETURN_IF_ERROR(read_number(kFormatKey, &format));
  RETURN_IF_ERROR(read_number(kNextCollectionKey, &next_collection_id));
  RETURN_IF_ERROR(read_number(kSequenceKey, &last_sequence_));
  next_collection_id_ = static_cast<uint32_t>(next_collection_id);
  if (format == 0 && last_sequence_ == 0 && next_collection_id_ == 1) {
    rocksdb::WriteBatch batch;
    batch.Put(kFormatKey, EncodeNumber(format_));
    return Apply(batch);
  }
  uint64_t incomplete = 0;
  RETURN_IF_ERROR(read_number(kIncompleteKey, &incomplete));
  // Segments may have points that a damaged log does not tell any more.
  manifest_is_complete_ = incomplete == 0 && format != kFormatWithoutManifest && !log_is_damaged_;
  if (format == kFormatWithoutManifest) {
    Log().info("vector store: bringing the database in {} from format {} to {}", directory_, format,
               format_);
    return absl::OkStatus();
  }
  if (format > kFormatVersion || format < kFormatOfNumbers) {
    return absl::FailedPreconditionError(StrCat("the database in ", directory_, " has format ",
                                                format, ", this daemon reads formats ",
                                                kFormatOfNumbers, " to ", kFormatVersion));
  }
  format_ = static_cast<uint32_t>(format);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StoredCollection>> PointDb::Collections() const {
  std::vector<StoredCollection> collections;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
  for (it->Seek("C"); it->Valid() && it->key().starts_with("C"); it->Next()) {
    ASSIGN_OR_RETURN(StoredCollection collection,
                     DecodeCollection(it->key().ToStringView(), it->value().ToStringView()));
    const auto parent = std::find_if(
        collections.begin(), collections.end(),
        [&collection](const StoredCollection& other) { return other.id == collection.parent_id; });
    if (parent != collections.end()) {
      parent->spec.vectors.push_back(collection.spec);
      parent->spec.vectors.back().embedder = collection.embedder;
    } else if (collection.parent_id != 0) {
      return absl::DataLossError(StrCat("the record of collection \"", collection.spec.name,
                                        "\" is missing, but its vector \"",
                                        collection.spec.vector_name, "\" is there"));
    }
    collections.push_back(std::move(collection));
  }
  RETURN_IF_ERROR(ToStatus(it->status(), "cannot read the collections"));
  return collections;
}

absl::StatusOr<std::vector<StoredAlias>> PointDb::Aliases() const {
  std::string value;
  const rocksdb::Status status = db_->Get({}, kAliasesKey, &value);
  std::vector<StoredAlias> aliases;
  if (status.IsNotFound()) return aliases;
  RETURN_IF_ERROR(ToStatus(status, "cannot read the aliases"));
  for (ByteReader reader(value); !reader.at_end();) {
    std::optional<std::string> name = reader.TakeText();
    const std::optional<uint32_t> id = reader.Take<uint32_t>();
    if (!name.has_value() || !id.has_value()) {
      return absl::DataLossError("the record of the aliases is damaged");
    }
    aliases.push_back({.name = *std::move(name), .collection_id = *id});
  }
  return aliases;
}

absl::Status PointDb::SetAliases(std::span<const StoredAlias> aliases) {
  rocksdb::WriteBatch batch;
  batch.Put(kAliasesKey, EncodeAliases(aliases));
  RETURN_IF_ERROR(CheckFreeSpace(batch.GetDataSize()));
  return Apply(batch);
}

absl::Status PointDb::ForEachPoint(
    char kind, uint32_t collection_id,
    absl::FunctionRef<absl::Status(PointId id, std::string_view value)> visit) const {
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  read.readahead_size = 4 << 20;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read));
  for (const bool uuids : {false, true}) {
    const std::string prefix = CollectionKey(uuids ? KindOfUuids(kind) : kind, collection_id);
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
      std::string_view key = it->key().ToStringView();
      key.remove_prefix(prefix.size());
      ByteReader reader(key);
      const std::optional<uint64_t> upper = uuids ? reader.Take<uint64_t>() : 0;
      const std::optional<uint64_t> lower = reader.Take<uint64_t>();
      if (!upper.has_value() || !lower.has_value() || !reader.at_end()) {
        return absl::DataLossError("a point's key is damaged");
      }
      const PointId id = MakePointId(__builtin_bswap64(*upper), __builtin_bswap64(*lower));
      RETURN_IF_ERROR(visit(id, it->value().ToStringView()));
    }
    RETURN_IF_ERROR(ToStatus(it->status(), "cannot read the points"));
  }
  return absl::OkStatus();
}

absl::Status PointDb::ForEachVector(const StoredCollection& collection, RowVisitor visit) const {
  const VectorFormat format = FormatOf(collection.spec);
  std::vector<float> vector;
  return ForEachPoint('V', collection.id, [&](PointId id, std::string_view value) {
    WriteSequence sequence = 0;
    if (!DecodeVector(value, format, &sequence, vector)) {
      return DamagedPoint(id, "vector");
    }
    return visit(id, sequence, vector.data());
  });
}

absl::Status PointDb::ForEachPayload(uint32_t collection_id, PayloadVisitor visit) const {
  return ForEachPoint('P', collection_id, [&](PointId id, std::string_view value) {
    const absl::StatusOr<Payload> payload = DecodePayload(value);
    if (!payload.ok()) return DamagedPoint(id, "payload");
    return visit(id, *payload);
  });
}

absl::StatusOr<std::optional<Payload>> PointDb::GetPayload(uint32_t collection_id,
                                                           PointId id) const {
  std::string value;
  const rocksdb::Status status = db_->Get({}, PointKey('P', collection_id, id), &value);
  if (status.IsNotFound()) return std::optional<Payload>();
  RETURN_IF_ERROR(ToStatus(status, "cannot read a payload"));
  absl::StatusOr<Payload> payload = DecodePayload(value);
  if (!payload.ok()) return DamagedPoint(id, "payload");
  return std::optional<Payload>(*std::move(payload));
}

absl::StatusOr<PayloadIndexes> PointDb::Indexes(uint32_t collection_id) const {
  std::string value;
  const rocksdb::Status status = db_->Get({}, CollectionKey('I', collection_id), &value);
  if (status.IsNotFound()) return PayloadIndexes();
  RETURN_IF_ERROR(ToStatus(status, "cannot read the payload indexes"));
  PayloadIndexes indexes;
  for (ByteReader reader(value); !reader.at_end();) {
    const std::optional<uint8_t> kind = reader.Take<uint8_t>();
    std::optional<std::string> field = reader.TakeText();
    if (!kind.has_value() || *kind > static_cast<uint8_t>(PayloadIndexKind::kText) ||
        !field.has_value()) {
      return absl::DataLossError("the record of a collection's payload indexes is damaged");
    }
    indexes.push_back({.field = *std::move(field), .kind = static_cast<PayloadIndexKind>(*kind)});
  }
  return indexes;
}

absl::Status PointDb::SetIndexes(uint32_t collection_id, const PayloadIndexes& indexes) {
  rocksdb::WriteBatch batch;
  batch.Put(CollectionKey('I', collection_id), EncodeIndexes(indexes));
  const uint32_t format = std::max(format_, kFormatOfSidecars);
  batch.Put(kFormatKey, EncodeNumber(format));
  RETURN_IF_ERROR(CheckFreeSpace(batch.GetDataSize()));
  RETURN_IF_ERROR(Apply(batch));
  format_ = format;
  return absl::OkStatus();
}

absl::Status PointDb::RaiseFormatForIndexes() {
  if (format_ >= kFormatOfSidecars || !writable_.ok()) return absl::OkStatus();
  rocksdb::WriteBatch batch;
  batch.Put(kFormatKey, EncodeNumber(kFormatOfSidecars));
  RETURN_IF_ERROR(Apply(batch, /*sync=*/true));
  format_ = kFormatOfSidecars;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Point>> PointDb::Get(uint32_t collection_id, const VectorFormat& format,
                                                std::span<const StoredVector> named,
                                                std::span<const PointId> ids, bool with_vectors,
                                                bool with_payload) const {
  const bool read_payload = with_payload || !with_vectors;  // else to know whether it exists
  // One state for a point's two records.
  rocksdb::ManagedSnapshot snapshot(db_.get());
  rocksdb::ReadOptions read;
  read.snapshot = snapshot.snapshot();
  std::vector<Point> points;
  rocksdb::PinnableSlice value;
  for (const PointId id : ids) {
    Point point;
    point.id = id;
    if (read_payload) {
      value.Reset();
      const rocksdb::Status status =
          db_->Get(read, db_->DefaultColumnFamily(), PointKey('P', collection_id, id), &value);
      if (status.IsNotFound()) continue;
      RETURN_IF_ERROR(ToStatus(status, "cannot read a payload"));
      if (with_payload) {
        absl::StatusOr<Payload> payload = DecodePayload(value.ToStringView());
        if (!payload.ok()) return DamagedPoint(id, "payload");
        point.payload = std::move(*payload);
      }
    }
    if (with_vectors) {
      value.Reset();
      const rocksdb::Status status =
          db_->Get(read, db_->DefaultColumnFamily(), PointKey('V', collection_id, id), &value);
      if (status.IsNotFound() && !read_payload) continue;
      RETURN_IF_ERROR(ToStatus(status, "cannot read a vector"));
      WriteSequence sequence = 0;
      if (!DecodeVector(value.ToStringView(), format, &sequence, point.vector)) {
        return DamagedPoint(id, "vector");
      }
      for (const StoredVector& one : named) {
        value.Reset();
        const rocksdb::Status found =
            db_->Get(read, db_->DefaultColumnFamily(), PointKey('V', one.id, id), &value);
        if (found.IsNotFound()) continue;
        RETURN_IF_ERROR(ToStatus(found, "cannot read a vector"));
        NamedVector& vector = point.named.emplace_back(NamedVector{.name = one.name, .values = {}});
        if (!DecodeVector(value.ToStringView(), one.format, &sequence, vector.values)) {
          return DamagedPoint(id, "vector");
        }
      }
    }
    points.push_back(std::move(point));
  }
  return points;
}

absl::StatusOr<std::vector<StoredCollection>> PointDb::CreateCollection(
    const CollectionSpec& spec, const std::string& embedder) {
  std::vector<StoredCollection> stored = {
      {.id = next_collection_id_++, .spec = spec, .embedder = embedder}};
  for (CollectionSpec& vector : stored.front().spec.vectors) vector.name = spec.name;
  // Older daemons read on as long as they can.
  uint32_t format =
      spec.storage == VectorStorage::kF32 ? format_ : std::max(format_, kFormatOfTypes);
  if (spec.ivf_pq_bits != 4) format = kFormatOfPqBits;
  for (const CollectionSpec& vector : spec.vectors) {
    if (vector.ivf_pq_bits != 4) format = kFormatOfPqBits;
    stored.push_back({.id = next_collection_id_++,
                      .spec = vector,
                      .embedder = vector.embedder,
                      .parent_id = stored.front().id});
    stored.back().spec.name = spec.name;  // as above
    format = std::max(format, kFormatOfNames);
  }
  rocksdb::WriteBatch batch;
  batch.Put(kNextCollectionKey, EncodeNumber(next_collection_id_));
  for (const StoredCollection& one : stored) {
    batch.Put(CollectionKey('C', one.id), EncodeCollection(one));
  }
  if (!spec.partition_key.empty()) {
    format = std::max(format, kFormatOfSidecars);
    const PayloadIndex index = PartitionIndex(spec);
    batch.Put(CollectionKey('I', stored.front().id), EncodeIndexes(std::span(&index, 1)));
  }
  if (format != format_) batch.Put(kFormatKey, EncodeNumber(format));
  RETURN_IF_ERROR(CheckFreeSpace(batch.GetDataSize()));
  RETURN_IF_ERROR(Apply(batch));
  format_ = format;
  return stored;
}

absl::Status PointDb::DropCollection(std::span<const uint32_t> ids,
                                     std::span<const StoredAlias> aliases) {
  rocksdb::WriteBatch batch;
  batch.Put(kAliasesKey, EncodeAliases(aliases));
  for (const uint32_t id : ids) {
    batch.Delete(CollectionKey('C', id));
    batch.Delete(CollectionKey('I', id));
  }
  RETURN_IF_ERROR(Apply(batch));
  // It is dropped; what cannot be deleted now is when the database is opened again.
  for (const uint32_t id : ids) {
    if (const absl::Status status = Purge(id); !status.ok()) {
      Log().warn("vector store: a dropped collection still takes room: {}", status.ToString());
    }
  }
  return absl::OkStatus();
}

// Key by key: with deleted ranges in memory, RocksDB 7.8 as Debian builds it ends the process where
// the disk fails.
absl::Status PointDb::Purge(uint32_t collection_id) {
  rocksdb::WriteBatch batch;
  for (const char kind : kCollectionKinds) {
    const std::string end = CollectionKey(kind, collection_id + 1);
    const rocksdb::Slice bound = end;
    rocksdb::ReadOptions read;
    read.iterate_upper_bound = &bound;
    const std::unique_ptr<rocksdb::Iterator> keys(db_->NewIterator(read));
    for (keys->Seek(CollectionKey(kind, collection_id)); keys->Valid(); keys->Next()) {
      batch.Delete(keys->key());
      if (batch.Count() < kPurgeKeys) continue;
      RETURN_IF_ERROR(Apply(batch));
      batch.Clear();
    }
    RETURN_IF_ERROR(ToStatus(keys->status(), "cannot read a dropped collection"));
  }
  return batch.Count() == 0 ? absl::OkStatus() : Apply(batch);
}

absl::Status PointDb::PurgeDropped(std::span<const StoredCollection> collections) {
  if (!writable_.ok()) return absl::OkStatus();
  const std::unique_ptr<rocksdb::Iterator> keys(db_->NewIterator({}));
  for (const char kind : kCollectionKinds) {
    for (uint32_t next = 0;;) {
      keys->Seek(CollectionKey(kind, next));
      RETURN_IF_ERROR(ToStatus(keys->status(), "cannot look for dropped collections"));
      if (!keys->Valid() || keys->key()[0] != kind || keys->key().size() < 5) break;
      uint32_t id = 0;
      for (size_t i = 1; i < 5; ++i) id = id << 8 | static_cast<uint8_t>(keys->key()[i]);
      const bool is_there =
          std::any_of(collections.begin(), collections.end(),
                      [id](const StoredCollection& stored) { return stored.id == id; });
      if (!is_there) RETURN_IF_ERROR(Purge(id));
      if (id == UINT32_MAX) break;
      next = id + 1;
    }
  }
  return absl::OkStatus();
}

absl::Status PointDb::Commit(std::span<PlacedWrite> writes) {
  rocksdb::WriteBatch batch;
  bool grows = false;
  uint32_t format = format_;
  std::vector<PointId> ids;
  std::vector<std::byte> row;
  for (PlacedWrite& placed : writes) {
    placed.sequence = ++last_sequence_;
    for (const PointId id : placed.write->deletes) {
      batch.Delete(PointKey('V', placed.collection_id, id));
      if (!placed.is_named) batch.Delete(PointKey('P', placed.collection_id, id));
    }
    if (std::any_of(placed.write->upserts.begin(), placed.write->upserts.end(),
                    [](const Point& point) { return IsUuid(point.id); })) {
      format = std::max(format, kFormatOfTypes);
    }
    // One kind after the other: RocksDB is quicker with keys that follow each other.
    for (const Point& point : placed.write->upserts) {
      PutVector(placed, point, row, batch);
    }
    if (!placed.write->upserts.empty()) grows = true;
    for (const Point& point : placed.write->upserts) {
      if (placed.is_named) break;
      batch.Put(PointKey('P', placed.collection_id, point.id), EncodePayload(point.payload));
    }
    for (const PatchedPayload& patched : placed.patched) {
      if (placed.is_named) break;
      batch.Put(PointKey('P', placed.collection_id, patched.id), EncodePayload(patched.payload));
      grows = true;
    }
    if (!options_.graph_files) continue;
    if (HasUuids(placed.write->deletes)) format = std::max(format, kFormatOfTypes);
    ids.clear();
    for (const Point& point : placed.write->upserts) ids.push_back(point.id);
    batch.Put(NumberKey('U', placed.collection_id, placed.sequence),
              EncodePending(ids, placed.write->deletes));
    if (placed.patched.empty() || !placed.is_indexed) continue;
    ids.clear();
    for (const PatchedPayload& patched : placed.patched) ids.push_back(patched.id);
    batch.Put(NumberKey('Q', placed.collection_id, placed.sequence), EncodePending(ids, {}));
  }
  batch.Put(kSequenceKey, EncodeNumber(last_sequence_));
  // Deletes may use the reserve: they are how room is made.
  if (grows) RETURN_IF_ERROR(CheckFreeSpace(batch.GetDataSize()));
  if (format != format_) batch.Put(kFormatKey, EncodeNumber(format));
  RETURN_IF_ERROR(Apply(batch));
  format_ = format;
  return absl::OkStatus();
}

absl::Status PointDb::ReadPoints(
    char kind, uint32_t collection_id, std::span<const PointId> ids,
    absl::FunctionRef<absl::Status(PointId id, std::string_view value)> visit) const {
  // As many at a time as RocksDB reads well together.
  constexpr size_t kAtOnce = 256;
  for (size_t first = 0; first < ids.size(); first += kAtOnce) {
    const std::span<const PointId> some = ids.subspan(first, std::min(kAtOnce, ids.size() - first));
    std::vector<std::string> keys;
    for (const PointId id : some) keys.push_back(PointKey(kind, collection_id, id));
    const std::vector<rocksdb::Slice> slices(keys.begin(), keys.end());
    std::vector<rocksdb::PinnableSlice> values(some.size());
    std::vector<rocksdb::Status> statuses(some.size());
    db_->MultiGet({}, db_->DefaultColumnFamily(), some.size(), slices.data(), values.data(),
                  statuses.data());
    for (size_t i = 0; i < some.size(); ++i) {
      if (statuses[i].IsNotFound()) continue;
      RETURN_IF_ERROR(ToStatus(statuses[i], "cannot read a point"));
      RETURN_IF_ERROR(visit(some[i], values[i].ToStringView()));
    }
  }
  return absl::OkStatus();
}

absl::Status PointDb::ReadVectors(const StoredCollection& collection, std::span<const PointId> ids,
                                  RowVisitor visit) const {
  const VectorFormat format = FormatOf(collection.spec);
  std::vector<float> vector;
  return ReadPoints('V', collection.id, ids, [&](PointId id, std::string_view value) {
    WriteSequence sequence = 0;
    if (!DecodeVector(value, format, &sequence, vector)) return DamagedPoint(id, "vector");
    return visit(id, sequence, vector.data());
  });
}

absl::Status PointDb::ReadPayloads(uint32_t collection_id, std::span<const PointId> ids,
                                   PayloadVisitor visit) const {
  return ReadPoints('P', collection_id, ids, [&](PointId id, std::string_view value) {
    const absl::StatusOr<Payload> payload = DecodePayload(value);
    if (!payload.ok()) return DamagedPoint(id, "payload");
    return visit(id, *payload);
  });
}

absl::Status PointDb::CheckFreeSpace(size_t batch_bytes) const {
  ASSIGN_OR_RETURN(const int64_t free_bytes, FreeDiskBytes(directory_));
  const int64_t needed_bytes = (options_.disk_reserve_mb << 20) + static_cast<int64_t>(batch_bytes);
  if (free_bytes >= needed_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      StrCat("disk full: ", directory_, " has ", free_bytes, " bytes free, this write needs ",
             needed_bytes, " (vector.disk_reserve_mb is ", options_.disk_reserve_mb, ")"));
}

absl::Status PointDb::Apply(rocksdb::WriteBatch& batch, bool sync) {
  const std::lock_guard lock(write_mutex_);
  return ApplyLocked(batch, sync);
}

absl::Status PointDb::ApplyLocked(rocksdb::WriteBatch& batch, bool sync) {
  RETURN_IF_ERROR(writable_);
  if (failed_) {
    if (const absl::Status resumed = Resume(); !resumed.ok()) {
      return {failure_.code(), StrCat(failure_.message(), "; since then: ", resumed.message())};
    }
  }
  rocksdb::WriteOptions write;
  write.sync = sync || options_.fsync == "always";
  rocksdb::Status status = HaveSomethingToFlush();
  if (status.ok()) status = db_->Write(write, &batch);
  if (!write.sync) unsynced_ = true;
  if (status.ok()) return absl::OkStatus();
  failure_ = ToStatus(status, "cannot write to the database");
  failed_ = true;
  Log().error("vector store: {}", failure_.ToString());
  return failure_;
}

absl::Status PointDb::CreateCheckpoint(const std::string& directory) {
  const std::lock_guard lock(write_mutex_);
  if (failed_) RETURN_IF_ERROR(Resume());
  rocksdb::Checkpoint* raw = nullptr;
  RETURN_IF_ERROR(
      ToStatus(rocksdb::Checkpoint::Create(db_.get(), &raw), "cannot make a checkpoint"));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(raw);
  return ToStatus(checkpoint->CreateCheckpoint(directory), "cannot make a checkpoint");
}

absl::Status PointDb::VerifyChecksums() const {
  return ToStatus(db_->VerifyChecksum(), "the database is damaged");
}

absl::Status PointDb::Resume() {
  const auto log_number = [this](uint64_t* number) -> absl::Status {
    std::unique_ptr<rocksdb::LogFile> log;
    RETURN_IF_ERROR(ToStatus(db_->GetCurrentWalFile(&log), "cannot look at the log"));
    *number = log->LogNumber();
    return absl::OkStatus();
  };
  uint64_t log = 0;
  // A first attempt may have replaced the log and failed after that.
  if (failed_log_ == 0) RETURN_IF_ERROR(log_number(&failed_log_));
  // A failed write leaves RocksDB read-only until it is resumed, which needs room on the disk: what
  // is in memory is written to a table, and a new log is begun.
  RETURN_IF_ERROR(ToStatus(db_->Resume(), "the database does not take writes"));
  RETURN_IF_ERROR(log_number(&log));
  // One that failed must not be written to again: RocksDB's own checks would end the process.
  if (log == failed_log_ && listener_->log_failed) {
    return absl::UnavailableError(
        "the database does not take writes: its log cannot be replaced while batond runs");
  }
  listener_->log_failed = false;
  failed_log_ = 0;
  failed_ = false;
  Log().info("vector store: writing resumed");
  return absl::OkStatus();
}

rocksdb::Status PointDb::HaveSomethingToFlush() {
  if (!listener_->memory_is_empty.exchange(false)) return rocksdb::Status::OK();
  rocksdb::WriteBatch something;
  something.Put(kResumedKey, "");
  rocksdb::WriteOptions unlogged;
  unlogged.disableWAL = true;
  rocksdb::Status status = db_->Write(unlogged, &something);
  if (!status.ok()) listener_->memory_is_empty = true;
  return status;
}

absl::Status PointDb::Sync() {
  // A log that failed must not be touched again: RocksDB's own checks would end the process.
  if (failed_) return absl::UnavailableError("cannot sync the database: a write failed before");
  if (!writable_.ok() || !unsynced_.exchange(false)) return absl::OkStatus();
  // A write of nothing rather than SyncWAL: it waits its turn among the writes, and stays in the
  // log as a mark of how far it was synced (FindLogDamage). Where it fails, the log is replaced.
  {
    const std::lock_guard lock(write_mutex_);
    const rocksdb::Status status = HaveSomethingToFlush();
    if (!status.ok()) unsynced_ = true;  // as before: the next one tries again
    RETURN_IF_ERROR(ToStatus(status, "cannot sync the database"));
  }
  rocksdb::WriteBatch nothing;
  rocksdb::WriteOptions write;
  write.sync = true;
  const rocksdb::Status status = db_->Write(write, &nothing);
  if (status.ok()) return absl::OkStatus();
  const std::lock_guard lock(write_mutex_);
  failure_ = ToStatus(status, "cannot sync the database");
  failed_ = true;
  return failure_;
}

void PointDb::SyncPeriodically() {
  NameThread("sync");
  const auto interval = std::chrono::milliseconds(options_.fsync_interval_ms);
  std::unique_lock lock(sync_mutex_);
  bool healthy = true;
  while (!stop_sync_.wait_for(lock, interval, [this] { return stopping_; })) {
    const absl::Status status = Sync();
    if (healthy && !status.ok()) Log().error("vector store: {}", status.ToString());
    healthy = status.ok();
  }
}

}  // namespace baton
