// The way of each kind of request, step by step. Every step runs on the loop's thread; what takes
// time is done elsewhere by the Run...() functions, which bring the result back here.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string_view>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/engine_loop.h"
#include "engine/rag/ask_machine.h"
#include "engine/rag/ingest_machine.h"
#include "engine/rag/passage.h"
#include "engine/text_search.h"
#include "engine/vector/view_text.h"

namespace baton {
namespace {

constexpr int32_t kDefaultMaxTokens = 256;

std::string_view Label(AskMode mode) {
  switch (mode) {
    case AskMode::kGenerated:
      return "generated";
    case AskMode::kRetrievalOnly:
      return "retrieval_only";
    case AskMode::kNothingFound:
      break;
  }
  return "nothing_found";
}

bool HasIndex(const CollectionInfo& collection, std::string_view field) {
  return std::any_of(collection.payload_indexes.begin(), collection.payload_indexes.end(),
                     [field](const PayloadIndex& index) { return index.field == field; });
}

// For templates that write the date.
int64_t NowS() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

uint64_t DrawSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// The seed of one of several completions: the first has the request's. They lie far apart, so that
// requests with neighbouring seeds share no completion.
uint64_t SeedOf(uint64_t seed, int32_t completion) {
  constexpr uint64_t kStep = 0xd1342543de82ef95u;  // odd, no small multiple of the sampler's step
  return seed + static_cast<uint64_t>(completion) * kStep;
}

absl::Status CheckTokens(std::string_view field, std::span<const TokenId> tokens,
                         int32_t vocabulary) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocabulary) continue;
    return absl::InvalidArgumentError(
        StrCat(field, "[", i, "] must be 0 to ", vocabulary - 1, ", but is ", tokens[i]));
  }
  return absl::OkStatus();
}

absl::Status CheckBiases(const std::map<TokenId, float>& biases, int32_t vocabulary) {
  for (const auto& [token, bias] : biases) {
    if (token >= 0 && token < vocabulary) continue;
    return absl::InvalidArgumentError(StrCat("sampling.logit_bias: token ids must be 0 to ",
                                             vocabulary - 1, ", but one is ", token));
  }
  return absl::OkStatus();
}

// The tokens that end a text of this model.
std::vector<TokenId> EndTokens(const LanguageModel& model) {
  std::vector<TokenId> ends;
  for (TokenId token = 0; token < model.shape().vocabulary; ++token) {
    if (model.tokenizer().IsEndOfText(token)) ends.push_back(token);
  }
  return ends;
}

// How a text is to be generated, beside its prompt.
struct TextWishes {
  const SamplingParams& sampling;
  std::optional<int32_t> max_tokens;
  const StopConditions& stop;
  bool ignore_eos = false;
  std::shared_ptr<const Grammar> grammar;  // null: any text
  std::optional<int32_t> logprobs;
};

// The tokens that must not come before the text may end.
std::vector<TokenId> EndsOf(const LanguageModel& model, const TextWishes& wishes) {
  if (wishes.stop.min_tokens == 0 && wishes.grammar == nullptr) return {};
  std::vector<TokenId> ends = wishes.stop.tokens;
  if (wishes.ignore_eos) return ends;
  const std::vector<TokenId> of_model =
      wishes.grammar == nullptr ? EndTokens(model) : wishes.grammar->vocabulary().end_of_text();
  ends.insert(ends.end(), of_model.begin(), of_model.end());
  return ends;
}

