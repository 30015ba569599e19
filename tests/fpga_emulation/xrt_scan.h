#pragma once

#include <random>
#include <vector>

#include "fpga_kernels/card_args.h"
#include "fpga_kernels/hls/flat_scan.h"
#include "tests/fpga_emulation/xrt_card.h"

namespace baton::fpga {

// A flat scan's input, and what the C model says of it.
struct ScanCase {
  ScanCase(uint32_t count, uint32_t beats, uint64_t seed)
      : args({{.count = count, .beats = beats, .kept = 10, .shift = 0}}),
        query(beats),
        codes(size_t{count} * beats) {
    std::mt19937_64 random(seed);
    const auto fill = [&](std::vector<Beat>& to) {
      for (Beat& beat : to) {
        for (uint8_t& byte : beat.bytes) byte = static_cast<uint8_t>(random());
      }
    };
    fill(query);
    fill(codes);
    for (uint32_t i = 0; i < count; ++i) {
      labels.push_back({.id = i, .bias = static_cast<int32_t>(random() % 1000)});
    }
  }

  std::vector<SearchHit> Model() const {
    std::vector<SearchHit> hits(args[0].kept);
    {
      Stream<Beat, 32> to_engine("to_engine");
      Stream<CodeLabel, 32> labels_out("labels");
      Stream<Scored, 64> from_engine("from_engine");
      BATON_DATAFLOW(region);
      BATON_PROCESS(region, distance_engine(to_engine, labels_out, from_engine));
      BATON_PROCESS(region, flat_scan(args.data(), query.data(), codes.data(), labels.data(),
                                      hits.data(), to_engine, labels_out, from_engine));
    }
    REQUIRE(TakeDataflowFailure() == "");
    return hits;
  }

  std::vector<FlatScanArgs> args;
  std::vector<Beat> query;
  std::vector<Beat> codes;
  std::vector<CodeLabel> labels;
};

// The same on a card: buffers, and as many runs as are asked for.
class XrtScan {
 public:
  XrtScan(const XrtCard& card, int unit, const ScanCase& scan)
      : kernel_(card.Kernel("flat_scan", unit)),
        args_(card.Buffer(kernel_, kFlatScanArgs, scan.args)),
        query_(card.Buffer(kernel_, kFlatScanQuery, scan.query)),
        codes_(card.Buffer(kernel_, kFlatScanCodes, scan.codes)),
        labels_(card.Buffer(kernel_, kFlatScanLabels, scan.labels)),
        hits_(card.Buffer(kernel_, kFlatScanHits, scan.args[0].kept * sizeof(SearchHit))),
        kept_(scan.args[0].kept) {}

  xrt::run Prepare() {
    xrt::run run(kernel_);
    run.set_arg(kFlatScanArgs, args_);
    run.set_arg(kFlatScanQuery, query_);
    run.set_arg(kFlatScanCodes, codes_);
    run.set_arg(kFlatScanLabels, labels_);
    run.set_arg(kFlatScanHits, hits_);
    return run;
  }
  std::vector<SearchHit> Hits() { return ReadBuffer<SearchHit>(hits_, kept_); }
  xrt::bo& codes() { return codes_; }
  xrt::bo& hits() { return hits_; }
  const xrt::kernel& kernel() const { return kernel_; }

 private:
  xrt::kernel kernel_;
  xrt::bo args_;
  xrt::bo query_;
  xrt::bo codes_;
  xrt::bo labels_;
  xrt::bo hits_;
  size_t kept_;
};

inline bool SameHits(const std::vector<SearchHit>& a, const std::vector<SearchHit>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(SearchHit)) == 0;
}

}  // namespace baton::fpga
