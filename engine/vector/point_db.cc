#include "engine/vector/point_db.h"

#include <bit>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/byte_codec.h"
#include "engine/vector/durable_file.h"
#include "engine/vector/payload_codec.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/vector_store.h"
#include "rocksdb/db.h"
#include "rocksdb/table.h"
#include "rocksdb/write_batch.h"

namespace baton {
namespace {

constexpr uint32_t kFormatVersion = 1;
constexpr char kFormatKey[] = "M";
constexpr char kNextCollectionKey[] = "N";
constexpr char kSequenceKey[] = "S";

absl::Status ToStatus(const rocksdb::Status& status, const char* what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = StrCat(what, ": ", status.ToString());
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(StrCat("disk full: ", message));
  if (status.IsCorruption()) return absl::DataLossError(message);
  if (status.IsBusy() || status.IsTryAgain()) return absl::UnavailableError(message);
  return absl::InternalError(message);
}

void AppendBigEndian(std::string& out, uint32_t value) {
  AppendNumber(out, __builtin_bswap32(value));
}
void AppendBigEndian(std::string& out, uint64_t value) {
  AppendNumber(out, __builtin_bswap64(value));
}

// The key of a collection's record ('C'), or what all keys of its points start with ('V', 'P').
std::string CollectionKey(char kind, uint32_t collection_id) {
  std::string key(1, kind);
  AppendBigEndian(key, collection_id);
  return key;
}

std::string PointKey(char kind, uint32_t collection_id, PointId id) {
  std::string key = CollectionKey(kind, collection_id);
  AppendBigEndian(key, id);
  return key;
}

std::string EncodeNumber(uint64_t value) {
  std::string out;
  AppendNumber(out, value);
  return out;
}

std::string EncodeCollection(const CollectionSpec& spec, const std::string& embedder) {
  std::string out;
  AppendNumber(out, spec.dimension);
  AppendNumber(out, static_cast<uint8_t>(spec.metric));
  AppendNumber(out, spec.hnsw_m);
  AppendNumber(out, spec.hnsw_ef_construction);
  AppendText(out, spec.name);
  AppendText(out, embedder);
  return out;
}

absl::StatusOr<StoredCollection> DecodeCollection(std::string_view key, std::string_view value) {
  ByteReader key_reader(key.substr(1));
  const std::optional<uint32_t> id = key_reader.Take<uint32_t>();
  ByteReader reader(value);
  const auto dimension = reader.Take<int32_t>();
  const auto metric = reader.Take<uint8_t>();
  const auto m = reader.Take<int32_t>();
  const auto ef_construction = reader.Take<int32_t>();
  auto name = reader.TakeText();
  auto embedder = reader.TakeText();
  if (!id.has_value() || !key_reader.at_end() || !embedder.has_value() || !name.has_value() ||
      !reader.at_end()) {
    return absl::DataLossError("the record of a collection is damaged");
  }
  StoredCollection collection{.id = __builtin_bswap32(*id),
                              .spec = {.name = std::move(*name),
                                       .dimension = *dimension,
                                       .metric = static_cast<Metric>(*metric),
                                       .hnsw_m = *m,
                                       .hnsw_ef_construction = *ef_construction},
                              .embedder = std::move(*embedder)};
  if (const absl::Status status = CheckSpec(collection.spec); !status.ok()) {
    return absl::DataLossError(StrCat("the record of a collection is damaged: ", status.message()));
  }
  return collection;
}

std::string EncodeVector(WriteSequence sequence, const std::vector<float>& vector) {
  std::string out;
  out.reserve(sizeof(sequence) + vector.size() * sizeof(float));
  AppendNumber(out, sequence);
  out.append(reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float));
  return out;
}

// False where the value is no vector of this dimension. `vector` is resized to it.
bool DecodeVector(std::string_view value, int32_t dimension, WriteSequence* sequence,
                  std::vector<float>& vector) {
  const size_t vector_bytes = static_cast<size_t>(dimension) * sizeof(float);
  if (value.size() != sizeof(*sequence) + vector_bytes) return false;
  std::memcpy(sequence, value.data(), sizeof(*sequence));
  vector.resize(static_cast<size_t>(dimension));
  std::memcpy(vector.data(), value.data() + sizeof(*sequence), vector_bytes);
  return true;
}

absl::Status DamagedPoint(PointId id, const char* what) {
  return absl::DataLossError(StrCat("the stored ", what, " of point ", id, " is damaged"));
}

rocksdb::Options DbOptions(const VectorOptions& options) {
  rocksdb::Options db;
  db.create_if_missing = true;
  db.paranoid_checks = true;
  // With every write synced, only the last record can be torn; damage before it must be reported,
  // not cut off. Without, a crash of the machine may tear more: then keep all before the first
  // tear.
  db.wal_recovery_mode = options.fsync == "always"
                             ? rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords
                             : rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  db.compression = rocksdb::kNoCompression;  // floats do not compress
  db.write_buffer_size = 32 << 20;
  db.max_total_wal_size = 128 << 20;
  db.max_background_jobs = 2;
  db.max_open_files = 512;
  db.keep_log_file_num = 2;
  db.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  return db;
}

}  // namespace

