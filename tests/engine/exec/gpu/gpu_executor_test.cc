// The GPU executor as the engine uses it: the skill, its slots, and the copies to and from its
// memory, on the host runtime for kernels.
#include "engine/exec/gpu/gpu_executor.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/exec/cpu/cpu_llm.h"
#include "engine/exec/plugin_forward.h"
#include "engine/transfer/host_copy_path.h"
#include "tests/engine/exec/gpu/gpu_harness.h"
#include "tests/support/cuda_host/cuda_host.h"
#include "tests/support/eventually.h"
#include "tests/support/naive_kv.h"
#include "tests/support/sanitized.h"

namespace baton {
namespace {

constexpr SlotId kSlot{0};

// A skill with a model, and blocks of its memory for one sequence.
struct Skill {
  Skill(LlmSkill& of, std::shared_ptr<const LanguageModel> loads, const KvLayout& with)
      : llm(of), model(std::move(loads)), layout(with) {
    REQUIRE_OK(llm.LoadModel(model));
    auto created = llm.kv_memory() == nullptr ? KvBlockPool::Create(layout, 8)
                                              : KvBlockPool::Create(layout, 8, *llm.kv_memory());
    REQUIRE_OK(created);
    pool = *std::move(created);
    for (int i = 0; i < 8; ++i) blocks.push_back(pool->Data(*pool->Allocate()));
  }

  LlmBatchResult Run(WorkClass work_class, std::vector<TokenId> tokens, int32_t position,
                     std::vector<TokenId> score = {}) {
    LlmItem item;
    item.sequence = SequenceId(1);
    item.slot = kSlot;
    item.work_class = work_class;
    item.position = position;
    item.tokens = std::move(tokens);
    item.blocks = blocks;
    item.sample = true;
    item.score = std::move(score);
    auto promise = std::make_shared<std::promise<LlmBatchResult>>();
    LlmBatch batch{.model = model, .layout = layout, .items = {}, .layers_done = layers_done};
    batch.items.push_back(std::move(item));
    llm.Execute(std::move(batch),
                [promise](LlmBatchResult result) { promise->set_value(std::move(result)); });
    return promise->get_future().get();
  }

  // The tokens of a prompt and some decodes, of which every third brings guesses; and their log
  // probabilities, where these are wanted.
  std::vector<TokenId> Generate(const SlotSetup& setup,
                                std::vector<TokenLogprobs>* logprobs = nullptr) {
    llm.OpenSlot(kSlot, setup);
    LlmBatchResult result = Run(WorkClass::kPrefill, {5, 9, 100, 42, 7}, 0);
    std::vector<TokenId> all;
    int32_t position = 5;
    for (int i = 0; i < 9; ++i) {
      REQUIRE_OK(result.status);
      const std::vector<TokenId>& tokens = result.items[0].tokens;
      if (i > 0) position += static_cast<int32_t>(tokens.size());
      all.insert(all.end(), tokens.begin(), tokens.end());
      const std::vector<TokenLogprobs>& told = result.items[0].logprobs;
      if (logprobs != nullptr) logprobs->insert(logprobs->end(), told.begin(), told.end());
      std::vector<TokenId> guesses;
      if (i % 3 == 2) guesses = {all[all.size() / 2], 17};
      result = Run(WorkClass::kDecode, guesses, position);
    }
    llm.CloseSlot(kSlot);
    return all;
  }

