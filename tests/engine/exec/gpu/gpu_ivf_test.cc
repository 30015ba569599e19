// Inverted files that the GPU builds, on the host runtime for kernels, beside the CPU's.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/exec/plugin_ivf.h"
#include "engine/vector/distance.h"
#include "engine/vector/ivf_index.h"
#include "tests/engine/exec/gpu/gpu_harness.h"
#include "tests/engine/vector/vector_harness.h"
#include "tests/support/cuda_host/cuda_host.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

bool Never() { return false; }
bool All(int64_t) { return true; }

struct IvfRows {
  IvfRows(int64_t count, int32_t dimension, Metric metric) {
    std::mt19937 random(11);
    std::normal_distribution<float> noise(0, 0.5f);
    const int64_t clouds = count / 40 + 1;
    const auto width = static_cast<size_t>(dimension);
    std::vector<std::vector<float>> centers;
    for (int64_t i = 0; i < clouds; ++i) centers.push_back(RandomVector(random, dimension));
    for (int64_t row = 0; row < count; ++row) {
      std::vector<float> vector = centers[random() % static_cast<uint64_t>(clouds)];
      double square = 0;
      for (float& value : vector) {
        value += noise(random);
        square += double{value} * value;
      }
      if (metric == Metric::kCosine) {
        for (float& value : vector) value = static_cast<float>(value / std::sqrt(square));
      }
      vectors.insert(vectors.end(), vector.begin(), vector.begin() + static_cast<int64_t>(width));
    }
    rows = {.vectors = vectors.data(), .rows = count, .dimension = dimension, .metric = metric};
  }
  std::vector<float> vectors;
  GraphRows rows;
};

// The GPU's codes with the processor's lists: what comes of it must be the processor's index.
class CodesAlone final : public IvfMath {
 public:
  explicit CodesAlone(const IvfMath& gpu) : gpu_(gpu) {}
  const CentroidMath& centroids() const override { return HostCentroidMath(); }
  absl::Status Encode(const PqCoding& coding, StopTraining stop) const override {
    return gpu_.Encode(coding, stop);
  }

 private:
  const IvfMath& gpu_;
};

std::unique_ptr<IvfIndex> BuildBy(const IvfMath& math, const GraphRows& rows,
                                  const IvfParams& params) {
  auto index = IvfIndex::Build(rows, params, math, Never);
  REQUIRE_OK(index);
  return *std::move(index);
}

// Of the 10 nearest, over rows as queries.
double Recall(const IvfIndex& index, const GraphRows& rows, int32_t nprobe) {
  constexpr size_t kNearest = 10;
  constexpr int64_t kQueries = 40;
  std::vector<float> distances(static_cast<size_t>(rows.rows));
  std::vector<GraphNeighbor> found;
  size_t hits = 0;
  for (int64_t query = 0; query < kQueries; ++query) {
    const float* const vector = rows.vectors + query * 7 % rows.rows * rows.dimension;
    DistanceFor(rows.metric)(vector, rows.vectors, rows.rows, rows.dimension, distances.data());
    std::vector<int64_t> order(distances.size());
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + kNearest, order.end(),
                      [&](int64_t a, int64_t b) {
                        return std::pair(distances[a], a) < std::pair(distances[b], b);
                      });
    index.Search({.vector = vector, .nprobe = nprobe, .candidates = 40}, All, &found);
    for (size_t i = 0; i < kNearest; ++i) {
      hits += std::any_of(found.begin(), found.end(),
                          [&](const GraphNeighbor& its) { return its.row == order[i]; });
    }
  }
  return static_cast<double>(hits) / static_cast<double>(kNearest * kQueries);
}

struct Runtime {
  ~Runtime() {
    cuda_host::ForgetFailures();
    cuda_host::SetDeviceMemory(0);
  }
};

}  // namespace

TEST_CASE("the GPU makes the product codes and terms that the CPU makes") {
  const PluginIvf gpu(OpenGpu(/*f32=*/false));
  const CodesAlone codes(gpu);
  const Metric metric = GENERATE(Metric::kL2, Metric::kDot, Metric::kCosine);
  struct Size {
    int64_t rows;
    int32_t dimension, lists, pq_bytes;
  };
  for (const Size& size : {Size{1, 1, 0, 0}, Size{33, 16, 1, 0}, Size{300, 17, 7, 3},
                           Size{64, 130, 2, 4}, Size{500, 24, 9, 12}}) {
    CAPTURE(static_cast<int>(metric), size.rows, size.dimension);
    const IvfRows rows(size.rows, size.dimension, metric);
    const IvfParams params = {.lists = size.lists, .pq_bytes = size.pq_bytes};
    const auto ours = BuildBy(codes, rows.rows, params);
    const auto theirs = BuildBy(HostIvfMath(), rows.rows, params);
    CHECK(std::ranges::equal(ours->bytes(), theirs->bytes()));
  }
}

