#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "engine/engine.h"
#include "engine/executor_board.h"
#include "engine/host_lane.h"
#include "engine/launch_merge.h"
#include "engine/llm_lane.h"
#include "engine/mailbox.h"
#include "engine/model/any_model.h"
#include "engine/model/grammar/cache.h"
#include "engine/model_table.h"
#include "engine/peer_lane.h"
#include "engine/rag/ask_machine.h"
#include "engine/rag/ingest_machine.h"
#include "engine/requests_in_flight.h"
#include "engine/schedule/launch_collector.h"
#include "engine/schedule/route_choice.h"
#include "engine/slow_log.h"
#include "engine/transfer/host_copy_path.h"
#include "engine/transfer/staging.h"
#include "engine/transfer/transfer_manager.h"
#include "engine/turns.h"
#include "engine/write_lane.h"

namespace baton {

// A request while the engine works on it. Owned by the loop; touched on its thread only.
// How the end of a request reaches its client.
struct Outcome {
  absl::AnyInvocable<void(absl::Status)> fail;  // it ends with this error
  // Takes the request's place when it ends, and holds it until the answer is out. Null: it is
  // given back at once.
  std::shared_ptr<RequestsInFlight::Slot> holder = {};
};

struct ActiveRequest {
  RequestId id;
  Envelope envelope;
  TimeUs arrived_us = 0;
  std::vector<Stage> stages;
  Outcome outcome;  // moved from when the request ends
  RequestsInFlight::Slot slot;
  bool ended = false;
  LlmLane* llm_lane = nullptr;  // where its sequences run, if it has any
  std::vector<SequenceId> sequences;
  std::vector<std::string> models;        // that stay loaded for it
  std::optional<int> only_executor = {};  // of a calibration
  // Of its sequences, if it has any: the executors, and what to do where one of them is fenced.
  std::vector<int> llm_executors = {};
  absl::AnyInvocable<void(int executor, absl::Status)> llm_fenced = {};
  absl::AnyInvocable<void(int executor)> llm_suspected = {};  // it completes nothing for a while
  uint64_t peer_fetch = 0;  // of its prompt's KV, by PeerLane; 0: none is under way
  // Of work that takes long and asks: set when the request ends, however it does.
  std::shared_ptr<std::atomic<bool>> stop = {};
};
using RequestPtr = std::shared_ptr<ActiveRequest>;

// The loop behind Engine: turns, one at a time, that own all request state. What a request needs is
// done on executors, the host lane or the write lane; each completion comes back through the
// mailbox and runs the request's next step here, mostly on a thread of the loop's own (Turns). The
// steps of each kind of request are in request_flows.cc; how models come and go is in
// model_flows.cc.
class Engine::Loop {
 public:
  Loop(const EngineOptions& options, EngineParts parts);
  ~Loop();

  absl::Status LoadModels();
  void StartThread();

  // ---- Any thread

  // Takes a request in, if there is room, and runs `begin` for it on the loop.
  absl::StatusOr<RequestId> Admit(Envelope envelope, Outcome outcome,
                                  absl::AnyInvocable<void(const RequestPtr&)> begin,
                                  WaitsFor waits_for = WaitsFor::kNothing);
  void Cancel(RequestId id);
  void BeginDrain() { draining_ = true; }
  int64_t requests_in_flight() const { return in_flight_->count(); }
  absl::Status Progress() const;
  const EngineOptions& options() const { return options_; }
  const EngineParts& parts() const { return parts_; }
  // As EngineParts::answers; to be used in a turn.
  AnswerRunner* answers() { return parts_.answers == nullptr ? nullptr : &answers_; }
  ExecutorBoard& board() { return board_; }
  SlowLog& slow_log() { return slow_log_; }
  // Of other threads, its Paths() only.
  const TransferManager& transfer() const { return transfer_; }
  // What is known of work of a kind before it is at hand.
  WorkShape ShapeOf(WorkKind kind, int64_t items) const;
  const ModelTable& models() const { return models_; }
  // Why each executor does not embed by it, in their order; empty where it does. From any thread.
  std::vector<std::string> UnableToEmbed(const Embedder& embedder) const;
  // Where others may have prompts prefilled; empty: nowhere.
  std::string peer_address() const {
    return options_.peer.listen.empty() ? "" : peers_->node().listening().ToString();
  }