  LlmSkill& llm;
  std::shared_ptr<const LanguageModel> model;
  KvLayout layout;
  std::unique_ptr<KvBlockPool> pool;
  std::vector<std::byte*> blocks;
  std::shared_ptr<std::atomic<int32_t>> layers_done;  // of every batch
};

GpuOptions F32() {
  GpuOptions options;
  options.activations = "f32";
  return options;
}

}  // namespace

TEST_CASE("the GPU tells which layers of a batch are done, to who asks") {
  const PluginExecutor gpu = MakeGpu(F32());
  const auto model = RandomModel({.layers = 3});
  Skill on_gpu(*gpu.executor->llm(), model, LayoutOf(model->shape(), 16, KvType::kF16));
  CHECK(on_gpu.llm.TellsLayers());
  on_gpu.llm.OpenSlot(kSlot, {});
  on_gpu.layers_done = std::make_shared<std::atomic<int32_t>>(0);
  REQUIRE_OK(on_gpu.Run(WorkClass::kPrefill, {5, 9, 100}, 0).status);
  CHECK(*on_gpu.layers_done == 3);
  // A batch that fails half way has told of what was done, and tells nothing any more.
  *on_gpu.layers_done = 0;
  cuda_host::InjectFailure(
      {.call = "cudaLaunchHostFunc", .after = 2, .error = cudaErrorInvalidValue});
  CHECK_FALSE(on_gpu.Run(WorkClass::kPrefill, {5, 9, 100}, 0).status.ok());
  CHECK(*on_gpu.layers_done == 2);
  cuda_host::ForgetFailures();
}

TEST_CASE("the GPU executor describes itself and says that it is emulated") {
  const PluginExecutor gpu = MakeGpu();
  const ExecutorInfo& info = gpu.executor->Describe();
  CHECK(info.platform == Platform::kGpu);
  CHECK(info.device == "host runtime");
  CHECK(info.present);
  CHECK(info.emulated);
  CHECK(info.reason.empty());
  CHECK(info.memory_bytes_total > 0);
  REQUIRE(gpu.executor->llm() != nullptr);
  CHECK(ToString(gpu.executor->llm()->kv_space()) == "cuda:0");
  CHECK(gpu.executor->Sample().healthy);
  CHECK(gpu.paths.size() == 2);
}

TEST_CASE("each of several GPUs is an executor with memory and paths of its own") {
  struct Count {
    Count() { cuda_host::SetDeviceCount(2); }
    ~Count() { cuda_host::SetDeviceCount(1); }
  } count;
  const auto model = RandomModel({});
  const std::vector<PluginExecutor> gpus = MakeGpus(F32());
  REQUIRE(gpus.size() == 2);
  std::vector<std::vector<TokenId>> generated;
  for (size_t i = 0; i < gpus.size(); ++i) {
    const ExecutorInfo& info = gpus[i].executor->Describe();
    CHECK(info.device == "host runtime #" + std::to_string(i));
    CHECK(ToString(gpus[i].executor->llm()->kv_space()) == "cuda:" + std::to_string(i));
    CHECK(gpus[i].paths[0]->name() == "host_to_cuda:" + std::to_string(i));
    Skill skill(*gpus[i].executor->llm(), model, LayoutOf(model->shape(), 16));
    generated.push_back(skill.Generate({}));
  }
  CHECK(generated[0] == generated[1]);
  GpuOptions one = F32();
  one.devices = 1;
  CHECK(MakeGpus(one).size() == 1);
}

TEST_CASE("in f32 the GPU generates the CPU's tokens, however they are chosen") {
  const auto model = RandomModel({});
  CpuLlm cpu({.threads = 1}, KernelsFor(SimdLevel::kBaseline), SystemClock());
  Skill on_cpu(cpu, model, LayoutOf(model->shape(), 16));
  const PluginExecutor gpu = MakeGpu(F32());
  Skill on_gpu(*gpu.executor->llm(), model, LayoutOf(model->shape(), 16));

  SlotSetup greedy;
  SlotSetup drawn;
  drawn.sampler.params.temperature = 1.1f;
  drawn.sampler.params.seed = 5;
  SlotSetup penalised = drawn;
  penalised.sampler.params.presence_penalty = 1.5f;
  penalised.sampler.params.frequency_penalty = 0.5f;
  SlotSetup repeats = greedy;
  repeats.sampler.params.repetition_penalty = 1.4f;
  repeats.sampler.params.penalty_last_n = 4;
  repeats.sampler.params.logit_bias = {{7, 3.0f}, {8, -3.0f}};
  repeats.sampler.prompt = {5, 9, 100, 42, 7};
  SlotSetup ends = greedy;
  ends.sampler.min_tokens = 4;
  for (TokenId end = 1; end < 320; end += 2) ends.sampler.ends.push_back(end);
  SlotSetup told = repeats;
  told.logprobs = 3;
  for (const SlotSetup& setup : {greedy, drawn, penalised, repeats, ends, told}) {
    std::vector<TokenLogprobs> got;
    std::vector<TokenLogprobs> want;
    CHECK(on_gpu.Generate(setup, &got) == on_cpu.Generate(setup, &want));
    REQUIRE(got.size() == want.size());
    CHECK(got.empty() != setup.logprobs.has_value());
    for (size_t i = 0; i < got.size(); ++i) {
      CAPTURE(i);
      CHECK(got[i].token.id == want[i].token.id);
      CHECK(got[i].token.logprob == Approx(want[i].token.logprob).margin(1e-4));
      REQUIRE(got[i].top.size() == 3);
      for (size_t k = 0; k < 3; ++k) {
        CHECK(got[i].top[k].id == want[i].top[k].id);
        CHECK(got[i].top[k].logprob == Approx(want[i].top[k].logprob).margin(1e-4));
      }
    }
  }
}

TEST_CASE("a plug-in that changes no logits leaves such choices to the host") {
  const auto plugin = GpuPluginUnderTest();
  REQUIRE_OK(plugin);
  baton_executor_plugin table = *plugin->table;
  table.flags &= ~static_cast<uint32_t>(BATON_PLUGIN_CHANGES_LOGITS);
  const auto device = PluginDevice::Open(
      {.table = &table, .devices = plugin->devices},
      {.label = "GPU", .f32_activations = true, .space = {.kind = MemorySpace::Kind::kCuda}});
  REQUIRE_OK(device);
  const auto model = RandomModel({});
  const auto forward = PluginForward::Load(*device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 16);
  DeviceBlocks blocks(**device, layout, 4);
  const std::vector<TokenId> tokens = {5, 9};
  const TokenId excluded[] = {3};
  PlainSampling changed;
  changed.changes.excluded = excluded;
  std::vector<std::vector<std::byte*>> of;
  for (int i = 0; i < 3; ++i) of.push_back(blocks.Take(2));
  const ForwardItem items[] = {
      {.tokens = tokens, .blocks = of[0], .logits = 1, .sampling = PlainSampling{}},
      {.tokens = tokens, .blocks = of[1], .logits = 1, .sampling = changed},
      {.tokens = tokens, .blocks = of[2], .logits = 1, .sampling = PlainSampling{}, .logprobs = 1}};
  std::vector<size_t> logits;
  std::vector<size_t> chosen;
  REQUIRE_OK((*forward)->Run(
      layout, items, [&](size_t item, std::span<const float>) { logits.push_back(item); },
      [&](size_t item, const ChosenToken&) { chosen.push_back(item); }));
  CHECK(logits == std::vector<size_t>{1, 2});
  CHECK(chosen == std::vector<size_t>{0});
}

TEST_CASE("a prompt's log probabilities are the CPU's") {
  const auto model = RandomModel({});
  CpuLlm cpu({.threads = 1}, KernelsFor(SimdLevel::kBaseline), SystemClock());
  Skill on_cpu(cpu, model, LayoutOf(model->shape(), 16));
  const PluginExecutor gpu = MakeGpu(F32());
  Skill on_gpu(*gpu.executor->llm(), model, LayoutOf(model->shape(), 16));
  SlotSetup setup;
  setup.logprobs = 2;
  LlmBatchResult results[2];
  Skill* const skills[] = {&on_cpu, &on_gpu};
  for (int i = 0; i < 2; ++i) {
    skills[i]->llm.OpenSlot(kSlot, setup);
    results[i] = skills[i]->Run(WorkClass::kPrefill, {5, 9, 100}, 0, {9, 100});
    REQUIRE_OK(results[i].status);
    REQUIRE(results[i].items[0].score_logprobs.size() == 2);
  }
  for (int i = 0; i < 2; ++i) {
    const TokenLogprobs& want = results[0].items[0].score_logprobs[i];
    const TokenLogprobs& got = results[1].items[0].score_logprobs[i];
    CHECK(got.token.id == want.token.id);
    CHECK(got.token.logprob == Approx(want.token.logprob).epsilon(1e-4));
    CHECK(got.top[0].id == want.top[0].id);
  }
}

TEST_CASE("a model that is gone is refused and one that comes back runs") {
  const auto model = RandomModel({});
  const PluginExecutor gpu = MakeGpu(F32());
  Skill skill(*gpu.executor->llm(), model, LayoutOf(model->shape(), 16));
  const auto before = skill.Generate({});
  skill.llm.UnloadModel(*model);
  skill.llm.UnloadModel(*model);  // nothing to do
  skill.llm.OpenSlot(kSlot, {});
  CHECK(skill.Run(WorkClass::kPrefill, {5}, 0).status ==
        absl::InternalError("a batch for a model that was not loaded into the GPU executor"));
  REQUIRE_OK(skill.llm.LoadModel(model));
  CHECK(skill.Generate({}) == before);
}

TEST_CASE("blocks go to the GPU's memory and back as they are") {
  const PluginExecutor gpu = MakeGpu();
  const KvLayout layout = {.layers = 3, .kv_heads = 2, .head_dim = 64, .block_tokens = 64};
  auto on_device = KvBlockPool::Create(layout, 40, *gpu.executor->llm()->kv_memory());
  REQUIRE_OK(on_device);
  const int64_t bytes = layout.block_bytes();
  std::vector<std::vector<std::byte>> sent(40, std::vector<std::byte>(static_cast<size_t>(bytes)));
  std::vector<std::vector<std::byte>> received = sent;
  CopyPath::Job up{.block_bytes = bytes};
  CopyPath::Job down{.block_bytes = bytes};
  for (size_t i = 0; i < sent.size(); ++i) {
    std::memset(sent[i].data(), static_cast<int>(i + 1), sent[i].size());
    sent[i].back() = std::byte{0xAB};
    std::byte* const block = (*on_device)->Data(*(*on_device)->Allocate());
    up.sources.push_back(sent[i].data());
    up.destinations.push_back(block);
    down.sources.push_back(block);
    down.destinations.push_back(received[i].data());
  }
  const MemorySpace host;
  const MemorySpace device = gpu.executor->llm()->kv_space();
  CopyPath& to = *gpu.paths[0];
  CopyPath& from = *gpu.paths[1];
  CHECK(to.name() == "host_to_cuda:0");
  CHECK(to.Connects(host, device));
  CHECK_FALSE(to.Connects(device, host));
  CHECK(from.Connects(device, host));
  CHECK_FALSE(from.Connects(device, device));

  const auto carry = [](CopyPath& path, const CopyPath::Job& job) {
    const auto ticket = path.Post(job);
    REQUIRE_OK(ticket);
    REQUIRE(Eventually([&] {
      const auto done = path.Poll(*ticket);
      REQUIRE_OK(done);
      return *done;
    }));
    CHECK(path.CopyUs(*ticket).has_value());
    CHECK(absl::IsNotFound(path.Poll(*ticket).status()));  // said once
  };
  carry(to, up);
  carry(from, down);
  CHECK(received == sent);

  // What is mapped comes and goes without a buffer between.
  CHECK(cuda_host::RegisteredCopies() == 0);
  for (auto& blocks : {&sent, &received}) {
    for (auto& block : *blocks) {
      REQUIRE_OK(gpu.mapper->Map({.data = block.data(), .bytes = bytes}));
      std::fill(block.begin(), block.end(), blocks == &sent ? std::byte{7} : std::byte{0});
    }
  }
  carry(to, up);
  CHECK(cuda_host::RegisteredCopies() == std::ssize(sent));
  carry(from, down);
  CHECK(cuda_host::RegisteredCopies() == 2 * std::ssize(sent));
  CHECK(received == sent);
  for (auto& blocks : {&sent, &received}) {
    for (auto& block : *blocks) gpu.mapper->Unmap({.data = block.data(), .bytes = bytes});
  }
  carry(from, down);
  CHECK(cuda_host::RegisteredCopies() == 2 * std::ssize(sent));
  CHECK(received == sent);
  cuda_host::InjectFailure({.call = "cudaHostRegister", .error = cudaErrorMemoryAllocation});
  CHECK(absl::IsResourceExhausted(gpu.mapper->Map({.data = sent[0].data(), .bytes = bytes})));
  cuda_host::ForgetFailures();

  // What is cancelled touches nothing any more.
  std::vector<std::vector<std::byte>> untouched = received;
  const auto ticket = from.Post(down);
  REQUIRE_OK(ticket);
  from.Cancel(*ticket);
  for (auto& block : received) std::fill(block.begin(), block.end(), std::byte{0});
  from.Cancel(*ticket);
  for (const auto& block : received) CHECK(block == std::vector<std::byte>(block.size()));

  // Nothing is copied at once.
  CHECK(*to.Poll(*to.Post({})));
  CopyPath::Job wrong{
      .sources = {sent[0].data()}, .destinations = {received[0].data()}, .block_bytes = bytes};
  CHECK(absl::IsInvalidArgument(to.Post(wrong).status()));
  wrong.destinations.clear();
  CHECK(absl::IsInvalidArgument(to.Post(wrong).status()));
}

// As what arrives and is converted by the host, bit by bit, and zeros behind the last position.
TEST_CASE("blocks are packed on the GPU as the host would convert them") {
  const PluginExecutor gpu = MakeGpu();
  CopyPath& from = *gpu.paths[1];
  std::mt19937 random(5);
  const KvType types[] = {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8};
  for (int round = 0; round < (kSanitized ? 12 : 60); ++round) {
    KvLayout source = {
        .layers = 1 + static_cast<int32_t>(random() % 5),
        .kv_heads = 1 + static_cast<int32_t>(random() % 3),
        .head_dim = round % 7 == 0 ? 512 : 8 * (1 + static_cast<int32_t>(random() % 12)),
        .block_tokens = 8 << random() % 4,
        .type = types[random() % 3]};
    KvLayout to = source;
    to.block_tokens = 8 << random() % 4;
    to.type = types[random() % 4];
    const auto tokens = static_cast<int64_t>(round == 0 ? 0 : 1 + random() % 150);
    const auto first = static_cast<int32_t>(random() % static_cast<uint32_t>(source.layers));
    const auto last =
        first + 1 + static_cast<int32_t>(random() % static_cast<uint32_t>(source.layers - first));
    CAPTURE(round, source.layers, source.kv_heads, source.head_dim, source.block_tokens,
            to.block_tokens, tokens, first, last);
    const auto blocks = [&](const KvLayout& layout) {
      return static_cast<size_t>((tokens + layout.block_tokens - 1) / layout.block_tokens);
    };
    auto pool = KvBlockPool::Create(source, static_cast<int32_t>(blocks(source)) + 3,
                                    *gpu.executor->llm()->kv_memory());
    REQUIRE_OK(pool);
    using Memory = std::vector<std::vector<std::byte>>;
    Memory sent(blocks(source), std::vector<std::byte>(static_cast<size_t>(source.block_bytes())));
    CopyPath::Job up{.block_bytes = source.block_bytes()};
    CopyPath::Job down;
    static_cast<void>((*pool)->Allocate());  // blocks do not begin where the memory does
    for (auto& block : sent) {
      for (size_t at = 0; at < block.size(); at += 4) {
        // Finite in every type of 16 or 32 bits.
        const uint32_t word = static_cast<uint32_t>(random()) & 0xbfffbfff;
        std::memcpy(block.data() + at, &word, sizeof(word));
      }
      up.sources.push_back(block.data());
      up.destinations.push_back((*pool)->Data(*(*pool)->Allocate()));
      down.sources.push_back(up.destinations.back());
    }
    std::reverse(up.destinations.begin(), up.destinations.end());
    std::reverse(down.sources.begin(), down.sources.end());
    Memory packed(blocks(to),
                  std::vector<std::byte>(static_cast<size_t>(to.block_bytes()), std::byte{0x5a}));
    Memory wanted = packed;
    CopyPath::Job here;
    const int64_t layer_bytes = to.layer_bytes();
    for (size_t i = 0; i < packed.size(); ++i) {
      down.destinations.push_back(packed[i].data());
      here.destinations.push_back(wanted[i].data());
      std::memset(wanted[i].data() + first * layer_bytes, 0,
                  static_cast<size_t>((last - first) * layer_bytes));
    }
    here.sources = up.sources;
    const KvConversion conversion = {.source = source,
                                     .destination = to,
                                     .tokens = tokens,
                                     .layer_begin = first,
                                     .layer_end = last};
    down.conversion = here.conversion = conversion;
    HostDirectPath converter(NaiveConvertRows, SystemClock());
    REQUIRE_OK(converter.Post(here));
    REQUIRE(from.Packs(conversion));
    CHECK_FALSE(gpu.paths[0]->Packs(conversion));
    const bool mapped = round % 3 == 0;
    for (auto& block : packed) {
      if (mapped) REQUIRE_OK(gpu.mapper->Map({.data = block.data(), .bytes = to.block_bytes()}));
    }
    const auto carry = [](CopyPath& path, const CopyPath::Job& job) {
      const auto ticket = path.Post(job);
      REQUIRE_OK(ticket);
      REQUIRE(Eventually([&] {
        const auto done = path.Poll(*ticket);
        REQUIRE_OK(done);
        return *done;
      }));
    };
    carry(*gpu.paths[0], up);
    carry(from, down);
    for (auto& block : packed) {
      if (mapped) gpu.mapper->Unmap({.data = block.data(), .bytes = to.block_bytes()});
    }
    CHECK((packed == wanted));
  }
}

TEST_CASE("packings that are none are refused by name") {
  const PluginExecutor gpu = MakeGpu();
  CopyPath& from = *gpu.paths[1];
  KvLayout layout = {.layers = 1, .kv_heads = 1, .head_dim = 64, .block_tokens = 8};
  auto pool = KvBlockPool::Create(layout, 4, *gpu.executor->llm()->kv_memory());
  REQUIRE_OK(pool);
  KvLayout to = layout;
  to.type = KvType::kInt8;
  std::vector<std::byte> room(static_cast<size_t>(to.block_bytes()));
  std::byte* const block = (*pool)->Data(*(*pool)->Allocate());
  const CopyPath::Job good = {
      .sources = {block},
      .destinations = {room.data()},
      .conversion = KvConversion{.source = layout, .destination = to, .tokens = 8, .layer_end = 1}};
  const auto refused = [&](auto change, const std::string& why) {
    CopyPath::Job job = good;
    change(job);
    const auto ticket = from.Post(job);
    CHECK(absl::IsInvalidArgument(ticket.status()));
    CHECK_THAT(std::string(ticket.status().message()), Catch::Contains(why));
  };
  refused([](CopyPath::Job& job) { job.conversion->tokens = 9; }, "block");
  refused([](CopyPath::Job& job) { job.conversion->layer_end = 2; }, "layer");
  refused([&](CopyPath::Job& job) { job.sources[0] = room.data(); },
          "block 0 of a copy is not in the device's KV memory");
  // Beyond what a piece of memory there holds: not packed, so not taken with a conversion.
  refused(
      [](CopyPath::Job& job) {
        for (KvLayout* its : {&job.conversion->source, &job.conversion->destination}) {
          its->kv_heads = 300;
          its->head_dim = 512;
        }
      },
      "with a conversion");
  // A block that begins within another.
  CopyPath::Job askew = good;
  askew.sources[0] = block + 16;
  const auto ticket = from.Post(askew);
  REQUIRE_OK(ticket);
  absl::Status ended;
  REQUIRE(Eventually([&] {
    const auto done = from.Poll(*ticket);
    ended = done.status();
    return !done.ok() || *done;
  }));
  CHECK(absl::IsInvalidArgument(ended));
}

}  // namespace baton
