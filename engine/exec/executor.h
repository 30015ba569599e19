#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/kv/kv_layout.h"
#include "engine/kv/kv_memory.h"
#include "engine/model/embedder.h"
#include "engine/model/language_model.h"
#include "engine/model/logits_processor.h"
#include "engine/model/text_encoder.h"
#include "engine/request/cluster_request.h"
#include "engine/request/embed_request.h"
#include "engine/request/generate_request.h"
#include "engine/request/vector_request.h"
#include "engine/request/work.h"
#include "engine/transfer/memory_space.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/graph_rows.h"
#include "engine/vector/ivf_math.h"

namespace baton {

// How long a batch waited in the executor's queue and how long it ran, pauses left out.
struct BatchTimes {
  TimeUs queue_us = 0;
  TimeUs run_us = 0;
};

// ---- Language model work

// Consecutive positions of one sequence: a chunk of its prompt, or its next token.
struct LlmItem {
  SequenceId sequence;
  SlotId slot;                                // opened on this executor before
  WorkClass work_class = WorkClass::kDecode;  // kPrefill or kDecode
  int32_t position = 0;                       // of the first token
  // kPrefill: the tokens. kDecode: behind the token last sampled into the slot, which may not be
  // known yet when the batch is submitted, guesses of what follows it; usually none.
  std::vector<TokenId> tokens;
  // kPrefill: so many of the last of `tokens` were generated, and are computed again.
  int32_t generated = 0;
  // Blocks of positions [0, position + tokens fed), in order: each [KvLayout::block_bytes()].
  std::vector<std::byte*> blocks;
  // Sample a token after the last position, into the slot. kDecode: and one after each guess that
  // is what was sampled before it, as if they had been fed one by one.
  bool sample = false;
  // kPrefill: the prompt's tokens that follow `tokens`' first, second ... where their log
  // probabilities are wanted, as many as `tokens` or, at the prompt's end, one fewer; else empty.
  std::vector<TokenId> score;
  // Its tokens must not depend on what else is in the batch, which then is computed so.
  bool deterministic = false;
};

// What a slot starts from.
struct SlotSetup {
  // Where `generated` is not empty, another executor prefilled, and a decode continues from its
  // last token.
  SamplerSetup sampler = {};
  // Log probabilities are wanted: of tokens, and of so many alternatives to each.
  std::optional<int32_t> logprobs = {};
};

struct LlmBatch {
  std::shared_ptr<const LanguageModel> model;
  KvLayout layout;
  std::vector<LlmItem> items;
  // Told by an executor that TellsLayers while the batch runs, with memory order release: the keys
  // and values of so many first layers are in the blocks, of all items. Null: nobody asks.
  std::shared_ptr<std::atomic<int32_t>> layers_done = {};
  // For an executor that Pauses: when prompts have run so long it lets the batches run that were
  // submitted behind it and do not pause themselves. They name none of its slots, nor is one of
  // these closed before the batch is done. nullopt: it runs without a pause.
  std::optional<TimeUs> pause_after_us = {};
  // Of one that pauses: those that do not overtake pause for it, too, but for at most half of the
  // time.
  bool overtakes = false;
};

struct LlmBatchResult {
  absl::Status status;  // of the whole batch: device trouble; on error no item has a result
  struct Item {
    SequenceId sequence;
    std::vector<TokenId> tokens;  // those sampled, in order
    bool complete = false;        // the grammar lets nothing follow on them
    absl::Status status = {};     // of this sequence: it cannot go on behind them
    // Where the slot wants them: one per token sampled, and one per token of LlmItem::score. Their
    // texts are empty.
    std::vector<TokenLogprobs> logprobs = {};
    std::vector<TokenLogprobs> score_logprobs = {};
  };
  std::vector<Item> items;  // in the batch's order
  BatchTimes times;
};

// A step of decodes: so many sequences, of which the longest has so many positions.
struct DecodeShape {
  int32_t sequences = 0;
  int32_t positions = 0;
  bool operator==(const DecodeShape&) const = default;
};

// What warms an executor up for a model.
struct WarmUpSteps {
  std::vector<DecodeShape> decodes;  // go quicker once two such have run, the most useful first
  int32_t prompt_tokens_max = 0;     // chunks of prompts that are longer gain nothing more
};

// Prefill and decode. Models come and go from a thread of the engine's beside all else, and so does
// what warms them up; the rest is called from its loop thread only and never blocks. Batches of one
// executor run in the order of their submission, and those that succeed are done in it, but for
// what pauses for those behind it.
class LlmSkill {
 public:
  virtual ~LlmSkill() = default;
  // What LoadModel would take of this machine's memory, beside the file's mapping.
  virtual int64_t ModelBytes(const LanguageModel& model) const = 0;
  // Takes what the model needs on this device; UNIMPLEMENTED where it cannot run it. Blocks.
  virtual absl::Status LoadModel(std::shared_ptr<const LanguageModel> model) = 0;
  // Gives back what LoadModel took. No batch of the model is waiting or running. Blocks.
  virtual void UnloadModel(const LanguageModel& model) = 0;
  // Binds a slot to a sequence.
  virtual void OpenSlot(SlotId slot, SlotSetup setup) = 0;
  // Takes effect after the batches submitted before it.
  virtual void CloseSlot(SlotId slot) = 0;
  // `done` is called once, from the executor's own thread, and must not block.
  virtual void Execute(LlmBatch batch, absl::AnyInvocable<void(LlmBatchResult)> done) = 0;
  // Whether the keys and values of given text are rounded otherwise than those of the same text
  // generated, so that one must not be taken for the other. The model is loaded.
  virtual bool TellsPromptsApart(const LanguageModel& model) const = 0;
  // Whether it tells LlmBatch::layers_done.
  virtual bool TellsLayers() const = 0;
  // Whether it heeds LlmBatch::pause_after_us.
  virtual bool Pauses() const = 0;
  // Steps of the model that are to run before a client's; without decodes: none. For these it takes
  // slots and batches from the thread that loads models.
  virtual WarmUpSteps StepsToWarmUp(const LanguageModel& model) const = 0;
  // Where this executor keeps its KV blocks.
  virtual MemorySpace kv_space() const = 0;
  // Where they come from; null: they are in this machine's memory, and the engine takes it.
  virtual KvMemorySource* kv_memory() = 0;
};

// ---- Vector work

struct SearchBatch {
  std::shared_ptr<const CollectionView> view;  // pins what is searched
  std::vector<std::vector<float>> queries;     // [queries][dimension], prepared by PrepareQuery
  SearchParams params;
  TimeUs deadline_us = kNoDeadline;  // polled between queries
};

struct SearchBatchResult {
  absl::Status status;
  // One per query: distance ascending, then id ascending; all live points where fewer than k exist.
  std::vector<std::vector<Neighbor>> neighbors;
  int64_t unsearched_points = 0;  // SearchView
  BatchTimes times;
};

// Search over a pinned view. Execute is thread safe and never blocks: RESOURCE_EXHAUSTED arrives
// through `done` when the executor's queue is full.
class SearchSkill {
 public:
  virtual ~SearchSkill() = default;
  // Why this device does not run such a search; empty: it does.
  virtual std::string Unable(const CollectionView& view, const SearchParams& params) const = 0;
  virtual void Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) = 0;
  // The same on the calling thread, where the device is the one that this runs on. The skill
  // outlives the call.
  virtual void ExecuteHere(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) {
    Execute(std::move(batch), std::move(done));
  }
};

