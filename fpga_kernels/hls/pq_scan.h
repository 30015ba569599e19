#pragma once

#include "fpga_kernels/hls/beat.h"
#include "fpga_kernels/hls/stream.h"
#include "fpga_kernels/hls/top_list.h"
#include "fpga_kernels/search_args.h"

namespace baton {
namespace fpga {

// The nearest rows of the lists that a query probes, by their codes: hits [kept]. One line, 32 rows
// times 4 sub-quantisers, a cycle.
//   probes [probes]; tables u8 [4 * groups, 16], each at most 127, 16 entries four to a beat
//   blocks [blocks, groups]; terms, rows [blocks * 32]; live, a bit for each row, may not be read
extern "C" void pq_scan(const PqScanArgs* args, const PqProbe* probes, const Beat* tables,
                        const Beat* blocks, const int32_t* terms, const uint32_t* rows,
                        const uint32_t* live, SearchHit* hits);

}  // namespace fpga
}  // namespace baton
