#include "engine/vector/segment_file.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteAll(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

template <class T>
bool Same(std::span<const T> a, std::span<const T> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

std::vector<PointId> ListOf(const PointIds& ids) { return {ids.begin(), ids.end()}; }

std::shared_ptr<Segment> MakeSegment(std::mt19937& random, const CollectionSpec& spec,
                                     uint64_t number, int64_t count, bool whole = false) {
  SegmentRows rows;
  for (int64_t i = 0; i < count; ++i) {
    rows.ids.push_back(static_cast<PointId>(i * 3));
    rows.sequences.push_back(static_cast<WriteSequence>(i + 10));
  }
  rows.vectors = RandomVector(random, static_cast<int>(count) * spec.dimension);
  for (float& value : rows.vectors) value = whole ? std::round(value * 20) : value;
  auto graph = SealedGraph::Build(GraphRowsOf(spec, rows), [] { return false; });
  REQUIRE_OK(graph);
  return std::make_shared<Segment>(number, FormatOf(spec), std::move(rows), std::move(*graph));
}

TEST_CASE("names of segment files") {
  SegmentFileName name;
  REQUIRE(SegmentFileName::Parse("3-17.segment", &name));
  REQUIRE(name.collection_id == 3);
  REQUIRE(name.number == 17);
  REQUIRE(name.ToString() == "3-17.segment");
  for (const char* wrong : {"", "3-17", "3-17.segment.tmp", "03-17.segment", "-3-17.segment",
                            "3-17.segmentx", "99999999999-1.segment", "a-b.segment"}) {
    CAPTURE(wrong);
    REQUIRE_FALSE(SegmentFileName::Parse(wrong, &name));
  }
}

TEST_CASE("a segment comes back from its file, its rows dead until revived") {
  const TempDir dir;
  std::mt19937 random(2);
  const bool whole = GENERATE(false, true);  // small whole numbers are stored as codes only
  const CollectionSpec spec = Spec("c", whole ? 21 : 5);
  const auto segment = MakeSegment(random, spec, 9, 200, whole);
  REQUIRE_OK(WriteSegmentFile(*SystemFiles(), dir.path(), 4, spec, *segment));
  const auto file = ReadSegmentFile(dir.path(), {.collection_id = 4, .number = 9}, spec, false);
  REQUIRE_OK(file);
  const std::shared_ptr<Segment>* const read = &file->segment;
  REQUIRE(ListOf((*read)->data().ids) == ListOf(segment->data().ids));
  REQUIRE(Same((*read)->data().sequences, segment->data().sequences));
  REQUIRE(Same((*read)->index().bytes(), segment->index().bytes()));
  REQUIRE(((*read)->data().vectors.bytes == nullptr) == whole);
  std::vector<float> vectors(static_cast<size_t>(200 * spec.dimension));
  std::vector<float> vectors_read(vectors.size());
  segment->ReadVectors(0, 200, vectors.data());
  (*read)->ReadVectors(0, 200, vectors_read.data());
  REQUIRE(vectors == vectors_read);
  REQUIRE_FALSE((*read)->Contains(3));
  (*read)->Revive(*(*read)->Find(3));
  REQUIRE((*read)->Contains(3));
}

TEST_CASE("a damaged, truncated or foreign segment file is refused") {
  const TempDir dir;
  std::mt19937 random(Catch::rngSeed());
  CAPTURE(Catch::rngSeed());
  const CollectionSpec spec = Spec("c", 5);
  const SegmentFileName name{.collection_id = 4, .number = 9};
  const std::string path = dir.path() + "/" + name.ToString();
  REQUIRE_STATUS(ReadSegmentFile(dir.path(), name, spec, true), absl::StatusCode::kNotFound, path);
  REQUIRE_OK(
      WriteSegmentFile(*SystemFiles(), dir.path(), 4, spec, *MakeSegment(random, spec, 9, 200)));
  const std::string bytes = ReadAll(path);
  const auto go_on = [] { return absl::OkStatus(); };

  for (int round = 0; round < 200; ++round) {
    std::string damaged = bytes;
    const size_t at = round < 60 ? static_cast<size_t>(round) : random() % damaged.size();
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    WriteAll(path, damaged);
    CAPTURE(at);
    // What reading relies on it checks; all is checked by verifying.
    REQUIRE_STATUS(VerifySegmentFile(dir.path(), name, go_on), absl::StatusCode::kDataLoss, path);
    if (at < 64 || at > bytes.size() / 2) {
      REQUIRE_STATUS(ReadSegmentFile(dir.path(), name, spec, true), absl::StatusCode::kDataLoss,
                     path);
    }
  }
  for (const size_t size :
       {size_t{0}, size_t{10}, size_t{56}, bytes.size() / 2, bytes.size() - 1}) {
    WriteAll(path, bytes.substr(0, size));
    REQUIRE_STATUS(ReadSegmentFile(dir.path(), name, spec, true), absl::StatusCode::kDataLoss,
                   path);
    REQUIRE_STATUS(VerifySegmentFile(dir.path(), name, go_on), absl::StatusCode::kDataLoss, path);
  }
  WriteAll(path, bytes);
  REQUIRE_OK(VerifySegmentFile(dir.path(), name, go_on));
  REQUIRE_OK(ReadSegmentFile(dir.path(), name, spec, true));
  CollectionSpec other = spec;
  other.hnsw_m = 8;
  REQUIRE_STATUS(ReadSegmentFile(dir.path(), name, other, true), absl::StatusCode::kDataLoss,
                 "header");
  std::filesystem::rename(path, dir.path() + "/5-9.segment");
  REQUIRE_STATUS(ReadSegmentFile(dir.path(), {.collection_id = 5, .number = 9}, spec, true),
                 absl::StatusCode::kDataLoss, "header");
}

}  // namespace
}  // namespace baton
