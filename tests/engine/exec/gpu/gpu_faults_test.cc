// What of a GPU can fail, by injection into the host runtime for kernels.
#include <cuda_runtime_api.h>

#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/strings.h"
#include "engine/exec/plugin_forward.h"
#include "tests/engine/exec/gpu/gpu_harness.h"
#include "tests/support/cuda_host/cuda_host.h"
#include "tests/support/eventually.h"

namespace baton {
namespace {

using Catch::Contains;
using Catch::StartsWith;

// Whatever a case does to the runtime is undone behind it.
struct Runtime {
  ~Runtime() {
    cuda_host::ForgetFailures();
    cuda_host::SetDeviceMemory(0);
    cuda_host::SetDriverVersion(CUDART_VERSION);
    cuda_host::SetComputeCapabilityMajor(9);
  }
};

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// A model on a device, and one step after another.
struct Stepper {
  explicit Stepper(int32_t step_tokens_max = 64)
      : device(OpenGpu(/*f32=*/true, step_tokens_max)),
        model(RandomModel({})),
        layout(LayoutOf(model->shape(), 16)),
        blocks(*device, layout, 8),
        of(blocks.Take(64)) {
    auto loaded = PluginForward::Load(device, model);
    REQUIRE_OK(loaded);
    forward = *std::move(loaded);
  }
  absl::Status Step(size_t count) {
    const std::vector<TokenId> tokens(count, 7);
    const ForwardItem item = {.tokens = tokens, .blocks = of, .logits = 1};
    logits = 0;
    return forward->Run(
        layout, {&item, 1}, [this](size_t, std::span<const float>) { ++logits; },
        [](size_t, const ChosenToken&) {});
  }

