#pragma once

#include "fpga_kernels/hls/distance_engine.h"

namespace baton {
namespace fpga {

// The nearest of all codes, [count, beats], through a distance engine: hits [kept]. `labels`
// [count]. One run, one query; tells the engine to end.
extern "C" void flat_scan(const FlatScanArgs* args, const Beat* query, const Beat* codes,
                          const CodeLabel* labels, SearchHit* hits, Stream<Beat>& to_engine,
                          Stream<CodeLabel>& labels_out, Stream<Scored>& from_engine);

}  // namespace fpga
}  // namespace baton
