#include "engine/exec/gpu/plugin/step_graphs.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "cuda_kernels/launch.h"

namespace baton::gpu {

// Powers of two, then multiples of 8: what pads a step is read with weights that are read anyway.
int64_t StepGraphs::RowsFor(int64_t rows) {
  constexpr int64_t kStep = 8;
  if (rows >= kStep) return cuda::CeilDiv(rows, kStep) * kStep;
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(rows, 1))));
}

int32_t StepGraphs::PositionsFor(int32_t positions) {
  constexpr int32_t kPositionsMin = 256;
  constexpr int32_t kPositionsMax = 1 << 30;
  const int32_t wanted = std::clamp(positions, kPositionsMin, kPositionsMax);
  return static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(wanted)));
}

Fault StepGraphs::Run(const Key& key, const Stream& stream,
                      const std::function<Fault()>& launches) {
  Entry& entry = Find(key);
  if (entry.state == State::kRan) {
    const Fault fault = Capture(stream, launches, entry);
    if (fault.code() == BATON_UNAVAILABLE) return fault;
    entry.state = fault.failed() ? State::kRefused : State::kCaptured;
    if (fault.failed()) Free(entry);
    if (fault.failed() && !told_) {
      told_ = true;
      device_.host().log(
          BATON_LOG_WARN,
          Text("steps of ", key.rows,
               " rows are launched kernel by kernel, not as a CUDA graph: ", fault.message())
              .c_str());
    }
  }
  if (entry.state == State::kCaptured) {
    return device_.Check(cudaGraphLaunch(entry.graph, stream.get()), "cudaGraphLaunch");
  }
  BATON_GPU_TRY(launches());
  if (entry.state == State::kNew) entry.state = State::kRan;
  return {};
}

StepGraphs::Entry& StepGraphs::Find(const Key& key) {
  auto found = entries_.find(key);
  if (found == entries_.end()) {
    if (std::ssize(entries_) >= graphs_max_) {
      const auto oldest = std::min_element(
          entries_.begin(), entries_.end(),
          [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
      Free(oldest->second);
      entries_.erase(oldest);
    }
    found = entries_.try_emplace(key).first;
  }
  found->second.used = ++uses_;
  return found->second;
}

Fault StepGraphs::Capture(const Stream& stream, const std::function<Fault()>& launches,
                          Entry& entry) {
  int64_t free_bytes = 0;
  BATON_GPU_TRY(device_.BeginTaking(&free_bytes));
  // Other threads copy and load models meanwhile.
  BATON_GPU_TRY(
      device_.Check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal),
                    "cudaStreamBeginCapture"));
  Fault fault = launches();
  cudaGraph_t graph = nullptr;
  const Fault ended =
      device_.Check(cudaStreamEndCapture(stream.get(), &graph), "cudaStreamEndCapture");
  if (!fault.failed()) fault = ended;
  if (!fault.failed()) {
    fault = device_.Check(cudaGraphInstantiate(&entry.graph, graph, 0), "cudaGraphInstantiate");
  }
  // Now, not when it is first launched, so that its memory is counted.
  if (!fault.failed()) {
    fault = device_.Check(cudaGraphUpload(entry.graph, stream.get()), "cudaGraphUpload");
  }
  if (!fault.failed()) fault = device_.EndTaking(free_bytes, &entry.bytes);
  if (graph != nullptr) {
    const Fault destroyed = device_.Check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    if (!fault.failed()) fault = destroyed;
  }
  return fault;
}

void StepGraphs::Free(Entry& entry) {
  if (entry.graph == nullptr) return;
  cudaGraphExecDestroy(entry.graph);  // on a lost device this fails, which is known by then
  entry.graph = nullptr;
  device_.GiveBack(std::exchange(entry.bytes, 0));
}

void StepGraphs::Forget() {
  for (auto& [key, entry] : entries_) Free(entry);
  entries_.clear();
}

}  // namespace baton::gpu
