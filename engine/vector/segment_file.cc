#include "engine/vector/segment_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/durable_file.h"
#include "engine/vector/mapped_file.h"
#include "rocksdb/file_checksum.h"

namespace baton {
namespace {

static_assert(std::endian::native == std::endian::little, "the header is written as it lies");

struct Header {
  std::array<char, 8> magic = {'B', 'A', 'T', 'O', 'N', 'S', 'E', 'G'};
  uint32_t version = 2;  // 1: the graph as hnswlib has it
  uint32_t collection_id = 0;
  uint64_t number = 0;
  int32_t dimension = 0;
  uint32_t metric = 0;  // and the kind of index, times 256
  int32_t hnsw_m = 0;
  int32_t hnsw_ef_construction = 0;
  int64_t rows = 0;
  int64_t graph_bytes = 0;
  int64_t vector_rows = 0;  // rows, or 0
};
static_assert(sizeof(Header) == 64);

// Where the parts of a file begin.
struct Parts {
  explicit Parts(const Header& header) {
    int64_t at = sizeof(Header);
    const auto place = [&at](int64_t bytes) {
      const int64_t begin = at;
      at = (at + bytes + kAlignment - 1) / kAlignment * kAlignment;
      return begin;
    };
    ids = place(header.rows * static_cast<int64_t>(sizeof(PointId)));
    sequences = place(header.rows * static_cast<int64_t>(sizeof(WriteSequence)));
    vectors = place(header.vector_rows * header.dimension * static_cast<int64_t>(sizeof(float)));
    graph = place(header.graph_bytes);
    checksum = at;
  }
  static constexpr int64_t kAlignment = 64;
  int64_t ids, sequences, vectors, graph, checksum;
};

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
std::string_view BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

Header HeaderFor(const SegmentFileName& name, const CollectionSpec& spec) {
  Header header;
  header.collection_id = name.collection_id;
  header.number = name.number;
  header.dimension = spec.dimension;
  header.metric = static_cast<uint32_t>(spec.metric) | static_cast<uint32_t>(spec.index) << 8;
  header.hnsw_m = spec.hnsw_m;
  header.hnsw_ef_construction = spec.hnsw_ef_construction;
  return header;
}

absl::Status Damaged(const std::string& path, const char* what) {
  return absl::DataLossError(StrCat(path, " is damaged: ", what));
}

// The header as read must be the one expected, but for the sizes, which must fit the file.
absl::Status CheckHeader(const Header& header, Header expected, int64_t file_bytes,
                         const std::string& path) {
  expected.rows = header.rows;
  expected.graph_bytes = header.graph_bytes;
  expected.vector_rows = header.vector_rows;
  if (std::memcmp(&header, &expected, sizeof(Header)) != 0) {
    return Damaged(path, "its header is not that of this collection");
  }
  if (header.rows < 1 || header.rows > kRowsMax || header.graph_bytes < 0 ||
      header.graph_bytes > file_bytes ||
      (header.vector_rows != header.rows && header.vector_rows != 0)) {
    return Damaged(path, "sizes in its header");
  }
  // No overflow: rows < 2^31, dimension <= 2^16.
  if (file_bytes != Parts(header).checksum + kChecksumBytes) {
    return Damaged(path, "its size is not what its header says");
  }
  return absl::OkStatus();
}

bool StrictlyAscending(std::span<const PointId> ids) {
  return std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>()) == ids.end();
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
  const SegmentArrays& rows = segment.data();
  const std::span<const std::byte> graph = segment.index().bytes();
  Header header = HeaderFor(name, spec);
  header.rows = segment.rows();
  header.graph_bytes = std::ssize(graph);
  header.vector_rows = rows.vectors == nullptr ? 0 : header.rows;

  const std::span vectors(rows.vectors, static_cast<size_t>(header.vector_rows * header.dimension));
  constexpr char kZeros[Parts::kAlignment] = {};
  std::vector<std::string_view> parts;
  for (const std::string_view part :
       {BytesOf(std::span<const Header>(&header, 1)), BytesOf(rows.ids), BytesOf(rows.sequences),
        BytesOf(vectors), BytesOf(graph)}) {
    parts.push_back(part);
    parts.emplace_back(kZeros, -part.size() % Parts::kAlignment);
  }
  Checksum checksum;
  for (const std::string_view part : parts) checksum.Add(part);
  const std::string sum = checksum.Finish();
  parts.push_back(sum);
  return WriteFileDurably(directory, name.ToString(), parts);
}

absl::StatusOr<std::shared_ptr<Segment>> ReadSegmentFile(const std::string& directory,
                                                         const SegmentFileName& name,
                                                         const CollectionSpec& spec, bool live) {
  const std::string path = StrCat(directory, "/", name.ToString());
  ASSIGN_OR_RETURN(MappedFile opened, MappedFile::Open(path));
  const auto file = std::make_shared<MappedFile>(std::move(opened));
  const std::span<const std::byte> bytes = file->bytes();
  Header header;
  if (bytes.size() < sizeof(header)) return Damaged(path, "it ends early");
  std::memcpy(&header, bytes.data(), sizeof(header));
  RETURN_IF_ERROR(CheckHeader(header, HeaderFor(name, spec), std::ssize(bytes), path));

  const Parts parts(header);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto sum_at = static_cast<size_t>(parts.checksum);
  Checksum checksum;
  checksum.Add(text.substr(0, sum_at));
  if (text.substr(sum_at) != checksum.Finish()) return Damaged(path, "checksum");

  const auto row_count = static_cast<size_t>(header.rows);
  SegmentArrays rows;
  rows.ids = {reinterpret_cast<const PointId*>(bytes.data() + parts.ids), row_count};
  rows.sequences = {reinterpret_cast<const WriteSequence*>(bytes.data() + parts.sequences),
                    row_count};
  if (header.vector_rows > 0) {
    rows.vectors = reinterpret_cast<const float*>(bytes.data() + parts.vectors);
  }
  if (!StrictlyAscending(rows.ids)) return Damaged(path, "order of ids");
  HugeBuffer graph_bytes(static_cast<size_t>(header.graph_bytes));
  std::memcpy(graph_bytes.data(), bytes.data() + parts.graph, graph_bytes.size());
  ASSIGN_OR_RETURN(SegmentIndex index,
                   SegmentIndex::Load(spec,
                                      {.vectors = rows.vectors,
                                       .rows = header.rows,
                                       .dimension = spec.dimension,
                                       .metric = spec.metric,
                                       .m = spec.hnsw_m,
                                       .ef_construction = spec.hnsw_ef_construction},
                                      std::move(graph_bytes)));
  file->ReadRarely();
  file->ReadNoMore(parts.graph, header.graph_bytes);
  return std::make_shared<Segment>(name.number, spec.dimension, rows, file, std::move(index), live);
}

}  // namespace baton
