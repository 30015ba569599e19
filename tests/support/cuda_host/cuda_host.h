#pragma once

#include <cstdint>
#include <string>
#include <vector>

// The host runtime for kernels: what a test may ask of it beside the CUDA runtime's own functions.
// Kernels compile as C++ against the headers in include/, which stand in for the toolkit's; a
// launch runs block by block, a block's threads as fibers, each until it has to wait.
// One launch at a time; a launch from a second thread waits.
namespace baton::cuda_host {

// In which order threads of a block, and blocks of a grid, get their turn. What is right must not
// depend on it; shared memory that was never written holds other bytes under each.
enum class OrderKind { kAscending, kDescending, kRandom };
struct Order {
  OrderKind kind = OrderKind::kAscending;
  uint64_t seed = 0;  // of kRandom
};
void SetOrder(const Order& order);
std::string Name(const Order& order);  // "ascending", "random order, seed 3"

// What the last launch, copy or free that failed has to say: block, thread, place and limit.
const std::string& LastError();

// Sites of barriers (__syncthreads, __syncwarp, named ones, waits for copies) that launches have
// passed since ForgetSites, as "file.cu:41".
std::vector<std::string> Sites();
void ForgetSites();
// Launches do as if the barrier at this site were not there; "": all are. A test that still passes
// does not test the barrier.
void SkipSite(const std::string& site);

// A call of the CUDA runtime that is to fail, once; sticky: and every call after it, as behind a
// kernel that has ruined its context.
struct InjectedFailure {
  std::string call;   // "cudaMalloc"
  int64_t after = 0;  // so many calls of it succeed before
  int error = 0;      // a cudaError_t
  bool sticky = false;
};
void InjectFailure(InjectedFailure failure);
void ForgetFailures();
// Copies so far that came from host memory registered with cudaHostRegister, or went there.
int64_t RegisteredCopies();
// What an instantiated graph takes of the device's memory for each thing that is done in it.
inline constexpr int64_t kGraphNodeBytes = 512;
// Graphs that were captured or instantiated and are not destroyed.
int64_t LiveGraphs();
// Launches of graphs so far; and all that streams were asked for outside of a capture, each of
// those one of it.
int64_t GraphLaunches();
int64_t Submissions();
// Launches so far that were early: with programmatic stream serialization.
int64_t EarlyLaunches();
// So many devices are told of; all compute with the same memory. 1 at the start.
void SetDeviceCount(int count);
// The newest CUDA that the driver supports, as CUDA counts versions; 0: there is no driver. Below
// the runtime's own no device is told of.
void SetDriverVersion(int cuda_version);
// Of all devices. 9 at the start.
void SetComputeCapabilityMajor(int major);
// How much memory the device has, what is allocated included; 0: as at the start, 8 GiB.
void SetDeviceMemory(int64_t bytes);

}  // namespace baton::cuda_host
