#include "engine/exec/fpga/plugin/graph_image.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "engine/exec/fpga/plugin/ranges.h"

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

Fault CheckLevels(const GraphShape& shape) {
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
Fault ForEachVector(const GraphShape& shape, const baton_rows_source& source,
                    const GraphImage::Stop& stop, Visit visit) {
  std::vector<float> vectors(static_cast<size_t>(kReadRows * shape.dimension));
  for (int64_t first = 0; first < shape.nodes; first += kReadRows) {
    if (stop()) return {BATON_CANCELLED, "loading a graph was stopped"};
    const int64_t count = std::min<int64_t>(kReadRows, shape.nodes - first);
    source.read(source.context, first, count, vectors.data());
    visit(first, vectors.data(), count);
  }
  return {};
}

// What values are divided by: 1 where they are whole numbers and codes themselves.
struct Range {
  float largest = 0;
  bool finite = true;
  bool whole = true;

  void Add(const float* values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      finite = finite && std::isfinite(values[i]);
      whole = whole && values[i] == std::round(values[i]);
      largest = std::max(largest, std::abs(values[i]));
    }
  }
  float Step() const {
    if (whole && largest > 0 && largest <= kCodeMax) return 1;
    return largest / kCodeMax;
  }
};

}  // namespace

Fault GraphImage::Describe(const GraphShape& shape, HnswArgs* args) {
  if (shape.metric < BATON_METRIC_L2 || shape.metric > BATON_METRIC_COSINE) {
    return {BATON_INVALID_ARGUMENT, Text("metric ", shape.metric, " of a graph is none")};
  }
  if (shape.dimension < 1 || shape.dimension > kBeat * kSearchBeatsMax) {
    return {BATON_UNIMPLEMENTED,
            Text("vectors of ", shape.dimension, " dimensions, the FPGA's limit is 1 to ",
                 kBeat * kSearchBeatsMax)};
  }
  if (shape.nodes == 0) return {BATON_INVALID_ARGUMENT, "a graph without nodes"};
  args->nodes = shape.nodes;
  args->beats = static_cast<uint32_t>((shape.dimension + kBeat - 1) / kBeat);
  args->shift = shape.metric == BATON_METRIC_L2 ? 1 : 0;
  args->degree = shape.degree;
  args->upper_degree = shape.upper_degree;
  args->levels = static_cast<uint32_t>(shape.level_nodes.size());
  args->ef = 1;
  if (const char* const fault = FaultOf(*args); fault != nullptr) {
    return {BATON_UNIMPLEMENTED, Text("a graph is beyond the FPGA: ", fault)};
  }
  uint64_t level_at = 0;
  for (size_t level = 0; level < shape.level_nodes.size(); ++level) {
    args->level_at[level] = static_cast<uint32_t>(level_at);
    level_at += uint64_t{shape.level_nodes[level]} * shape.upper_degree;
  }
  return {};
}

Fault GraphImage::PartsOf(const GraphShape& shape, Parts* parts) {
  HnswArgs args = {};
  BATON_PLUGIN_TRY(Describe(shape, &args));
  *parts = {};
  const auto place = [&](uint64_t bytes) {
    const uint64_t begin = parts->end;
    parts->end = Ranges::Pages(begin + bytes);
    return begin;
  };
  uint64_t upper_nodes = 0;
  for (const uint32_t nodes : shape.level_nodes) upper_nodes += nodes;
  parts->codes = place(uint64_t{shape.nodes} * args.beats * kBeat);
  parts->biases = place(uint64_t{shape.nodes} * sizeof(int32_t));
  parts->links = place(uint64_t{shape.nodes} * std::max(shape.degree, 1u) * sizeof(uint32_t));
  parts->upper_links =
      place(std::max<uint64_t>(upper_nodes * shape.upper_degree * sizeof(uint32_t), kBeat));
  return {};
}

Fault GraphImage::Make(const GraphShape& shape, const baton_rows_source& source, const Stop& stop,
                       GraphImage* image) {
  *image = {};
  image->dimension_ = shape.dimension;
  BATON_PLUGIN_TRY(Describe(shape, &image->args_));
  BATON_PLUGIN_TRY(PartsOf(shape, &image->parts_));
  BATON_PLUGIN_TRY(CheckLevels(shape));
  Range range;
  BATON_PLUGIN_TRY(
      ForEachVector(shape, source, stop, [&](int64_t, const float* vectors, int64_t count) {
        range.Add(vectors, count * shape.dimension);
      }));
  if (!range.finite) return {BATON_INVALID_ARGUMENT, "a vector of a graph is not finite"};
  image->step_ = range.Step();
  BATON_PLUGIN_TRY(image->CheckCodes(shape, source));

  const HnswArgs& args = image->args_;
  const Parts& parts = image->parts_;
  const uint64_t code_bytes = uint64_t{args.beats} * kBeat;
  image->bytes_.assign(parts.end, 0);
  uint8_t* const bytes = image->bytes_.data();
  BATON_PLUGIN_TRY(
      ForEachVector(shape, source, stop, [&](int64_t first, const float* vectors, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
          const auto node = static_cast<uint64_t>(first + i);
          auto* const code = reinterpret_cast<int8_t*>(bytes + parts.codes + node * code_bytes);
          image->Encode(vectors + i * shape.dimension, image->step_, code);
          if (args.shift == 0) continue;
          int32_t bias = 0;
          for (int32_t d = 0; d < shape.dimension; ++d) bias -= code[d] * code[d];
          std::memcpy(bytes + parts.biases + node * sizeof(bias), &bias, sizeof(bias));
        }
      }));
  std::memcpy(bytes + parts.links, shape.links.data(), shape.links.size_bytes());
  if (!shape.upper_links.empty()) {
    std::memcpy(bytes + parts.upper_links, shape.upper_links.data(),
                std::min<uint64_t>(shape.upper_links.size_bytes(), parts.end - parts.upper_links));
  }
  return {};
}

