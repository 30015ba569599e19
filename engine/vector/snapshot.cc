#include "engine/vector/snapshot.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "engine/base/clock.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/byte_codec.h"
#include "engine/vector/checksum.h"
#include "engine/vector/dead_rows.h"
#include "engine/vector/durable_file.h"
#include "engine/vector/mapped_file.h"
#include "engine/vector/point_db.h"
#include "engine/vector/segment_file.h"
#include "engine/vector/sidecar_file.h"
#include "engine/vector/vector_checks.h"
#include "rocksdb/file_system.h"

namespace baton {
namespace {

constexpr uint32_t kInfoVersion = 1;
constexpr char kInfoName[] = "snapshot";
constexpr char kUnfinished[] = ".tmp";
constexpr char kVerified[] = "/verified.tmp";  // which no snapshot is called

bool IsName(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  };
  return !name.empty() && name.size() <= 128 && name[0] != '.' && !name.ends_with(kUnfinished) &&
         std::all_of(name.begin(), name.end(), allowed);
}

// With everything in it.
absl::Status RemoveTree(FileLayer& files, const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(files, path));
  for (const std::string& name : names) {
    const std::string child = StrCat(path, "/", name);
    std::error_code error;
    if (std::filesystem::is_directory(child, error)) {
      RETURN_IF_ERROR(RemoveTree(files, child));
    } else {
      RETURN_IF_ERROR(RemoveFile(files, child));
    }
  }
  const rocksdb::IOStatus removed = files.DeleteDir(path, {}, nullptr);
  if (removed.ok()) return absl::OkStatus();
  return absl::InternalError(StrCat("cannot remove ", path, ": ", removed.ToString()));
}

absl::Status CopyFile(FileLayer& files, const std::string& from, const std::string& directory,
                      const std::string& name) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(from));
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  return WriteFileDurably(files, directory, name, std::span(&bytes, 1));
}

// A second name for a file that is never written again; a copy where the file system cannot.
absl::Status LinkOrCopy(FileLayer& files, const std::string& from, const std::string& directory,
                        const std::string& name) {
  const rocksdb::IOStatus linked = files.LinkFile(from, StrCat(directory, "/", name), {}, nullptr);
  return linked.ok() ? absl::OkStatus() : CopyFile(files, from, directory, name);
}

absl::StatusOr<int64_t> BytesBelow(const std::string& path) {
  int64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    if (it->is_regular_file(gone)) bytes += static_cast<int64_t>(it->file_size(gone));
  }
  if (error) return absl::ErrnoToStatus(error.value(), StrCat("cannot list ", path));
  return bytes;
}

// Not their named vectors.
int64_t CountCollections(const std::vector<StoredCollection>& stored) {
  return std::count_if(stored.begin(), stored.end(),
                       [](const StoredCollection& one) { return one.parent_id == 0; });
}

// One collection, or a named vector: each point in a segment, as a live row of its last write, or
// still pending.
absl::Status VerifyCollection(const PointDb& db, const StoredCollection& collection,
                              const std::string& segment_directory, VerifyReport* report) {
  ASSIGN_OR_RETURN(const std::vector<StoredSegment> stored, db.Segments(collection.id));
  ASSIGN_OR_RETURN(const std::vector<PendingWrite> pending, db.Pending(collection.id));
  std::vector<std::shared_ptr<Segment>> segments;
  for (const StoredSegment& one : stored) {
    ++report->segments;
    const SegmentFileName name{.collection_id = collection.id, .number = one.number};
    absl::Status status =
        VerifySegmentFile(segment_directory, name, [] { return absl::OkStatus(); });
    if (status.ok()) {
      auto file = ReadSegmentFile(segment_directory, name, collection.spec, /*live=*/true);
      status = file.status();
      if (status.ok() && file->sum != one.file_sum) {
        status = absl::DataLossError(StrCat(segment_directory, "/", name.ToString(),
                                            " is not the file that the manifest names"));
      }
      if (status.ok()) {
        ASSIGN_OR_RETURN(const std::vector<int64_t> dead, DecodeDeadRows(one.dead, one.rows));
        for (const int64_t row : dead) file->segment->Kill(row);
        segments.push_back(std::move(file->segment));
      }
    }
    if (!status.ok()) report->problems.push_back(std::string(status.message()));
  }
  ASSIGN_OR_RETURN(const std::vector<StoredSidecar> sidecars, db.Sidecars(collection.id));
  for (const StoredSidecar& sidecar : sidecars) {
    const SidecarFileName name{.collection_id = collection.id, .number = sidecar.number};
    const absl::Status status = ReadSidecarFile(segment_directory, name, sidecar.file_sum).status();
    if (!status.ok()) report->problems.push_back(std::string(status.message()));
  }
  absl::flat_hash_set<PointId> unsealed;
  for (const PendingWrite& write : pending) {
    unsealed.insert(write.upserts.begin(), write.upserts.end());
  }
  const bool whole = segments.size() == stored.size() && db.manifest_is_complete();
  return db.ForEachVector(
      collection, [&](PointId id, WriteSequence sequence, const float*) -> absl::Status {
        if (collection.parent_id == 0) ++report->points;
        if (!whole || unsealed.contains(id)) return absl::OkStatus();
        for (const auto& segment : segments) {
          const std::optional<int64_t> row = segment->Find(id);
          if (!row.has_value() || segment->data().sequences[*row] != sequence) continue;
          if (segment->IsLive(*row)) return absl::OkStatus();
        }
        report->problems.push_back(StrCat("collection ", FullName(collection.spec), ": point ",
                                          IdText(id), " is in no segment"));
        return absl::OkStatus();
      });
}

}  // namespace