// Checks a prompt and what is wished of the text after it against the model, and says how many
// tokens may follow. The seed is drawn where there is none.
absl::StatusOr<LlmJob> MakeJob(const LanguageModel& model, std::vector<TokenId> prompt,
                               const TextWishes& wishes) {
  const int32_t context = model.shape().context_tokens;
  const int32_t vocabulary = model.shape().vocabulary;
  if (prompt.empty()) return absl::InvalidArgumentError("prompt is empty");
  if (std::ssize(prompt) >= context) {
    return absl::InvalidArgumentError(
        StrCat("prompt has ", prompt.size(), " tokens, but the context of model \"", model.name(),
               "\" is ", context, " with at least one token to generate"));
  }
  RETURN_IF_ERROR(CheckTokens("prompt.tokens", prompt, vocabulary));
  RETURN_IF_ERROR(CheckBiases(wishes.sampling.logit_bias, vocabulary));
  RETURN_IF_ERROR(CheckTokens("stop_token_ids", wishes.stop.tokens, vocabulary));
  if (wishes.max_tokens.has_value() && *wishes.max_tokens < 1) {
    return absl::InvalidArgumentError(
        StrCat("max_tokens must be at least 1, but is ", *wishes.max_tokens));
  }
  const int32_t room = context - static_cast<int32_t>(prompt.size());
  const int32_t wanted = wishes.max_tokens.value_or(kDefaultMaxTokens);
  if (wishes.stop.min_tokens > wanted) {
    return absl::InvalidArgumentError(StrCat("min_tokens must be 0 to max_tokens, which is ",
                                             wanted, ", but is ", wishes.stop.min_tokens));
  }
  LlmJob job;
  job.prompt = std::move(prompt);
  job.sampling = wishes.sampling;
  if (!job.sampling.seed.has_value()) job.sampling.seed = DrawSeed();
  job.max_tokens = std::min(wanted, room);
  job.reason_at_max = wanted > room ? FinishReason::kContext : FinishReason::kLength;
  job.ignore_eos = wishes.ignore_eos;
  job.stop = wishes.stop;
  job.ends = EndsOf(model, wishes);
  job.grammar = wishes.grammar;
  job.logprobs = wishes.logprobs;
  return job;
}

// `count` jobs like this one, each with a seed of its own.
std::vector<LlmJob> Completions(LlmJob job, int32_t count) {
  const uint64_t seed = *job.sampling.seed;
  std::vector<LlmJob> jobs;
  for (int32_t i = 1; i < count; ++i) {
    LlmJob& completion = jobs.emplace_back(CopyWork(job));
    completion.sampling.seed = SeedOf(seed, i);
    completion.index = i;
  }
  jobs.insert(jobs.begin(), std::move(job));
  return jobs;
}

// One job for each completion that a request wants.
absl::StatusOr<std::vector<LlmJob>> MakeJobs(const LanguageModel& model, GrammarCache& grammars,
                                             const GenerateRequest& request) {
  std::vector<TokenId> prompt;
  if (const auto* text = std::get_if<std::string>(&request.prompt)) {
    prompt = EncodePrompt(model.tokenizer(), *text);
  } else if (const auto* chat = std::get_if<ChatPrompt>(&request.prompt)) {
    ASSIGN_OR_RETURN(const RenderedChat rendered, model.chat_templates().Render(*chat, NowS()));
    prompt = EncodeChatPrompt(model.tokenizer(), rendered);
  } else {
    prompt = std::get<std::vector<TokenId>>(request.prompt);
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const Grammar> grammar, grammars.Get(request.constraint));
  ASSIGN_OR_RETURN(LlmJob job, MakeJob(model, std::move(prompt),
                                       {.sampling = request.sampling,
                                        .max_tokens = request.max_tokens,
                                        .stop = request.stop,
                                        .ignore_eos = request.ignore_eos,
                                        .grammar = std::move(grammar),
                                        .logprobs = request.logprobs}));
  return Completions(std::move(job), request.completions);
}

// What clients see of a score: a probability where a model gives its logit.
float ShownScore(RerankMethod method, float raw) {
  return method == RerankMethod::kCrossEncoder ? 1 / (1 + std::exp(-raw)) : raw;
}

// By their scores, best first.
std::vector<RankedDocument> Rank(RerankMethod method, std::span<const float> raw_scores) {
  std::vector<RankedDocument> ranked;
  for (size_t i = 0; i < raw_scores.size(); ++i) {
    ranked.push_back({.index = static_cast<int32_t>(i),
                      .score = ShownScore(method, raw_scores[i]),
                      .raw_score = raw_scores[i]});
  }
  std::sort(ranked.begin(), ranked.end(), [](const RankedDocument& a, const RankedDocument& b) {
    return a.raw_score != b.raw_score ? a.raw_score > b.raw_score : a.index < b.index;
  });
  return ranked;
}

}  // namespace

// ---- Generate: (render, tokenize, compile the grammar) -> for each completion: prefill -> handoff
// -> decode

