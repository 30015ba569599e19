#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fpga_kernels/hls/gemv_bank.h"
#include "fpga_kernels/hls/gemv_lane.h"
#include "fpga_kernels/hls/kv_attention.h"

namespace baton::fpga {

// The units of a decoder as a link configuration joins them, with its depths.

template <class T, int depth>
class StreamRow {
 public:
  StreamRow(const char* name, size_t count) {
    for (size_t i = 0; i < count; ++i) streams_.push_back(std::make_unique<Stream<T, depth>>(name));
  }
  Stream<T>& operator[](size_t i) { return *streams_[i]; }

 private:
  std::vector<std::unique_ptr<Stream<T, depth>>> streams_;
};

class BankChain {
 public:
  // [units] of them, each as long as its bank.
  explicit BankChain(const std::vector<std::vector<Beat>>& banks)
      : banks_(banks),
        commands_("commands", banks.size() + 1),
        x_("x", banks.size() + 1),
        sums_("sums", banks.size() + 1),
        to_lane_("to_lane", banks.size()),
        from_lane_("from_lane", banks.size()) {}

  void Start(Dataflow& region) {
    const auto units = static_cast<uint32_t>(banks_.size());
    for (uint32_t i = 0; i < units; ++i) {
      region.Start("gemv_bank", [this, i, units] {
        gemv_bank(banks_[i].data(), i, units, commands_[i], commands_[i + 1], x_[i], x_[i + 1],
                  sums_[i + 1], sums_[i], to_lane_[i], from_lane_[i]);
      });
      region.Start("gemv_lane", [this, i] { gemv_lane(to_lane_[i], from_lane_[i]); });
    }
  }
  Stream<DecodeCommand>& commands() { return commands_[0]; }
  Stream<Beat>& x() { return x_[0]; }
  Stream<int64_t>& sums() { return sums_[0]; }

 private:
  const std::vector<std::vector<Beat>>& banks_;
  StreamRow<DecodeCommand, 4> commands_;
  StreamRow<Beat, 32> x_;
  StreamRow<int64_t, 32> sums_;
  StreamRow<Beat, 32> to_lane_;
  StreamRow<int64_t, 32> from_lane_;
};

// A bank of the cache, and for each block of a sequence where it lies in it, or kKvElsewhere.
struct KvBank {
  std::vector<uint8_t> bytes;  // whole beats
  std::vector<uint32_t> blocks;
};

class KvChain {
 public:
  explicit KvChain(std::vector<KvBank>& banks)
      : banks_(banks),
        commands_("kv commands", banks.size() + 1),
        heads_("heads", banks.size() + 1),
        partials_("partials", banks.size() + 1) {}

  void Start(Dataflow& region) {
    const auto units = static_cast<uint32_t>(banks_.size());
    for (uint32_t i = 0; i < units; ++i) {
      region.Start("kv_attention", [this, i, units] {
        kv_attention(reinterpret_cast<Beat*>(banks_[i].bytes.data()), banks_[i].blocks.data(), i,
                     units, commands_[i], commands_[i + 1], heads_[i], heads_[i + 1],
                     partials_[i + 1], partials_[i]);
      });
    }
  }
  Stream<DecodeCommand>& commands() { return commands_[0]; }
  Stream<Beat>& heads() { return heads_[0]; }
  Stream<Beat>& partials() { return partials_[0]; }

 private:
  std::vector<KvBank>& banks_;
  StreamRow<DecodeCommand, 4> commands_;
  StreamRow<Beat, 32> heads_;
  StreamRow<Beat, 64> partials_;
};

}  // namespace baton::fpga