std::string DatabaseDirectory(const std::string& directory) { return StrCat(directory, "/points"); }
std::string SegmentDirectory(const std::string& directory) {
  return StrCat(directory, "/segments");
}

Snapshots::Snapshots(VectorOptions options, std::shared_ptr<FileLayer> files)
    : options_(std::move(options)),
      files_(std::move(files)),
      directory_(StrCat(options_.data_dir, "/snapshots")) {}

absl::StatusOr<std::string> Snapshots::PathOf(const std::string& name) const {
  if (!IsName(name)) {
    return absl::InvalidArgumentError(
        StrCat("name must be 1 to 128 characters of [A-Za-z0-9_.-], not beginning with a dot or "
               "ending with .tmp, but is \"",
               name, "\""));
  }
  return StrCat(directory_, "/", name);
}

absl::StatusOr<SnapshotInfo> Snapshots::Create(const std::string& name, PointDb& db,
                                               const std::string& segments) {
  RETURN_IF_ERROR(db.writable());
  ASSIGN_OR_RETURN(const std::string path, PathOf(name));
  if (files_->FileExists(path, {}, nullptr).ok()) {
    return absl::AlreadyExistsError(StrCat("snapshot \"", name, "\" exists already"));
  }
  RETURN_IF_ERROR(MakeDirectories(*files_, directory_));
  const std::string unfinished = StrCat(path, kUnfinished);
  absl::Status status = Fill(unfinished, db, segments);
  if (status.ok()) status = RenameFile(*files_, unfinished, path);
  if (status.ok()) status = SyncDirectory(*files_, directory_);
  if (!status.ok()) {
    RemoveTree(*files_, unfinished).IgnoreError();
    return status;
  }
  return Describe(name);
}

absl::Status Snapshots::Fill(const std::string& path, PointDb& db,
                             const std::string& segments) const {
  if (files_->FileExists(path, {}, nullptr).ok()) RETURN_IF_ERROR(RemoveTree(*files_, path));
  RETURN_IF_ERROR(MakeDirectories(*files_, path));
  RETURN_IF_ERROR(db.CreateCheckpoint(DatabaseDirectory(path)));
  // The manifest that was just kept names some of the files that are there now.
  const std::string target = SegmentDirectory(path);
  RETURN_IF_ERROR(MakeDirectories(*files_, target));
  ASSIGN_OR_RETURN(const auto kept,
                   PointDb::OpenForReading(options_, DatabaseDirectory(path), files_));
  ASSIGN_OR_RETURN(const std::vector<StoredCollection> collections, kept->Collections());
  for (const StoredCollection& collection : collections) {
    ASSIGN_OR_RETURN(const std::vector<StoredSegment> stored, kept->Segments(collection.id));
    for (const StoredSegment& segment : stored) {
      const SegmentFileName name{.collection_id = collection.id, .number = segment.number};
      RETURN_IF_ERROR(
          LinkOrCopy(*files_, StrCat(segments, "/", name.ToString()), target, name.ToString()));
    }
    ASSIGN_OR_RETURN(const std::vector<StoredSidecar> sidecars, kept->Sidecars(collection.id));
    for (const StoredSidecar& sidecar : sidecars) {
      const SidecarFileName name{.collection_id = collection.id, .number = sidecar.number};
      const std::string from = StrCat(segments, "/", name.ToString());
      // One that was damaged is put aside until it is made again: a snapshot can do without it.
      if (!files_->FileExists(from, {}, nullptr).ok()) continue;
      RETURN_IF_ERROR(LinkOrCopy(*files_, from, target, name.ToString()));
    }
  }
  RETURN_IF_ERROR(SyncDirectory(*files_, target));
  std::string info;
  AppendNumber(info, kInfoVersion);
  AppendNumber(info, static_cast<int64_t>(SystemClock().NowUs() / 1'000'000));
  AppendNumber(info, kept->last_sequence());
  AppendNumber(info, CountCollections(collections));
  AppendNumber(info, ChecksumOf(info));
  const std::string_view part = info;
  return WriteFileDurably(*files_, path, kInfoName, std::span(&part, 1));
}

