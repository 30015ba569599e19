#include "tests/support/cuda_host/block.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime.h>
#include "tests/support/cuda_host/asan.h"
#include "tests/support/cuda_host/cuda_host.h"
#include "tests/support/cuda_host/fiber.h"
#include "tests/support/cuda_host/guarded_memory.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace baton::cuda_host {
namespace {

// Compute capability 8.0 to 10.0, CUDA C++ Programming Guide, "Technical Specifications"; shared
// memory is the least of 8.0 (163 KiB), but kernels are planned for 9.0.
constexpr unsigned kBlockThreadsMax = 1024;
constexpr Extent kBlockMax = {1024, 1024, 64};
constexpr Extent kGridMax = {2147483647, 65535, 65535};
constexpr int64_t kSharedDefault = 48 << 10;
constexpr int64_t kSharedMax = 227 << 10;
constexpr size_t kArgumentsMax = 4096;
constexpr int kNamedBarriers = 16;

struct PendingCopy {
  std::byte* shared;
  const std::byte* global;
  size_t bytes;
  size_t zeros;
};

// Where a thread waits. Frames of fibers may be dropped, so nothing on them owns memory.
struct Spot {
  const char* what = "";
  int id = 0;                  // of a named barrier
  unsigned mask = 0;           // of lanes of a warp
  const char* file = nullptr;  // none: lanes of a warp
  unsigned line = 0;

  bool operator==(const Spot&) const = default;
};

struct Thread {
  Fiber fiber;
  unsigned index = 0;
  uint3 position = {};
  bool waiting = false;
  Spot waits_at;  // while it is waiting
  size_t shared_taken = 0;
  bool awaited = false;                               // AwaitEarlierKernels
  std::vector<std::vector<PendingCopy>> copy_groups;  // committed, oldest first
  std::vector<PendingCopy> copies;                    // not committed yet
};

struct Barrier {
  int expected = 0;
  int arrived = 0;
  Spot spot;
  std::vector<Thread*> waiting;
};

struct WarpMeeting {
  const char* what = nullptr;
  unsigned mask = 0;
  unsigned arrived = 0;
  std::array<void*, kWarpThreads> lanes = {};
};

// "file.cu:41"
std::string SiteName(const char* file, unsigned line) {
  const char* const slash = std::strrchr(file, '/');
  return std::string(slash != nullptr ? slash + 1 : file) + ":" + std::to_string(line);
}

std::string Name(const Spot& spot) {
  if (spot.file != nullptr) {
    return spot.what + (spot.id > 0 ? " " + std::to_string(spot.id) : "") + " at " +
           SiteName(spot.file, spot.line);
  }
  std::array<char, 24> lanes;
  std::snprintf(lanes.data(), lanes.size(), " of lanes 0x%08x", spot.mask);
  return std::string(spot.what) + lanes.data();
}

std::mutex launch_mutex;
Order order;
std::string last_error;
std::set<std::pair<const char*, unsigned>> sites;
std::string skipped_site;
std::atomic<int64_t> early_launches{0};
std::map<const void*, int64_t> allowed_shared;
std::mutex memory_mutex;
std::map<void*, std::unique_ptr<GuardedMemory>> device_memory;  // memory_mutex
std::vector<std::unique_ptr<Thread>> threads;                   // stacks are used again

// The launch in progress.
struct Block {
  LaunchShape shape = {};
  void (*entry)(void*) = nullptr;
  void* argument = nullptr;
  std::mt19937_64 random;
  uint8_t fill = 0;

  Thread* current = nullptr;
  bool failed = false;
  unsigned thread_count = 0;
  std::array<Barrier, kNamedBarriers> barriers;
  std::vector<std::vector<WarpMeeting>> meetings;  // by warp
  std::vector<std::unique_ptr<GuardedMemory>> shared;
  size_t shared_offset = 0;
} block;

uint8_t FillOf(const Order& of) {
  // As f32: NaN, 1.3e36, and whatever the seed brings.
  if (of.kind == OrderKind::kAscending) return 0xFF;
  if (of.kind == OrderKind::kDescending) return 0x7B;
  return static_cast<uint8_t>(0x81 + 37 * of.seed);
}

std::string Place(const uint3& at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) +
         ")";
}

