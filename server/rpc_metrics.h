#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/metrics.h"

namespace baton {

// Every RPC that Baton serves, and what corresponds to one over HTTP.
enum class Rpc : uint8_t {
  kGenerate,
  kEmbed,
  kRerank,
  kTokenize,
  kDetokenize,
  kListModels,
  kCreateCollection,
  kDropCollection,
  kListCollections,
  kDescribeCollection,
  kUpsert,
  kUpsertStream,
  kDelete,
  kGet,
  kSearch,
  kSearchBatch,
  kCount,
  kCluster,
  kSearchGroups,
  kSearchRange,
  kScroll,
  kFacet,
  kPatchPayload,
  kCreatePayloadIndex,
  kDropPayloadIndex,
  kUpdateAliases,
  kListAliases,
  kIngest,
  kAsk,
  kDevices,
  kExplain,
  kCalibrate,
  kPower,
  kLoadModel,
  kUnloadModel,
  kCreateSnapshot,
  kListSnapshots,
  kDeleteSnapshot,
  kVerifySnapshot,
  kServerLive,
  kServerReady,
  kModelReady,
  kServerMetadata,
  kModelMetadata,
  kModelInfer,
  kModelStreamInfer,
  // Of the HTTP port.
  kOpenAiModels,
  kOpenAiChatCompletions,
  kOpenAiCompletions,
  kOpenAiEmbeddings,
};
inline constexpr size_t kRpcCount = 50;

// Its label in metrics: "InferenceService/Generate".
std::string_view Name(Rpc rpc);

// Counts and times every RPC. Thread safe.
class RpcMetrics {
 public:
  RpcMetrics(Metrics& metrics, const Clock& clock);

  // RPCs that have begun and not yet ended: their last byte is not with the transport.
  int64_t active() const { return active_; }

 private:
  friend class RpcScope;
  struct Handles {
    prometheus::Counter* ok = nullptr;  // other codes are rare enough to be looked up
    prometheus::Histogram* seconds = nullptr;
  };

  Metrics& metrics_;
  const Clock& clock_;
  std::array<Handles, kRpcCount> handles_;
  std::atomic<int64_t> active_{0};
};

// One RPC, from its arrival to its end: a member of its reactor.
class RpcScope {
 public:
  RpcScope(RpcMetrics& metrics, Rpc rpc);
  ~RpcScope();
  RpcScope(const RpcScope&) = delete;
  RpcScope& operator=(const RpcScope&) = delete;

  Rpc rpc() const { return rpc_; }
  // What the RPC is answered with; UNKNOWN where this was never called.
  void set_code(absl::StatusCode code) { code_ = code; }

 private:
  RpcMetrics& metrics_;
  const Rpc rpc_;
  const TimeUs begin_us_;
  absl::StatusCode code_ = absl::StatusCode::kUnknown;
};

}  // namespace baton
