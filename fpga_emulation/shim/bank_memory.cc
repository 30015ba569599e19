#include "fpga_emulation/shim/bank_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace baton::fpga {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kGuardBytes = 1 << 20;
// Mapped privately again and again: what is only read of it takes no more than this.
constexpr uint64_t kPoisonBytes = 8 << 20;
constexpr int kPoison = 0xa5;

uint64_t Pages(uint64_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

}  // namespace

BankMemory::BankMemory(const std::vector<CardBank>& banks) {
  poison_file_ = memfd_create("baton_poison", MFD_CLOEXEC);
  const std::vector<uint8_t> poison(kPoisonBytes, kPoison);
  if (poison_file_ < 0 ||
      write(poison_file_, poison.data(), poison.size()) != static_cast<ssize_t>(poison.size())) {
    error_ = std::string("no file for poison: ") + std::strerror(errno);
    return;
  }
  for (const CardBank& bank : banks) {
    Bank mapped = {.spec = bank, .mapping_bytes = bank.bytes + 2 * kGuardBytes};
    void* const at = mmap(nullptr, mapped.mapping_bytes, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
      error_ = "no room for " + bank.tag + ": " + std::strerror(errno);
      return;
    }
    mapped.mapping = static_cast<uint8_t*>(at);
    banks_.push_back(std::move(mapped));
  }
}

BankMemory::~BankMemory() {
  for (const Bank& bank : banks_) munmap(bank.mapping, bank.mapping_bytes);
  if (poison_file_ >= 0) close(poison_file_);
}

uint8_t* BankMemory::HostOf(const Bank& bank, uint64_t address) const {
  return bank.mapping + kGuardBytes + (address - bank.spec.address);
}

uint64_t BankMemory::Allocate(int index, uint64_t bytes) {
  if (bytes == 0 || bytes > banks_[index].spec.bytes) return kNoAddress;
  Bank& bank = banks_[index];
  bytes = Pages(bytes);
  uint64_t address = bank.spec.address;
  for (const auto& [at, taken] : bank.buffers) {
    if (at - address >= bytes) break;
    address = at + taken;
  }
  if (address + bytes > bank.spec.address + bank.spec.bytes) return kNoAddress;
  for (uint64_t done = 0; done < bytes; done += kPoisonBytes) {
    const uint64_t piece = std::min(kPoisonBytes, bytes - done);
    if (mmap(HostOf(bank, address + done), piece, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, poison_file_, 0) == MAP_FAILED) {
      mmap(HostOf(bank, address), bytes, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
      return kNoAddress;
    }
  }
  bank.buffers[address] = bytes;
  return address;
}

void BankMemory::Free(int index, uint64_t address, bool fence) {
  Bank& bank = banks_[index];
  const auto found = bank.buffers.find(address);
  if (found == bank.buffers.end()) return;
  if (fence) {
    mmap(HostOf(bank, address), found->second, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  }
  bank.buffers.erase(found);
}

uint8_t* BankMemory::Find(int index, uint64_t address) const {
  const Bank& bank = banks_[index];
  const auto behind = bank.buffers.upper_bound(address);
  if (behind == bank.buffers.begin()) return nullptr;
  const auto& [at, bytes] = *std::prev(behind);
  return address - at < bytes ? HostOf(bank, address) : nullptr;
}

void BankMemory::Open() {
  for (const Bank& bank : banks_) {
    mprotect(bank.mapping, bank.mapping_bytes, PROT_READ | PROT_WRITE);
  }
}

int BankMemory::BankOf(uint64_t address) const {
  for (size_t i = 0; i < banks_.size(); ++i) {
    if (Find(static_cast<int>(i), address) != nullptr) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace baton::fpga
