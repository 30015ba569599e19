#include "engine/vector/segment_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/durable_file.h"
#include "rocksdb/file_checksum.h"

namespace baton {
namespace {

static_assert(std::endian::native == std::endian::little, "the header is written as it lies");

struct Header {
  std::array<char, 8> magic = {'B', 'A', 'T', 'O', 'N', 'S', 'E', 'G'};
  uint32_t version = 1;
  uint32_t collection_id = 0;
  uint64_t number = 0;
  int32_t dimension = 0;
  uint32_t metric = 0;
  int32_t hnsw_m = 0;
  int32_t hnsw_ef_construction = 0;
  int64_t rows = 0;
  int64_t graph_bytes = 0;
};
static_assert(sizeof(Header) == 56);

constexpr int64_t kChecksumBytes = 4;
constexpr int64_t kRowsMax = INT32_MAX;

// RocksDB's CRC-32C, which uses the processor's instruction for it.
class Checksum {
 public:
  Checksum()
      : generator_(rocksdb::GetFileChecksumGenCrc32cFactory()->CreateFileChecksumGenerator({})) {}
  void Add(std::string_view bytes) { generator_->Update(bytes.data(), bytes.size()); }
  std::string Finish() {  // 4 bytes
    generator_->Finalize();
    return generator_->GetChecksum();
  }

 private:
  std::unique_ptr<rocksdb::FileChecksumGenerator> generator_;
};

template <class T>
std::string_view BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

Header HeaderFor(const SegmentFileName& name, const CollectionSpec& spec) {
  Header header;
  header.collection_id = name.collection_id;
  header.number = name.number;
  header.dimension = spec.dimension;
  header.metric = static_cast<uint32_t>(spec.metric);
  header.hnsw_m = spec.hnsw_m;
  header.hnsw_ef_construction = spec.hnsw_ef_construction;
  return header;
}

// Reads a file front to back and sums up what it reads.
class FileReader {
 public:
  explicit FileReader(std::string path) : path_(std::move(path)) {}
  ~FileReader() {
    if (fd_ >= 0) close(fd_);
  }
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  absl::Status Open() {
    fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd_ < 0 || fstat(fd_, &info) != 0) {
      return absl::ErrnoToStatus(errno, StrCat("cannot open ", path_));
    }
    size_ = info.st_size;
    return absl::OkStatus();
  }

  int64_t size() const { return size_; }

  absl::Status ReadUnsummed(void* to, int64_t bytes) {
    auto* at = static_cast<char*>(to);
    for (int64_t left = bytes; left > 0;) {
      const ssize_t got = read(fd_, at, static_cast<size_t>(left));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return absl::ErrnoToStatus(errno, StrCat("cannot read ", path_));
      if (got == 0) return Damaged("it ends early");
      at += got;
      left -= got;
    }
    return absl::OkStatus();
  }

  absl::Status Read(void* to, int64_t bytes) {
    RETURN_IF_ERROR(ReadUnsummed(to, bytes));
    checksum_.Add({static_cast<const char*>(to), static_cast<size_t>(bytes)});
    return absl::OkStatus();
  }

  template <class T>
  absl::Status Read(std::vector<T>& to, int64_t count) {
    to.resize(static_cast<size_t>(count));
    return Read(to.data(), count * static_cast<int64_t>(sizeof(T)));
  }

  std::string Checksum() { return checksum_.Finish(); }

  absl::Status Damaged(const char* what) const {
    return absl::DataLossError(StrCat(path_, " is damaged: ", what));
  }