TEST_CASE("product codes of 8 bits are made by the CPU, in lists that the GPU made") {
  const PluginIvf gpu(OpenGpu(/*f32=*/false));
  const CodesAlone codes(gpu);
  const IvfRows rows(300, 17, Metric::kL2);
  const IvfParams params = {.codes = IvfCodes::kPq8, .lists = 7};
  const auto ours = BuildBy(codes, rows.rows, params);
  const auto theirs = BuildBy(HostIvfMath(), rows.rows, params);
  CHECK(std::ranges::equal(ours->bytes(), theirs->bytes()));
}

TEST_CASE("inverted files of the GPU find as much as the CPU's and are the same each time") {
  const PluginIvf gpu(OpenGpu(/*f32=*/false));
  const Metric metric = GENERATE(Metric::kL2, Metric::kDot, Metric::kCosine);
  const IvfCodes codes = GENERATE(IvfCodes::kPq, IvfCodes::kPq8, IvfCodes::kBytes);
  CAPTURE(static_cast<int>(metric), static_cast<int>(codes));
  const IvfRows rows(700, 16, metric);
  const IvfParams params = {.codes = codes, .lists = 12, .pq_bytes = 8};
  const auto ours = BuildBy(gpu, rows.rows, params);
  const auto theirs = BuildBy(HostIvfMath(), rows.rows, params);
  for (const int32_t nprobe : {3, 12}) {
    CAPTURE(nprobe);
    CHECK(Recall(*ours, rows.rows, nprobe) >= Recall(*theirs, rows.rows, nprobe) - 0.05);
  }
  CHECK(std::ranges::equal(BuildBy(gpu, rows.rows, params)->bytes(), ours->bytes()));
}