PointDb::PointDb(const VectorOptions& options, std::string directory)
    : options_(options), directory_(std::move(directory)) {}

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
  if (const absl::Status status = Sync(); !status.ok()) {
    Log().warn("vector store: while closing: {}", status.ToString());
  }
  const rocksdb::Status closed = db_->Close();
  if (!closed.ok()) Log().warn("vector store: while closing: {}", closed.ToString());
}

absl::StatusOr<std::unique_ptr<PointDb>> PointDb::Open(const VectorOptions& options,
                                                       const std::string& directory) {
  std::unique_ptr<PointDb> db(new PointDb(options, directory));
  rocksdb::DB* raw = nullptr;
  RETURN_IF_ERROR(ToStatus(rocksdb::DB::Open(DbOptions(options), directory, &raw),
                           StrCat("cannot open the database in ", directory).c_str()));
  db->db_.reset(raw);
  RETURN_IF_ERROR(db->Load());
  if (options.fsync == "interval") {
    db->sync_thread_ = std::thread([self = db.get()] { self->SyncPeriodically(); });
  }
  return db;
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
    batch.Put(kFormatKey, EncodeNumber(kFormatVersion));
    return Apply(batch);
  }
  if (format != kFormatVersion) {
    return absl::FailedPreconditionError(StrCat("the database in ", directory_, " has format ",
                                                format, ", this daemon reads format ",
                                                kFormatVersion));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StoredCollection>> PointDb::Collections() const {
  std::vector<StoredCollection> collections;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
  for (it->Seek("C"); it->Valid() && it->key().starts_with("C"); it->Next()) {
    ASSIGN_OR_RETURN(StoredCollection collection,
                     DecodeCollection(it->key().ToStringView(), it->value().ToStringView()));
    collections.push_back(std::move(collection));
  }
  RETURN_IF_ERROR(ToStatus(it->status(), "cannot read the collections"));
  return collections;
}

absl::Status PointDb::ForEachVector(const StoredCollection& collection, RowVisitor visit) const {
  const std::string prefix = CollectionKey('V', collection.id);
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  read.readahead_size = 4 << 20;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read));
  std::vector<float> vector;
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    std::string_view key = it->key().ToStringView();
    key.remove_prefix(prefix.size());
    ByteReader reader(key);
    const std::optional<uint64_t> id = reader.Take<uint64_t>();
    if (!id.has_value() || !reader.at_end()) return absl::DataLossError("a point's key is damaged");
    const PointId point_id = __builtin_bswap64(*id);
    WriteSequence sequence = 0;
    if (!DecodeVector(it->value().ToStringView(), collection.spec.dimension, &sequence, vector)) {
      return DamagedPoint(point_id, "vector");
    }
    RETURN_IF_ERROR(visit(point_id, sequence, vector.data()));
  }
  return ToStatus(it->status(), "cannot read the points");
}

absl::Status PointDb::ForEachPayload(
    uint32_t collection_id,
    absl::FunctionRef<absl::Status(PointId id, const Payload& payload)> visit) const {
  const std::string prefix = CollectionKey('P', collection_id);
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  read.readahead_size = 4 << 20;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read));
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    std::string_view key = it->key().ToStringView();
    key.remove_prefix(prefix.size());
    ByteReader reader(key);
    const std::optional<uint64_t> id = reader.Take<uint64_t>();
    if (!id.has_value() || !reader.at_end()) return absl::DataLossError("a point's key is damaged");
    const PointId point_id = __builtin_bswap64(*id);
    const absl::StatusOr<Payload> payload = DecodePayload(it->value().ToStringView());
    if (!payload.ok()) return DamagedPoint(point_id, "payload");
    RETURN_IF_ERROR(visit(point_id, *payload));
  }
  return ToStatus(it->status(), "cannot read the payloads");
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
  std::string value;
  for (const PayloadIndex& index : indexes) {
    AppendNumber(value, static_cast<uint8_t>(index.kind));
    AppendText(value, index.field);
  }
  rocksdb::WriteBatch batch;
  batch.Put(CollectionKey('I', collection_id), value);
  RETURN_IF_ERROR(CheckFreeSpace(batch.GetDataSize()));
  return Apply(batch);
}