// One step for all values is too coarse where one dimension is many times as large as the others.
// Nodes that are numbered one after another are near, so of the first some hundred the nearest to
// some of them are looked for, by vectors and by codes.
Fault GraphImage::CheckCodes(const GraphShape& shape, const baton_rows_source& source) const {
  constexpr int64_t kNodes = 512;
  constexpr int64_t kEvery = 16;
  constexpr size_t kNearest = 10;
  constexpr size_t kAmong = 32;
  const int64_t count = std::min<int64_t>(shape.nodes, kNodes);
  if (count <= 2 * static_cast<int64_t>(kAmong)) return {};
  const int64_t dimension = shape.dimension;
  std::vector<float> vectors(static_cast<size_t>(count * dimension));
  source.read(source.context, 0, count, vectors.data());
  std::vector<int8_t> codes;
  const size_t code_bytes = size_t{args_.beats} * kBeat;
  codes.resize(static_cast<size_t>(count) * code_bytes);
  for (int64_t node = 0; node < count; ++node) {
    Encode(vectors.data() + node * dimension, step_,
           codes.data() + static_cast<size_t>(node) * code_bytes);
  }
  const bool l2 = args_.shift != 0;
  const auto key_of = [&](int64_t query, int64_t node, const auto& value) {
    double key = 0;
    for (int64_t d = 0; d < dimension; ++d) {
      const double a = value(query, d);
      const double b = value(node, d);
      key += l2 ? (a - b) * (a - b) : -a * b;
    }
    return key;
  };
  const auto nearest = [&](int64_t query, size_t wanted, const auto& value) {
    std::vector<std::pair<double, int64_t>> keys;
    for (int64_t node = 0; node < count; ++node)
      keys.emplace_back(key_of(query, node, value), node);
    std::partial_sort(keys.begin(), keys.begin() + static_cast<int64_t>(wanted), keys.end());
    keys.resize(wanted);
    return keys;
  };
  const auto vector_value = [&](int64_t node, int64_t d) {
    return vectors[static_cast<size_t>(node * dimension + d)];
  };
  const auto code_value = [&](int64_t node, int64_t d) {
    return codes[static_cast<size_t>(node) * code_bytes + static_cast<size_t>(d)];
  };
  int64_t all = 0;
  int64_t found = 0;
  for (int64_t query = 0; query < count; query += kEvery) {
    const auto near = nearest(query, kNearest, vector_value);
    std::vector<double> by_codes;
    for (const auto& [key, node] : nearest(query, kAmong, code_value)) {
      by_codes.push_back(key_of(query, node, vector_value));
    }
    std::sort(by_codes.begin(), by_codes.end());
    // As near as those: which of several that are equally far does not matter.
    for (size_t i = 0; i < near.size(); ++i, ++all) {
      if (by_codes[i] <= near[i].first + 1e-6 * std::abs(near[i].first)) ++found;
    }
  }
  if (10 * found >= 9 * all) return {};
  return {BATON_UNIMPLEMENTED,
          Text("one step for all values of a graph's vectors is too coarse: of ", all,
               " near ones, ", found, " are near by their codes, the limit is nine of ten")};
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

void GraphImage::EncodeQueries(std::span<const float> queries, std::vector<int8_t>* codes,
                               uint8_t* near) const {
  const auto dimension = static_cast<size_t>(dimension_);
  const size_t code_bytes = size_t{args_.beats} * kBeat;
  const size_t count = queries.size() / dimension;
  codes->assign(count * code_bytes, 0);
  for (size_t i = 0; i < count; ++i) {
    const float* const query = queries.data() + i * dimension;
    float step = step_;
    if (args_.shift == 0) {
      Range range;
      range.Add(query, dimension_);
      step = range.Step();
    }
    const double moved = Encode(query, step, codes->data() + i * code_bytes);
    // Rounding moves a value by a twelfth of a step, squared, on average.
    if (near != nullptr) near[i] = moved <= dimension_ / 12.0 ? 1 : 0;
  }
}

double GraphImage::Encode(const float* vector, float step, int8_t* code) const {
  if (step == 0) return 0;
  constexpr float kLimit = kCodeMax;
  double moved = 0;
  for (int32_t d = 0; d < dimension_; ++d) {
    const float value = vector[d] / step;
    const float cut = std::clamp(value, -kLimit, kLimit);
    moved += double{value - cut} * (value - cut);
    code[d] = static_cast<int8_t>(std::lround(cut));
  }
  return moved;
}

}  // namespace baton::fpga