void Engine::Loop::Generate(const RequestPtr& active, GenerateRequest request,
                            std::shared_ptr<TokenSink> sink) {
  const auto model = UseLanguage(active, request.model);
  if (!model.ok()) return Fail(active, model.status());
  const bool echo = request.echo;
  RunHost<std::vector<LlmJob>>(
      active,
      [model = *model, grammars = GrammarsOf(**model), request = std::move(request)] {
        return MakeJobs(*model, *grammars, request);
      },
      [this, active, model = *model, sink, echo](std::vector<LlmJob> jobs) {
        if (echo) {
          jobs.front().on_prompt = [active, sink](PromptChunk chunk) {
            if (!active->ended) sink->OnPrompt(std::move(chunk));
          };
        }
        for (LlmJob& job : jobs) {
          job.on_tokens = [active, sink](TokenChunk chunk) {
            if (!active->ended) sink->OnTokens(std::move(chunk));
          };
        }
        auto left = std::ssize(jobs);
        RunGenerate(active, *LaneOf(*model), std::move(jobs),
                    [this, active, sink, left](GenerateResult result) mutable {
                      const bool last = --left == 0;
                      if (last) Finish(active);
                      sink->OnCompletion(std::move(result));
                      if (last) sink->OnFinished(absl::OkStatus());
                    });
      });
}

// ---- Ask: embed -> search -> (rerank) -> prepare -> prefill -> handoff -> decode

struct Engine::Loop::AskFlow {
  RequestPtr active;
  AskMachine machine;
  std::shared_ptr<AskSink> sink;
  std::string collection;                        // by its own name: an alias may be switched
  std::shared_ptr<const EmbedderPart> embedder;  // the collection's
  std::shared_ptr<const EmbedderPart> reranker;  // null: passages are ordered by their words
  std::shared_ptr<const LanguageModel> model;    // null: retrieval only
  std::shared_ptr<const Grammar> grammar = {};   // of the answer; null: any
  std::vector<std::string> answers = {};         // the texts generated so far
  size_t unfinished = 1;                         // answers; one also where nothing is generated
};

void Engine::Loop::Ask(const RequestPtr& active, AskRequest request,
                       std::shared_ptr<AskSink> sink) {
  auto collection = parts_.store->Describe(request.collection);
  if (!collection.ok()) return Fail(active, collection.status());
  if (!request.vector_name.empty()) {
    const auto view = parts_.store->View(request.collection, request.vector_name);
    if (!view.ok()) return Fail(active, view.status());
    for (const CollectionSpec& vector : std::vector(collection->spec.vectors)) {
      if (vector.vector_name != request.vector_name) continue;
      collection->embedder = vector.embedder;
      collection->spec = vector;
    }
    if (collection->embedder.empty()) {
      return Fail(active, absl::FailedPreconditionError(
                              StrCat("vector_name is \"", request.vector_name,
                                     "\", but that vector of collection \"", request.collection,
                                     "\" was created without an embedder")));
    }
  }
  if (collection->embedder.empty()) {
    return Fail(active, absl::FailedPreconditionError(
                            StrCat("collection \"", request.collection,
                                   "\" was not filled by Ingest, so there are no passages to "
                                   "answer from")));
  }
  const auto embedder = EmbedderOf(active, *collection);
  if (!embedder.ok()) return Fail(active, embedder.status());
  std::shared_ptr<const EmbedderPart> reranker;
  if (const std::string& name = options_.rag.rerank_model; !name.empty()) {
    auto found = UseReranker(active, name);
    if (!found.ok()) {
      return Fail(active, absl::FailedPreconditionError(
                              StrCat("rag.rerank_model: ", std::string(found.status().message()))));
    }
    reranker = *std::move(found);
  }
  const auto model = UseLanguage(active, request.model);
  AskMachine::Writer writer;
  if (model.ok()) {
    writer = {.tokenizer = &(*model)->tokenizer(),
              .chat_templates = &(*model)->chat_templates(),
              .now_s = NowS(),
              .context_tokens = (*model)->shape().context_tokens,
              .reason = ""};
  } else if (request.model.empty()) {
    writer.reason = std::string(model.status().message());
  } else {
    return Fail(active, model.status());
  }
  auto flow = std::make_shared<AskFlow>(
      AskFlow{.active = active,
              .machine = AskMachine(std::move(request), options_.rag, std::move(writer)),
              .sink = std::move(sink),
              .collection = collection->spec.name,
              .embedder = *embedder,
              .reranker = std::move(reranker),
              .model = model.ok() ? *model : nullptr});
  const AskRequest& asked = flow->machine.request();
  if (!model.ok() || asked.retrieval_only || asked.constraint.kind == TextConstraint::Kind::kNone) {
    return AskStep(flow, flow->machine.Start());
  }
  RunHost<std::shared_ptr<const Grammar>>(
      active,
      [flow, &asked, model = *model, grammars = GrammarsOf(**model)] {
        return grammars->Get(asked.constraint);
      },
      [this, flow](std::shared_ptr<const Grammar> grammar) {
        flow->grammar = std::move(grammar);
        AskStep(flow, flow->machine.Start());
      });
}

