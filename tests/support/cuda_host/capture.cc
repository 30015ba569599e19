#include "tests/support/cuda_host/capture.h"

#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/cuda_host/block.h"
#include "tests/support/cuda_host/cuda_host.h"

// What a stream was asked for while it was captured, in order; an executable graph has a copy.
struct CUgraph_st {
  std::vector<std::function<cudaError_t()>> work;
};
struct CUgraphExec_st {
  std::vector<std::function<cudaError_t()>> work;
  void* memory = nullptr;  // of the device
};

namespace baton::cuda_host {
namespace {

struct Capture {
  std::thread::id thread;
  cudaStreamCaptureMode mode;
  bool valid = true;
  CUgraph_st graph;
};

std::mutex mutex;
std::map<cudaStream_t, Capture> captures;
std::atomic<int64_t> graphs_alive{0};
std::atomic<int64_t> graph_launches{0};
std::atomic<int64_t> submissions{0};

}  // namespace

cudaError_t Submit(const char* call, cudaStream_t stream, std::function<cudaError_t()> work) {
  if (const cudaError_t error = Enter(call); error != cudaSuccess) return error;
  {
    const std::lock_guard lock(mutex);
    if (const auto found = captures.find(stream); found != captures.end()) {
      if (!found->second.valid) return cudaErrorStreamCaptureInvalidated;
      found->second.graph.work.push_back(std::move(work));
      return cudaSuccess;
    }
  }
  ++submissions;
  return work();
}

cudaError_t RefuseWhileCapturing() {
  const std::lock_guard lock(mutex);
  bool refused = false;
  for (auto& [stream, capture] : captures) {
    if (capture.mode == cudaStreamCaptureModeRelaxed) continue;
    if (capture.mode == cudaStreamCaptureModeThreadLocal &&
        capture.thread != std::this_thread::get_id()) {
      continue;
    }
    capture.valid = false;
    refused = true;
  }
  return refused ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

cudaError_t RefuseCaptured(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  const auto found = captures.find(stream);
  if (found == captures.end()) return cudaSuccess;
  found->second.valid = false;
  return cudaErrorStreamCaptureUnsupported;
}

int64_t LiveGraphs() { return graphs_alive; }
int64_t GraphLaunches() { return graph_launches; }
int64_t Submissions() { return submissions; }

}  // namespace baton::cuda_host

using namespace baton::cuda_host;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (const cudaError_t error = Enter("cudaStreamBeginCapture"); error != cudaSuccess) return error;
  if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;  // the legacy stream
  const std::lock_guard lock(mutex);
  Capture capture = {.thread = std::this_thread::get_id(), .mode = mode, .graph = {}};
  const bool begun = captures.emplace(stream, std::move(capture)).second;
  return begun ? cudaSuccess : cudaErrorIllegalState;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const cudaError_t error = Enter("cudaStreamEndCapture");
  const std::lock_guard lock(mutex);
  const auto found = captures.find(stream);
  if (found == captures.end()) return error != cudaSuccess ? error : cudaErrorIllegalState;
  Capture& capture = found->second;
  if (capture.mode != cudaStreamCaptureModeRelaxed &&
      capture.thread != std::this_thread::get_id()) {
    return cudaErrorStreamCaptureWrongThread;
  }
  const bool valid = capture.valid;
  if (valid && error == cudaSuccess) {
    *graph = new CUgraph_st(std::move(capture.graph));
    ++graphs_alive;
  }
  captures.erase(found);
  if (error != cudaSuccess) return error;
  return valid ? cudaSuccess : cudaErrorStreamCaptureInvalidated;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = nullptr;
  if (const cudaError_t error = Enter("cudaGraphInstantiate"); error != cudaSuccess) return error;
  const auto bytes = static_cast<size_t>(kGraphNodeBytes) * graph->work.size();
  void* memory = nullptr;
  if (bytes > 0) {
    if (const cudaError_t error = cudaMalloc(&memory, bytes); error != cudaSuccess) return error;
  }
  *exec = new CUgraphExec_st{graph->work, memory};
  ++graphs_alive;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return Submit("cudaGraphLaunch", stream, [exec] {
    ++graph_launches;
    for (const auto& work : exec->work) {
      if (const cudaError_t error = work(); error != cudaSuccess) return error;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  --graphs_alive;
  return Enter("cudaGraphDestroy");
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t stream) {
  if (const cudaError_t error = Enter("cudaGraphUpload"); error != cudaSuccess) return error;
  return RefuseCaptured(stream);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  if (exec->memory != nullptr) FreeDevice(exec->memory);
  delete exec;
  --graphs_alive;
  return Enter("cudaGraphExecDestroy");
}