// Links between near vectors, which is most of what building a graph takes
// (SealedGraph::BuildWith).
class GraphSkill {
 public:
  virtual ~GraphSkill() = default;
  // On the caller's thread; blocks. Thread safe. CANCELLED once `stop` says so. What it cannot
  // link, or has no room for, is an error that says why.
  virtual absl::StatusOr<std::unique_ptr<GraphLinks>> Link(const GraphRows& rows,
                                                           const GraphNodes& nodes,
                                                           absl::FunctionRef<bool()> stop) = 0;
};

// k-means over a pinned view or over vectors.
struct ClusterBatch {
  std::shared_ptr<const CollectionView> view;          // null: `vectors`
  std::vector<std::vector<float>> vectors;             // [vectors][dimension], finite
  ClusterParams params;                                // valid, with a metric
  TimeUs deadline_us = kNoDeadline;                    // polled many times a second, as is
  std::shared_ptr<const std::atomic<bool>> cancelled;  // not null
};

struct ClusterBatchResult {
  absl::Status status;
  ClusterResult clusters;  // without timings
  BatchTimes times;
};

// Thread safe. Execute never blocks: RESOURCE_EXHAUSTED arrives through `done` when the executor's
// queue is full.
class ClusterSkill {
 public:
  virtual ~ClusterSkill() = default;
  virtual void Execute(ClusterBatch batch, absl::AnyInvocable<void(ClusterBatchResult)> done) = 0;
};

