#include "engine/exec/fpga/plugin/graph_image.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace baton::fpga {
namespace {

constexpr int kCodeMax = 127;
constexpr int64_t kBeat = 64;
constexpr int64_t kReadRows = 1024;  // at a time

Fault CheckLinks(const char* what, std::span<const uint32_t> links, uint32_t nodes) {
  for (const uint32_t link : links) {
    if (link == kNoLink || link < nodes) continue;
    return {BATON_INVALID_ARGUMENT,
            Text("a link of ", what, " leads to node ", link, " of ", nodes)};
  }
  return {};
}

Fault CheckShape(const GraphShape& shape, const HnswArgs& args) {
  if (shape.metric < BATON_METRIC_L2 || shape.metric > BATON_METRIC_COSINE) {
    return {BATON_INVALID_ARGUMENT, Text("metric ", shape.metric, " of a graph is none")};
  }
  if (shape.dimension < 1 || shape.dimension > kBeat * kSearchBeatsMax) {
    return {BATON_UNIMPLEMENTED,
            Text("vectors of ", shape.dimension, " dimensions, the FPGA's limit is 1 to ",
                 kBeat * kSearchBeatsMax)};
  }
  if (shape.nodes == 0) return {BATON_INVALID_ARGUMENT, "a graph without nodes"};
  if (const char* const fault = FaultOf(args); fault != nullptr) {
    return {BATON_UNIMPLEMENTED, Text("a graph is beyond the FPGA: ", fault)};
  }
  if (shape.links.size() != uint64_t{shape.nodes} * shape.degree) {
    return {BATON_INVALID_ARGUMENT, Text(shape.links.size(), " links of ", shape.nodes,
                                         " nodes with ", shape.degree, " each")};
  }
  BATON_PLUGIN_TRY(CheckLinks("level 0", shape.links, shape.nodes));
  uint64_t begin = 0;
  uint32_t below = shape.nodes;
  for (const uint32_t nodes : shape.level_nodes) {
    const uint64_t count = uint64_t{nodes} * shape.upper_degree;
    if (nodes > below || begin + count > shape.upper_links.size()) {
      return {BATON_INVALID_ARGUMENT, Text("a level of ", nodes, " nodes above one of ", below,
                                           ", with ", shape.upper_links.size(), " links in all")};
    }
    BATON_PLUGIN_TRY(CheckLinks("an upper level", shape.upper_links.subspan(begin, count), nodes));
    begin += count;
    below = nodes;
  }
  return {};
}

// visit(first node, vectors [count, dimension], count), of all nodes.
template <class Visit>
void ForEachVector(const GraphShape& shape, const baton_rows_source& source, Visit visit) {
  std::vector<float> vectors(static_cast<size_t>(kReadRows * shape.dimension));
  for (int64_t first = 0; first < shape.nodes; first += kReadRows) {
    const int64_t count = std::min<int64_t>(kReadRows, shape.nodes - first);
    source.read(source.context, first, count, vectors.data());
    visit(first, vectors.data(), count);
  }
}

}  // namespace

Fault GraphImage::Make(const GraphShape& shape, const baton_rows_source& source,
                       GraphImage* image) {
  *image = {};
  image->dimension_ = shape.dimension;
  HnswArgs& args = image->args_;
  args.nodes = shape.nodes;
  args.beats = static_cast<uint32_t>((shape.dimension + kBeat - 1) / kBeat);
  args.shift = shape.metric == BATON_METRIC_L2 ? 1 : 0;
  args.degree = shape.degree;
  args.upper_degree = shape.upper_degree;
  args.levels = static_cast<uint32_t>(shape.level_nodes.size());
  args.ef = 1;
  BATON_PLUGIN_TRY(CheckShape(shape, args));
  uint64_t level_at = 0;
  for (size_t level = 0; level < shape.level_nodes.size(); ++level) {
    args.level_at[level] = static_cast<uint32_t>(level_at);
    level_at += uint64_t{shape.level_nodes[level]} * shape.upper_degree;
  }

  float largest = 0;
  bool finite = true;
  ForEachVector(shape, source, [&](int64_t, const float* vectors, int64_t count) {
    for (int64_t i = 0; i < count * shape.dimension; ++i) {
      finite = finite && std::isfinite(vectors[i]);
      largest = std::max(largest, std::abs(vectors[i]));
    }
  });
  if (!finite) return {BATON_INVALID_ARGUMENT, "a vector of a graph is not finite"};
  image->step_ = largest / kCodeMax;

  Parts& parts = image->parts_;
  const auto place = [&](uint64_t bytes) {
    const uint64_t begin = parts.end;
    parts.end = (begin + bytes + kBeat - 1) / kBeat * kBeat;
    return begin;
  };
  const uint64_t code_bytes = uint64_t{args.beats} * kBeat;
  parts.codes = place(shape.nodes * code_bytes);
  parts.biases = place(uint64_t{shape.nodes} * sizeof(int32_t));
  parts.links = place(shape.links.size_bytes());
  parts.upper_links = place(std::max<uint64_t>(shape.upper_links.size_bytes(), kBeat));
  image->bytes_.assign(parts.end, 0);
  uint8_t* const bytes = image->bytes_.data();
  ForEachVector(shape, source, [&](int64_t first, const float* vectors, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const auto node = static_cast<uint64_t>(first + i);
      auto* const code = reinterpret_cast<int8_t*>(bytes + parts.codes + node * code_bytes);
      image->Encode(vectors + i * shape.dimension, code);
      if (args.shift == 0) continue;
      int32_t bias = 0;
      for (int32_t d = 0; d < shape.dimension; ++d) bias -= code[d] * code[d];
      std::memcpy(bytes + parts.biases + node * sizeof(bias), &bias, sizeof(bias));
    }
  });
  std::memcpy(bytes + parts.links, shape.links.data(), shape.links.size_bytes());
  if (!shape.upper_links.empty()) {
    std::memcpy(bytes + parts.upper_links, shape.upper_links.data(),
                shape.upper_links.size_bytes());
  }
  return {};
}

Fault GraphImage::ArgsFor(const Search& search, HnswArgs* args) const {
  *args = args_;
  args->ef = search.ef;
  args->wanted = search.wanted;
  args->queries = search.queries;
  args->some_dead = search.some_dead ? 1 : 0;
  if (const char* const fault = FaultOf(*args); fault != nullptr) {
    return {BATON_UNIMPLEMENTED, Text("a search is beyond the FPGA: ", fault)};
  }
  return {};
}

void GraphImage::EncodeQueries(std::span<const float> queries, std::vector<int8_t>* codes) const {
  const auto dimension = static_cast<size_t>(dimension_);
  const size_t code_bytes = size_t{args_.beats} * kBeat;
  const size_t count = queries.size() / dimension;
  codes->assign(count * code_bytes, 0);
  for (size_t i = 0; i < count; ++i) {
    Encode(queries.data() + i * dimension, codes->data() + i * code_bytes);
  }
}

void GraphImage::Encode(const float* vector, int8_t* code) const {
  if (step_ == 0) return;
  constexpr float kLimit = kCodeMax;
  for (int32_t d = 0; d < dimension_; ++d) {
    code[d] = static_cast<int8_t>(std::lround(std::clamp(vector[d] / step_, -kLimit, kLimit)));
  }
}

}  // namespace baton::fpga
