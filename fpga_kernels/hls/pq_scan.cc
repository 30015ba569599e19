#include "fpga_kernels/hls/pq_scan.h"

namespace baton {
namespace fpga {

struct PqBlockSums {
  uint32_t sums[kPqRowsOfBlock];
};

namespace {

void SendLines(const PqScanArgs& args, const PqProbe* probes, const Beat* blocks,
               Stream<Beat>& lines) {
  for (uint32_t probe = 0; probe < args.probes; ++probe) {
    const PqProbe p = probes[probe];
    const uint64_t first = static_cast<uint64_t>(p.first_block) * args.groups;
    const uint64_t count =
        static_cast<uint64_t>((p.rows + kPqRowsOfBlock - 1) / kPqRowsOfBlock) * args.groups;
    for (uint64_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
      lines.write(blocks[first + i]);
    }
  }
}

// Each line's codes of four sub-quantisers look up their tables.
void AddUp(const PqScanArgs& args, const PqProbe* probes, const Beat* tables, Stream<Beat>& lines,
           Stream<PqBlockSums>& sums_out) {
  Beat lines_of_tables[kPqGroupsMax];
  for (uint32_t i = 0; i < args.groups; ++i) lines_of_tables[i] = tables[i];
  for (uint32_t probe = 0; probe < args.probes; ++probe) {
    const uint32_t blocks = (probes[probe].rows + kPqRowsOfBlock - 1) / kPqRowsOfBlock;
    for (uint32_t block = 0; block < blocks; ++block) {
      PqBlockSums sums = PqBlockSums();
      for (uint32_t group = 0; group < args.groups; ++group) {
#pragma HLS pipeline II = 1
        const Beat line = lines.read();
        const Beat table = lines_of_tables[group];
        for (uint32_t row = 0; row < kPqRowsOfBlock; ++row) {
#pragma HLS unroll
          const uint8_t first = line.bytes[row];
          const uint8_t second = line.bytes[kPqRowsOfBlock + row];
          sums.sums[row] += table.bytes[first & 15] + table.bytes[16 + (first >> 4)] +
                            table.bytes[32 + (second & 15)] + table.bytes[48 + (second >> 4)];
        }
      }
      sums_out.write(sums);
    }
  }
}

void KeepBest(const PqScanArgs& args, const PqProbe* probes, const int32_t* terms,
              const uint32_t* rows, const uint32_t* live, Stream<PqBlockSums>& sums_in,
              SearchHit* hits) {
  TopList<kSearchKept> best;
#pragma HLS array_partition variable = best.cells complete
  Clear(best);
  for (uint32_t probe = 0; probe < args.probes; ++probe) {
    const PqProbe p = probes[probe];
    PqBlockSums sums = PqBlockSums();
    for (uint32_t i = 0; i < p.rows; ++i) {
#pragma HLS pipeline II = 1
      const uint32_t in_block = i % kPqRowsOfBlock;
      if (in_block == 0) sums = sums_in.read();
      const uint64_t at = static_cast<uint64_t>(p.first_block) * kPqRowsOfBlock + i;
      Scored item;
      item.id = rows[at];
      item.score = -(p.base + terms[at] + args.factor * static_cast<int32_t>(sums.sums[in_block]));
      if (args.some_dead != 0 && (live[item.id / 32] >> (item.id % 32) & 1) == 0) continue;
      Insert(best, static_cast<int>(args.kept), item);
    }
  }
  for (uint32_t i = 0; i < args.kept; ++i) {
#pragma HLS pipeline II = 1
    SearchHit hit = SearchHit();
    hit.score = best.cells[i].score;
    hit.id = best.cells[i].id;
    hits[i] = hit;
  }
}

}  // namespace

extern "C" void pq_scan(const PqScanArgs* args, const PqProbe* probes, const Beat* tables,
                        const Beat* blocks, const int32_t* terms, const uint32_t* rows,
                        const uint32_t* live, SearchHit* hits) {
#pragma HLS interface m_axi port = args bundle = control
#pragma HLS interface m_axi port = probes bundle = control
#pragma HLS interface m_axi port = tables bundle = control
#pragma HLS interface m_axi port = blocks bundle = blocks
#pragma HLS interface m_axi port = terms bundle = rows
#pragma HLS interface m_axi port = rows bundle = rows
#pragma HLS interface m_axi port = live bundle = control
#pragma HLS interface m_axi port = hits bundle = control
#pragma HLS dataflow
  const PqScanArgs a = args[0];
  Stream<Beat, 256> lines("pq_scan.lines");
  Stream<PqBlockSums, 4> sums("pq_scan.sums");
  BATON_DATAFLOW(region);
  BATON_PROCESS(region, SendLines(a, probes, blocks, lines));
  BATON_PROCESS(region, AddUp(a, probes, tables, lines, sums));
  BATON_PROCESS(region, KeepBest(a, probes, terms, rows, live, sums, hits));
}

}  // namespace fpga
}  // namespace baton
