// XRT's driver interface (xrt.h) over emulated cards: what libxrt_coreutil calls where a card's
// driver would be. Handles are cards; XRT opens each once and shares the handle. The classes behind
// XRT's queries are those of Debian's libxrt_swemu.a, which call what stands here.
#include <xclbin.h>
#include <xrt.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "fpga_emulation/shim/emulated_card.h"

// Of libxrt_coreutil, declared in no packaged header.
namespace xrt_core {
class device {
 public:
  void register_axlf(const axlf* xclbin);  // what a driver tells once an xclbin is loaded
};
// Makes the device behind a handle, of the class that the driver's own
// get_userpf_device() has, and finds it by the handle for as long as somebody holds it.
std::shared_ptr<device> get_userpf_device(void* handle, unsigned index);
}  // namespace xrt_core

namespace {

using baton::fpga::CardBuffer;
using baton::fpga::EmulatedCard;

constexpr unsigned kVendorId = 0x10ee;
constexpr unsigned kDeviceId = 0xba70;

// Open cards and how often each is.
struct OpenCards {
  struct Entry {
    std::unique_ptr<EmulatedCard> card;
    std::shared_ptr<xrt_core::device> device;
    int handles = 0;
  };
  std::mutex mutex;
  std::map<unsigned, Entry> cards;
};

OpenCards& Cards() {
  static OpenCards* const cards = new OpenCards;  // outlives XRT's threads
  return *cards;
}

std::shared_ptr<xrt_core::device> DeviceOf(xclDeviceHandle handle) {
  OpenCards& open = Cards();
  const std::lock_guard lock(open.mutex);
  for (const auto& [index, entry] : open.cards) {
    if (entry.card.get() == handle) return entry.device;
  }
  return nullptr;
}

EmulatedCard& Card(xclDeviceHandle handle) { return *static_cast<EmulatedCard*>(handle); }

}  // namespace

