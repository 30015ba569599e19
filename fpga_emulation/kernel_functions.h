#pragma once

// Each kernel's function and the names of its arguments, which a signature does not keep; a
// stream's begin with < where the kernel reads it and > where it writes it. That there are as many
// names as arguments the compiler checks, that they are the declared ones a test.

#include <cstddef>
#include <string_view>
#include <type_traits>

#include "fpga_kernels/hls/distance_engine.h"
#include "fpga_kernels/hls/flat_scan.h"
#include "fpga_kernels/hls/gemv_bank.h"
#include "fpga_kernels/hls/gemv_lane.h"
#include "fpga_kernels/hls/hnsw_search.h"
#include "fpga_kernels/hls/kv_attention.h"
#include "fpga_kernels/hls/pq_scan.h"
#include "fpga_kernels/hls/sampler.h"
#include "fpga_kernels/hls/sequencer.h"
#include "fpga_kernels/hls/vector_unit.h"

namespace baton::fpga {

template <size_t count>
struct KernelNames {
  std::string_view kernel;
  std::string_view arguments[count];
};
template <class... Names>
KernelNames(std::string_view, Names...) -> KernelNames<sizeof...(Names)>;

template <class A>
struct StreamTraits : std::false_type {};
template <class T>
struct StreamTraits<Stream<T>&> : std::true_type {
  using Item = T;
};
template <class A>
inline constexpr bool IsStream = StreamTraits<A>::value;
template <class A>
using StreamItem = typename StreamTraits<A>::Item;

// visit(function, names), for each kernel in turn.
template <class Visitor>
void ForEachKernel(Visitor&& visit) {
  const auto kernel = []<size_t count>(std::string_view name,
                                       const std::string_view(&arguments)[count]) {
    KernelNames<count> names;
    names.kernel = name;
    for (size_t i = 0; i < count; ++i) names.arguments[i] = arguments[i];
    return names;
  };
  visit(&sequencer,
        kernel("sequencer", {"program", "sampling", "result", "command_count", "position",
                             "embedding_at", "table_at", "ends", ">to_vector", ">to_banks",
                             ">to_kv", ">to_sampler", "<from_sampler"}));
  visit(&vector_unit, kernel("vector_unit", {"vectors", "embeddings", "<commands", ">x", "<sums",
                                             ">heads", "<partials", ">logits"}));
  visit(&sampler, kernel("sampler", {"logits_out", "<args", "<logits", ">results"}));
  visit(&gemv_bank,
        kernel("gemv_bank", {"bank", "index", "units", "<commands_in", ">commands_out", "<x_in",
                             ">x_out", "<sums_in", ">sums_out", ">lane_out", "<lane_in"}));
  visit(&gemv_lane, kernel("gemv_lane", {"<in", ">out"}));
  visit(&kv_attention,
        kernel("kv_attention", {"kv", "blocks", "index", "units", "<commands_in", ">commands_out",
                                "<heads_in", ">heads_out", "<partials_in", ">partials_out"}));
  visit(&flat_scan, kernel("flat_scan", {"args", "query", "codes", "labels", "hits", ">to_engine",
                                         ">labels_out", "<from_engine"}));
  visit(&hnsw_search, kernel("hnsw_search",
                             {"args", "queries", "codes", "biases", "links", "upper_links", "live",
                              "fine_queries", "fine", "hits", ">to_engine", ">labels", "<scores"}));
  visit(&pq_scan,
        kernel("pq_scan", {"args", "probes", "tables", "blocks", "terms", "rows", "live", "hits"}));
  visit(&distance_engine, kernel("distance_engine", {"<in", "<labels", ">out"}));
}

}  // namespace baton::fpga