absl::StatusOr<SnapshotInfo> Snapshots::Describe(const std::string& name) const {
  ASSIGN_OR_RETURN(const std::string path, PathOf(name));
  if (!files_->FileExists(StrCat(path, "/", kInfoName), {}, nullptr).ok()) {
    return absl::NotFoundError(StrCat("snapshot \"", name, "\" does not exist"));
  }
  ASSIGN_OR_RETURN(SnapshotInfo info, ReadInfo(path));
  info.name = name;
  return info;
}

absl::StatusOr<SnapshotInfo> Snapshots::ReadInfo(const std::string& path) const {
  const std::string info_path = StrCat(path, "/", kInfoName);
  std::string info;
  if (!rocksdb::ReadFileToString(files_.get(), info_path, &info).ok()) {
    return absl::DataLossError(StrCat("cannot read ", info_path));
  }
  ByteReader reader(info);
  const auto version = reader.Take<uint32_t>();
  const auto created_s = reader.Take<int64_t>();
  const auto sequence = reader.Take<WriteSequence>();
  const auto collections = reader.Take<int64_t>();
  const auto sum = reader.Take<uint32_t>();
  if (!sum.has_value() || !reader.at_end() ||
      *sum != ChecksumOf(std::string_view(info).substr(0, info.size() - sizeof(*sum))) ||
      *version != kInfoVersion) {
    return absl::DataLossError(StrCat(info_path, " is damaged"));
  }
  ASSIGN_OR_RETURN(const int64_t bytes, BytesBelow(path));
  return SnapshotInfo{.name = {},
                      .created_s = *created_s,
                      .sequence = *sequence,
                      .collections = *collections,
                      .bytes = bytes};
}

absl::StatusOr<std::vector<SnapshotInfo>> Snapshots::List() const {
  std::vector<SnapshotInfo> infos;
  if (!files_->FileExists(directory_, {}, nullptr).ok()) return infos;
  ASSIGN_OR_RETURN(std::vector<std::string> names, ListDirectory(*files_, directory_));
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (!IsName(name)) continue;
    ASSIGN_OR_RETURN(SnapshotInfo info, Describe(name));
    infos.push_back(std::move(info));
  }
  return infos;
}

absl::Status Snapshots::Delete(const std::string& name) {
  ASSIGN_OR_RETURN(const std::string path, PathOf(name));
  if (!files_->FileExists(path, {}, nullptr).ok()) {
    return absl::NotFoundError(StrCat("snapshot \"", name, "\" does not exist"));
  }
  // First not a snapshot any more, then gone.
  const std::string unfinished = StrCat(path, kUnfinished);
  RETURN_IF_ERROR(RenameFile(*files_, path, unfinished));
  RETURN_IF_ERROR(SyncDirectory(*files_, directory_));
  return RemoveTree(*files_, unfinished);
}

absl::Status Snapshots::RemoveLeftovers() {
  if (!files_->FileExists(directory_, {}, nullptr).ok()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(*files_, directory_));
  for (const std::string& name : names) {
    if (!name.ends_with(kUnfinished)) continue;
    RETURN_IF_ERROR(RemoveTree(*files_, StrCat(directory_, "/", name)));
  }
  return absl::OkStatus();
}

absl::StatusOr<VerifyReport> Snapshots::Verify(const std::string& name) const {
  RETURN_IF_ERROR(Describe(name).status());
  ASSIGN_OR_RETURN(const std::string path, PathOf(name));
  return VerifyAt(path);
}