  // ---- On the loop: the flows of request_flows.cc

  void Generate(const RequestPtr& active, GenerateRequest request, std::shared_ptr<TokenSink> sink);
  void Ask(const RequestPtr& active, AskRequest request, std::shared_ptr<AskSink> sink);
  void Embed(const RequestPtr& active, EmbedRequest request, Done<EmbedResult> done);
  void Rerank(const RequestPtr& active, RerankRequest request, Done<RerankResult> done);
  void Search(const RequestPtr& active, SearchRequest request, Done<SearchResult> done);
  void Cluster(const RequestPtr& active, ClusterRequest request, Done<ClusterResult> done);
  void Upsert(const RequestPtr& active, UpsertRequest request, Done<UpsertResult> done);
  void Delete(const RequestPtr& active, DeleteRequest request, Done<DeleteResult> done);
  void PatchPayload(const RequestPtr& active, PatchPayloadRequest request,
                    Done<PatchPayloadResult> done);
  void SearchGroups(const RequestPtr& active, SearchGroupsRequest request,
                    Done<SearchGroupsResult> done);
  void Ingest(const RequestPtr& active, IngestMachine machine, Done<IngestResult> done);
  void Create(const RequestPtr& active, CollectionSpec spec, Done<CollectionInfo> done);
  void Drop(const RequestPtr& active, std::string collection, Done<bool> done);
  void UpdateAliases(const RequestPtr& active, std::vector<AliasAction> actions, Done<bool> done);
  void CreateIndex(const RequestPtr& active, std::string collection, PayloadIndex index,
                   Done<CollectionInfo> done);
  void DropIndex(const RequestPtr& active, std::string collection, std::string field,
                 Done<CollectionInfo> done);
  void LoadModel(const RequestPtr& active, LoadModelRequest request, Done<ModelReport> done);
  void UnloadModel(const RequestPtr& active, UnloadModelRequest request, Done<ModelReport> done);
  void Calibrate(const RequestPtr& active, Done<std::vector<LearnedCost>> done);

  // As of ModelTable; the model stays loaded until the request has ended.
  absl::StatusOr<std::shared_ptr<const LanguageModel>> UseLanguage(const RequestPtr& active,
                                                                   const std::string& name);
  absl::StatusOr<std::shared_ptr<const EmbedderPart>> UseEmbedder(const RequestPtr& active,
                                                                  const std::string& name);
  absl::StatusOr<std::shared_ptr<const EmbedderPart>> UseReranker(const RequestPtr& active,
                                                                  const std::string& name);

  // Runs `work` on the host lane, then `then` with its value on the loop.
  template <class T>
  void RunHost(const RequestPtr& active, absl::AnyInvocable<absl::StatusOr<T>()> work,
               absl::AnyInvocable<void(T)> then);
  // Ends a request with an error; nothing where it has ended already.
  void Fail(const RequestPtr& active, absl::Status status);
  // Ends a request well; its answer goes out after this. False where it has ended already.
  bool Finish(const RequestPtr& active);
  Timings MakeTimings(const ActiveRequest& active) const;

 private:
  struct AskFlow;
  struct IngestFlow;
  struct CalibrateFlow;
  void CalibrateStep(const std::shared_ptr<CalibrateFlow>& flow);
  // What loading gives: one of the two, and for a language model its lane.
  struct LoadedModel {
    std::shared_ptr<const LanguageModel> language;
    std::shared_ptr<const EmbedderPart> embedder;
    std::unique_ptr<LlmLane> lane;
    std::optional<PeerModel> peer_model = {};  // as peers know it, where there may be any
  };
  // Models waiting to come or go at most.
  static constexpr int kModelJobsMax = 16;
  struct Unload {
    std::string name;
    TimeUs cancel_at_us = 0;  // what still uses it then is ended
    bool releasing = false;   // nothing uses it; its memory is being given back
    RequestPtr active;
    Done<ModelReport> done;
  };

