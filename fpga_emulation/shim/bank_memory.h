#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "fpga_emulation/card_spec.h"

namespace baton::fpga {

// The memory of a card: each bank a range of this process with pages in front and behind that
// nobody may touch. What is not allocated may not be touched either, so a kernel that runs out of
// its buffers into a hole ends the process there, as under AddressSanitizer; what is allocated
// holds 0xa5 until somebody writes to it, and takes host memory only then. Threads: under its
// owner's lock.
class BankMemory {
 public:
  static constexpr uint64_t kNoAddress = UINT64_MAX;

  explicit BankMemory(const std::vector<CardBank>& banks);
  ~BankMemory();
  BankMemory(const BankMemory&) = delete;
  BankMemory& operator=(const BankMemory&) = delete;

  // Empty: all is well. Else why the memory could not be mapped.
  const std::string& error() const { return error_; }
  // The first hole of whole pages that is large enough; kNoAddress: there is none.
  uint64_t Allocate(int bank, uint64_t bytes);
  // `fence`: from now on nobody may touch it; else a unit that still has it may go on.
  void Free(int bank, uint64_t address, bool fence);
  // All of it may be touched, for units that run to their ends on a card that is closed.
  void Open();
  // Where a card's address is in this process; null: within no buffer of the bank.
  uint8_t* Find(int bank, uint64_t address) const;
  // Somewhere that nobody may touch.
  uint8_t* Nowhere() const { return banks_.empty() ? nullptr : banks_[0].mapping; }
  // The bank that has the address in a buffer; -1: none.
  int BankOf(uint64_t address) const;

 private:
  struct Bank {
    CardBank spec;
    uint8_t* mapping = nullptr;  // with the pages around it
    uint64_t mapping_bytes = 0;
    std::map<uint64_t, uint64_t> buffers;  // address, bytes: whole pages
  };
  uint8_t* HostOf(const Bank& bank, uint64_t address) const;

  std::vector<Bank> banks_;
  int poison_file_ = -1;
  std::string error_;
};

}  // namespace baton::fpga
