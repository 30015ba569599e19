#include <catch2/catch.hpp>
#include <string>

#include "fpga_kernels/decode_args.h"
#include "fpga_kernels/sampler_args.h"
#include "fpga_kernels/search_args.h"

namespace baton::fpga {
namespace {

using Catch::Matchers::Contains;

// `good` has no fault; with the field at `value` the fault names it.
template <class Args>
void CheckEdge(Args good, uint32_t Args::*field, uint32_t last_good, uint32_t value,
               const std::string& name) {
  good.*field = last_good;
  INFO(name << " " << last_good << " " << value);
  const char* fault = FaultOf(good);
  CHECK(fault == nullptr);
  good.*field = value;
  fault = FaultOf(good);
  REQUIRE(fault != nullptr);
  CHECK_THAT(fault, Contains(name));
}

TEST_CASE("commands that a unit has no room for are faults that name the field") {
  using C = DecodeCommand;
  C norm = {};
  norm.op = kOpNorm;
  CheckEdge(norm, &C::rows, 8192, 8193, "rows");
  CheckEdge(norm, &C::rows, 1, 0, "rows");
  C embed = {};
  embed.op = kOpEmbed;
  CheckEdge(embed, &C::rows, 8192, 8193, "rows");
  CheckEdge(embed, &C::rows, 1, 0, "rows");
  C gemv = {};
  gemv.op = kOpGemv;
  gemv.cols = 64;
  CheckEdge(gemv, &C::cols, 28672, 28673, "cols");
  CheckEdge(gemv, &C::cols, 1, 0, "cols");
  CheckEdge(gemv, &C::rows, 57344, 57345, "rows");
  CheckEdge(gemv, &C::destination, kToLogits, 3, "destination");
  gemv.destination = kToResidual;
  CheckEdge(gemv, &C::rows, 8192, 8193, "rows");
  gemv.destination = kToLogits;
  gemv.rows = 500000;
  CHECK(FaultOf(gemv) == nullptr);
  C attend = {};
  attend.op = kOpAttend;
  attend.heads = 32;
  attend.kv_heads = 8;
  attend.head_dim = 128;
  attend.rope_dims = 128;
  attend.layers = 2;
  attend.block_tokens = 16;
  CheckEdge(attend, &C::heads, 40, 41, "heads");
  CheckEdge(attend, &C::heads, 8, 0, "heads");
  CheckEdge(attend, &C::kv_heads, 4, 0, "kv_heads");
  CheckEdge(attend, &C::kv_heads, 2, 1, "heads of a kv head");
  CheckEdge(attend, &C::head_dim, 256, 257, "head_dim");
  CheckEdge(attend, &C::heads, 112, 120, "16384");
  CheckEdge(attend, &C::rope_dims, 126, 127, "rope_dims");
  CheckEdge(attend, &C::rope_dims, 128, 130, "rope_dims");
  CheckEdge(attend, &C::layer, 1, 2, "layer");
  CheckEdge(attend, &C::block_tokens, 64, 48, "block_tokens");
  CheckEdge(attend, &C::block_tokens, 8, 0, "block_tokens");
  CheckEdge(attend, &C::block_tokens, 64, 128, "block_tokens");
  CheckEdge(attend, &C::position, 131071, 131072, "position");
  C gate = {};
  gate.op = kOpGate;
  CheckEdge(gate, &C::rows, 28672, 28673, "rows");
  CheckEdge(gate, &C::rows, 1, 0, "rows");
  C other = {};
  CheckEdge(other, &C::op, kOpEnd, 6, "op");
}

TEST_CASE("what a sampler cannot do is a fault that names the field") {
  const SamplerArgs args = {.vocabulary = 1};
  CheckEdge(args, &SamplerArgs::vocabulary, 1, 0, "vocabulary");
  CheckEdge(args, &SamplerArgs::sharpness, (1u << 30) - 1, 1u << 30, "sharpness");
}

TEST_CASE("searches that a kernel has no room for are faults that name the field") {
  const FlatScanArgs flat = {.count = 1, .beats = 1, .kept = 1};
  CheckEdge(flat, &FlatScanArgs::beats, 64, 65, "beats");
  CheckEdge(flat, &FlatScanArgs::beats, 1, 0, "beats");
  CheckEdge(flat, &FlatScanArgs::kept, 64, 65, "kept");
  CheckEdge(flat, &FlatScanArgs::kept, 1, 0, "kept");
  CheckEdge(flat, &FlatScanArgs::shift, 1, 2, "shift");
  const HnswArgs graph = {.nodes = 1, .beats = 1, .ef = 1, .wanted = 1};
  CheckEdge(graph, &HnswArgs::nodes, 4194304, 4194305, "nodes");
  CheckEdge(graph, &HnswArgs::beats, 64, 65, "beats");
  CheckEdge(graph, &HnswArgs::beats, 1, 0, "beats");
  CheckEdge(graph, &HnswArgs::shift, 1, 2, "shift");
  CheckEdge(graph, &HnswArgs::degree, 128, 129, "degree");
  CheckEdge(graph, &HnswArgs::upper_degree, 128, 129, "upper_degree");
  CheckEdge(graph, &HnswArgs::levels, 16, 17, "levels");
  CheckEdge(graph, &HnswArgs::ef, 256, 257, "ef");
  CheckEdge(graph, &HnswArgs::wanted, 1, 2, "wanted");
  const PqScanArgs pq = {.groups = 1, .kept = 1};
  CheckEdge(pq, &PqScanArgs::groups, 128, 129, "groups");
  CheckEdge(pq, &PqScanArgs::groups, 1, 0, "groups");
  CheckEdge(pq, &PqScanArgs::kept, 64, 65, "kept");
  CheckEdge(pq, &PqScanArgs::kept, 1, 0, "kept");
}

}  // namespace
}  // namespace baton::fpga