// ---- Embedding work, and scoring by a cross-encoder

struct EmbedBatch {
  std::shared_ptr<const Embedder> embedder;
  std::vector<std::string> texts;
  TimeUs deadline_us = kNoDeadline;  // polled between texts, or between steps of an encoder
  // Of a cross-encoder: what each text is scored against.
  std::optional<std::string> query = {};
  // What comes of its texts must not depend on what else is embedded, which then is so, too.
  bool deterministic = false;
};

struct EmbedBatchResult {
  absl::Status status;
  // [texts][dimension]; of a cross-encoder each text's score, [texts][1].
  std::vector<std::vector<float>> embeddings;
  std::vector<EmbedInput> inputs;  // [texts]: what of each was read
  bool query_truncated = false;
  std::vector<std::string> texts;  // the batch's own, handed back
  BatchTimes times;
};

// Thread safe. Execute never blocks: RESOURCE_EXHAUSTED arrives through `done` when the executor's
// queue is full.
class EmbedSkill {
 public:
  virtual ~EmbedSkill() = default;
  // Why this device does not embed by it; empty: it does. Of an encoder that was given to
  // LoadModel, whether that failed or not.
  virtual std::string Unable(const Embedder& embedder) const = 0;
  // What LoadModel would take of this machine's memory, beside the file's mapping.
  virtual int64_t ModelBytes(const TextEncoder& encoder) const = 0;
  // Takes what the encoder needs on this device, before a batch names it; UNIMPLEMENTED where it
  // cannot run it. Blocks.
  virtual absl::Status LoadModel(std::shared_ptr<const TextEncoder> encoder) = 0;
  // Gives back what LoadModel took, once the batches that name the encoder are answered; no more of
  // them come. Blocks.
  virtual void UnloadModel(const TextEncoder& encoder) = 0;
  virtual void Execute(EmbedBatch batch, absl::AnyInvocable<void(EmbedBatchResult)> done) = 0;
};

// ---- The executor

// What an executor is. Constant while it lives.
struct ExecutorInfo {
  Platform platform = Platform::kCpu;
  std::string device;    // "cpu0", "NVIDIA H200"; the platform's name where absent
  bool present = false;  // false: a placeholder that says why there is none
  bool emulated = false;
  std::string reason;  // where not present: why, and what to do about it
  std::string detail;  // instruction set, driver, plug-in version
  int64_t memory_bytes_total = 0;
  double power_idle_w = 0;  // 0: it does not tell
  double power_max_w = 0;
  std::string pci_address = {};  // "0000:3b:00.0"; empty: on no PCI bus, or it does not tell
};

// How it is now.
// Graphs of segments in a device's memory, and walks of them.
struct GraphResidency {
  int64_t graphs = 0;                 // there now
  std::optional<int64_t> bytes = {};  // that they take, copies included; absent: it does not tell
  // So far: what was brought, and what of that is gone since room was needed, no view has it any
  // more, or the device was reset. loaded == evicted + dropped + lost + graphs.
  int64_t loaded = 0;
  int64_t evicted = 0;
  int64_t dropped = 0;
  int64_t lost = 0;
  int64_t walks = 0;  // of one query through one graph
};

struct ExecutorSample {
  bool healthy = false;
  std::string trouble = {};  // where not healthy: why, and what to do about it, if it can tell
  int32_t queue_depth = 0;   // batches waiting and running
  int64_t memory_bytes_used = 0;
  double load = 0;  // 0 idle to 1 busy
  // Absent: it does not tell.
  std::optional<double> temperature_c = {};
  std::optional<double> power_w = {};         // measured, lately
  std::optional<double> utilisation = {};     // 0 to 1, by its own account, lately
  std::optional<int64_t> memory_errors = {};  // that could not be corrected, since it was powered
  std::optional<GraphResidency> graphs = {};  // where it searches by walks
};

// Owns one device and offers skills; a null skill is one it lacks. Thread safe. Destruction waits
// for what runs; every `done` is called before it returns (CANCELLED for what had not begun).
class Executor {
 public:
  virtual ~Executor() = default;
  virtual const ExecutorInfo& Describe() const = 0;
  virtual ExecutorSample Sample() const = 0;
  virtual LlmSkill* llm() = 0;
  virtual SearchSkill* search() = 0;
  virtual EmbedSkill* embed() = 0;
  virtual ClusterSkill* cluster() = 0;
  virtual GraphSkill* graph() = 0;
  virtual const IvfMath* ivf() = 0;  // what inverted files are built with
};

}  // namespace baton