void Engine::Loop::AskStep(const std::shared_ptr<AskFlow>& flow, AskMachine::Work work) {
  const RequestPtr& active = flow->active;
  const AskRequest& request = flow->machine.request();

  if (auto* embed = std::get_if<AskMachine::Embed>(&work)) {
    return RunEmbed(active, WorkKind::kEmbed,
                    {.embedder = flow->embedder->embedder,
                     .texts = {flow->embedder->question_prefix + std::move(embed->text)}},
                    [this, flow](EmbedBatchResult result) {
                      AskStep(flow, flow->machine.OnEmbedded(std::move(result.embeddings.front())));
                    });
  }
  if (auto* search = std::get_if<AskMachine::Search>(&work)) {
    SearchRequest wanted{
        .envelope = {},
        .collection = request.collection,
        .queries = {std::move(search->query)},
        .params = {.k = search->k, .filter = request.filter, .partition = request.partition}};
    if (!wanted.queries.front().empty()) wanted.vector_name = request.vector_name;
    if (!search->text.empty()) {
      wanted.texts.push_back({.text = FirstWords(search->text), .field = kPassageTextField});
      wanted.fusion.candidates = search->k;
      // Signs alone are not looked for; what they are like may be.
      if (wanted.texts.front().text.empty() && !IsTextOnly(wanted)) wanted.texts.clear();
    }
    return RunSearch(active, std::move(wanted), [this, flow](SearchResult found) {
      AskRerank(flow, std::move(found.results.front()));
    });
  }
  if (auto* generate = std::get_if<AskMachine::Generate>(&work)) {
    absl::StatusOr<LlmJob> job = MakeJob(*flow->model, std::move(generate->prompt),
                                         {.sampling = request.sampling,
                                          .max_tokens = generate->max_tokens,
                                          .stop = request.stop,
                                          .grammar = flow->grammar,
                                          .logprobs = request.logprobs});
    if (!job.ok()) return Fail(active, job.status());
    job->quotable = std::move(generate->quotable);
    std::vector<LlmJob> jobs = Completions(*std::move(job), request.answers);
    flow->answers.resize(jobs.size());
    flow->unfinished = jobs.size();
    for (LlmJob& answer : jobs) {
      answer.on_tokens = [flow](TokenChunk chunk) {
        if (flow->active->ended) return;
        flow->answers[static_cast<size_t>(chunk.index)] += chunk.text;
        flow->sink->OnTokens(std::move(chunk));
      };
    }
    return RunGenerate(active, *LaneOf(*flow->model), std::move(jobs),
                       [this, flow](GenerateResult result) {
                         const std::string& text = flow->answers[static_cast<size_t>(result.index)];
                         flow->active->stages = std::exchange(result.timings, {}).stages;
                         AskStep(flow, flow->machine.OnGenerated(std::move(result), text));
                       });
  }
  auto& finish = std::get<AskMachine::Finish>(work);
  finish.result.timings = MakeTimings(*active);
  if (--flow->unfinished > 0) return flow->sink->OnAnswer(std::move(finish.result));
  metrics_.Counter(MetricId::kAsks, {Label(finish.result.mode)}).Increment();
  for (const Stage& stage : active->stages) {
    metrics_.Histogram(MetricId::kAskStageSeconds, {stage.name})
        .Observe(Seconds(stage.queue_us + stage.run_us));
  }
  if (!Finish(active)) return;
  flow->sink->OnAnswer(std::move(finish.result));
  flow->sink->OnFinished(absl::OkStatus());
}