absl::Status Snapshots::BeginVerifyStore(PointDb& db, const std::string& segments) {
  RETURN_IF_ERROR(db.writable());
  RETURN_IF_ERROR(MakeDirectories(*files_, directory_));
  return Fill(StrCat(directory_, kVerified), db, segments);
}

absl::StatusOr<VerifyReport> Snapshots::VerifyStore() {
  const std::string path = StrCat(directory_, kVerified);
  absl::StatusOr<VerifyReport> report = VerifyAt(path);
  RETURN_IF_ERROR(RemoveTree(*files_, path));
  return report;
}

absl::StatusOr<VerifyReport> Snapshots::VerifyAt(const std::string& path) const {
  ASSIGN_OR_RETURN(const SnapshotInfo info, ReadInfo(path));
  VerifyReport report{.bytes = info.bytes};
  const auto opened = PointDb::OpenForReading(options_, DatabaseDirectory(path), files_);
  if (!opened.ok()) {
    report.problems.push_back(std::string(opened.status().message()));
    return report;
  }
  const PointDb& db = **opened;
  const auto note = [&report](const absl::Status& status) {
    if (!status.ok()) report.problems.push_back(std::string(status.message()));
  };
  note(db.VerifyChecksums());
  if (!report.problems.empty()) return report;  // what the database says is not to be relied on
  const auto collections = db.Collections();
  note(collections.status());
  if (!collections.ok()) return report;
  report.collections = CountCollections(*collections);
  if (report.collections != info.collections || db.last_sequence() != info.sequence) {
    report.problems.push_back(StrCat(path, " has another database than it was made with"));
  }
  for (const StoredCollection& collection : *collections) {
    note(VerifyCollection(db, collection, SegmentDirectory(path), &report));
  }
  return report;
}

absl::Status RestoreSnapshot(const VectorOptions& options, FileLayer& files) {
  const std::string& from = options.restore;
  if (!files.FileExists(StrCat(from, "/", kInfoName), {}, nullptr).ok()) {
    return absl::NotFoundError(StrCat("vector.restore: ", from, " is not a snapshot"));
  }
  const std::string points = DatabaseDirectory(options.data_dir);
  if (files.FileExists(StrCat(points, "/CURRENT"), {}, nullptr).ok()) {
    return absl::FailedPreconditionError(
        StrCat("vector.restore: ", options.data_dir,
               " has a store already; restoring takes an empty directory, and once it is done "
               "vector.restore is to be left out"));
  }
  const std::string work = StrCat(options.data_dir, "/restore.tmp");
  for (const std::string& path : {work, points, SegmentDirectory(options.data_dir)}) {
    if (files.FileExists(path, {}, nullptr).ok()) RETURN_IF_ERROR(RemoveTree(files, path));
  }
  RETURN_IF_ERROR(MakeDirectories(files, DatabaseDirectory(work)));
  RETURN_IF_ERROR(MakeDirectories(files, SegmentDirectory(work)));
  ASSIGN_OR_RETURN(std::vector<std::string> names, ListDirectory(files, DatabaseDirectory(from)));
  for (const std::string& name : names) {
    if (name == "LOCK" || name.starts_with("LOG")) continue;
    const std::string path = StrCat(DatabaseDirectory(from), "/", name);
    RETURN_IF_ERROR(name.ends_with(".sst") ? LinkOrCopy(files, path, DatabaseDirectory(work), name)
                                           : CopyFile(files, path, DatabaseDirectory(work), name));
  }
  ASSIGN_OR_RETURN(names, ListDirectory(files, SegmentDirectory(from)));
  for (const std::string& name : names) {
    RETURN_IF_ERROR(
        LinkOrCopy(files, StrCat(SegmentDirectory(from), "/", name), SegmentDirectory(work), name));
  }
  RETURN_IF_ERROR(SyncDirectory(files, DatabaseDirectory(work)));
  RETURN_IF_ERROR(SyncDirectory(files, SegmentDirectory(work)));
  // The database last: it is what makes a store.
  RETURN_IF_ERROR(RenameFile(files, SegmentDirectory(work), SegmentDirectory(options.data_dir)));
  RETURN_IF_ERROR(SyncDirectory(files, options.data_dir));
  RETURN_IF_ERROR(RenameFile(files, DatabaseDirectory(work), points));
  RETURN_IF_ERROR(SyncDirectory(files, options.data_dir));
  return RemoveTree(files, work);
}

}  // namespace baton