void SetError(const std::string& text) { last_error = text; }

// Notes the site, and says whether it is to be passed as if it were not there.
bool Passes(const std::source_location& where) {
  sites.emplace(where.file_name(), where.line());
  return !skipped_site.empty() && skipped_site == SiteName(where.file_name(), where.line());
}

// As Fail, of two spots that do not go together.
[[noreturn]] void FailAt(const char* why, const Spot& here, const Spot& there) {
  std::array<char, 256> text;
  std::snprintf(text.data(), text.size(), "%s: %s and %s", why, Name(here).c_str(),
                Name(there).c_str());
  Fail("%s", text.data());
}

void Wait(const Spot& spot) {
  Thread& self = *block.current;
  self.waiting = true;
  self.waits_at = spot;
  self.fiber.Yield();
}

void Release(Thread& thread) { thread.waiting = false; }

// Arrives at a barrier of `expected` threads, and waits there until they are complete.
void ArriveAt(const Spot& spot, int expected, bool wait) {
  Barrier& barrier = block.barriers[static_cast<size_t>(spot.id)];
  if (barrier.arrived == 0) {
    barrier.expected = expected;
    barrier.spot = spot;
  } else if (barrier.expected != expected) {
    FailAt("barriers for different numbers of threads", spot, barrier.spot);
  } else if (spot.id == 0 && barrier.spot != spot) {
    FailAt("threads of a block are at different barriers", spot, barrier.spot);
  }
  if (++barrier.arrived == barrier.expected) {
    for (Thread* const thread : barrier.waiting) Release(*thread);
    barrier.arrived = 0;
    barrier.waiting.clear();
    return;
  }
  if (!wait) return;
  barrier.waiting.push_back(block.current);
  Wait(spot);
}

// A copy lands: what was read of global memory now is what the thread sees.
void Land(const PendingCopy& copy) {
  __asan_unpoison_memory_region(copy.shared, copy.bytes);
  std::memcpy(copy.shared, copy.global, copy.bytes - copy.zeros);
  std::memset(copy.shared + copy.bytes - copy.zeros, 0, copy.zeros);
}

bool InShared(const void* begin, size_t bytes) {
  return std::ranges::any_of(block.shared,
                             [&](const auto& piece) { return piece->Contains(begin, bytes); });
}

// What a thread waits for, for the first few of them, and who will not come.
std::string Deadlock() {
  constexpr int kNamed = 4;
  std::string text = "block " + Place(blockIdx) + ": deadlock:";
  int named = 0;
  int returned = 0;
  const Thread* first_returned = nullptr;
  for (unsigned i = 0; i < block.thread_count; ++i) {
    const Thread& thread = *threads[i];
    if (thread.fiber.done()) {
      ++returned;
      if (first_returned == nullptr) first_returned = &thread;
      continue;
    }
    if (named++ < kNamed) {
      text += " thread " + Place(thread.position) + " waits at " + Name(thread.waits_at) + ";";
    }
  }
  for (const Barrier& barrier : block.barriers) {
    if (barrier.arrived > 0) {
      text += " " + std::to_string(barrier.arrived) + " of " + std::to_string(barrier.expected) +
              " threads are at " + Name(barrier.spot) + ";";
    }
  }
  text += " " + std::to_string(named) + " wait, " + std::to_string(returned) + " have returned";
  if (first_returned != nullptr) text += ", thread " + Place(first_returned->position) + " first";
  return text;
}

void RunThread(void*) {
  block.entry(block.argument);
  Thread& self = *block.current;
  if (!self.copies.empty() || !self.copy_groups.empty()) {
    Fail("returns with copies to shared memory that nothing has waited for");
  }
  if (block.shape.early && !self.awaited) {
    Fail("is launched early and returns without having waited for earlier kernels");
  }
}

// The order of a pass over `count` things.
std::vector<unsigned> Permutation(unsigned count) {
  std::vector<unsigned> turns(count);
  std::iota(turns.begin(), turns.end(), 0U);
  if (order.kind == OrderKind::kDescending) std::ranges::reverse(turns);
  if (order.kind == OrderKind::kRandom) std::ranges::shuffle(turns, block.random);
  return turns;
}