void Engine::Loop::AskRerank(const std::shared_ptr<AskFlow>& flow, std::vector<ScoredPoint> found) {
  if (flow->reranker == nullptr || found.empty()) {
    return AskPrepare(flow, std::move(found), std::nullopt);
  }
  struct Texts {
    std::vector<ScoredPoint> found;
    std::vector<std::string> texts;
  };
  RunHost<Texts>(
      flow->active,
      [flow, found = std::move(found)]() mutable -> absl::StatusOr<Texts> {
        ASSIGN_OR_RETURN(std::vector<std::string> texts, AskMachine::PassageTexts(found));
        return Texts{.found = std::move(found), .texts = std::move(texts)};
      },
      [this, flow](Texts passages) {
        RunRerank(flow->active, *flow->reranker, flow->machine.request().question,
                  std::move(passages.texts),
                  [this, flow, found = std::move(passages.found)](Scores scores) mutable {
                    std::vector<float> shown;
                    for (const float raw : scores.raw_scores) {
                      shown.push_back(ShownScore(scores.method, raw));
                    }
                    AskPrepare(flow, std::move(found), std::move(shown));
                  });
      });
}

void Engine::Loop::AskPrepare(const std::shared_ptr<AskFlow>& flow, std::vector<ScoredPoint> found,
                              std::optional<std::vector<float>> scores) {
  RunHost<AskMachine::Context>(
      flow->active,
      [this, flow, found = std::move(found), scores = std::move(scores),
       grammars = flow->model != nullptr ? GrammarsOf(*flow->model)
                                         : nullptr]() -> absl::StatusOr<AskMachine::Context> {
        ASSIGN_OR_RETURN(AskMachine::Context context, flow->machine.Prepare(found, scores));
        if (options_.schedule.draft_tokens_max > 0 && !context.neighbours.empty()) {
          const absl::StatusOr<std::vector<Point>> neighbours =
              parts_.store->Get(flow->collection, context.neighbours, /*with_vectors=*/false,
                                /*with_payload=*/true);
          if (neighbours.ok()) {
            flow->machine.AddNeighbours(*neighbours, context);
          } else if (!absl::IsNotFound(neighbours.status())) {
            return neighbours.status();
          }  // else dropped since it was searched: the answer needs no more of it
        }
        if (!context.grammar.empty()) {
          ASSIGN_OR_RETURN(flow->grammar, grammars->Compile({TextConstraint::Kind::kGrammar,
                                                             std::move(context.grammar)}));
        }
        return context;
      },
      [this, flow](AskMachine::Context context) {
        metrics_.Histogram(MetricId::kAskRetrievedSeconds)
            .Observe(Seconds(clock_.NowUs() - flow->active->arrived_us));
        flow->sink->OnRetrieved(context.passages);
        AskStep(flow, flow->machine.OnPrepared(std::move(context)));
      });
}

// ---- Ingest: split -> embed in batches -> write

struct Engine::Loop::IngestFlow {
  RequestPtr active;
  IngestMachine machine;
  Done<IngestResult> done;
  std::string collection = {};                        // by its own name, as in AskFlow
  std::shared_ptr<const EmbedderPart> embedder = {};  // the collection's
};

void Engine::Loop::Ingest(const RequestPtr& active, IngestMachine machine,
                          Done<IngestResult> done) {
  auto flow = std::make_shared<IngestFlow>(
      IngestFlow{.active = active, .machine = std::move(machine), .done = std::move(done)});
  EnsureCollection(flow);
}

absl::StatusOr<std::shared_ptr<const EmbedderPart>> Engine::Loop::EmbedderOf(
    const RequestPtr& active, const CollectionInfo& collection) {
  const std::string& name = collection.spec.name;
  if (collection.embedder.empty()) {
    return absl::FailedPreconditionError(StrCat("collection \"", name,
                                                "\" was created for points, not for documents: "
                                                "ingest into another"));
  }
  auto found = UseEmbedder(active, collection.embedder);
  if (!found.ok()) {
    return absl::FailedPreconditionError(
        StrCat("collection \"", name, "\" was embedded by another model: ",
               std::string(found.status().message()), "; load it, or ingest into another"));
  }
  // Two models may have had one name.
  const int32_t dimension = (*found)->embedder->dimension();
  if (dimension != collection.spec.dimension) {
    return absl::FailedPreconditionError(StrCat(
        "collection \"", name, "\" was embedded by \"", collection.embedder, "\" with dimension ",
        collection.spec.dimension, ", but here it has ", dimension, "; ingest into another"));
  }
  return found;
}