  // Nullopt: it was the last.
  std::optional<TimeUs> Turn();
  TimeUs NextTurnUs(TimeUs now_us) const;
  // To the mailbox. Where few requests are in flight the calling thread takes the loop's turn, and
  // goes on with what follows from it.
  void Bring(Mailbox::Task task);
  bool MayBring() const;
  // Whether a search is short enough to run on the client's thread that has brought this turn.
  bool MaySearchHere(const ExecutorBoard::Begun& begun) const;
  void ExpireDeadlines(TimeUs now_us);
  // How long a request may wait; < 0: for any time.
  TimeUs WaitUsMax(const Envelope& envelope, WaitsFor what, TimeUs now_us) const;
  void RefuseFull(const RequestPtr& active, std::string_view queue, int64_t max);
  void Forget(const RequestPtr& active, absl::StatusCode code);

  // ---- Stages. Each records the stage, and runs its `then` on the loop unless the request has
  // ended or the stage failed, which ends it.

  // FAILED_PRECONDITION: the configuration leaves work of some class no executor.
  absl::Status CheckRoutes();
  // Paths between memories that have none: staging_.
  absl::Status StartStaging();
  // The executor for work; the stage's record is appended to the request. -1: it failed. Where the
  // work has failed before, the record is changed to tell how it goes on.
  int Route(const RequestPtr& active, std::string_view stage, ExecutorBoard::Work work);
  void EndStage(Stage& stage, const BatchTimes& times, const Energy& energy);
  // A batch that an executor does, and that another may do again where it fails: nothing of it is
  // seen before it is done. Held by whoever does it.
  template <class Batch, class Result>
  struct Attempt {
    RequestPtr active;
    std::string stage_name;
    ExecutorBoard::Work work;
    std::vector<std::string> unable = {};  // what work.unable refers to
    Batch batch;
    bool open_ended = false;  // runs for any time
    absl::AnyInvocable<void(Executor&, Batch, absl::AnyInvocable<void(Result)>)> execute;
    absl::AnyInvocable<void(Result)> then;  // gets what is not an executor's fault
    size_t stage = 0;
    int executor = -1;
    int32_t retries_left = -1;  // < 0: not known yet
    uint32_t number = 0;        // a completion of an earlier attempt is dropped
    TimeUs ready_us = 0;        // since when it waits for company

