#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/fpga/plugin/ranges.h"
#include "engine/exec/plugin_fault.h"

namespace xrt {
class run;
}

namespace baton::fpga {

using plugin::Fault;
using plugin::Text;

// The kernels of a card (fpga_kernels/card_args.h).
enum class Kernel : uint8_t {
  kSequencer,
  kVectorUnit,
  kSampler,
  kGemvBank,
  kKvAttention,
  kHnswSearch,
};
inline constexpr size_t kKernelCount = 6;
const char* Name(Kernel kernel);

// Memory at the same place of one bank or several; given back by Card::Free.
struct CardMemory {
  std::vector<int32_t> banks;  // XRT's indices of memory
  uint64_t at = 0;             // in each, a multiple of 4096
  uint64_t bytes = 0;
};

// A part of a bank, as an argument of a run.
struct CardBuffer {
  int32_t bank = 0;
  uint64_t at = 0;
  uint64_t bytes = 0;
};
struct CardArgument {
  int index = 0;
  std::variant<uint32_t, CardBuffer> value;
};

// A run of a unit.
struct CardRun {
  Kernel kernel = {};
  uint32_t unit = 0;
  std::span<const CardArgument> arguments;
};

// One card in use, through XRT's native API: its xclbin, whatever that offers, and an arena in each
// bank that its units reach. A run that does not end in time, or fails, resets the card and opens
// it again: what was in its memory is lost then, generation() has moved on, and whoever placed
// something writes it anew to the same place. Where that fails, too, the card is lost to the
// process.
//
// Thread safe. Runs of one unit come from one thread at a time.
class Card {
 public:
  struct Options {
    uint32_t index = 0;
    std::string xclbin;           // path
    int32_t run_timeout_ms = 0;   // of any run that is waited for
    uint64_t bank_bytes_max = 0;  // of each bank; 0: all of it
  };
  // NOT_FOUND, INVALID_ARGUMENT: the xclbin, and what is wrong with it. UNAVAILABLE: the card does
  // not open.
  static Fault Open(const baton_host& host, const Options& options, std::unique_ptr<Card>* card);
  ~Card();
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  // UNAVAILABLE: the card is lost.
  Fault Enter() const;
  uint64_t generation() const { return generation_; }
  bool emulated() const { return emulated_; }
  std::string name() const { return name_; }
  // Of the arenas.
  uint64_t memory_bytes_total() const;
  uint64_t memory_bytes_used() const;
  uint64_t BytesLeft(int32_t bank) const;
  void Sample(baton_device_sample* sample);

  uint32_t UnitsOf(Kernel kernel) const;
  // The bank of a unit's pointer.
  int32_t BankOf(Kernel kernel, uint32_t unit, int argument) const;
  // Those of all units, in their order.
  std::vector<int32_t> BanksOf(Kernel kernel, int argument) const;

  // The same place in all `banks`. RESOURCE_EXHAUSTED: the bytes of each bank that `what` needs,
  // and how many the fullest has.
  Fault Allocate(const char* what, std::vector<int32_t> banks, uint64_t bytes, CardMemory* memory);
  void Free(const CardMemory& memory);
  Fault Write(int32_t bank, uint64_t at, const void* data, uint64_t bytes);
  Fault Read(int32_t bank, uint64_t at, void* data, uint64_t bytes);

  // Starts them, each of another unit, and waits until all are done. INTERNAL: one failed or took
  // too long, and the card was reset. NOT_FOUND: it was reset before, and is not of `generation`
  // any more; 0: whatever it is of.
  Fault Run(std::span<const CardRun> runs, uint64_t generation = 0);
  Fault Run(Kernel kernel, uint32_t unit, std::span<const CardArgument> arguments) {
    const CardRun run = {.kernel = kernel, .unit = unit, .arguments = arguments};
    return Run({&run, 1});
  }
  // Starts the units that take part in every token, where they do not run: with the arenas of their
  // banks from the first byte on. They last until the card is closed or reset.
  Fault StartDecoder();

 private:
  struct Session;  // XRT's objects
  Card(const baton_host& host, Options options);
  Fault OpenSession();
  Fault CheckXclbin() const;
  Fault DescribeUnits();
  Fault MakeArenas();
  xrt::run& Start(const CardRun& run);  // throws what XRT throws
  // Where `generation` is still the card's: nobody has reset it since.
  void Reset(uint64_t generation, const std::string& why);
  void EndDecoder();

  const baton_host host_;
  const Options options_;
  bool emulated_ = false;
  std::string name_;
  std::atomic<uint64_t> generation_{1};

  // Exclusive to reset; shared to use what is in the session.
  mutable std::shared_mutex session_mutex_;
  std::unique_ptr<Session> session_;  // null: lost
  std::string lost_;                  // session_mutex_: why

  // banks_[kernel][unit][argument]; -1: no pointer. As first described; constant.
  std::array<std::vector<std::vector<int32_t>>, kKernelCount> banks_;
  mutable std::mutex arenas_mutex_;
  std::map<int32_t, Ranges> arenas_;  // arenas_mutex_
  std::mutex runs_mutex_;             // of the session's map of runs

  std::mutex sample_mutex_;
  int64_t sampled_at_ms_ = -1;
  baton_device_sample sampled_ = {};
};

}  // namespace baton::fpga
