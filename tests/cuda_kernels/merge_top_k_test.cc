#include "cuda_kernels/merge_top_k.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "cuda_kernels/key_collector.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Shape {
  int64_t queries = 2;
  int64_t lists = 3;
  int64_t length = 10;
  int32_t k = 10;
  bool bases = false;
  bool apart = false;    // a list of all queries after another, instead of a query's lists
  bool falling = false;  // each key is nearer than all before it
  int gaps = 5;          // every so many keys there is none; 0: none of that
};

std::string RunMerge(const Shape& s) {
  const int64_t list_stride = s.length + 2;
  std::mt19937_64 random(5);
  std::vector<uint64_t> keys(static_cast<size_t>(s.queries * s.lists * list_stride), 0);
  std::vector<uint32_t> bases;
  for (int64_t list = 0; list < s.lists; ++list) {
    bases.push_back(static_cast<uint32_t>(100'000 * (s.lists - list)));
  }
  std::vector<uint64_t> want;
  std::vector<float> want_distances;
  std::vector<uint32_t> want_rows;
  for (int64_t query = 0; query < s.queries; ++query) {
    std::vector<uint64_t> all;
    for (int64_t i = 0; i < s.lists * s.length; ++i) {
      const int64_t list = i / s.length;
      // Few distances, some below zero: rows decide.
      const float distance =
          s.falling ? -static_cast<float>(i) : static_cast<float>(random() % 8) - 3.0f;
      uint64_t key = KeyOf(distance, static_cast<uint32_t>(s.bases ? i % s.length : i));
      if (s.gaps > 0 && i % s.gaps == 1) key = kNoKey;
      const int64_t at = s.apart ? list * s.queries + query : query * s.lists + list;
      keys[at * list_stride + i % s.length] = key;
      if (key != kNoKey) all.push_back(key + (s.bases ? bases[list] : 0));
    }
    std::sort(all.begin(), all.end());
    all.resize(static_cast<size_t>(s.k), kNoKey);
    for (const uint64_t key : all) {
      want.push_back(key);
      want_distances.push_back(key == kNoKey ? INFINITY : DistanceOf(key));
      want_rows.push_back(key == kNoKey ? kNoRow : RowOf(key));
    }
  }
  const DeviceArray<uint64_t> device_keys(keys);
  const DeviceArray<uint32_t> device_bases(bases);
  const DeviceArray<uint64_t> merged(want.size());
  const DeviceArray<float> distances(want.size());
  const DeviceArray<uint32_t> rows(want.size());
  const std::string failure =
      Failure(MergeTopK({.keys = device_keys.data(),
                         .bases = s.bases ? device_bases.data() : nullptr,
                         .merged = merged.data(),
                         .distances = distances.data(),
                         .rows = rows.data(),
                         .queries = s.queries,
                         .lists = s.lists,
                         .length = s.length,
                         .list_stride = s.apart ? s.queries * list_stride : list_stride,
                         .query_stride = s.apart ? list_stride : 0,
                         .k = s.k},
                        nullptr));
  if (!failure.empty()) return failure;
  const std::string of_keys = DifferenceExact("keys", merged.Read(), want);
  if (!of_keys.empty()) return of_keys;
  const std::string of_rows = DifferenceExact("rows", rows.Read(), want_rows);
  if (!of_rows.empty()) return of_rows;
  return Difference("distances", distances.Read(), want_distances, {});
}

TEST_CASE("the nearest of several lists are the nearest of all") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunMerge(shape); }});
  };
  with("few", {});
  with("falling", {.queries = 1, .lists = 7, .length = 900, .k = 33, .falling = true});
  with("the most there may be", {.queries = 1, .lists = 5, .length = 1024, .k = kTopKMax});
  with("one", {.k = 1});
  with("lists apart", {.queries = 3, .lists = 4, .length = 12, .bases = true, .apart = true});
  with("k that is no power of two", {.lists = 40, .length = 63, .k = 100, .bases = true});
  with("fewer than k", {.lists = 2, .length = 3, .k = 300});
  with("nothing in them", {.gaps = 1});
  with("no lists", {.lists = 0});
  with("no queries", {.queries = 0});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("a k that is too large is refused") {
  CHECK(MergeTopK({.queries = 1, .k = 0}, nullptr) == cudaErrorInvalidValue);
  CHECK(MergeTopK({.queries = 1, .k = kTopKMax + 1}, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