    WorkClass work_class() const { return active->stages[stage].route.work_class; }
  };
  template <class Batch, class Result>
  using AttemptPtr = std::shared_ptr<Attempt<Batch, Result>>;
  template <class Batch, class Result>
  void Try(const AttemptPtr<Batch, Result>& attempt);
  // Whether it waits for others to go to the executor with.
  template <class Batch, class Result>
  bool Collect(const AttemptPtr<Batch, Result>& attempt);
  // Those that have waited, all of one kind; or one.
  template <class Batch, class Result>
  void Launch(std::vector<AttemptPtr<Batch, Result>> attempts);
  void LaunchDue(TimeUs now_us);
  template <class Batch, class Result>
  void OnTried(const AttemptPtr<Batch, Result>& attempt, absl::Status fault);
  // Whether work that failed on its executor may be done again, and is counted; `failed` and
  // `retries_left` are the work's.
  bool MayRetry(const RequestPtr& active, const absl::Status& status, int executor,
                WorkClass work_class, ExecutorBoard::Work& work, int32_t& retries_left);
  // The language-model work of a device that was fenced.
  std::vector<RequestPtr> LlmRequestsOn(int executor) const;
  // What waits for it, and has not begun, goes elsewhere.
  void OnLlmSuspected(int executor);
  void OnLlmFenced(int executor);
  void SaveCosts();
  // kEmbed or kRerank: what the embed skill does.
  void RunEmbed(const RequestPtr& active, WorkKind kind, EmbedBatch batch,
                absl::AnyInvocable<void(EmbedBatchResult)> then);
  // How well each document answers the query. Their texts come back in the order they went.
  struct Scores {
    RerankMethod method = RerankMethod::kCrossEncoder;
    std::vector<float> raw_scores;   // [documents], as of RankedDocument
    std::vector<bool> truncated;     // [documents]
    std::vector<std::string> texts;  // [documents], as they came
    bool query_truncated = false;
  };
  void RunRerank(const RequestPtr& active, const EmbedderPart& model, std::string query,
                 std::vector<std::string> documents, absl::AnyInvocable<void(Scores)> then);
  // By vectors, by texts or by both; what is found comes without timings.
  void RunSearch(const RequestPtr& active, SearchRequest request,
                 absl::AnyInvocable<void(SearchResult)> then);
  void RunCluster(const RequestPtr& active, ClusterBatch batch, const ClusterInput& input,
                  absl::AnyInvocable<void(ClusterBatchResult)> then);
  void RunWrite(const RequestPtr& active, Write write, absl::AnyInvocable<void(WriteResult)> then);
  // The groups of a search, with their points' payloads and vectors. On the host lane.
  // The filter of a search, as far as its partition goes.
  absl::StatusOr<FilterPtr> CheckFilter(const std::string& collection,
                                        const SearchParams& params) const;
  absl::StatusOr<SearchGroupsResult> FindGroups(const SearchGroupsRequest& request) const;
  // Whether a search on the host lane may go on.
  absl::Status MayGoOn(const char* what, const CollectionView& view, TimeUs deadline_us) const;
  void Change(const RequestPtr& active, absl::AnyInvocable<absl::Status()> change,
              absl::AnyInvocable<void()> then);
  // The same of payload indexes: begins in its place among writes, which go on beside it.
  using IndexChange = absl::AnyInvocable<absl::Status(VectorStore::IndexPoll poll)>;
  void ChangeIndexes(const RequestPtr& active, IndexChange change, absl::AnyInvocable<void()> then);
  // Generates by all `jobs`, by the same executors; again by others where those fail before the
  // first token was handed out, and the fallback allows it. `then` is called as each ends, with its
  // request's stages until then.
  void RunGenerate(const RequestPtr& active, LlmLane& lane, std::vector<LlmJob> jobs,
                   absl::AnyInvocable<void(GenerateResult)> then);
  struct GenerateRun;
  void StartGenerate(const std::shared_ptr<GenerateRun>& run);
  // Whether another daemon prefills for it first; then it starts with what came of that.
  bool AskPeer(const std::shared_ptr<GenerateRun>& run);
  HandoffFailure OnHandoffFailure(const Hints& hints) const;
  // Where a sequence that has begun to answer goes on, without executors that failed at it, as far
  // as the fallback allows; `status` where there is none.
  absl::StatusOr<LlmPlacement> Reroute(GenerateRun& run, uint32_t failed, SequenceId next,
                                       const absl::Status& status);
  // Adds what a sequence used to the stages before it. `routed`: its prefill and its decode.
  std::vector<Stage> LlmStages(std::vector<Stage> stages, std::span<const Stage, 2> routed,
                               const LlmUsage& usage, TimeUs arrived_us);

  // ---- Other daemons: peer_flows.cc

  absl::Status StartPeers();
  PeerModel PeerModelOf(const LanguageModel& model) const;
  void ServePeer(PeerServeId serve, PeerPrefill order);
  void PrefillForPeer(const RequestPtr& active, PeerServeId serve, PeerPrefill order);

  void AskStep(const std::shared_ptr<AskFlow>& flow, AskMachine::Work work);
  void AskRerank(const std::shared_ptr<AskFlow>& flow, std::vector<ScoredPoint> found);
  void AskPrepare(const std::shared_ptr<AskFlow>& flow, std::vector<ScoredPoint> found,
                  std::optional<std::vector<float>> scores);
  // The embedder of a collection that Ingest fills or Ask searches; FAILED_PRECONDITION: it has
  // none, or one that this daemon lacks.
  absl::StatusOr<std::shared_ptr<const EmbedderPart>> EmbedderOf(const RequestPtr& active,
                                                                 const CollectionInfo& collection);
  void EnsureCollection(const std::shared_ptr<IngestFlow>& flow);
  void IngestStep(const std::shared_ptr<IngestFlow>& flow, IngestMachine::Work work);
  LlmLane* LaneOf(const LanguageModel& model);
  // Of a model in use. What takes it to another thread takes the model, too.
  std::shared_ptr<GrammarCache> GrammarsOf(const LanguageModel& model);

  // ---- Models that come and go

