#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/plugin_fault.h"
#include "fpga_kernels/search_args.h"

namespace baton::fpga {

using plugin::Fault;
using plugin::Text;

// A graph over the rows of a sealed segment, as engine/vector/sealed_graph.h numbers its nodes.
struct GraphShape {
  int32_t metric = 0;  // baton_metric; vectors are of unit length under BATON_METRIC_COSINE
  int32_t dimension = 0;
  uint32_t nodes = 0;
  uint32_t degree = 0;                    // links of a node on level 0, padded with kNoLink
  uint32_t upper_degree = 0;              // on the levels above
  std::span<const uint32_t> level_nodes;  // of level 1, 2, ...: the first so many
  std::span<const uint32_t> links;        // [nodes, degree]
  std::span<const uint32_t> upper_links;  // level 1, then 2, ...: [nodes of it, upper_degree]
};

// What a card holds of a graph: int8 codes of its vectors, all of one step, so that integer scores
// order as distances of the codes do; biases; links. Immutable.
class GraphImage {
 public:
  // UNIMPLEMENTED: a limit of the kernel is too small for it. INVALID_ARGUMENT: it contradicts
  // itself, or a vector is not finite. source.read gives the vectors of nodes.
  static Fault Make(const GraphShape& shape, const baton_rows_source& source, GraphImage* image);

  // Where the parts lie in bytes(), each on a multiple of 64.
  struct Parts {
    uint64_t codes = 0;
    uint64_t biases = 0;
    uint64_t links = 0;
    uint64_t upper_links = 0;
    uint64_t end = 0;
  };
  const Parts& parts() const { return parts_; }
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  uint32_t nodes() const { return args_.nodes; }
  uint32_t beats() const { return args_.beats; }  // of a code

  // What a run is told. UNIMPLEMENTED: ef or wanted are beyond the kernel.
  struct Search {
    uint32_t ef = 0;
    uint32_t wanted = 0;
    uint32_t queries = 0;
    bool some_dead = false;
  };
  Fault ArgsFor(const Search& search, HnswArgs* args) const;
  // codes: [queries, beats * 64]. Values beyond the vectors' are cut to the largest code.
  void EncodeQueries(std::span<const float> queries, std::vector<int8_t>* codes) const;

 private:
  void Encode(const float* vector, int8_t* code) const;

  int32_t dimension_ = 0;
  float step_ = 0;  // 0: all vectors are zero
  HnswArgs args_ = {};
  Parts parts_;
  std::vector<uint8_t> bytes_;
};

}  // namespace baton::fpga
