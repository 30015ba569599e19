#pragma once

#include <cstdint>
#include <functional>
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
// order as distances of the codes do; biases; links. Vectors of whole numbers up to 127 are their
// own codes. Immutable.
class GraphImage {
 public:
  // UNIMPLEMENTED: a limit of the kernel is too small for it, or near vectors have far codes.
  // INVALID_ARGUMENT: it contradicts itself, or a vector is not finite. CANCELLED: `stop` says so,
  // asked every few milliseconds. source.read gives the vectors of nodes.
  using Stop = std::function<bool()>;
  static Fault Make(const GraphShape& shape, const baton_rows_source& source, GraphImage* image) {
    return Make(
        shape, source, [] { return false; }, image);
  }
  static Fault Make(const GraphShape& shape, const baton_rows_source& source, const Stop& stop,
                    GraphImage* image);

  // Where the parts lie in bytes(), each on a page, where buffers of XRT begin.
  struct Parts {
    uint64_t codes = 0;
    uint64_t biases = 0;
    uint64_t links = 0;
    uint64_t upper_links = 0;
    uint64_t end = 0;
  };
  // Of a graph whose links were not looked at. UNIMPLEMENTED: as Make.
  static Fault PartsOf(const GraphShape& shape, Parts* parts);
  const Parts& parts() const { return parts_; }
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  // When they are on a card.
  void DropBytes() { std::vector<uint8_t>().swap(bytes_); }
  uint32_t nodes() const { return args_.nodes; }
  uint32_t beats() const { return args_.beats; }  // of a code
  int32_t dimension() const { return dimension_; }

  // What a run is told. UNIMPLEMENTED: ef or wanted are beyond the kernel.
  struct Search {
    uint32_t ef = 0;
    uint32_t wanted = 0;
    uint32_t queries = 0;
    bool some_dead = false;
  };
  Fault ArgsFor(const Search& search, HnswArgs* args) const;
  // codes: [queries, beats * 64]. Under BATON_METRIC_L2 in steps of the graph, otherwise in the
  // query's own, which does not change an order. near, [queries], may be null: 0 where values were
  // cut to the largest code and that moved the query farther than rounding may.
  void EncodeQueries(std::span<const float> queries, std::vector<int8_t>* codes,
                     uint8_t* near = nullptr) const;

 private:
  static Fault Describe(const GraphShape& shape, HnswArgs* args);
  Fault CheckCodes(const GraphShape& shape, const baton_rows_source& source) const;
  // How far it was moved by cutting, squared, in steps.
  double Encode(const float* vector, float step, int8_t* code) const;

  int32_t dimension_ = 0;
  float step_ = 0;  // 0: all vectors are zero
  HnswArgs args_ = {};
  Parts parts_;
  std::vector<uint8_t> bytes_;
};

}  // namespace baton::fpga
