#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "engine/answer_runner.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/metrics.h"
#include "engine/device_report.h"
#include "engine/embedder_part.h"
#include "engine/engine_options.h"
#include "engine/exec/executor.h"
#include "engine/model/language_model.h"
#include "engine/model_report.h"
#include "engine/placement/placement_plan.h"
#include "engine/request/cluster_request.h"
#include "engine/request/embed_request.h"
#include "engine/request/explain_request.h"
#include "engine/request/generate_request.h"
#include "engine/request/model_request.h"
#include "engine/request/rag_request.h"
#include "engine/request/rerank_request.h"
#include "engine/request/vector_request.h"
#include "engine/schedule/power_model.h"
#include "engine/transfer/copy_path.h"
#include "engine/transfer/path_table.h"
#include "engine/transfer/shared_buffer.h"
#include "engine/vector/vector_store.h"

namespace baton {

// Called exactly once with the answer, by EngineParts::answers; must not block. Until it has
// returned the request is in flight.
template <class T>
using Done = absl::AnyInvocable<void(absl::StatusOr<T>)>;

// What the engine joins. Executors are owned by the engine; the rest outlives it.
struct EngineParts {
  const Clock* clock = nullptr;
  Metrics* metrics = nullptr;
  VectorStore* store = nullptr;
  std::vector<std::unique_ptr<Executor>> executors;          // one per device, absent ones too
  std::vector<std::unique_ptr<CopyPath>> paths = {};         // between their memories, best first
  std::vector<std::shared_ptr<DeviceMapper>> mappers = {};   // of devices that may map the host's
  std::vector<std::shared_ptr<const LanguageModel>> models;  // the first is the default
  std::vector<EmbedderPart> embedders;                       // the first is the default
  PlacementPlan placement = {};                              // of the executors' threads
  std::string peer_hold_at = {};                             // a rehearsal's, see PeerNodeOptions
  AnswerRunner* answers = nullptr;  // calls every Done; null: the engine's loop does
};

// The engine: takes requests, classifies their work, routes and schedules it on executors, and
// answers. One loop owns all request state, a turn at a time; it never waits on an executor or a
// disk.
//
// Submit() never blocks and is thread safe. It returns the request's id, or at once an error for a
// request that is invalid or for which there is no room (RESOURCE_EXHAUSTED, naming the queue and
// when to retry); then the sink or `done` is not called. After Cancel(id), the sink ends with
// CANCELLED unless it has already ended. A request past its deadline ends with DEADLINE_EXCEEDED.
class Engine {
 public:
  // Loads the models into the executors (this blocks) and starts the loop. RESOURCE_EXHAUSTED:
  // memory.models_bytes_max does not allow them all.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const EngineOptions& options,
                                                        EngineParts parts);
  // Ends what still runs with UNAVAILABLE. All sinks have been called when this returns, and every
  // Done is with EngineParts::answers.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  absl::StatusOr<RequestId> Submit(GenerateRequest request, std::shared_ptr<TokenSink> sink);
  absl::StatusOr<RequestId> Submit(AskRequest request, std::shared_ptr<AskSink> sink);
  absl::StatusOr<RequestId> Submit(EmbedRequest request, Done<EmbedResult> done);
  absl::StatusOr<RequestId> Submit(RerankRequest request, Done<RerankResult> done);
  absl::StatusOr<RequestId> Submit(SearchRequest request, Done<SearchResult> done);
  absl::StatusOr<RequestId> Submit(ClusterRequest request, Done<ClusterResult> done);
  absl::StatusOr<RequestId> Submit(UpsertRequest request, Done<UpsertResult> done);
  absl::StatusOr<RequestId> Submit(DeleteRequest request, Done<DeleteResult> done);
  absl::StatusOr<RequestId> Submit(PatchPayloadRequest request, Done<PatchPayloadResult> done);
  absl::StatusOr<RequestId> Submit(SearchGroupsRequest request, Done<SearchGroupsResult> done);
  absl::StatusOr<RequestId> Submit(IngestRequest request, Done<IngestResult> done);
  absl::StatusOr<RequestId> Submit(GetRequest request, TimeUs deadline_us,
                                   Done<std::vector<Point>> done);
  absl::StatusOr<RequestId> Submit(CountRequest request, TimeUs deadline_us, Done<int64_t> done);
  absl::StatusOr<RequestId> Submit(ScrollRequest request, TimeUs deadline_us,
                                   Done<ScrollResult> done);
  absl::StatusOr<RequestId> Submit(FacetRequest request, TimeUs deadline_us,
                                   Done<std::vector<FacetHit>> done);
  // Answered when the index is filled.
  absl::StatusOr<RequestId> SubmitCreateIndex(std::string collection, PayloadIndex index,
                                              Done<CollectionInfo> done);
  absl::StatusOr<RequestId> SubmitDropIndex(std::string collection, std::string field,
                                            Done<CollectionInfo> done);
  absl::StatusOr<RequestId> SubmitCreate(CollectionSpec spec, Done<CollectionInfo> done);
  absl::StatusOr<RequestId> SubmitDrop(std::string collection, Done<bool> done);
  absl::StatusOr<RequestId> SubmitAliases(std::vector<AliasAction> actions, Done<bool> done);
  absl::StatusOr<RequestId> SubmitTokenize(std::string model, std::string text,
                                           std::optional<bool> add_bos,
                                           Done<std::vector<TokenId>> done);
  absl::StatusOr<RequestId> SubmitDetokenize(std::string model, std::vector<TokenId> ids,
                                             Done<std::string> done);
  // Answered when the model is ready. Where the request ends before, the model is loaded all the
  // same. RESOURCE_EXHAUSTED: memory.models_bytes_max leaves too little. ALREADY_EXISTS: the name
  // is taken. Else what LoadAnyModel says.
  absl::StatusOr<RequestId> Submit(LoadModelRequest request, Done<ModelReport> done);
  // New requests no longer find the model; those that run end within drain_us, or are ended with
  // UNAVAILABLE. Answered with what it was when its memory is given back.
  absl::StatusOr<RequestId> Submit(UnloadModelRequest request, Done<ModelReport> done);
  // Runs small batches of every class on every executor that is there, so that their times are
  // known. Answered with what is known then. Work that there is nothing for, such as prompts where
  // no language model is loaded, is left out.
  absl::StatusOr<RequestId> SubmitCalibrate(TimeUs deadline_us,
                                            Done<std::vector<LearnedCost>> done);
  void Cancel(RequestId id);