void Engine::Loop::EnsureCollection(const std::shared_ptr<IngestFlow>& flow) {
  const RequestPtr& active = flow->active;
  const std::string& name = flow->machine.request().collection;
  const auto collection = parts_.store->Describe(name);
  if (collection.ok()) {
    const auto embedder = EmbedderOf(active, *collection);
    if (!embedder.ok()) return Fail(active, embedder.status());
    if (options_.rag.retrieval != "dense" && !HasIndex(*collection, kPassageTextField)) {
      return ChangeIndexes(
          active,
          [this, name = collection->spec.name](VectorStore::IndexPoll poll) {
            const absl::Status status = parts_.store->CreatePayloadIndex(
                name, {.field = kPassageTextField, .kind = PayloadIndexKind::kText}, poll);
            return absl::IsAlreadyExists(status) ? absl::OkStatus() : status;
          },
          [this, flow] { EnsureCollection(flow); });
    }
    flow->collection = collection->spec.name;
    flow->embedder = *embedder;
    return IngestStep(flow, flow->machine.Start());
  }
  const auto part = UseEmbedder(active, "");
  if (!part.ok()) return Fail(active, part.status());
  CollectionSpec spec{.name = name, .dimension = (*part)->embedder->dimension()};
  Change(
      active,
      [this, spec = std::move(spec), embedder = (*part)->embedder->name()] {
        const absl::Status status = parts_.store->CreateCollection(spec, embedder);
        // Somebody else may have created it meanwhile; it is looked at again below.
        return absl::IsAlreadyExists(status) ? absl::OkStatus() : status;
      },
      [this, flow] { EnsureCollection(flow); });
}

void Engine::Loop::IngestStep(const std::shared_ptr<IngestFlow>& flow, IngestMachine::Work work) {
  const RequestPtr& active = flow->active;
  if (std::holds_alternative<IngestMachine::SplitDocuments>(work)) {
    return RunHost<std::vector<Point>>(
        active,
        [this, flow]() -> absl::StatusOr<std::vector<Point>> {
          RETURN_IF_ERROR(flow->machine.Split());
          return parts_.store->Get(flow->collection, flow->machine.FirstPassageIds(), false, true);
        },
        [this, flow](std::vector<Point> stored) {
          IngestStep(flow, flow->machine.OnSplit(stored));
        });
  }
  if (auto* embed = std::get_if<IngestMachine::Embed>(&work)) {
    if (!flow->embedder->passage_prefix.empty()) {
      for (std::string& text : embed->texts) text.insert(0, flow->embedder->passage_prefix);
    }
    return RunEmbed(active, WorkKind::kEmbed,
                    {.embedder = flow->embedder->embedder, .texts = std::move(embed->texts)},
                    [this, flow](EmbedBatchResult result) {
                      IngestStep(flow, flow->machine.OnEmbedded(std::move(result.embeddings)));
                    });
  }
  if (auto* write = std::get_if<IngestMachine::Write>(&work)) {
    return RunWrite(active,
                    {.collection = flow->collection,
                     .upserts = std::move(write->upserts),
                     .deletes = std::move(write->deletes)},
                    [this, flow](WriteResult result) {
                      IngestStep(flow, flow->machine.OnWritten(result.deleted));
                    });
  }
  auto& finish = std::get<IngestMachine::Finish>(work);
  finish.result.timings = MakeTimings(*active);
  if (Finish(active)) flow->done(std::move(finish.result));
}

// ---- Changes of collections: their place is between writes

void Engine::Loop::Change(const RequestPtr& active, absl::AnyInvocable<absl::Status()> change,
                          absl::AnyInvocable<void()> then) {
  const bool queued = write_lane_.TryChange(
      [this, active, change = std::move(change), then = std::move(then)]() mutable {
        mailbox_.Post([this, active, status = change(), then = std::move(then)]() mutable {
          if (active->ended) return;
          if (!status.ok()) return Fail(active, std::move(status));
          then();
        });
      });
  if (!queued) RefuseFull(active, "write", options_.queues.write_queue_max);
}

void Engine::Loop::ChangeIndexes(const RequestPtr& active, IndexChange change,
                                 absl::AnyInvocable<void()> then) {
  const auto answer = [this, active](absl::Status status, absl::AnyInvocable<void()> go_on) {
    mailbox_.Post([this, active, status = std::move(status), go_on = std::move(go_on)]() mutable {
      if (active->ended) return;
      if (!status.ok()) return Fail(active, std::move(status));
      go_on();
    });
  };
  const bool queued = write_lane_.TryChange([this, answer, change = std::move(change),
                                             then = std::move(then)]() mutable {
    HostLane::Job job = [this, answer, change = std::move(change),
                         then = std::move(then)]() mutable {
      const absl::Status status = change([this] {
        return stopping_ ? absl::UnavailableError("the daemon is shutting down") : absl::OkStatus();
      });
      answer(status, std::move(then));
    };
    if (index_lane_.TryRun(std::move(job))) return;
    answer(absl::ResourceExhaustedError("too many payload indexes wait to be made"), [] {});
  });
  if (!queued) RefuseFull(active, "write", options_.queues.write_queue_max);
}

