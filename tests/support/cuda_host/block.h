#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

// What the stand-in headers call from within a kernel. Everything here runs on the fiber of the
// thread that calls it; what is wrong ends the launch with an error and does not return.
namespace baton::cuda_host {

inline constexpr unsigned kWarpThreads = 32;

// Joins the lanes of `mask`: the last to arrive calls `combine` with each lane's pointer (null for
// those not in the mask), and all go on. `what` must be the same for all.
using WarpCombine = void (*)(void* const lanes[kWarpThreads]);
void WarpExchange(const char* what, unsigned mask, void* mine, WarpCombine combine);

void WarpBarrier(unsigned mask, const std::source_location& where);
void BlockBarrier(const std::source_location& where);
// id: 1 to 15. threads: that take part, a multiple of 32. arrive: does not wait.
void NamedBarrier(int id, int threads, bool arrive, const std::source_location& where);

// The calling thread's next piece of shared memory. Every thread takes the same pieces in the same
// order. On the device they follow one another, each aligned to kSharedAlignment.
inline constexpr size_t kSharedAlignment = 16;
std::byte* TakeShared(size_t bytes);

// cp.async: `bytes` (4, 8 or 16) from global to shared memory, of which the last `zeros` are not
// read but zero. The destination holds no data before the wait.
void CopyAsync(void* shared, const void* global, size_t bytes, size_t zeros);
void CopyAsyncCommit();
void CopyAsyncWait(int groups_pending, const std::source_location& where);

// griddepcontrol.wait. A thread of an early launch that returns without it fails the launch.
void AwaitEarlierKernels();

unsigned LaneIndex();
// Ends the launch.
[[noreturn]] void Fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// ---- launching
// -----------------------------------------------------------------------------------

struct Extent {
  unsigned x, y, z;
};
struct LaunchShape {
  Extent grid;
  Extent block;
  size_t shared_bytes;
  size_t argument_bytes;
  const void* kernel;
  bool early;  // launched with programmatic stream serialization
};
enum class LaunchResult { kDone, kInvalidConfiguration, kInvalidValue, kFailed };
// thread(argument) is the kernel as one thread runs it.
LaunchResult Launch(const LaunchShape& shape, void (*thread)(void*), void* argument);
// From 48 KiB on a kernel must be allowed its shared memory. False: more than a block can have.
bool AllowShared(const void* kernel, int64_t bytes);

// ---- memory
// --------------------------------------------------------------------------------------

// As cudaMalloc: aligned to 256 bytes, filled with a pattern, guarded on both sides.
void* AllocateDevice(size_t bytes);
// False where the guards were written to, or the pointer is none of AllocateDevice's.
bool FreeDevice(void* pointer);
int64_t DeviceBytes();  // allocated

}  // namespace baton::cuda_host