absl::StatusOr<std::vector<Point>> PointDb::Get(uint32_t collection_id, int32_t dimension,
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
      if (!DecodeVector(value.ToStringView(), dimension, &sequence, point.vector)) {
        return DamagedPoint(id, "vector");
      }
    }
    points.push_back(std::move(point));
  }
  return points;
}

absl::StatusOr<uint32_t> PointDb::CreateCollection(const CollectionSpec& spec,
                                                   const std::string& embedder) {
  const uint32_t id = next_collection_id_++;
  rocksdb::WriteBatch batch;
  batch.Put(kNextCollectionKey, EncodeNumber(next_collection_id_));
  batch.Put(CollectionKey('C', id), EncodeCollection(spec, embedder));
  RETURN_IF_ERROR(CheckFreeSpace(batch.GetDataSize()));
  RETURN_IF_ERROR(Apply(batch));
  return id;
}

absl::Status PointDb::DropCollection(uint32_t collection_id) {
  rocksdb::WriteBatch batch;
  batch.Delete(CollectionKey('C', collection_id));
  batch.Delete(CollectionKey('I', collection_id));
  for (const char kind : {'V', 'P'}) {
    batch.DeleteRange(CollectionKey(kind, collection_id), CollectionKey(kind, collection_id + 1));
  }
  return Apply(batch);
}

absl::Status PointDb::Commit(std::span<PlacedWrite> writes) {
  rocksdb::WriteBatch batch;
  bool grows = false;
  for (PlacedWrite& placed : writes) {
    placed.sequence = ++last_sequence_;
    for (const PointId id : placed.write->deletes) {
      batch.Delete(PointKey('V', placed.collection_id, id));
      batch.Delete(PointKey('P', placed.collection_id, id));
    }
    for (const Point& point : placed.write->upserts) {
      batch.Put(PointKey('V', placed.collection_id, point.id),
                EncodeVector(placed.sequence, point.vector));
      batch.Put(PointKey('P', placed.collection_id, point.id), EncodePayload(point.payload));
      grows = true;
    }
    for (const PatchedPayload& patched : placed.patched) {
      batch.Put(PointKey('P', placed.collection_id, patched.id), EncodePayload(patched.payload));
      grows = true;
    }
  }
  batch.Put(kSequenceKey, EncodeNumber(last_sequence_));
  // Deletes may use the reserve: they are how room is made.
  if (grows) RETURN_IF_ERROR(CheckFreeSpace(batch.GetDataSize()));
  return Apply(batch);
}

absl::Status PointDb::CheckFreeSpace(size_t batch_bytes) const {
  ASSIGN_OR_RETURN(const int64_t free_bytes, FreeDiskBytes(directory_));
  const int64_t needed_bytes = (options_.disk_reserve_mb << 20) + static_cast<int64_t>(batch_bytes);
  if (free_bytes >= needed_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      StrCat("disk full: ", directory_, " has ", free_bytes, " bytes free, this write needs ",
             needed_bytes, " (vector.disk_reserve_mb is ", options_.disk_reserve_mb, ")"));
}

absl::Status PointDb::Apply(rocksdb::WriteBatch& batch) {
  if (failed_) {
    // A failed write leaves RocksDB read-only until it is resumed, which needs room on the disk.
    RETURN_IF_ERROR(ToStatus(db_->Resume(), "the database does not take writes"));
    failed_ = false;
    Log().info("vector store: writing resumed");
  }
  rocksdb::WriteOptions write;
  write.sync = options_.fsync == "always";
  const rocksdb::Status status = db_->Write(write, &batch);
  failed_ = !status.ok();
  if (failed_) Log().error("vector store: write failed: {}", status.ToString());
  return ToStatus(status, "cannot write to the database");
}

absl::Status PointDb::Sync() const { return ToStatus(db_->SyncWAL(), "cannot sync the database"); }

void PointDb::SyncPeriodically() {
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