  void Use(const RequestPtr& active, const std::string& name);
  // The first slot of a lane's own.
  int32_t TakeSlots(const std::string& name);
  // Reads, checks and installs a model. On the loader's thread.
  absl::StatusOr<LoadedModel> Load(const LoadModelRequest& request, int32_t first_slot);
  // Sets memory aside for a model and brings it to the executors. On the loader's thread, or before
  // the loop runs.
  absl::StatusOr<LoadedModel> Install(std::shared_ptr<const LanguageModel> model,
                                      int32_t first_slot);
  absl::StatusOr<LoadedModel> Install(EmbedderPart embedder);
  // The reverse. On the loader's thread, or before the loop runs.
  void Release(LoadedModel model);
  // Waits a while until nothing holds a released model. On the loader's thread.
  void AwaitLastUse(const std::weak_ptr<const void>& model, const std::string& name);
  void TakeOver(const std::string& name, LoadedModel model);
  void AdvanceUnloads(TimeUs now_us);
  TimeUs NextUnloadUs() const;
  void EndUnload(const std::string& name);

  // Answers on the thread that has brought the turn, or on those of EngineParts::answers.
  class Answers final : public AnswerRunner {
   public:
    explicit Answers(Loop& loop) : loop_(loop) {}
    void Post(Job job) override {
      if (!loop_.turns_.Keep(job)) loop_.parts_.answers->Post(std::move(job));
    }

   private:
    Loop& loop_;
  };

  const EngineOptions options_;
  EngineParts parts_;
  const Clock& clock_;
  Metrics& metrics_;
  SlowLog slow_log_;
  Mailbox mailbox_;
  Turns turns_;
  Answers answers_{*this};
  bool brings_ = false;                         // see Bring()
  static thread_local bool is_clients_thread_;  // in Admit()
  ExecutorBoard board_;
  TimeUs saved_us_ = 0;    // the cost model
  std::mutex save_mutex_;  // one writes its file at a time: the host lane, or the end
  HostDirectPath host_direct_path_;
  HostCopyPath host_path_;
  std::unique_ptr<Staging> staging_;  // null: no path is missing; before what uses its paths
  std::unique_ptr<PeerLane> peers_;   // null: there are none; before what uses its path and memory
  std::map<const LanguageModel*, PeerModel> peer_models_;
  std::map<PeerServeId, RequestId> serving_;
  TransferManager transfer_;
  LaunchCollector collector_;
  // What waits for company, by the collector's ids.
  std::map<uint64_t, AttemptPtr<SearchBatch, SearchBatchResult>> waiting_searches_;
  std::map<uint64_t, AttemptPtr<EmbedBatch, EmbedBatchResult>> waiting_embeds_;
  uint64_t next_piece_ = 1;
  ModelTable models_;
  std::vector<std::unique_ptr<LlmLane>> llm_lanes_;  // one per model
  // What the host lane compiles and keeps for each language model.
  std::map<const LanguageModel*, std::shared_ptr<GrammarCache>> grammars_;
  std::map<std::string, int32_t> lane_slots_;  // by the model's name: its lane's first slot
  std::map<std::string, int64_t> model_uses_;  // by name: requests that use it now
  std::vector<Unload> unloads_;
  int model_jobs_ = 0;  // at the loader
  std::map<RequestId, RequestPtr> active_;
  std::set<std::pair<TimeUs, RequestId>> deadlines_;
  std::atomic<uint64_t> next_request_{1};
  const std::shared_ptr<RequestsInFlight> in_flight_;
  std::atomic<bool> draining_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<TimeUs> last_turn_us_{0};

  // Last, so that they end first: what they still run may post to the mailbox.
  HostLane index_lane_;  // one thread: changes of payload indexes, which the write lane brings
  WriteLane write_lane_;
  HostLane host_lane_;
  std::optional<HostLane> loader_;  // one thread: models come and go one after another
  std::thread thread_;
};

template <class T>
void Engine::Loop::RunHost(const RequestPtr& active, absl::AnyInvocable<absl::StatusOr<T>()> work,
                           absl::AnyInvocable<void(T)> then) {
  HostLane::Job job = [this, active, work = std::move(work), then = std::move(then)]() mutable {
    Bring([this, active, result = work(), then = std::move(then)]() mutable {
      if (active->ended) return;
      if (!result.ok()) return Fail(active, result.status());
      then(*std::move(result));
    });
  };
  if (turns_.Keep(job)) return;
  const bool queued = host_lane_.TryRun(std::move(job));
  if (!queued) RefuseFull(active, "host", options_.queues.host_queue_max);
}

}  // namespace baton
