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
#include "engine/vector/checksum.h"
#include "engine/vector/durable_file.h"
#include "engine/vector/mapped_file.h"

namespace baton {
namespace {

static_assert(std::endian::native == std::endian::little, "the header is written as it lies");

struct Header {
  std::array<char, 8> magic = {'B', 'A', 'T', 'O', 'N', 'S', 'E', 'G'};
  uint32_t version = 3;  // 1: the graph as hnswlib has it; 2: one checksum
  uint32_t collection_id = 0;
  uint64_t number = 0;
  int32_t dimension = 0;
  // A byte each: it, the kind of index, the type that vectors are stored as, and 1 where ids have
  // upper halves.
  uint32_t metric = 0;
  int32_t hnsw_m = 0;
  int32_t hnsw_ef_construction = 0;
  int64_t rows = 0;
  int64_t graph_bytes = 0;
  int64_t vector_rows = 0;  // rows, or 0
};
static_assert(sizeof(Header) == 64);

bool HasUpperHalves(const Header& header) { return header.metric >> 24 == 1; }

VectorFormat FormatOf(const Header& header) {
  return {static_cast<VectorStorage>(header.metric >> 16 & 0xff),
          static_cast<Metric>(header.metric & 0xff), header.dimension};
}

// Where the parts of a file begin.
struct Parts {
  explicit Parts(const Header& header) {
    int64_t at = sizeof(Header);
    const auto place = [&at](int64_t bytes) {
      const int64_t begin = at;
      at = (at + bytes + kAlignment - 1) / kAlignment * kAlignment;
      return begin;
    };
    ids = place(header.rows * static_cast<int64_t>(sizeof(uint64_t)));
    upper_ids =
        place(HasUpperHalves(header) ? header.rows * static_cast<int64_t>(sizeof(uint64_t)) : 0);
    sequences = place(header.rows * static_cast<int64_t>(sizeof(WriteSequence)));
    vectors = place(header.vector_rows * FormatOf(header).row_bytes());
    graph = place(header.graph_bytes);
    sums = at;
    blocks = (sums + kSegmentBlockBytes - 1) / kSegmentBlockBytes;
    end = sums + (blocks + 1) * static_cast<int64_t>(sizeof(uint32_t));
  }
  static constexpr int64_t kAlignment = 64;
  int64_t ids, upper_ids, sequences, vectors, graph, sums, blocks, end;
};

constexpr int64_t kRowsMax = INT32_MAX;

// The sums of a file's blocks, as its parts are added.
class BlockSums {
 public:
  void Add(std::string_view part) {
    while (!part.empty()) {
      const std::string_view some =
          part.substr(0, static_cast<size_t>(kSegmentBlockBytes) - filled_);
      checksum_.Add(some);
      filled_ += some.size();
      part.remove_prefix(some.size());
      if (filled_ == static_cast<size_t>(kSegmentBlockBytes)) EndBlock();
    }
  }
  std::vector<uint32_t> Finish() {
    if (filled_ > 0) EndBlock();
    return std::move(sums_);
  }

 private:
  void EndBlock() {
    sums_.push_back(checksum_.Finish());
    checksum_ = Checksum();
    filled_ = 0;
  }

  Checksum checksum_;
  size_t filled_ = 0;
  std::vector<uint32_t> sums_;
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
  header.metric = static_cast<uint32_t>(spec.metric) | static_cast<uint32_t>(spec.index) << 8 |
                  static_cast<uint32_t>(spec.storage) << 16;
  header.hnsw_m = spec.hnsw_m;
  header.hnsw_ef_construction = spec.hnsw_ef_construction;
  return header;
}

absl::Status Damaged(const std::string& path, std::string_view what) {
  return absl::DataLossError(StrCat(path, " is damaged: ", what));
}

// The header as read must be the one expected, but for the sizes, which must fit the file.
absl::Status CheckHeader(const Header& header, Header expected, int64_t file_bytes,
                         const std::string& path) {
  expected.rows = header.rows;
  expected.graph_bytes = header.graph_bytes;
  expected.vector_rows = header.vector_rows;
  if (HasUpperHalves(header)) expected.metric |= 1u << 24;
  if (std::memcmp(&header, &expected, sizeof(Header)) != 0) {
    return Damaged(path, "its header is not that of this collection");
  }
  if (header.rows < 1 || header.rows > kRowsMax || header.graph_bytes < 0 ||
      header.graph_bytes > file_bytes ||
      (header.vector_rows != header.rows && header.vector_rows != 0)) {
    return Damaged(path, "sizes in its header");
  }
  // No overflow: rows < 2^31, dimension <= 2^16.
  if (file_bytes != Parts(header).end) {
    return Damaged(path, "its size is not what its header says");
  }
  return absl::OkStatus();
}

bool StrictlyAscending(const PointIds& ids) {
  for (int64_t i = 1; i < ids.size(); ++i) {
    if (ids[i - 1] >= ids[i]) return false;
  }
  return true;
}

// What every write looks at, and what is needed to get all else from the database.
struct InMemory {
  std::vector<uint64_t> ids;        // lower halves
  std::vector<uint64_t> upper_ids;  // or none
  std::vector<WriteSequence> sequences;
};

// A file's bytes and the sums that they should have.
struct Sums {
  std::string_view text;
  Parts parts;

