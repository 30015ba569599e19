#include "cuda_kernels/pq_encode.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <random>

#include "engine/vector/pq_code.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

// The engine's own coder is the twin, to the byte and bit.
std::string RunPqEncode(int64_t rows, int32_t dimension, int32_t code_bytes, bool with_terms) {
  constexpr int64_t kLists = 3;
  const PqShape shape = PqShapeFor(dimension, code_bytes);
  const auto width = static_cast<size_t>(dimension);
  const std::vector<float> vectors = RandomFloats(static_cast<size_t>(rows) * width, 31);
  const std::vector<float> centroids = RandomFloats(kLists * width, 32);
  const std::vector<float> origin = RandomFloats(width, 33);
  std::vector<float> values = RandomFloats(static_cast<size_t>(shape.book_values()), 34);
  for (size_t i = 0; i + 1 < values.size(); i += 5) values[i + 1] = values[i];  // as near
  const PqBook book = {.shape = shape, .values = values.data()};

  std::vector<uint32_t> list_of;
  for (int64_t row = 0; row < rows; ++row)
    list_of.push_back(static_cast<uint32_t>(row * 7 % kLists));
  const int64_t places = (rows / kPqBlockRows + 2) * kPqBlockRows;
  std::vector<uint32_t> place_of(static_cast<size_t>(places));
  std::iota(place_of.begin(), place_of.end(), 0);
  std::mt19937_64 random(3);
  std::shuffle(place_of.begin(), place_of.end(), random);
  place_of.resize(static_cast<size_t>(rows));

  const int64_t block_bytes = shape.groups() * kPqLineBytes;
  std::vector<uint8_t> want(static_cast<size_t>(places / kPqBlockRows * block_bytes), 0xC3);
  std::vector<float> want_terms(static_cast<size_t>(places), -7);
  const DeviceArray<uint8_t> codes(want);
  const DeviceArray<float> terms(want_terms);
  for (int64_t row = 0; row < rows; ++row) {
    const float* const centroid = centroids.data() + list_of[row] * width;
    std::vector<float> rest(static_cast<size_t>(shape.padded()), 0);
    for (size_t j = 0; j < width; ++j) rest[j] = vectors[row * width + j] - centroid[j];
    std::vector<uint8_t> its(static_cast<size_t>(shape.sub_quantizers));
    EncodePq(book, rest.data(), its.data());
    const int64_t place = place_of[row];
    StorePqCodes(shape, its.data(), place % kPqBlockRows,
                 want.data() + place / kPqBlockRows * block_bytes);
    if (!with_terms) continue;
    DecodePq(book, its.data(), rest.data());
    float term = 0;
    for (size_t j = 0; j < width; ++j) {
      term += rest[j] * (rest[j] + 2 * (centroid[j] - origin[j]));
    }
    want_terms[place] = term;
  }
  const DeviceArray<float> device_vectors(vectors, 1);
  const DeviceArray<float> device_centroids(centroids);
  const DeviceArray<uint32_t> device_lists(list_of);
  const DeviceArray<uint32_t> device_places(place_of);
  const DeviceArray<float> device_book(values);
  const DeviceArray<float> device_origin(origin);
  const std::string failure =
      Failure(PqEncode({.vectors = device_vectors.data(),
                        .centroids = device_centroids.data(),
                        .list_of = device_lists.data(),
                        .place_of = device_places.data(),
                        .book = device_book.data(),
                        .origin = with_terms ? device_origin.data() : nullptr,
                        .codes = codes.data(),
                        .terms = with_terms ? terms.data() : nullptr,
                        .rows = rows,
                        .dimension = dimension,
                        .part = shape.part,
                        .sub_quantizers = shape.sub_quantizers},
                       nullptr));
  if (!failure.empty()) return failure;
  const std::string difference = DifferenceExact("codes", codes.Read(), want);
  return difference.empty() ? Difference("terms", terms.Read(), want_terms, {}) : difference;
}

TEST_CASE("product codes are the ones that the engine makes") {
  std::vector<KernelCase> cases;
  for (const int64_t rows : {0, 1, 31, 33, 170}) {
    for (const int32_t dimension : {1, 6, 50, 128}) {
      cases.push_back({std::to_string(rows) + " rows of " + std::to_string(dimension),
                       [=] { return RunPqEncode(rows, dimension, (dimension + 3) / 4, true); }});
    }
  }
  cases.push_back({"without terms", [] { return RunPqEncode(40, 33, 8, false); }});
  cases.push_back({"long parts", [] { return RunPqEncode(5, 300, 3, true); }});
  cases.push_back({"more parts than lanes", [] { return RunPqEncode(3, 300, 75, true); }});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("shapes that no code has are refused") {
  PqEncodeArgs args = {};
  args.rows = 1;
  args.dimension = 16;
  args.part = 4;
  args.sub_quantizers = 6;
  CHECK(PqEncode(args, nullptr) == cudaErrorInvalidValue);
  args.sub_quantizers = 4;
  args.part = 3;
  CHECK(PqEncode(args, nullptr) == cudaErrorInvalidValue);
  args.part = 0;
  CHECK(PqEncode(args, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