  // Quick answers from memory; thread safe, on the caller's thread.
  std::vector<CollectionInfo> ListCollections() const;
  std::vector<Alias> ListAliases() const;
  absl::StatusOr<CollectionInfo> DescribeCollection(const std::string& name) const;
  std::vector<ModelReport> ListModels() const;
  std::vector<DeviceReport> Devices() const;
  // By which ways KV blocks are copied between memories, and what copies have cost.
  std::vector<PathReport> TransferPaths() const;
  // Where other daemons may have prompts prefilled, IP:PORT; empty: nowhere.
  std::string PeerAddress() const;
  absl::StatusOr<std::vector<ExplainedStage>> Explain(const ExplainRequest& request) const;

  // Refuses new requests with UNAVAILABLE from now on; what runs goes on.
  void BeginDrain();
  // Requests accepted and not yet ended.
  int64_t InFlight() const;
  // UNAVAILABLE: the loop has not turned for some seconds, or a device has work and completes
  // nothing.
  absl::Status Progress() const;
  // What is known of each class of work on each executor.
  std::vector<LearnedCost> Costs() const;
  PowerMode power_mode() const;
  // What all devices draw now.
  double NodeWatts() const;
  void SetPowerMode(PowerMode mode);
  // RequestsOptions::slow_ms, from now on.
  void SetSlowMs(int64_t slow_ms);

 private:
  class Loop;
  explicit Engine(std::unique_ptr<Loop> loop);
  template <class T>
  absl::StatusOr<RequestId> SubmitHost(TimeUs deadline_us,
                                       absl::AnyInvocable<absl::StatusOr<T>()> work, Done<T> done);
  template <class T>
  absl::StatusOr<RequestId> SubmitWithModel(
      std::string model, absl::AnyInvocable<absl::StatusOr<T>(const LanguageModel&)> work,
      Done<T> done);
  std::unique_ptr<Loop> loop_;
};

}  // namespace baton
