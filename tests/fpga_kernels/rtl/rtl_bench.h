#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "fpga_kernels/cycle_model.h"

namespace baton::fpga {

using Item = std::vector<uint8_t>;  // of a stream, as wide as its port

// What drives a stream of a verilated module. An item that was offered stays until it is taken.
class ItemSource {
 public:
  virtual ~ItemSource() = default;
  virtual bool Offers() = 0;
  virtual const Item& Front() const = 0;
  virtual void Pop() = 0;
  virtual void Tick() {}
};

// Items that are there at once, offered after random waits.
class ListSource : public ItemSource {
 public:
  ListSource(std::vector<Item> items, double wait_share, uint64_t seed)
      : items_(std::move(items)), wait_(wait_share), random_(seed) {}
  bool Offers() override {
    if (at_ == items_.size()) return false;
    if (!offered_) offered_ = !wait_(random_);
    return offered_;
  }
  const Item& Front() const override { return items_[at_]; }
  void Pop() override {
    ++at_;
    offered_ = false;
  }

 private:
  const std::vector<Item> items_;
  size_t at_ = 0;
  bool offered_ = false;
  std::bernoulli_distribution wait_;
  std::mt19937_64 random_;
};

// A head that is there at once, then beats as a memory bank gives them: bursts after a latency,
// some after a gap, none during a refresh, as many requested ahead as the mover's queue has room
// for. The head comes after `idle` cycles, in which the mover already fetches.
class BankSource : public ItemSource {
 public:
  static constexpr int64_t kGapCycles = 8;

  BankSource(std::vector<Item> head, std::vector<Item> beats, const BankTiming& timing,
             uint64_t seed, int64_t idle = 0)
      : head_(head.begin(), head.end()),
        beats_(std::move(beats)),
        idle_(idle),
        timing_(timing),
        random_(seed),
        gap_(timing.burst_gap_cycles / kGapCycles) {
    now_ = std::uniform_int_distribution<int64_t>(
        0, static_cast<int64_t>(timing.refresh_period_cycles) - 1)(random_);
    Request();
  }
  bool Offers() override { return head_.empty() ? !queue_.empty() : idle_ == 0; }
  const Item& Front() const override { return head_.empty() ? queue_.front() : head_.front(); }
  void Pop() override { (head_.empty() ? queue_ : head_).pop_front(); }
  void Tick() override {
    ++now_;
    if (idle_ > 0) --idle_;
    const bool refreshes = now_ % static_cast<int64_t>(timing_.refresh_period_cycles) <
                           static_cast<int64_t>(timing_.refresh_cycles);
    if (!refreshes && !bursts_.empty() && bursts_.front().ready <= now_) {
      Burst& burst = bursts_.front();
      if (burst.gap > 0) {
        --burst.gap;
      } else {
        queue_.push_back(beats_[given_++]);
        --in_flight_;
        if (--burst.left == 0) bursts_.pop_front();
      }
    }
    Request();
  }

 private:
  struct Burst {
    int64_t ready;
    int64_t left;
    int64_t gap;
  };
  void Request() {
    while (requested_ < beats_.size()) {
      const size_t burst =
          std::min(static_cast<size_t>(timing_.burst_beats), beats_.size() - requested_);
      if (static_cast<double>(queue_.size() + in_flight_ + burst) > timing_.ahead_beats) return;
      bursts_.push_back({now_ + static_cast<int64_t>(timing_.latency_cycles),
                         static_cast<int64_t>(burst), gap_(random_) ? kGapCycles : 0});
      in_flight_ += burst;
      requested_ += burst;
    }
  }

  std::deque<Item> head_;
  const std::vector<Item> beats_;
  int64_t idle_;
  const BankTiming timing_;
  std::mt19937_64 random_;
  std::bernoulli_distribution gap_;
  std::deque<Item> queue_;
  std::deque<Burst> bursts_;
  size_t requested_ = 0;
  size_t given_ = 0;
  size_t in_flight_ = 0;
  int64_t now_ = 0;
};

// Ports of a verilated module: wide ones are arrays of words, others a number.
template <class Port>
void DrivePort(Port& port, const Item& item) {
  std::memcpy(static_cast<void*>(&port), item.data(), item.size());
}

struct RtlRun {
  std::vector<uint64_t> out;
  int64_t cycles = 0;  // until the last of `out` was taken
  std::string failure;
};

struct RtlLimits {
  size_t wanted = 0;  // items out
  double out_wait_share = 0;
  int64_t cycles_max = 0;
  uint64_t seed = 0;
};

// Runs a module with streams `in`, perhaps `labels`, and `out` of 64 bits until all that is wanted
// is out, and some cycles more, in which nothing may come.
template <class Model>
RtlRun RunRtl(Model& model, ItemSource& in, ItemSource* labels, const RtlLimits& limits) {
  std::mt19937_64 random(limits.seed);
  std::bernoulli_distribution out_waits(limits.out_wait_share);
  RtlRun run;
  const auto tick = [&model] {
    model.ap_clk = 1;
    model.eval();
    model.ap_clk = 0;
    model.eval();
  };
  model.ap_clk = 0;
  model.ap_rst_n = 0;
  model.in_tvalid = 0;
  model.out_tready = 0;
  if constexpr (requires { model.labels_tvalid; }) model.labels_tvalid = 0;
  for (int i = 0; i < 3; ++i) tick();
  model.ap_rst_n = 1;
  bool out_held = false;
  uint64_t held = 0;
  int64_t idle_left = 200;
  for (int64_t cycle = 1; idle_left > 0; ++cycle) {
    if (cycle > limits.cycles_max) {
      run.failure = "no end after " + std::to_string(limits.cycles_max) + " cycles";
      return run;
    }
    model.in_tvalid = in.Offers();
    if (model.in_tvalid) DrivePort(model.in_tdata, in.Front());
    if constexpr (requires { model.labels_tvalid; }) {
      model.labels_tvalid = labels->Offers();
      if (model.labels_tvalid) DrivePort(model.labels_tdata, labels->Front());
    }
    model.out_tready = !out_waits(random);
    model.eval();
    const bool in_taken = model.in_tvalid && model.in_tready;
    if (out_held && (!model.out_tvalid || model.out_tdata != held)) {
      run.failure = "what was offered changed before it was taken";
      return run;
    }
    out_held = model.out_tvalid && !model.out_tready;
    held = model.out_tdata;
    if (model.out_tvalid && model.out_tready) {
      run.out.push_back(model.out_tdata);
      run.cycles = cycle;
    }
    bool label_taken = false;
    if constexpr (requires { model.labels_tvalid; }) {
      label_taken = model.labels_tvalid && model.labels_tready;
    }
    tick();
    if (in_taken) in.Pop();
    if (label_taken) labels->Pop();
    in.Tick();
    if (run.out.size() >= limits.wanted) --idle_left;
  }
  return run;
}

}  // namespace baton::fpga
