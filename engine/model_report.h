#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace baton {

enum class ModelKind : uint8_t { kUnknown, kLanguage, kEmbedding, kLexicalEmbedding, kReranker };
std::string_view Name(ModelKind kind);  // "language", as in metrics

enum class ModelState : uint8_t {
  kLoading,    // not yet usable
  kReady,      // takes requests
  kUnloading,  // refuses new requests; running ones end
  kFailed,     // could not be loaded; stays listed to say why
};

// A model as clients see it.
struct ModelReport {
  std::string name;
  std::string path;  // empty for what is built in
  ModelState state = ModelState::kLoading;
  std::string detail;        // what goes on while it comes or goes; why it failed
  int64_t memory_bytes = 0;  // that count against memory.models_bytes_max
  // What the file says; zeros where it has not been read.
  ModelKind kind = ModelKind::kUnknown;
  std::string architecture;
  int32_t context_tokens = 0;
  int32_t vocabulary = 0;
  int32_t embedding_dimension = 0;
  int64_t parameters = 0;
  int64_t weight_bytes = 0;
  // Of a language model that is ready: how keys and values are kept, and bytes of them per token.
  std::string kv_type;
  int64_t kv_token_bytes = 0;
  // Its offload tier: where it is (empty: there is none), what it may take, blocks that it has room
  // for and holds, and those it has taken and given back.
  std::string kv_offload_space;
  int64_t kv_offload_bytes = 0;
  int64_t kv_offload_blocks = 0;
  int64_t kv_offload_blocks_used = 0;
  int64_t kv_offload_blocks_stored = 0;
  int64_t kv_offload_blocks_reloaded = 0;
};

}  // namespace baton