  std::shared_ptr<PluginDevice> device;
  std::shared_ptr<const LanguageModel> model;
  KvLayout layout;
  DeviceBlocks blocks;
  std::vector<std::byte*> of;
  std::unique_ptr<PluginForward> forward;
  int logits = 0;
};

}  // namespace

TEST_CASE("no device is a reason") {
  const Runtime runtime;
  cuda_host::InjectFailure({.call = "cudaGetDeviceCount", .error = cudaErrorNoDevice});
  const PluginExecutor none = MakeGpu();
  CHECK_FALSE(none.executor->Describe().present);
  CHECK(none.executor->Describe().reason ==
        "no GPU: no CUDA-capable device is detected (CUDA error 100 cudaErrorNoDevice)");
  CHECK(none.executor->llm() == nullptr);
  CHECK(none.paths.empty());
}

TEST_CASE("no driver and one that is too old are reasons and say what to do") {
  const Runtime runtime;
  const std::string own =
      StrCat(CUDART_VERSION / 1000, ".", CUDART_VERSION % 1000 / 10);  // what the plug-in is of
  const auto [version, want] = GENERATE_REF(
      std::pair(0,
                "no GPU: no NVIDIA driver (CUDA error 35 cudaErrorInsufficientDriver); install "
                "one that supports CUDA " +
                    own),
      std::pair(11040, "no GPU: the NVIDIA driver supports CUDA 11.4, the plug-in needs " + own +
                           " (CUDA error 35 cudaErrorInsufficientDriver); update the driver"));
  cuda_host::SetDriverVersion(version);
  const PluginExecutor gpu = MakeGpu();
  CHECK_FALSE(gpu.executor->Describe().present);
  CHECK(gpu.executor->Describe().reason == want);
  CHECK(gpu.executor->llm() == nullptr);
  CHECK(gpu.executor->search() == nullptr);
  CHECK(gpu.paths.empty());
}

TEST_CASE("a device that is older than the kernels says so") {
  const Runtime runtime;
  cuda_host::SetComputeCapabilityMajor(7);
  const PluginExecutor gpu = MakeGpu();
  CHECK(gpu.executor->Describe().present);
  CHECK(gpu.executor->Describe().reason ==
        "device present, but it cannot be taken into use: host runtime has compute capability 7.0, "
        "the kernels need 8.0");
  CHECK(gpu.executor->llm() == nullptr);
}

TEST_CASE("a device that cannot be taken into use says why") {
  const Runtime runtime;
  cuda_host::InjectFailure({.call = "cudaHostAlloc", .error = cudaErrorMemoryAllocation});
  const PluginExecutor gpu = MakeGpu();
  CHECK(gpu.executor->Describe().present);
  CHECK_THAT(gpu.executor->Describe().reason,
             StartsWith("device present, but it cannot be taken into use: copies of KV blocks "
                        "needs 2097152 bytes of pinned host memory"));
  CHECK(gpu.executor->llm() == nullptr);
}

TEST_CASE("a device that another process has to itself says so") {
  const Runtime runtime;
  cuda_host::InjectFailure({.call = "cudaSetDevice", .error = cudaErrorDevicesUnavailable});
  const PluginExecutor gpu = MakeGpu();
  CHECK(gpu.executor->Describe().present);
  CHECK_THAT(gpu.executor->Describe().reason,
             StartsWith("device present, but it cannot be taken into use: GPU 0 is busy: another "
                        "process has it to itself (nvidia-smi -q -d COMPUTE"));
  CHECK(gpu.executor->llm() == nullptr);
}

TEST_CASE("daemons that share a device each have what the others leave") {
  const Runtime runtime;
  const auto model = RandomModel({});
  const auto first = OpenGpu(/*f32=*/true);
  const int64_t before = first->TakeSample().memory_bytes_used;
  auto of_first = PluginForward::Load(first, model);
  REQUIRE_OK(of_first);
  const int64_t needs = first->TakeSample().memory_bytes_used - before;
  const auto second = OpenGpu(/*f32=*/true);
  CHECK(second->TakeSample().memory_bytes_used >= first->TakeSample().memory_bytes_used);
  // Less is left than another one needs.
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  REQUIRE(cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess);
  cuda_host::SetDeviceMemory(static_cast<int64_t>(total_bytes - free_bytes) + needs - 4096);
  const absl::Status refused = PluginForward::Load(second, model).status();
  CHECK(absl::IsResourceExhausted(refused));
  CHECK_THAT(Message(refused),
             StartsWith("model random needs ") && Contains(std::to_string(needs - 4096) + " of "));
  of_first->reset();
  REQUIRE_OK(PluginForward::Load(second, model).status());
  CHECK(second->TakeSample().lost.empty());
}

TEST_CASE("a model that is too large is refused with what it needs and what there is") {
  const Runtime runtime;
  const auto device = OpenGpu(/*f32=*/true);
  const auto model = RandomModel({});
  // What the device took when it was opened, and a MiB.
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  REQUIRE(cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess);
  const auto memory = static_cast<int64_t>(total_bytes - free_bytes) + (1 << 20);
  const std::string left =
      " bytes of GPU memory, 1048576 of " + std::to_string(memory) + " are free";
  cuda_host::SetDeviceMemory(memory);
  const absl::Status refused = PluginForward::Load(device, model).status();
  CHECK(absl::IsResourceExhausted(refused));
  CHECK_THAT(Message(refused), Contains("model random needs ") && Contains(left));
  const absl::Status no_kv = device->Allocate({.count = 1, .bytes = 2 << 20}).status();
  CHECK(absl::IsResourceExhausted(no_kv));
  CHECK(Message(no_kv) == "a model's KV blocks needs 2097152" + left);
  cuda_host::SetDeviceMemory(0);
  REQUIRE_OK(PluginForward::Load(device, model).status());
}

TEST_CASE("whatever fails while a model is loaded leaves nothing behind") {
  const Runtime runtime;
  const auto device = OpenGpu(/*f32=*/true);
  const auto model = RandomModel({.type = TensorType::kQ8_0});
  const int64_t used = device->TakeSample().memory_bytes_used;
  int failed = 0;
  for (const char* call : {"cudaMalloc", "cudaHostAlloc", "cudaMemcpyAsync", "cudaMemGetInfo",
                           "cudaStreamCreateWithFlags", "cudaLaunchKernelEx"}) {
    for (int64_t after = 0; after < 4; ++after) {
      CAPTURE(call, after);
      cuda_host::InjectFailure({.call = call, .after = after, .error = cudaErrorMemoryAllocation});
      const absl::Status status = PluginForward::Load(device, model).status();
      cuda_host::ForgetFailures();
      CHECK((status.ok() || absl::IsResourceExhausted(status)));
      failed += status.ok() ? 0 : 1;
      CHECK(device->TakeSample().memory_bytes_used == used);
    }
  }
  CHECK(failed >= 15);
  REQUIRE_OK(PluginForward::Load(device, model).status());
}

TEST_CASE("out of memory within a step fails that step only") {
  const Runtime runtime;
  Stepper stepper;
  REQUIRE_OK(stepper.Step(2));
  // A longer step needs more room for its inputs.
  cuda_host::InjectFailure({.call = "cudaMalloc", .error = cudaErrorMemoryAllocation});
  const absl::Status status = stepper.Step(64);
  CHECK(absl::IsResourceExhausted(status));
  CHECK_THAT(Message(status), StartsWith("the inputs of a step needs "));
  CHECK(stepper.logits == 0);
  REQUIRE_OK(stepper.Step(64));
  CHECK(stepper.logits == 1);
  CHECK(stepper.device->TakeSample().lost.empty());
}

TEST_CASE("a launch that is refused fails its step only") {
  const Runtime runtime;
  Stepper stepper;
  for (int64_t after = 0; after < 40; after += 3) {
    cuda_host::InjectFailure(
        {.call = "cudaLaunchKernelEx", .after = after, .error = cudaErrorInvalidConfiguration});
    const absl::Status status = stepper.Step(3);
    cuda_host::ForgetFailures();
    CHECK((status.ok() || absl::IsInternal(status)));
    if (after < 10) CHECK_THAT(Message(status), Contains("cudaErrorInvalidConfiguration"));
    REQUIRE_OK(stepper.Step(3));
  }
}

TEST_CASE("an error that ruins the context fences the device for the life of the process") {
  const Runtime runtime;
  PluginExecutor gpu = MakeGpu();
  LlmSkill& llm = *gpu.executor->llm();
  const auto model = RandomModel({});
  REQUIRE_OK(llm.LoadModel(model));
  const KvLayout layout = LayoutOf(model->shape(), 16, KvType::kF16);
  auto pool = KvBlockPool::Create(layout, 4, *llm.kv_memory());
  REQUIRE_OK(pool);
  std::byte* const block = (*pool)->Data(*(*pool)->Allocate());
  const auto run = [&] {
    LlmItem item;
    item.slot = SlotId(0);
    item.work_class = WorkClass::kPrefill;
    item.tokens = {5, 6};
    item.blocks = {block};
    item.sample = true;
    LlmBatch batch{.model = model, .layout = layout, .items = {item}};
    auto promise = std::make_shared<std::promise<absl::Status>>();
    llm.Execute(std::move(batch),
                [promise](const LlmBatchResult& result) { promise->set_value(result.status); });
    return promise->get_future().get();
  };
  llm.OpenSlot(SlotId(0), {});
  REQUIRE_OK(run());

  const std::string call =
      GENERATE("cudaStreamSynchronize", "cudaLaunchKernelEx", "cudaMemcpyAsync");
  cuda_host::InjectFailure({.call = call, .error = cudaErrorIllegalAddress, .sticky = true});
  const absl::Status lost = run();
  CHECK(absl::IsUnavailable(lost));
  CHECK_THAT(Message(lost), StartsWith("GPU 0 is lost to this process, restart needed: ") &&
                                Contains("CUDA error 700 cudaErrorIllegalAddress"));
  // Also where the runtime seems to have come round.
  cuda_host::ForgetFailures();
  CHECK(run() == lost);
  CHECK(llm.LoadModel(RandomModel({})) == lost);
  CHECK(absl::IsUnavailable(llm.kv_memory()->Allocate({.count = 1, .bytes = 256}).status()));
  const ExecutorSample sample = gpu.executor->Sample();
  CHECK_FALSE(sample.healthy);
  CHECK(sample.trouble == Message(lost));
  std::vector<std::byte> host(static_cast<size_t>(layout.block_bytes()));
  CopyPath::Job job{
      .sources = {block}, .destinations = {host.data()}, .block_bytes = layout.block_bytes()};
  const auto ticket = gpu.paths[1]->Post(job);
  REQUIRE_OK(ticket);
  absl::Status copied;
  REQUIRE(Eventually([&] {
    const auto done = gpu.paths[1]->Poll(*ticket);
    copied = done.status();
    return !done.ok() || *done;
  }));
  CHECK(copied == lost);
}

}  // namespace baton