bool CheckShared() {
  for (size_t i = 0; i < block.shared.size(); ++i) {
    if (block.shared[i]->Intact()) continue;
    SetError("block " + Place(blockIdx) + ": wrote outside its piece " + std::to_string(i) +
             " of shared memory, of " + std::to_string(block.shared[i]->bytes()) + " bytes");
    return false;
  }
  return true;
}

// Runs one block to its end. False: it failed.
bool RunBlock() {
  const Extent& extent = block.shape.block;
  block.barriers = {};
  block.meetings.assign((block.thread_count + kWarpThreads - 1) / kWarpThreads, {});
  block.shared.clear();
  block.shared_offset = 0;
  for (unsigned i = 0; i < block.thread_count; ++i) {
    Thread& thread = *threads[i];
    thread.index = i;
    thread.position = {i % extent.x, i / extent.x % extent.y, i / (extent.x * extent.y)};
    thread.waiting = false;
    thread.shared_taken = 0;
    thread.awaited = false;
    thread.copy_groups.clear();
    thread.copies.clear();
    thread.fiber.Start(&RunThread, nullptr);
  }
  unsigned live = block.thread_count;
  std::vector<unsigned> turns = Permutation(block.thread_count);
  while (live > 0) {
    bool progress = false;
    if (order.kind == OrderKind::kRandom) std::ranges::shuffle(turns, block.random);
    for (const unsigned i : turns) {
      Thread& thread = *threads[i];
      if (thread.waiting || thread.fiber.done()) continue;
      progress = true;
      block.current = &thread;
      threadIdx = thread.position;
      thread.fiber.Resume();
      if (block.failed) return false;
      if (thread.fiber.done()) --live;
    }
    if (!progress) {
      SetError(Deadlock());
      return false;
    }
  }
  return CheckShared();
}

LaunchResult CheckLaunch(const LaunchShape& shape) {
  const auto refuse = [](const std::string& field, uint64_t value, uint64_t limit) {
    SetError("launch: " + field + " is " + std::to_string(value) + ", limit " +
             std::to_string(limit));
    return LaunchResult::kInvalidConfiguration;
  };
  const std::pair<const char*, std::array<unsigned, 2>> fields[] = {
      {"grid.x", {shape.grid.x, kGridMax.x}},    {"grid.y", {shape.grid.y, kGridMax.y}},
      {"grid.z", {shape.grid.z, kGridMax.z}},    {"block.x", {shape.block.x, kBlockMax.x}},
      {"block.y", {shape.block.y, kBlockMax.y}}, {"block.z", {shape.block.z, kBlockMax.z}}};
  for (const auto& [name, value] : fields) {
    if (value[0] == 0 || value[0] > value[1]) return refuse(name, value[0], value[1]);
  }
  const uint64_t block_threads = uint64_t{shape.block.x} * shape.block.y * shape.block.z;
  if (block_threads > kBlockThreadsMax) {
    return refuse("threads of a block", block_threads, kBlockThreadsMax);
  }
  if (block_threads % kWarpThreads != 0) {
    SetError("launch: a block of " + std::to_string(block_threads) +
             " threads; kernels keep to whole warps");
    return LaunchResult::kInvalidConfiguration;
  }
  const auto allowed = allowed_shared.find(shape.kernel);
  const int64_t shared_max = allowed == allowed_shared.end() ? kSharedDefault : allowed->second;
  if (static_cast<int64_t>(shape.shared_bytes) > shared_max) {
    SetError("launch: " + std::to_string(shape.shared_bytes) + " bytes of shared memory, limit " +
             std::to_string(shared_max) + " (cudaFuncSetAttribute)");
    return LaunchResult::kInvalidValue;
  }
  if (shape.argument_bytes > kArgumentsMax) {
    return refuse("bytes of arguments", shape.argument_bytes, kArgumentsMax);
  }
  return LaunchResult::kDone;
}

}  // namespace

// ---- what tests ask
// ------------------------------------------------------------------------------

void SetOrder(const Order& wanted) { order = wanted; }

std::string Name(const Order& of) {
  if (of.kind == OrderKind::kAscending) return "ascending order";
  if (of.kind == OrderKind::kDescending) return "descending order";
  return "random order, seed " + std::to_string(of.seed);
}