TEST_CASE("an inverted file that is stopped or finds no room says so") {
  const Runtime runtime;
  const auto device = OpenGpu(/*f32=*/false);
  const PluginIvf gpu(device);
  const IvfRows rows(400, 8, Metric::kL2);
  const auto status = [&](absl::FunctionRef<bool()> stop) {
    return IvfIndex::Build(rows.rows, {.lists = 5}, gpu, stop).status();
  };
  int asked = 0;
  REQUIRE_OK(status([&] { return ++asked < 0; }));
  for (int after = 0; after < asked; ++after) {
    CAPTURE(after);
    int now = 0;
    const absl::Status stopped = status([&] { return now++ >= after; });
    CHECK((stopped.ok() ? now <= after : absl::IsCancelled(stopped)));
  }
  cuda_host::SetDeviceMemory(5'000);
  CHECK_THAT(std::string(status(Never).message()), Catch::StartsWith("k-means needs "));
  cuda_host::SetDeviceMemory(0);
  const int64_t used = device->TakeSample().memory_bytes_used;
  const CodesAlone codes(gpu);
  cuda_host::InjectFailure({.call = "cudaMalloc", .error = cudaErrorMemoryAllocation});
  const absl::Status full = IvfIndex::Build(rows.rows, {.lists = 5}, codes, Never).status();
  CHECK(absl::IsResourceExhausted(full));
  CHECK_THAT(std::string(full.message()), Catch::StartsWith("product codes needs "));
  cuda_host::InjectFailure({.call = "cudaMemsetAsync", .error = cudaErrorInvalidValue});
  CHECK(absl::IsInternal(IvfIndex::Build(rows.rows, {.lists = 5}, codes, Never).status()));
  REQUIRE_OK(status(Never));
  CHECK(device->TakeSample().memory_bytes_used == used);

  cuda_host::InjectFailure(
      {.call = "cudaLaunchKernelEx", .error = cudaErrorIllegalAddress, .sticky = true});
  CHECK(absl::IsUnavailable(IvfIndex::Build(rows.rows, {.lists = 5}, codes, Never).status()));
  CHECK_FALSE(device->TakeSample().lost.empty());
}

TEST_CASE("product codes of what is no shape are refused by name") {
  const auto device = OpenGpu(/*f32=*/false);
  const std::vector<float> values(1024);
  std::vector<uint32_t> lists(8, 0);
  std::vector<uint32_t> places(8);
  std::iota(places.begin(), places.end(), 0);
  std::vector<uint8_t> codes(64);
  std::vector<float> terms(32);
  const baton_pq_job good = {.struct_size = sizeof(good),
                             .dimension = 4,
                             .rows = 8,
                             .vectors = values.data(),
                             .lists = 2,
                             .centroids = values.data(),
                             .list_of = lists.data(),
                             .place_of = places.data(),
                             .places = 32,
                             .part = 1,
                             .sub_quantizers = 4,
                             .book = values.data(),
                             .origin = values.data(),
                             .codes = codes.data(),
                             .terms = terms.data(),
                             .stop_context = nullptr,
                             .stop = [](void*) -> int32_t { return 0; }};
  const auto said = [&](auto change) {
    baton_pq_job job = good;
    change(job);
    baton_error error = {.struct_size = sizeof(error), .message = {}};
    const int32_t code = device->table().pq_encode(device->handle(), &job, &error);
    CHECK(code == (error.message[0] == 0 ? BATON_OK : BATON_INVALID_ARGUMENT));
    return std::string(error.message);
  };
  using Job = baton_pq_job;
  CHECK(said([](Job&) {}).empty());
  CHECK(said([](Job& job) { job.rows = 0; }).empty());
  CHECK(said([](Job& job) { job.rows = -1; }) ==
        "product codes of -1 rows, must be 0 to 2147483647");
  CHECK(said([](Job& job) { job.dimension = 0; }) ==
        "product codes of rows of dimension 0, must be 1 or more");
  CHECK(said([](Job& job) { job.sub_quantizers = 6; }) ==
        "product codes of 6 parts, must be a multiple of 4");
  CHECK(said([](Job& job) { job.dimension = 5; }) ==
        "product codes of 4 parts of 1 values, but the rows have 5");
  CHECK_THAT(said([](Job& job) { job.places = 33; }),
             Catch::StartsWith("product codes of 8 rows in 33 places, must be a multiple of 32"));
  CHECK(said([](Job& job) { job.origin = nullptr; }) ==
        "product codes of rows with terms, but without an origin");
  CHECK(said([](Job& job) {
          job.terms = nullptr;
          job.origin = nullptr;
        }).empty());
  lists[3] = 2;
  CHECK(said([](Job&) {}) == "product codes of row 3 of list 2, there are 2");
  lists[3] = 1;
  places[7] = 32;
  CHECK(said([](Job&) {}) == "product codes of row 7 at place 32, there are 32");
}

namespace {

// A store of one collection with inverted files, which `math` is offered to build.
struct IvfStore {
  IvfStore(const IvfMath* math, IndexKind kind) {
    auto opened = VectorStore::Open(TestOptions(dir.path()), metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
    if (math != nullptr) store->makers().inverted_files.Offer(*math);
    CollectionSpec spec = Spec("c", 12);
    spec.index = kind;
    REQUIRE_OK(store->CreateCollection(spec, ""));
    std::mt19937 random(6);
    std::vector<Point> all;
    for (uint64_t id = 0; id < 128; ++id) {
      all.push_back(MakePoint(PointId(id), RandomVector(random, 12)));
    }
    REQUIRE_OK(CommitOne(*store, "c", std::move(all)).status);
    store->WaitUntilIdle();
    CHECK(store->List().at(0).points_unindexed == 0);
  }
  double Count(const char* by) {
    return metrics.Counter(MetricId::kInvertedFilesBuilt, {by}).Value();
  }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
};

}  // namespace

TEST_CASE("a store has its inverted files built by the GPU or, where that fails, by the CPU") {
  const Runtime runtime;
  const PluginIvf gpu(OpenGpu(/*f32=*/false));
  const IndexKind kind = GENERATE(IndexKind::kIvfPq, IndexKind::kIvfSq);
  {
    IvfStore built(&gpu, kind);
    CHECK(built.Count("device") >= 1);
    CHECK(built.Count("cpu") + built.Count("cpu_fallback") == 0);
  }
  {
    IvfStore built(nullptr, kind);
    CHECK(built.Count("cpu") >= 1);
    CHECK(built.Count("device") + built.Count("cpu_fallback") == 0);
  }
  cuda_host::SetDeviceMemory(1000);
  {
    IvfStore built(&gpu, kind);
    CHECK(built.Count("cpu_fallback") >= 1);
    CHECK(built.Count("device") + built.Count("cpu") == 0);
  }
}

TEST_CASE("whether the GPU builds inverted files is the configuration's") {
  GpuOptions options;
  CHECK(MakeGpu(options).executor->ivf() != nullptr);
  options.build_inverted_files = false;
  CHECK(MakeGpu(options).executor->ivf() == nullptr);
}

}  // namespace baton
