#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fpga_emulation/card_image.h"
#include "fpga_emulation/card_spec.h"
#include "fpga_emulation/shim/bank_memory.h"
#include "fpga_emulation/shim/faults.h"

struct axlf;
struct ert_packet;

namespace baton::fpga {

// A buffer as XRT has it: memory of the host, and of a bank what the host syncs with it.
struct CardBuffer {
  uint64_t bytes = 0;
  uint32_t flags = 0;  // as it was asked for
  int bank = -1;       // -1: of the host alone, as commands are
  uint64_t address = 0;
  uint8_t* host = nullptr;
  bool own_host = false;  // mapped here, not the caller's

  ~CardBuffer();
};

// A card: what is behind a device handle. All functions take any thread and give 0 or -errno,
// unless they say otherwise. A run is a command in a buffer; its unit's thread takes one after the
// other and writes each one's state when it is done. Closing the card ends what still runs.
class EmulatedCard {
 public:
  explicit EmulatedCard(int index) : index_(index), faults_(FaultsOfEnvironment()) {}
  ~EmulatedCard();
  EmulatedCard(const EmulatedCard&) = delete;
  EmulatedCard& operator=(const EmulatedCard&) = delete;

  // Configures the card. What is wrong with an xclbin is said to standard error. The same again
  // does nothing; another one only while there are no buffers, since it may have other banks.
  int Load(const axlf* xclbin);
  // A handle; UINT32_MAX: no room, or no such bank. `host`: the caller's memory; null: mapped here.
  uint32_t Allocate(uint64_t bytes, uint32_t flags, void* host);
  void Free(uint32_t handle);
  std::shared_ptr<CardBuffer> Find(uint32_t handle) const;  // null: none
  int Sync(uint32_t handle, bool to_card, uint64_t bytes, uint64_t offset);
  int Copy(uint32_t to, uint32_t from, uint64_t bytes, uint64_t to_offset, uint64_t from_offset);
  // Memory by its address, as a debugger reads it; false: it is within no buffer.
  bool Peek(uint64_t address, void* to, uint64_t bytes) const;
  bool Poke(uint64_t address, const void* from, uint64_t bytes);
  // Hands a command to a unit that it names.
  int Execute(uint32_t handle);
  // Until a command ended that no call has told of. 1: one did, 0: not within that time.
  int AwaitCompletion(int timeout_ms);
  // AP_CTRL: 1 while it runs, else 4. Units are counted as XRT does: those with registers.
  uint32_t ControlRegister(uint32_t unit) const;
  bool loaded(const unsigned char* uuid) const;
  std::string name() const;
  uint64_t memory_bytes() const;
  int bank_count() const;
  int clock_mhz() const;

 private:
  struct Job {
    std::shared_ptr<CardBuffer> command;
    std::vector<uint64_t> arguments;  // of this process
    const EmulationFaults::Rule* wrong = nullptr;
    bool hangs = false;
  };
  struct Unit {
    int index = 0;  // of the spec's units
    uint64_t runs = 0;
    bool busy = false;
    std::deque<Job> jobs;
    std::thread thread;
  };

  // These with mutex_ held.
  bool Busy() const;                          // a unit runs
  std::string Configure(const axlf* xclbin);  // what is wrong; empty: nothing
  void Unload(std::unique_lock<std::mutex>& lock);
  void Work(Unit* unit);
  // What is wrong with a command's arguments; empty: nothing.
  std::string Decode(const Unit& unit, const uint32_t* registers, size_t words,
                     std::vector<uint64_t>* arguments) const;
  void Complete(const CardBuffer& command, int state);

  const int index_;
  const EmulationFaults faults_;
  mutable std::mutex mutex_;
  std::condition_variable work_;       // for units
  std::condition_variable completed_;  // for AwaitCompletion
  uint64_t completions_ = 0;           // not yet told of
  bool stops_ = false;
  bool loaded_ = false;
  unsigned char uuid_[16] = {};
  CardSpec spec_;
  void* library_ = nullptr;
  std::unique_ptr<CardImage> image_;
  std::unique_ptr<BankMemory> memory_;
  std::vector<std::unique_ptr<Unit>> units_;  // those with registers
  std::map<uint32_t, std::shared_ptr<CardBuffer>> buffers_;
  uint32_t next_handle_ = 1;
};

}  // namespace baton::fpga