const std::string& LastError() { return last_error; }

std::vector<std::string> Sites() {
  std::vector<std::string> names;
  for (const auto& [file, line] : sites) names.push_back(SiteName(file, line));
  return names;
}

void ForgetSites() { sites.clear(); }
void SkipSite(const std::string& site) { skipped_site = site; }
int64_t EarlyLaunches() { return early_launches; }

// ---- what kernels call
// ---------------------------------------------------------------------------

void AwaitEarlierKernels() { block.current->awaited = true; }

unsigned LaneIndex() { return block.current->index % kWarpThreads; }

void Fail(const char* format, ...) {
  std::array<char, 512> text;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  SetError("block " + Place(blockIdx) + ", thread " + Place(block.current->position) + ": " +
           text.data());
  block.failed = true;
  block.current->fiber.Yield();
  std::abort();  // nothing resumes a block that failed
}

void WarpExchange(const char* what, unsigned mask, void* mine, WarpCombine combine) {
  Thread& self = *block.current;
  const unsigned warp = self.index / kWarpThreads;
  const unsigned lane = self.index % kWarpThreads;
  if ((mask >> lane & 1) == 0) Fail("%s with mask 0x%08x from lane %u", what, mask, lane);
  auto& meetings = block.meetings[warp];
  auto found = std::ranges::find(meetings, mask, &WarpMeeting::mask);
  if (found == meetings.end()) {
    meetings.push_back({.what = what, .mask = mask});
    found = meetings.end() - 1;
  } else if (std::strcmp(found->what, what) != 0) {
    Fail("lanes of a warp meet in different operations: %s and %s", what, found->what);
  }
  found->arrived |= 1U << lane;
  found->lanes[lane] = mine;
  if (found->arrived != mask) {
    Wait({.what = what, .mask = mask});
    return;
  }
  const WarpMeeting meeting = *found;
  meetings.erase(found);
  if (combine != nullptr) combine(meeting.lanes.data());
  for (unsigned i = 0; i < kWarpThreads; ++i) {
    if (mask >> i & 1 && i != lane) Release(*threads[warp * kWarpThreads + i]);
  }
}

void WarpBarrier(unsigned mask, const std::source_location& where) {
  if (!Passes(where)) WarpExchange("__syncwarp", mask, nullptr, nullptr);
}

void BlockBarrier(const std::source_location& where) {
  if (Passes(where)) return;
  ArriveAt({.what = "__syncthreads", .file = where.file_name(), .line = where.line()},
           static_cast<int>(block.thread_count), /*wait=*/true);
}

void NamedBarrier(int id, int count, bool arrive, const std::source_location& where) {
  if (id < 1 || id >= kNamedBarriers) Fail("barrier %d, ids are 1 to 15", id);
  if (count < 1 || count % kWarpThreads != 0 || count > static_cast<int>(block.thread_count)) {
    Fail("barrier %d for %d threads: must be a multiple of 32, at most the block's %u", id, count,
         block.thread_count);
  }
  if (Passes(where)) return;
  ArriveAt({.what = "barrier", .id = id, .file = where.file_name(), .line = where.line()}, count,
           /*wait=*/!arrive);
}

std::byte* TakeShared(size_t bytes) {
  Thread& self = *block.current;
  const size_t index = self.shared_taken++;
  if (index == block.shared.size()) {
    block.shared_offset = (block.shared_offset + kSharedAlignment - 1) & ~(kSharedAlignment - 1);
    block.shared_offset += bytes;
    if (block.shared_offset > block.shape.shared_bytes) {
      Fail("takes %zu bytes of shared memory, the launch gave %zu", block.shared_offset,
           block.shape.shared_bytes);
    }
    block.shared.push_back(std::make_unique<GuardedMemory>(bytes, kSharedAlignment, block.fill));
  } else if (block.shared[index]->bytes() != bytes) {
    Fail("piece %zu of shared memory is %zu bytes here and %zu in another thread", index, bytes,
         block.shared[index]->bytes());
  }
  return block.shared[index]->data();
}

