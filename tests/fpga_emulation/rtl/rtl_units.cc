// The two hot kernels as verilated RTL, under the names of their C models: linked before these, a
// card image runs fpga_kernels/rtl. A stream that has nothing stops the clock, so cycles are those
// of one clock and a memory that is always there.
#include <atomic>
#include <cstdio>
#include <cstring>

#include "Vdistance_engine_64.h"
#include "Vgemv_lane.h"
#include "fpga_kernels/hls/distance_engine.h"
#include "fpga_kernels/hls/gemv_lane.h"

namespace baton::fpga {
namespace {

// Of all units of a kind, said when the image is let go of.
struct CycleCount {
  explicit CycleCount(const char* of) : name(of) {}
  ~CycleCount() {
    std::fprintf(stderr, "rtl: %s took %llu cycles for %llu beats\n", name,
                 static_cast<unsigned long long>(cycles.load()),
                 static_cast<unsigned long long>(beats.load()));
  }
  const char* const name;
  std::atomic<uint64_t> cycles{0};
  std::atomic<uint64_t> beats{0};
};
CycleCount lane_cycles("gemv_lane");
CycleCount engine_cycles("distance_engine");

template <class Model>
void Tick(Model& model) {
  model.ap_clk = 1;
  model.eval();
  model.ap_clk = 0;
  model.eval();
}

template <class Model>
void Reset(Model& model) {
  model.ap_clk = 0;
  model.ap_rst_n = 0;
  model.in_tvalid = 0;
  model.out_tready = 1;
  if constexpr (requires { model.labels_tvalid; }) model.labels_tvalid = 0;
  for (int i = 0; i < 3; ++i) Tick(model);
  model.ap_rst_n = 1;
}

template <class Model>
void Offer(Model& model, const Beat& beat) {
  static_assert(sizeof(model.in_tdata) == sizeof(beat));
  std::memcpy(&model.in_tdata, &beat, sizeof(beat));
  model.in_tvalid = 1;
}

}  // namespace

extern "C" void gemv_lane(Stream<Beat>& in, Stream<int64_t>& out) {
  VerilatedContext context;
  Vgemv_lane model(&context);
  Reset(model);
  for (;;) {
    const Beat header = in.read();
    const uint64_t rows = GetU32(header, 0);
    const uint64_t blocks = GetU32(header, 1);
    if (blocks == 0 || blocks > kGemvBlocksMax) return;
    uint64_t beats_left = 1 + 2 * blocks + GemvBankBeats(rows, blocks);
    uint64_t rows_left = rows;
    lane_cycles.beats += beats_left;
    Offer(model, header);
    while (beats_left > 0 || rows_left > 0) {
      model.eval();
      const bool taken = model.in_tvalid && model.in_tready;
      if (model.out_tvalid && rows_left > 0) {
        out.write(static_cast<int64_t>(model.out_tdata));
        --rows_left;
      }
      Tick(model);
      ++lane_cycles.cycles;
      if (!taken) continue;
      if (--beats_left > 0) {
        Offer(model, in.read());
      } else {
        model.in_tvalid = 0;
      }
    }
  }
}

extern "C" void distance_engine(Stream<Beat>& in, Stream<CodeLabel>& labels, Stream<Scored>& out) {
  VerilatedContext context;
  Vdistance_engine_64 model(&context);
  Reset(model);
  for (;;) {
    const Beat header = in.read();
    const uint64_t count = GetU32(header, 0);
    const uint64_t beats = GetU32(header, 1);
    const uint64_t kept = GetU32(header, 2);
    const uint64_t query_beats = GetU32(header, 4);
    if (beats == 0 || beats > kSearchBeatsMax) return;
    const uint64_t head = 1 + query_beats;
    const uint64_t all = head + count * beats;
    uint64_t taken_beats = 0;
    uint64_t wanted = kept == 0 ? count : kept;
    engine_cycles.beats += all;
    Offer(model, header);
    while (taken_beats < all || wanted > 0) {
      model.eval();
      const bool taken = model.in_tvalid && model.in_tready;
      const bool label_taken = model.labels_tvalid && model.labels_tready;
      if (model.out_tvalid && wanted > 0) {
        Scored item;
        item.id = static_cast<uint32_t>(model.out_tdata >> 32);
        item.score = static_cast<int32_t>(static_cast<uint32_t>(model.out_tdata));
        out.write(item);
        --wanted;
      }
      Tick(model);
      ++engine_cycles.cycles;
      if (label_taken) model.labels_tvalid = 0;
      if (!taken) continue;
      if (++taken_beats == all) {
        model.in_tvalid = 0;
        continue;
      }
      Offer(model, in.read());
      // The last beat of a code goes with its label.
      if (taken_beats >= head && (taken_beats - head) % beats == beats - 1) {
        const CodeLabel label = labels.read();
        model.labels_tdata =
            static_cast<uint64_t>(static_cast<uint32_t>(label.bias)) << 32 | label.id;
        model.labels_tvalid = 1;
      }
    }
  }
}

}  // namespace baton::fpga
