#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/exec/cpu/decoder_forward.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_layout.h"
#include "engine/model/language_model.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/status_matchers.h"

namespace baton {

// add_keys: those that the options have no word for.
inline std::shared_ptr<const LanguageModel> RandomModel(
    const RandomModelOptions& options,
    absl::FunctionRef<void(GgufWriter&)> add_keys = [](GgufWriter&) {}) {
  GgufWriter writer;
  AddRandomModelKeys(options, writer);
  add_keys(writer);
  AddRandomModelTensors(options, writer);
  const TempFile file(writer.Bytes());
  auto model = LoadLanguageModel("random", file.path());
  REQUIRE_OK(model);
  return *std::move(model);
}

inline KvLayout LayoutOf(const LlmShape& shape, int32_t block_tokens, KvType type = KvType::kF32) {
  return {.layers = shape.layers,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim,
          .block_tokens = block_tokens,
          .type = type};
}

// One sequence's KV blocks, enough for `tokens` positions.
struct SequenceBlocks {
  SequenceBlocks(const KvLayout& layout, int64_t tokens) {
    const int64_t count = (tokens + layout.block_tokens - 1) / layout.block_tokens;
    // Large as a half and as bytes, too: what is read of it shows.
    constexpr float kPoison = 1e30f;
    memory.resize(static_cast<size_t>(count * layout.block_bytes()));
    for (size_t i = 0; i + sizeof(kPoison) <= memory.size(); i += sizeof(kPoison)) {
      std::memcpy(memory.data() + i, &kPoison, sizeof(kPoison));
    }
    for (int64_t i = 0; i < count; ++i) blocks.push_back(memory.data() + i * layout.block_bytes());
  }
  std::vector<std::byte> memory;
  std::vector<std::byte*> blocks;
};

// KV blocks of a device for one sequence after another.
class DeviceBlocks {
 public:
  DeviceBlocks(KvMemorySource& device, const KvLayout& layout, int32_t count) : layout_(layout) {
    auto pool = KvBlockPool::Create(layout, count, device);
    REQUIRE_OK(pool);
    pool_ = *std::move(pool);
  }
  // Enough for `tokens` positions.
  std::vector<std::byte*> Take(int64_t tokens) {
    std::vector<std::byte*> blocks;
    for (int64_t at = 0; at < tokens; at += layout_.block_tokens) {
      blocks.push_back(pool_->Data(*pool_->Allocate()));
    }
    return blocks;
  }

 private:
  const KvLayout layout_;
  std::unique_ptr<KvBlockPool> pool_;
};

// The logits after the last of `tokens`, which follow `position` earlier ones; the last `generated`
// of them are not of the prompt.
inline std::vector<float> LogitsAfter(DecoderForward& forward, const KvLayout& layout,
                                      SequenceBlocks& sequence, std::span<const TokenId> tokens,
                                      int32_t position, int32_t generated = 0) {
  std::vector<float> logits;
  const ForwardItem item = {.tokens = tokens,
                            .generated = generated,
                            .position = position,
                            .blocks = sequence.blocks,
                            .logits = 1};
  REQUIRE_OK(forward.Run(layout, {&item, 1}, [&](size_t, std::span<const float> values) {
    logits.assign(values.begin(), values.end());
  }));
  return logits;
}

inline TokenId Greedy(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace baton