void CopyAsync(void* shared, const void* global, size_t bytes, size_t zeros) {
  if (!InShared(shared, bytes)) Fail("cp.async: the destination is not in shared memory");
  if (InShared(global, 1)) Fail("cp.async: the source is in shared memory");
  if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 ||
      (zeros < bytes && reinterpret_cast<uintptr_t>(global) % bytes != 0)) {
    Fail("cp.async of %zu bytes between addresses that are not multiples of it", bytes);
  }
  std::memset(shared, block.fill, bytes);
  __asan_poison_memory_region(shared, bytes);
  block.current->copies.push_back({.shared = static_cast<std::byte*>(shared),
                                   .global = static_cast<const std::byte*>(global),
                                   .bytes = bytes,
                                   .zeros = zeros});
}

void CopyAsyncCommit() {
  Thread& self = *block.current;
  self.copy_groups.push_back(std::exchange(self.copies, {}));
}

void CopyAsyncWait(int groups_pending, const std::source_location& where) {
  Thread& self = *block.current;
  if (Passes(where)) return;
  while (std::ssize(self.copy_groups) > groups_pending) {
    for (const PendingCopy& copy : self.copy_groups.front()) Land(copy);
    self.copy_groups.erase(self.copy_groups.begin());
  }
}

// ---- launching and memory
// ------------------------------------------------------------------------

LaunchResult Launch(const LaunchShape& shape, void (*thread)(void*), void* argument) {
  const std::lock_guard lock(launch_mutex);
  const LaunchResult checked = CheckLaunch(shape);
  if (checked != LaunchResult::kDone) return checked;
  early_launches += shape.early ? 1 : 0;
  block.shape = shape;
  block.entry = thread;
  block.argument = argument;
  block.random.seed(order.seed);
  block.fill = FillOf(order);
  block.failed = false;
  block.thread_count = shape.block.x * shape.block.y * shape.block.z;
  blockDim = {shape.block.x, shape.block.y, shape.block.z};
  gridDim = {shape.grid.x, shape.grid.y, shape.grid.z};
  while (threads.size() < block.thread_count) threads.push_back(std::make_unique<Thread>());

  const uint64_t blocks = uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
  if (blocks > (1U << 24)) {
    SetError("launch: " + std::to_string(blocks) + " blocks are more than a test should run");
    return LaunchResult::kInvalidConfiguration;
  }
  bool done = true;
  for (const unsigned i : Permutation(static_cast<unsigned>(blocks))) {
    blockIdx = {i % shape.grid.x, i / shape.grid.x % shape.grid.y,
                i / (shape.grid.x * shape.grid.y)};
    done = RunBlock();
    if (!done) break;
  }
  block.shared.clear();
  return done ? LaunchResult::kDone : LaunchResult::kFailed;
}

bool AllowShared(const void* kernel, int64_t bytes) {
  const std::lock_guard lock(launch_mutex);
  if (bytes < 0 || bytes > kSharedMax) {
    SetError("cudaFuncSetAttribute: " + std::to_string(bytes) + " bytes of shared memory, limit " +
             std::to_string(kSharedMax));
    return false;
  }
  allowed_shared[kernel] = std::max(bytes, kSharedDefault);
  return true;
}

void* AllocateDevice(size_t bytes) {
  const std::lock_guard lock(memory_mutex);
  constexpr size_t kAlignment = 256;  // of cudaMalloc
  auto memory = std::make_unique<GuardedMemory>(bytes, kAlignment, FillOf(order));
  void* const pointer = memory->data();
  device_memory[pointer] = std::move(memory);
  return pointer;
}

int64_t DeviceBytes() {
  const std::lock_guard lock(memory_mutex);
  int64_t bytes = 0;
  for (const auto& [pointer, memory] : device_memory) {
    bytes += static_cast<int64_t>(memory->bytes());
  }
  return bytes;
}

bool FreeDevice(void* pointer) {
  if (pointer == nullptr) return true;
  const std::lock_guard lock(memory_mutex);
  const auto found = device_memory.find(pointer);
  if (found == device_memory.end()) {
    SetError("cudaFree of a pointer that cudaMalloc did not give");
    return false;
  }
  const bool intact = found->second->Intact();
  if (!intact) {
    SetError("a kernel wrote outside a device allocation of " +
             std::to_string(found->second->bytes()) + " bytes");
  }
  device_memory.erase(found);
  return intact;
}

}  // namespace baton::cuda_host
