#include "fpga_kernels/hls/flat_scan.h"

namespace baton {
namespace fpga {
namespace {

void SendCodes(const FlatScanArgs& args, const Beat* query, const Beat* codes, Stream<Beat>& out) {
  Beat header = Beat();
  PutU32(header, 0, args.count);
  PutU32(header, 1, args.beats);
  PutU32(header, 2, args.kept);
  PutU32(header, 3, args.shift);
  PutU32(header, 4, args.beats);
  out.write(header);
  for (uint32_t i = 0; i < args.beats; ++i) {
#pragma HLS pipeline II = 1
    out.write(query[i]);
  }
  const uint64_t beats = static_cast<uint64_t>(args.count) * args.beats;
  for (uint64_t i = 0; i < beats; ++i) {
#pragma HLS pipeline II = 1
    out.write(codes[i]);
  }
  out.write(Beat());
}

void SendLabels(uint32_t count, const CodeLabel* labels, Stream<CodeLabel>& out) {
  for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
    out.write(labels[i]);
  }
}

void StoreHits(uint32_t count, Stream<Scored>& in, SearchHit* hits) {
  for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
    const Scored item = in.read();
    SearchHit hit = SearchHit();
    hit.score = item.score;
    hit.id = item.id;
    hits[i] = hit;
  }
}

}  // namespace

extern "C" void flat_scan(const FlatScanArgs* args, const Beat* query, const Beat* codes,
                          const CodeLabel* labels, SearchHit* hits, Stream<Beat>& to_engine,
                          Stream<CodeLabel>& labels_out, Stream<Scored>& from_engine) {
#pragma HLS interface m_axi port = args bundle = control
#pragma HLS interface m_axi port = query bundle = codes
#pragma HLS interface m_axi port = codes bundle = codes
#pragma HLS interface m_axi port = labels bundle = labels
#pragma HLS interface m_axi port = hits bundle = control
#pragma HLS interface axis port = to_engine
#pragma HLS interface axis port = labels_out
#pragma HLS interface axis port = from_engine
#pragma HLS dataflow
  const FlatScanArgs a = args[0];
  BATON_DATAFLOW(region);
  BATON_PROCESS(region, SendCodes(a, query, codes, to_engine));
  BATON_PROCESS(region, SendLabels(a.count, labels, labels_out));
  BATON_PROCESS(region, StoreHits(a.kept, from_engine, hits));
}

}  // namespace fpga
}  // namespace baton
