#include "engine/vector/link_space.h"

#include <numeric>

namespace baton {
namespace {

// The start of a vector or code is asked for ahead; the processor itself reads on.
constexpr int64_t kPrefetchBytes = 256;

}  // namespace

VectorSpace::VectorSpace(const GraphRows& rows, const GraphNodes& nodes)
    : rows_(rows), nodes_(nodes), distance_(DistanceFor(rows.metric)) {}

void VectorSpace::Want(uint32_t node) const {
  const auto* const vector = reinterpret_cast<const char*>(VectorOf(node));
  const int64_t bytes = std::min<int64_t>(rows_.dimension * 4, kPrefetchBytes);
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(vector + i);
}

void VectorSpace::Score(const Query& query, std::span<const uint32_t> nodes,
                        float* distances) const {
  for (size_t i = 0; i < nodes.size(); ++i) {
    distance_(query.vector, VectorOf(nodes[i]), 1, rows_.dimension, &distances[i]);
  }
}

CodeSpace::CodeSpace(const GraphRows& rows, const GraphNodes& nodes)
    : rows_(rows),
      nodes_(nodes),
      stride_(CodeStride(rows.dimension)),
      prefetch_bytes_(std::min(stride_, kPrefetchBytes)),
      products_(CodeProductsFor()),
      book_values_(3 * static_cast<size_t>(rows.dimension)),
      codes_(static_cast<size_t>(nodes.count() * stride_)),
      norms_(nodes.count()),
      constants_(nodes.count()) {
  float* const low = book_values_.data();
  float* const step = low + rows.dimension;
  float* const origin = step + rows.dimension;
  FitCodeBook(rows, low, step, origin);
  book_ = {.dimension = rows.dimension, .low = low, .step = step, .origin = origin};
  for (uint32_t node = 0; node < nodes.count(); ++node) {
    const float* const vector = rows.vectors + int64_t{nodes.first_row[node]} * rows.dimension;
    auto* const code = reinterpret_cast<uint8_t*>(codes_.data()) + int64_t{node} * stride_;
    const float norm = EncodeRow(book_, vector, code);
    if (rows.metric == Metric::kL2) norms_[node] = norm;
    constants_[node] = QueryConstant(book_, rows.metric, vector, norm);
  }
}

void CodeSpace::Prepare(uint32_t node, Query* query) const {
  query->encoder.Encode(book_, rows_.metric,
                        rows_.vectors + int64_t{nodes_.first_row[node]} * rows_.dimension);
  query->constant = constants_[node];
}

void CodeSpace::Score(const Query& query, std::span<const uint32_t> nodes, float* distances) {
  if (sums_.size() < nodes.size()) sums_.resize(nodes.size());
  products_(query.encoder.code(), reinterpret_cast<const uint8_t*>(codes_.data()), stride_, stride_,
            nodes.data(), std::ssize(nodes), sums_.data(), nullptr);
  const float factor = query.encoder.factor();
  for (size_t i = 0; i < nodes.size(); ++i) {
    distances[i] = norms_[nodes[i]] + (query.constant + factor * static_cast<float>(sums_[i]));
  }
}

bool CodeSpace::TellsNeighborsApart(const VectorSpace& vectors) {
  constexpr uint32_t kTries = 32;
  constexpr size_t kNearest = 10;
  constexpr size_t kAmong = 15;
  std::vector<uint32_t> all(nodes_.count());
  std::iota(all.begin(), all.end(), 0u);
  std::vector<float> exact(all.size());
  std::vector<float> coarse(all.size());
  const size_t nearest = std::min(kNearest, all.size());
  const size_t among = std::min(kAmong, all.size());
  size_t tried = 0;
  size_t found = 0;
  for (uint32_t i = 0; i < kTries; ++i) {
    const auto node = static_cast<uint32_t>(uint64_t{i} * all.size() / kTries);
    VectorSpace::Query query;
    vectors.Prepare(node, &query);
    vectors.Score(query, all, exact.data());
    Query code_query;
    Prepare(node, &code_query);
    Score(code_query, all, coarse.data());
    std::vector<uint32_t> order = all;
    const auto by = [](const std::vector<float>& keys) {
      return [&keys](uint32_t a, uint32_t b) { return keys[a] < keys[b]; };
    };
    std::nth_element(order.begin(), order.begin() + static_cast<int64_t>(nearest) - 1, order.end(),
                     by(exact));
    const float farthest = exact[order[nearest - 1]];
    order = all;
    std::nth_element(order.begin(), order.begin() + static_cast<int64_t>(among) - 1, order.end(),
                     by(coarse));
    const auto hits = std::count_if(order.begin(), order.begin() + static_cast<int64_t>(among),
                                    [&](uint32_t other) { return exact[other] <= farthest; });
    found += std::min(nearest, static_cast<size_t>(hits));
    tried += nearest;
  }
  return found * 10 >= tried * 9;
}

}  // namespace baton