extern "C" {

unsigned xclProbe() { return static_cast<unsigned>(baton::fpga::FaultsOfEnvironment().cards); }

unsigned xclVersion() { return 2; }

xclDeviceHandle xclOpen(unsigned index, const char*, xclVerbosityLevel) {
  if (index >= xclProbe()) return nullptr;
  OpenCards& open = Cards();
  const std::lock_guard lock(open.mutex);
  OpenCards::Entry& entry = open.cards[index];
  if (entry.card == nullptr) {
    entry.card = std::make_unique<EmulatedCard>(static_cast<int>(index));
    entry.device = xrt_core::get_userpf_device(entry.card.get(), index);
  }
  ++entry.handles;
  return entry.card.get();
}

void xclClose(xclDeviceHandle handle) {
  OpenCards& open = Cards();
  const std::lock_guard lock(open.mutex);
  for (auto entry = open.cards.begin(); entry != open.cards.end(); ++entry) {
    if (entry->second.card.get() != handle) continue;
    if (--entry->second.handles == 0) open.cards.erase(entry);
    return;
  }
}

int xclLoadXclBin(xclDeviceHandle handle, const axlf* xclbin) {
  const int error = xclbin == nullptr ? -EINVAL : Card(handle).Load(xclbin);
  if (error == 0) DeviceOf(handle)->register_axlf(xclbin);
  return error;
}

int xclGetDeviceInfo2(xclDeviceHandle handle, xclDeviceInfo2* info) {
  const EmulatedCard& card = Card(handle);
  std::memset(info, 0, sizeof(*info));
  info->mMagic = 0x586c0c6c;
  std::strncpy(info->mName, card.name().c_str(), sizeof(info->mName) - 1);
  info->mVendorId = kVendorId;
  info->mDeviceId = kDeviceId;
  info->mDDRSize = card.memory_bytes();
  info->mDDRBankCount = static_cast<unsigned short>(card.bank_count());
  info->mDataAlignment = 4096;
  info->mMinTransferSize = 64;
  info->mNumClocks = 1;
  info->mOCLFrequency[0] = static_cast<unsigned short>(card.clock_mhz());
  info->mMigCalib = true;
  return 0;
}

int xclOpenContext(xclDeviceHandle handle, const xuid_t uuid, unsigned, bool) {
  return Card(handle).loaded(uuid) ? 0 : -ENODEV;
}

int xclCloseContext(xclDeviceHandle, const xuid_t, unsigned) { return 0; }

xclBufferHandle xclAllocBO(xclDeviceHandle handle, size_t bytes, int, unsigned flags) {
  return Card(handle).Allocate(bytes, flags, nullptr);
}

xclBufferHandle xclAllocUserPtrBO(xclDeviceHandle handle, void* host, size_t bytes,
                                  unsigned flags) {
  return Card(handle).Allocate(bytes, flags, host);
}

void xclFreeBO(xclDeviceHandle handle, xclBufferHandle buffer) { Card(handle).Free(buffer); }

void* xclMapBO(xclDeviceHandle handle, xclBufferHandle buffer, bool) {
  const std::shared_ptr<CardBuffer> found = Card(handle).Find(buffer);
  return found == nullptr ? nullptr : found->host;
}

int xclUnmapBO(xclDeviceHandle, xclBufferHandle, void*) { return 0; }

int xclSyncBO(xclDeviceHandle handle, xclBufferHandle buffer, xclBOSyncDirection direction,
              size_t bytes, size_t offset) {
  if (direction != XCL_BO_SYNC_BO_TO_DEVICE && direction != XCL_BO_SYNC_BO_FROM_DEVICE) {
    return -EINVAL;
  }
  return Card(handle).Sync(buffer, direction == XCL_BO_SYNC_BO_TO_DEVICE, bytes, offset);
}

int xclCopyBO(xclDeviceHandle handle, xclBufferHandle to, xclBufferHandle from, size_t bytes,
              size_t to_offset, size_t from_offset) {
  return Card(handle).Copy(to, from, bytes, to_offset, from_offset);
}

int xclGetBOProperties(xclDeviceHandle handle, xclBufferHandle buffer,
                       xclBOProperties* properties) {
  const std::shared_ptr<CardBuffer> found = Card(handle).Find(buffer);
  if (found == nullptr) return -EINVAL;
  *properties = {.handle = buffer,
                 .flags = found->flags,
                 .size = found->bytes,
                 .paddr = found->address,
                 .reserved = 0};
  return 0;
}

// Buffers of other processes and devices: no card of this process has any.
xclBufferExportHandle xclExportBO(xclDeviceHandle, xclBufferHandle) { return NULLBOEXPORT; }
xclBufferHandle xclImportBO(xclDeviceHandle, xclBufferExportHandle, unsigned) { return NULLBO; }
int xclP2pEnable(xclDeviceHandle, bool, bool) { return -ENOTSUP; }

ssize_t xclUnmgdPread(xclDeviceHandle handle, unsigned, void* to, size_t bytes, uint64_t address) {
  return Card(handle).Peek(address, to, bytes) ? static_cast<ssize_t>(bytes) : -EINVAL;
}

ssize_t xclUnmgdPwrite(xclDeviceHandle handle, unsigned, const void* from, size_t bytes,
                       uint64_t address) {
  return Card(handle).Poke(address, from, bytes) ? static_cast<ssize_t>(bytes) : -EINVAL;
}

size_t xclRead(xclDeviceHandle handle, xclAddressSpace, uint64_t address, void* to, size_t bytes) {
  return Card(handle).Peek(address, to, bytes) ? bytes : static_cast<size_t>(-1);
}

size_t xclWrite(xclDeviceHandle handle, xclAddressSpace, uint64_t address, const void* from,
                size_t bytes) {
  return Card(handle).Poke(address, from, bytes) ? bytes : static_cast<size_t>(-1);
}

int xclRegRead(xclDeviceHandle handle, uint32_t unit, uint32_t offset, uint32_t* value) {
  if (offset != 0) return -EINVAL;
  *value = Card(handle).ControlRegister(unit);
  return 0;
}

int xclRegWrite(xclDeviceHandle, uint32_t, uint32_t, uint32_t) { return -ENOTSUP; }

int xclExecBuf(xclDeviceHandle handle, xclBufferHandle command) {
  return Card(handle).Execute(command);
}

int xclExecWait(xclDeviceHandle handle, int timeout_ms) {
  return Card(handle).AwaitCompletion(timeout_ms);
}

int xclReClock2(xclDeviceHandle, unsigned short, const unsigned short*) { return -ENOTSUP; }

}  // extern "C"

// What those classes call beside xrt.h, declared in no packaged header. Each is found by its name.
int xclCloseExportHandle(int) { return -EINVAL; }
int xclCmaEnable(xclDeviceHandle, bool, unsigned long) { return -ENOTSUP; }
int xclInternalResetDevice(xclDeviceHandle, xclResetKind) { return -ENOTSUP; }
int xclUpdateSchedulerStat(xclDeviceHandle) { return 0; }

namespace xrt_core::query {
enum class key_type;
}
namespace xclcpuemhal2 {
class CpuemShim {
 public:
  static CpuemShim* handleCheck(void* handle);
  uint64_t deviceQuery(xrt_core::query::key_type key);
};
CpuemShim* CpuemShim::handleCheck(void* handle) { return static_cast<CpuemShim*>(handle); }
// Whether there is memory-to-memory copy, and whether there is no DMA: neither.
uint64_t CpuemShim::deviceQuery(xrt_core::query::key_type) { return 0; }
}  // namespace xclcpuemhal2

namespace xrt_core::swemu {
class system {
 public:
  std::pair<unsigned, unsigned> get_total_devices(bool is_user) const;
};
// How many cards there are, and how many of them are ready.
std::pair<unsigned, unsigned> system::get_total_devices(bool) const {
  return {xclProbe(), xclProbe()};
}
}  // namespace xrt_core::swemu