void Engine::Loop::Create(const RequestPtr& active, CollectionSpec spec,
                          Done<CollectionInfo> done) {
  const std::string name = spec.name;
  Change(
      active, [this, spec] { return parts_.store->CreateCollection(spec, ""); },
      [this, active, name, done = std::move(done)]() mutable {
        if (Finish(active)) done(parts_.store->Describe(name));
      });
}

void Engine::Loop::Drop(const RequestPtr& active, std::string collection, Done<bool> done) {
  Change(
      active,
      [this, collection = std::move(collection)] {
        return parts_.store->DropCollection(collection);
      },
      [this, active, done = std::move(done)]() mutable {
        if (Finish(active)) done(true);
      });
}

void Engine::Loop::UpdateAliases(const RequestPtr& active, std::vector<AliasAction> actions,
                                 Done<bool> done) {
  Change(
      active, [this, actions = std::move(actions)] { return parts_.store->UpdateAliases(actions); },
      [this, active, done = std::move(done)]() mutable {
        if (Finish(active)) done(true);
      });
}

void Engine::Loop::CreateIndex(const RequestPtr& active, std::string collection, PayloadIndex index,
                               Done<CollectionInfo> done) {
  ChangeIndexes(
      active,
      [this, collection, index = std::move(index)](VectorStore::IndexPoll poll) {
        return parts_.store->CreatePayloadIndex(collection, index, poll);
      },
      [this, active, collection, done = std::move(done)]() mutable {
        if (Finish(active)) done(parts_.store->Describe(collection));
      });
}

void Engine::Loop::DropIndex(const RequestPtr& active, std::string collection, std::string field,
                             Done<CollectionInfo> done) {
  ChangeIndexes(
      active,
      [this, collection, field = std::move(field)](VectorStore::IndexPoll poll) {
        return parts_.store->DropPayloadIndex(collection, field, poll);
      },
      [this, active, collection, done = std::move(done)]() mutable {
        if (Finish(active)) done(parts_.store->Describe(collection));
      });
}

// ---- Single-stage requests

void Engine::Loop::Embed(const RequestPtr& active, EmbedRequest request, Done<EmbedResult> done) {
  const auto embedder = UseEmbedder(active, request.model);
  if (!embedder.ok()) return Fail(active, embedder.status());
  RunEmbed(active, WorkKind::kEmbed,
           {.embedder = (*embedder)->embedder, .texts = std::move(request.texts)},
           [this, active, name = (*embedder)->embedder->name(),
            done = std::move(done)](EmbedBatchResult embedded) mutable {
             EmbedResult result{.embeddings = std::move(embedded.embeddings),
                                .inputs = std::move(embedded.inputs),
                                .model = std::move(name),
                                .timings = MakeTimings(*active)};
             if (Finish(active)) done(std::move(result));
           });
}

void Engine::Loop::Rerank(const RequestPtr& active, RerankRequest request,
                          Done<RerankResult> done) {
  const auto model = UseReranker(active, request.model);
  if (!model.ok()) return Fail(active, model.status());
  const auto keep = static_cast<size_t>(
      std::min<int64_t>(request.top_n.value_or(INT32_MAX), std::ssize(request.documents)));
  RunRerank(
      active, **model, std::move(request.query), std::move(request.documents),
      [this, active, keep, name = (*model)->embedder->name(),
       wants_texts = request.return_documents, done = std::move(done)](Scores scores) mutable {
        RerankResult result{.method = scores.method,
                            .query_truncated = scores.query_truncated,
                            .model = std::move(name)};
        result.documents = Rank(scores.method, scores.raw_scores);
        result.documents.resize(keep);
        for (RankedDocument& ranked : result.documents) {
          const auto index = static_cast<size_t>(ranked.index);
          ranked.truncated = scores.truncated[index];
          if (wants_texts) ranked.document = std::move(scores.texts[index]);
        }
        result.timings = MakeTimings(*active);
        if (Finish(active)) done(std::move(result));
      });
}