  uint32_t At(int64_t i) const {
    uint32_t sum = 0;
    std::memcpy(&sum, text.data() + parts.sums + i * static_cast<int64_t>(sizeof(sum)),
                sizeof(sum));
    return sum;
  }
  uint32_t last() const { return At(parts.blocks); }
  absl::Status CheckThemselves(const std::string& path) const {
    const auto bytes = static_cast<size_t>(parts.blocks) * sizeof(uint32_t);
    if (ChecksumOf(text.substr(static_cast<size_t>(parts.sums), bytes)) == last()) {
      return absl::OkStatus();
    }
    return Damaged(path, "checksum of the checksums");
  }
  absl::Status CheckBlock(int64_t block, const std::string& path) const {
    const int64_t begin = block * kSegmentBlockBytes;
    const int64_t end = std::min(begin + kSegmentBlockBytes, parts.sums);
    const std::string_view bytes =
        text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    if (ChecksumOf(bytes) == At(block)) return absl::OkStatus();
    return Damaged(path, StrCat("checksum of the block at byte ", begin));
  }
  // All blocks that have a byte of [begin, end).
  absl::Status CheckPart(int64_t begin, int64_t end, const std::string& path) const {
    for (int64_t block = begin / kSegmentBlockBytes; block * kSegmentBlockBytes < end; ++block) {
      RETURN_IF_ERROR(CheckBlock(block, path));
    }
    return absl::OkStatus();
  }
};

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

absl::StatusOr<uint32_t> WriteSegmentFile(FileLayer& files, const std::string& directory,
                                          uint32_t collection_id, const CollectionSpec& spec,
                                          const Segment& segment) {
  const SegmentFileName name{.collection_id = collection_id, .number = segment.number()};
  const SegmentArrays& rows = segment.data();
  const std::span<const std::byte> graph = segment.index().bytes();
  Header header = HeaderFor(name, spec);
  header.rows = segment.rows();
  if (rows.ids.upper() != nullptr) header.metric |= 1u << 24;
  header.graph_bytes = std::ssize(graph);
  header.vector_rows = rows.vectors.bytes == nullptr ? 0 : header.rows;

  const std::span vectors(rows.vectors.bytes,
                          static_cast<size_t>(header.vector_rows * FormatOf(header).row_bytes()));
  const auto row_count = static_cast<size_t>(header.rows);
  const std::span lower_ids(rows.ids.lower(), row_count);
  const std::span upper_ids(rows.ids.upper(), HasUpperHalves(header) ? row_count : 0);
  constexpr char kZeros[Parts::kAlignment] = {};
  std::vector<std::string_view> parts;
  for (const std::string_view part :
       {BytesOf(std::span<const Header>(&header, 1)), BytesOf(lower_ids), BytesOf(upper_ids),
        BytesOf(rows.sequences), BytesOf(vectors), BytesOf(graph)}) {
    parts.push_back(part);
    parts.emplace_back(kZeros, -part.size() % Parts::kAlignment);
  }
  BlockSums block_sums;
  for (const std::string_view part : parts) block_sums.Add(part);
  const std::vector<uint32_t> sums = block_sums.Finish();
  parts.push_back(BytesOf(std::span<const uint32_t>(sums)));
  const uint32_t sum = ChecksumOf(parts.back());
  parts.push_back(BytesOf(std::span<const uint32_t>(&sum, 1)));
  RETURN_IF_ERROR(WriteFileDurably(files, directory, name.ToString(), parts));
  return sum;
}

absl::StatusOr<SegmentFile> ReadSegmentFile(const std::string& directory,
                                            const SegmentFileName& name, const CollectionSpec& spec,
                                            bool live) {
  const std::string path = StrCat(directory, "/", name.ToString());
  ASSIGN_OR_RETURN(MappedFile opened, MappedFile::Open(path));
  const auto file = std::make_shared<MappedFile>(std::move(opened));
  const std::span<const std::byte> bytes = file->bytes();
  Header header;
  if (bytes.size() < sizeof(header)) return Damaged(path, "it ends early");
  std::memcpy(&header, bytes.data(), sizeof(header));
  RETURN_IF_ERROR(CheckHeader(header, HeaderFor(name, spec), std::ssize(bytes), path));

  const Sums sums{.text = {reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                  .parts = Parts(header)};
  const Parts& parts = sums.parts;
  RETURN_IF_ERROR(sums.CheckThemselves(path));
  RETURN_IF_ERROR(sums.CheckPart(0, parts.vectors, path));
  const auto row_count = static_cast<size_t>(header.rows);
  const auto memory = std::make_shared<InMemory>();
  const auto* const ids = reinterpret_cast<const uint64_t*>(bytes.data() + parts.ids);
  memory->ids.assign(ids, ids + row_count);
  const auto* const upper_ids = reinterpret_cast<const uint64_t*>(bytes.data() + parts.upper_ids);
  if (HasUpperHalves(header)) memory->upper_ids.assign(upper_ids, upper_ids + row_count);
  const auto* const sequences =
      reinterpret_cast<const WriteSequence*>(bytes.data() + parts.sequences);
  memory->sequences.assign(sequences, sequences + row_count);
  const uint64_t* const upper = memory->upper_ids.empty() ? nullptr : memory->upper_ids.data();
  SegmentArrays rows{.ids = {memory->ids.data(), upper, header.rows},
                     .sequences = memory->sequences};
  if (header.vector_rows > 0) {
    rows.vectors = {.bytes = bytes.data() + parts.vectors, .format = FormatOf(header)};
  }
  if (!StrictlyAscending(rows.ids)) return Damaged(path, "order of ids");
  file->ReadSoon(parts.graph, header.graph_bytes);
  RETURN_IF_ERROR(sums.CheckPart(parts.graph, parts.sums, path));
  HugeBuffer graph_bytes(static_cast<size_t>(header.graph_bytes));
  std::copy_n(bytes.data() + parts.graph, graph_bytes.size(), graph_bytes.data());
  ASSIGN_OR_RETURN(SegmentIndex index,
                   SegmentIndex::Load(spec,
                                      {.rows = header.rows,
                                       .dimension = spec.dimension,
                                       .metric = spec.metric,
                                       .m = spec.hnsw_m,
                                       .ef_construction = spec.hnsw_ef_construction,
                                       .stored = rows.vectors},
                                      std::move(graph_bytes)));
  if (file->unreadable()) return Damaged(path, "it cannot be read");
  file->ReadRarely();
  file->ReadNoMore(parts.graph, header.graph_bytes);
  auto segment = std::make_shared<Segment>(name.number, FormatOf(header), rows, memory,
                                           std::move(index), live);
  segment->set_file(file);
  return SegmentFile{.segment = std::move(segment), .sum = sums.last()};
}

absl::StatusOr<SegmentDamage> FindSegmentDamage(const std::string& directory,
                                                const SegmentFileName& name,
                                                absl::FunctionRef<absl::Status()> poll) {
  const std::string path = StrCat(directory, "/", name.ToString());
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const std::span<const std::byte> bytes = file.bytes();
  Header header;
  if (bytes.size() < sizeof(header)) return Damaged(path, "it ends early");
  std::memcpy(&header, bytes.data(), sizeof(header));
  // The sizes as they lie; all else is under a checksum.
  CollectionSpec spec{.dimension = header.dimension,
                      .metric = static_cast<Metric>(header.metric & 0xff),
                      .hnsw_m = header.hnsw_m,
                      .hnsw_ef_construction = header.hnsw_ef_construction,
                      .index = static_cast<IndexKind>(header.metric >> 8 & 0xff),
                      .storage = static_cast<VectorStorage>(header.metric >> 16 & 0xff)};
  if (header.dimension < 0 || header.dimension > 1 << 16 || spec.metric > Metric::kL2 ||
      spec.storage > VectorStorage::kInt8) {
    return Damaged(path, "header");
  }
  RETURN_IF_ERROR(CheckHeader(header, HeaderFor(name, spec), std::ssize(bytes), path));
  const Sums sums{.text = {reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                  .parts = Parts(header)};
  RETURN_IF_ERROR(sums.CheckThemselves(path));
  SegmentDamage damage;
  const int64_t row_bytes = std::max<int64_t>(FormatOf(header).row_bytes(), 1);
  for (int64_t block = 0; block < sums.parts.blocks; ++block) {
    RETURN_IF_ERROR(poll());
    const absl::Status status = sums.CheckBlock(block, path);
    if (file.unreadable()) return Damaged(path, "it cannot be read");
    if (status.ok()) continue;
    if (damage.status.ok()) damage.status = status;
    const int64_t begin = block * kSegmentBlockBytes - sums.parts.vectors;
    const int64_t first = std::clamp<int64_t>(begin / row_bytes, 0, header.vector_rows);
    const int64_t end = std::clamp<int64_t>(
        (begin + kSegmentBlockBytes + row_bytes - 1) / row_bytes, 0, header.vector_rows);
    if (begin + kSegmentBlockBytes > 0 && first < end) damage.rows.emplace_back(first, end);
  }
  return damage;
}

absl::Status VerifySegmentFile(const std::string& directory, const SegmentFileName& name,
                               absl::FunctionRef<absl::Status()> poll) {
  ASSIGN_OR_RETURN(const SegmentDamage damage, FindSegmentDamage(directory, name, poll));
  return damage.status;
}

}  // namespace baton