 private:
  const std::string path_;
  int fd_ = -1;
  int64_t size_ = 0;
  class Checksum checksum_;
};

// The header as read must be the one expected, but for the two sizes, which must fit the file.
absl::Status CheckHeader(const Header& header, Header expected, const FileReader& file) {
  expected.rows = header.rows;
  expected.graph_bytes = header.graph_bytes;
  if (std::memcmp(&header, &expected, sizeof(Header)) != 0) {
    return file.Damaged("its header is not that of this collection");
  }
  if (header.rows < 1 || header.rows > kRowsMax || header.graph_bytes < 0 ||
      header.graph_bytes > file.size()) {
    return file.Damaged("sizes in its header");
  }
  // No overflow: rows < 2^31, dimension <= 2^16.
  const int64_t row_bytes = static_cast<int64_t>(sizeof(PointId) + sizeof(WriteSequence)) +
                            int64_t{header.dimension} * static_cast<int64_t>(sizeof(float));
  if (file.size() != static_cast<int64_t>(sizeof(Header)) + header.rows * row_bytes +
                         header.graph_bytes + kChecksumBytes) {
    return file.Damaged("its size is not what its header says");
  }
  return absl::OkStatus();
}

bool StrictlyAscending(const std::vector<PointId>& ids) {
  for (size_t i = 1; i < ids.size(); ++i) {
    if (ids[i - 1] >= ids[i]) return false;
  }
  return true;
}

}  // namespace

std::string SegmentFileName::ToString() const {
  return StrCat(collection_id, "-", number, ".segment");
}

bool SegmentFileName::Parse(const std::string& name, SegmentFileName* out) {
  unsigned long long number = 0;
  unsigned int collection_id = 0;
  int end = 0;
  if (std::sscanf(name.c_str(), "%10u-%20llu.segment%n", &collection_id, &number, &end) != 2) {
    return false;
  }
  *out = {.collection_id = collection_id, .number = number};
  return name == out->ToString();
}

absl::Status WriteSegmentFile(const std::string& directory, uint32_t collection_id,
                              const CollectionSpec& spec, const Segment& segment) {
  const SegmentFileName name{.collection_id = collection_id, .number = segment.number()};
  const std::string graph = segment.graph().Serialize();
  Header header = HeaderFor(name, spec);
  header.rows = segment.rows();
  header.graph_bytes = static_cast<int64_t>(graph.size());

  std::array<std::string_view, 6> parts = {
      std::string_view(reinterpret_cast<const char*>(&header), sizeof(header)),
      BytesOf(segment.data().ids),
      BytesOf(segment.data().sequences),
      BytesOf(segment.data().vectors),
      graph,
      {}};
  Checksum checksum;
  for (const std::string_view part : parts) checksum.Add(part);
  const std::string sum = checksum.Finish();
  parts.back() = sum;
  return WriteFileDurably(directory, name.ToString(), parts);
}

absl::StatusOr<std::shared_ptr<Segment>> ReadSegmentFile(const std::string& directory,
                                                         const SegmentFileName& name,
                                                         const CollectionSpec& spec) {
  FileReader file(StrCat(directory, "/", name.ToString()));
  RETURN_IF_ERROR(file.Open());
  Header header;
  RETURN_IF_ERROR(file.Read(&header, sizeof(header)));
  RETURN_IF_ERROR(CheckHeader(header, HeaderFor(name, spec), file));

  SegmentRows rows;
  RETURN_IF_ERROR(file.Read(rows.ids, header.rows));
  RETURN_IF_ERROR(file.Read(rows.sequences, header.rows));
  RETURN_IF_ERROR(file.Read(rows.vectors, header.rows * header.dimension));
  std::string graph_bytes(static_cast<size_t>(header.graph_bytes), '\0');
  RETURN_IF_ERROR(file.Read(graph_bytes.data(), header.graph_bytes));
  std::string sum(kChecksumBytes, '\0');
  RETURN_IF_ERROR(file.ReadUnsummed(sum.data(), kChecksumBytes));
  if (sum != file.Checksum()) return file.Damaged("checksum");
  if (!StrictlyAscending(rows.ids)) return file.Damaged("order of ids");

  ASSIGN_OR_RETURN(std::unique_ptr<HnswGraph> graph,
                   HnswGraph::Deserialize(GraphRowsOf(spec, rows), graph_bytes));
  return std::make_shared<Segment>(name.number, spec.dimension, std::move(rows), std::move(graph),
                                   /*live=*/false);
}

}  // namespace baton