void Engine::Loop::Search(const RequestPtr& active, SearchRequest request,
                          Done<SearchResult> done) {
  RunSearch(active, std::move(request),
            [this, active, done = std::move(done)](SearchResult result) mutable {
              result.timings = MakeTimings(*active);
              if (Finish(active)) done(std::move(result));
            });
}

void Engine::Loop::Cluster(const RequestPtr& active, ClusterRequest request,
                           Done<ClusterResult> done) {
  ClusterBatch batch{.vectors = std::move(request.vectors),
                     .params = request.params,
                     .deadline_us = active->envelope.deadline_us,
                     .cancelled = active->stop = std::make_shared<std::atomic<bool>>(false)};
  ClusterInput input;
  if (request.collection.empty()) {
    input = {.points = std::ssize(batch.vectors), .dimension = std::ssize(batch.vectors.front())};
  } else {
    absl::StatusOr<std::shared_ptr<const CollectionView>> view =
        parts_.store->View(request.collection, request.vector_name);
    if (!view.ok()) return Fail(active, view.status());
    const auto all = parts_.store->View((*view)->spec().name);
    if (!all.ok()) return Fail(active, all.status());
    if (!(*all)->spec().partition_key.empty() && !request.all_partitions) {
      return Fail(active, absl::InvalidArgumentError(StrCat(
                              "all_partitions is missing: collection \"", request.collection,
                              "\" has a partition key, and clusters are of everybody's points")));
    }
    if ((*view)->spec().dimension == 0) {
      return Fail(active, absl::InvalidArgumentError(StrCat("vector_name is missing: collection \"",
                                                            request.collection,
                                                            "\" has named vectors only")));
    }
    batch.view = *std::move(view);
    input = {.points = batch.view->points(), .dimension = batch.view->spec().dimension};
  }
  absl::Status valid = ValidateClusterInput(batch.params, input);
  if (!valid.ok()) return Fail(active, std::move(valid));
  if (!batch.params.metric.has_value()) {
    batch.params.metric = batch.view != nullptr ? batch.view->spec().metric : Metric::kL2;
  }
  RunCluster(active, std::move(batch), input,
             [this, active, done = std::move(done)](ClusterBatchResult result) mutable {
               result.clusters.timings = MakeTimings(*active);
               if (Finish(active)) done(std::move(result.clusters));
             });
}

void Engine::Loop::Upsert(const RequestPtr& active, UpsertRequest request,
                          Done<UpsertResult> done) {
  RunWrite(active,
           {.collection = std::move(request.collection),
            .upserts = std::move(request.points),
            .deletes = {}},
           [this, active, done = std::move(done)](WriteResult written) mutable {
             UpsertResult result{.points = written.upserted, .timings = MakeTimings(*active)};
             if (Finish(active)) done(std::move(result));
           });
}

void Engine::Loop::Delete(const RequestPtr& active, DeleteRequest request,
                          Done<DeleteResult> done) {
  RunWrite(active,
           {.collection = std::move(request.collection),
            .upserts = {},
            .deletes = std::move(request.ids),
            .filter = std::move(request.filter),
            .partition = std::move(request.partition)},
           [this, active, done = std::move(done)](WriteResult written) mutable {
             if (Finish(active)) done(DeleteResult{.deleted = written.deleted});
           });
}

void Engine::Loop::PatchPayload(const RequestPtr& active, PatchPayloadRequest request,
                                Done<PatchPayloadResult> done) {
  Write write{.collection = std::move(request.collection),
              .filter = std::move(request.filter),
              .partition = std::move(request.partition)};
  write.patches.push_back(std::move(request.patch));
  RunWrite(active, std::move(write),
           [this, active, done = std::move(done)](WriteResult written) mutable {
             if (Finish(active)) done(PatchPayloadResult{.points = written.patched});
           });
}

void Engine::Loop::SearchGroups(const RequestPtr& active, SearchGroupsRequest request,
                                Done<SearchGroupsResult> done) {
  RunHost<SearchGroupsResult>(
      active, [this, request = std::move(request)] { return FindGroups(request); },
      [this, active, done = std::move(done)](SearchGroupsResult result) mutable {
        result.timings = MakeTimings(*active);
        if (Finish(active)) done(std::move(result));
      });
}

}  // namespace baton
