#include "engine/engine.h"

#include <cmath>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/engine_loop.h"
#include "engine/model_path.h"
#include "engine/text_search.h"
#include "engine/vector/view_queries.h"

namespace baton {
namespace {

// A callback that both ways a request can end hold on to: the answer, and the failure.
template <class T>
class SharedDone {
 public:
  // `answers`: as EngineParts::answers.
  SharedDone(AnswerRunner* answers, Done<T> done)
      : state_(std::make_shared<State>(answers, std::move(done))) {}

  // The request has ended; on the loop.
  void operator()(absl::StatusOr<T> result) const {
    auto answer = [state = state_, result = std::move(result)]() mutable {
      const RequestsInFlight::Slot until_answered = std::move(state->slot);
      state->done(std::move(result));
    };
    if (state_->answers == nullptr) return answer();
    state_->answers->Post(std::move(answer));
  }
  Outcome OnFailure() const {
    return {.fail = [shared = *this](absl::Status status) { shared(std::move(status)); },
            .holder = {state_, &state_->slot}};
  }

 private:
  struct State {
    State(AnswerRunner* runner, Done<T> then) : answers(runner), done(std::move(then)) {}
    AnswerRunner* answers;
    Done<T> done;
    RequestsInFlight::Slot slot;  // once the request has ended
  };
  std::shared_ptr<State> state_;
};

absl::Status ValidateParams(const SearchParams& params) {
  if (params.k < 1 || params.k > 10'000) {
    return absl::InvalidArgumentError(StrCat("params.k must be 1 to 10000, but is ", params.k));
  }
  if (params.ef < 1 || params.ef > 100'000) {
    return absl::InvalidArgumentError(StrCat("params.ef must be 1 to 100000, but is ", params.ef));
  }
  // Not a number is neither.
  if (params.recall_target.has_value() &&
      !(*params.recall_target >= 0.5 && *params.recall_target <= 0.999)) {
    return absl::InvalidArgumentError(
        StrCat("params.recall_target must be 0.5 to 0.999, but is ", *params.recall_target));
  }
  if (params.nprobe.has_value() && (*params.nprobe < 1 || *params.nprobe > 65'536)) {
    return absl::InvalidArgumentError(
        StrCat("params.nprobe must be 1 to 65536, but is ", *params.nprobe));
  }
  if (params.offset < 0 || params.offset > 10'000 - params.k) {
    return absl::InvalidArgumentError(StrCat("params.offset must be 0 to ", 10'000 - params.k,
                                             " (10000 - params.k), but is ", params.offset));
  }
  if (params.score_threshold.has_value() && std::isnan(*params.score_threshold)) {
    return absl::InvalidArgumentError("params.score_threshold is not a number");
  }
  return absl::OkStatus();
}

absl::Status ValidateRange(const SearchRequest& request) {
  constexpr int32_t kLimitMax = 100'000;
  const SearchParams& params = request.params;
  if (params.k < 1 || params.k > kLimitMax) {
    return absl::InvalidArgumentError(
        StrCat("limit must be 1 to ", kLimitMax, ", but is ", params.k));
  }
  if (!params.score_threshold.has_value()) {
    return absl::InvalidArgumentError("score_threshold is missing: a range needs one");
  }
  if (request.queries.size() != 1 || !request.texts.empty()) {
    return absl::InvalidArgumentError("a search of a range is by one vector");
  }
  return absl::OkStatus();
}

absl::Status ValidateQueries(const SearchRequest& request) {
  if (request.queries.empty() || request.queries.size() > 10'000) {
    return absl::InvalidArgumentError(
        StrCat("queries must be 1 to 10000, but are ", request.queries.size()));
  }
  return absl::OkStatus();
}

absl::Status ValidateGroups(const SearchGroupsRequest& request) {
  constexpr int32_t kGroupsMax = 1000;
  constexpr int32_t kGroupSizeMax = 100;
  constexpr int64_t kPointsMax = 10'000;
  const int32_t groups = request.params.k;
  const int32_t size = request.group_by.group_size;
  if (groups > kGroupsMax) {
    return absl::InvalidArgumentError(
        StrCat("params.k, the number of groups, must be 1 to ", kGroupsMax, ", but is ", groups));
  }
  if (size < 1 || size > kGroupSizeMax) {
    return absl::InvalidArgumentError(
        StrCat("group_size must be 1 to ", kGroupSizeMax, ", but is ", size));
  }
  if (int64_t{groups} * size > kPointsMax) {
    return absl::InvalidArgumentError(StrCat("params.k times group_size must be at most ",
                                             kPointsMax, ", but is ", int64_t{groups} * size));
  }
  if (request.params.offset != 0) {
    return absl::InvalidArgumentError(
        StrCat("params.offset must be 0 in a search of groups, but is ", request.params.offset));
  }
  return absl::OkStatus();
}

// A view of a collection, and which of its points a request means.
struct FilteredView {
  std::shared_ptr<const CollectionView> view;
  FilterPtr filter;
};
template <class Request>
absl::StatusOr<FilteredView> ViewFor(const VectorStore& store, const Request& request) {
  FilteredView found;
  ASSIGN_OR_RETURN(found.view, store.View(request.collection));
  ASSIGN_OR_RETURN(found.filter,
                   store.CheckFilter(found.view->spec(), request.partition, request.filter));
  return found;
}

}  // namespace

Engine::Engine(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
Engine::~Engine() = default;

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options,
                                                       EngineParts parts) {
  auto loop = std::make_unique<Loop>(options, std::move(parts));
  RETURN_IF_ERROR(loop->LoadModels());
  loop->StartThread();
  return std::unique_ptr<Engine>(new Engine(std::move(loop)));
}

absl::StatusOr<RequestId> Engine::Submit(GenerateRequest request, std::shared_ptr<TokenSink> sink) {
  RETURN_IF_ERROR(ValidateGenerate(request));
  RETURN_IF_ERROR(loop_->models().FindLanguage(request.model).status());
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope),
      {.fail = [sink](absl::Status status) { sink->OnFinished(std::move(status)); }},
      [this, sink, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->Generate(active, std::move(request), sink);
      },
      WaitsFor::kFirstToken);
}

absl::StatusOr<RequestId> Engine::Submit(AskRequest request, std::shared_ptr<AskSink> sink) {
  RETURN_IF_ERROR(ValidateSampling(request.sampling));
  RETURN_IF_ERROR(ValidateStop(request.stop));
  RETURN_IF_ERROR(ValidateLogprobs(request.logprobs));
  RETURN_IF_ERROR(ValidateCompletions(request.answers));
  if (request.question.find_first_not_of(" \t\r\n") == std::string::npos) {
    return absl::InvalidArgumentError("question is blank");
  }
  if (request.k < 1 || request.k > 100) {
    return absl::InvalidArgumentError(StrCat("k must be 1 to 100, but is ", request.k));
  }
  if (request.max_tokens.has_value() && *request.max_tokens < 1) {
    return absl::InvalidArgumentError(
        StrCat("max_tokens must be at least 1, but is ", *request.max_tokens));
  }
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope),
      {.fail = [sink](absl::Status status) { sink->OnFinished(std::move(status)); }},
      [this, sink, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->Ask(active, std::move(request), sink);
      },
      WaitsFor::kFirstToken);
}

absl::StatusOr<RequestId> Engine::Submit(EmbedRequest request, Done<EmbedResult> done) {
  RETURN_IF_ERROR(loop_->models().FindEmbedder(request.model).status());
  for (size_t i = 0; i < request.texts.size(); ++i) {
    if (request.texts[i].empty()) {
      return absl::InvalidArgumentError(StrCat("texts[", i, "] is empty"));
    }
  }
  if (request.texts.empty()) return absl::InvalidArgumentError("texts is empty");
  const SharedDone<EmbedResult> shared(loop_->answers(), std::move(done));
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->Embed(active, std::move(request), shared);
      });
}

absl::StatusOr<RequestId> Engine::Submit(RerankRequest request, Done<RerankResult> done) {
  RETURN_IF_ERROR(loop_->models().FindReranker(request.model).status());
  if (request.query.empty()) return absl::InvalidArgumentError("query is empty");
  if (request.documents.empty()) return absl::InvalidArgumentError("documents is empty");
  for (size_t i = 0; i < request.documents.size(); ++i) {
    if (request.documents[i].empty()) {
      return absl::InvalidArgumentError(StrCat("documents[", i, "] is empty"));
    }
  }
  if (request.top_n.has_value() && *request.top_n < 1) {
    return absl::InvalidArgumentError(StrCat("top_n must be at least 1, but is ", *request.top_n));
  }
  const SharedDone<RerankResult> shared(loop_->answers(), std::move(done));
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->Rerank(active, std::move(request), shared);
      });
}

absl::StatusOr<RequestId> Engine::Submit(SearchRequest request, Done<SearchResult> done) {
  if (request.is_range) {
    RETURN_IF_ERROR(ValidateRange(request));
    SearchParams others = request.params;
    others.k = 1;  // is the limit
    RETURN_IF_ERROR(ValidateParams(others));
  } else {
    RETURN_IF_ERROR(ValidateParams(request.params));
  }
  RETURN_IF_ERROR(ValidateQueries(request));
  RETURN_IF_ERROR(ValidateTexts(request));
  const SharedDone<SearchResult> shared(loop_->answers(), std::move(done));
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->Search(active, std::move(request), shared);
      },
      WaitsFor::kSearch);
}

absl::StatusOr<RequestId> Engine::Submit(ClusterRequest request, Done<ClusterResult> done) {
  RETURN_IF_ERROR(ValidateCluster(request));
  const SharedDone<ClusterResult> shared(loop_->answers(), std::move(done));
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->Cluster(active, std::move(request), shared);
      });
}

absl::StatusOr<RequestId> Engine::Submit(UpsertRequest request, Done<UpsertResult> done) {
  if (request.points.empty()) return absl::InvalidArgumentError("points is empty");
  const SharedDone<UpsertResult> shared(loop_->answers(), std::move(done));
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->Upsert(active, std::move(request), shared);
      });
}

absl::StatusOr<RequestId> Engine::Submit(DeleteRequest request, Done<DeleteResult> done) {
  if (request.ids.empty() && request.filter == nullptr) {
    return absl::InvalidArgumentError("ids is empty");
  }
  const SharedDone<DeleteResult> shared(loop_->answers(), std::move(done));
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->Delete(active, std::move(request), shared);
      });
}

absl::StatusOr<RequestId> Engine::Submit(PatchPayloadRequest request,
                                         Done<PatchPayloadResult> done) {
  const SharedDone<PatchPayloadResult> shared(loop_->answers(), std::move(done));
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->PatchPayload(active, std::move(request), shared);
      });
}

absl::StatusOr<RequestId> Engine::Submit(SearchGroupsRequest request,
                                         Done<SearchGroupsResult> done) {
  RETURN_IF_ERROR(ValidateParams(request.params));
  RETURN_IF_ERROR(ValidateGroups(request));
  const SharedDone<SearchGroupsResult> shared(loop_->answers(), std::move(done));
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->SearchGroups(active, std::move(request), shared);
      });
}

absl::StatusOr<RequestId> Engine::Submit(IngestRequest request, Done<IngestResult> done) {
  Envelope envelope = request.envelope;
  ASSIGN_OR_RETURN(IngestMachine machine,
                   IngestMachine::Create(std::move(request), loop_->options().rag));
  const SharedDone<IngestResult> shared(loop_->answers(), std::move(done));
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, machine = std::move(machine)](const RequestPtr& active) mutable {
        loop_->Ingest(active, std::move(machine), shared);
      });
}

absl::StatusOr<RequestId> Engine::Submit(LoadModelRequest request, Done<ModelReport> done) {
  if (!IsPlainName(request.name)) {
    return absl::InvalidArgumentError(
        StrCat("name must be 1 to 128 characters of [A-Za-z0-9_.:-], but is \"",
               Escaped(request.name), "\""));
  }
  RETURN_IF_ERROR(CheckModelPath(loop_->options().repository.directory, request.path));
  const SharedDone<ModelReport> shared(loop_->answers(), std::move(done));
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->LoadModel(active, std::move(request), shared);
      });
}

absl::StatusOr<RequestId> Engine::Submit(UnloadModelRequest request, Done<ModelReport> done) {
  if (loop_->options().repository.directory.empty()) {
    return absl::FailedPreconditionError(
        "models cannot be loaded or unloaded while the daemon runs: repository.directory is not "
        "set");
  }
  const SharedDone<ModelReport> shared(loop_->answers(), std::move(done));
  Envelope envelope = request.envelope;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared, request = std::move(request)](const RequestPtr& active) mutable {
        loop_->UnloadModel(active, std::move(request), shared);
      });
}

absl::StatusOr<RequestId> Engine::Submit(GetRequest request, TimeUs deadline_us,
                                         Done<std::vector<Point>> done) {
  return SubmitHost<std::vector<Point>>(
      deadline_us,
      [this, request = std::move(request)] {
        return loop_->parts().store->Get(request.collection, request.ids, request.with_vectors,
                                         request.with_payload);
      },
      std::move(done));
}

absl::StatusOr<RequestId> Engine::Submit(CountRequest request, TimeUs deadline_us,
                                         Done<int64_t> done) {
  return SubmitHost<int64_t>(
      deadline_us,
      [this, request = std::move(request)]() -> absl::StatusOr<int64_t> {
        ASSIGN_OR_RETURN(const FilteredView found, ViewFor(*loop_->parts().store, request));
        return CountView(*found.view, found.filter.get());
      },
      std::move(done));
}

absl::StatusOr<RequestId> Engine::Submit(ScrollRequest request, TimeUs deadline_us,
                                         Done<ScrollResult> done) {
  return SubmitHost<ScrollResult>(
      deadline_us,
      [this, request = std::move(request)]() -> absl::StatusOr<ScrollResult> {
        const VectorStore& store = *loop_->parts().store;
        ASSIGN_OR_RETURN(const FilteredView found, ViewFor(store, request));
        const std::shared_ptr<const CollectionView>& view = found.view;
        ASSIGN_OR_RETURN(const IdPage page,
                         ScrollView(*view, found.filter.get(), request.first, request.limit));
        ScrollResult result{.points = {}, .next = page.next};
        ASSIGN_OR_RETURN(result.points, store.Get(view->spec().name, page.ids, request.with_vectors,
                                                  request.with_payload));
        return result;
      },
      std::move(done));
}

absl::StatusOr<RequestId> Engine::Submit(FacetRequest request, TimeUs deadline_us,
                                         Done<std::vector<FacetHit>> done) {
  return SubmitHost<std::vector<FacetHit>>(
      deadline_us,
      [this, request = std::move(request)]() -> absl::StatusOr<std::vector<FacetHit>> {
        ASSIGN_OR_RETURN(const FilteredView found, ViewFor(*loop_->parts().store, request));
        return FacetView(*found.view, request.field, found.filter.get(), request.limit);
      },
      std::move(done));
}

absl::StatusOr<RequestId> Engine::SubmitCreateIndex(std::string collection, PayloadIndex index,
                                                    Done<CollectionInfo> done) {
  const SharedDone<CollectionInfo> shared(loop_->answers(), std::move(done));
  return loop_->Admit({}, shared.OnFailure(),
                      [this, shared, collection = std::move(collection),
                       index = std::move(index)](const RequestPtr& active) mutable {
                        loop_->CreateIndex(active, std::move(collection), std::move(index), shared);
                      });
}

absl::StatusOr<RequestId> Engine::SubmitDropIndex(std::string collection, std::string field,
                                                  Done<CollectionInfo> done) {
  const SharedDone<CollectionInfo> shared(loop_->answers(), std::move(done));
  return loop_->Admit({}, shared.OnFailure(),
                      [this, shared, collection = std::move(collection),
                       field = std::move(field)](const RequestPtr& active) mutable {
                        loop_->DropIndex(active, std::move(collection), std::move(field), shared);
                      });
}

absl::StatusOr<RequestId> Engine::SubmitCreate(CollectionSpec spec, Done<CollectionInfo> done) {
  const SharedDone<CollectionInfo> shared(loop_->answers(), std::move(done));
  return loop_->Admit({}, shared.OnFailure(),
                      [this, shared, spec = std::move(spec)](const RequestPtr& active) mutable {
                        loop_->Create(active, std::move(spec), shared);
                      });
}

absl::StatusOr<RequestId> Engine::SubmitDrop(std::string collection, Done<bool> done) {
  const SharedDone<bool> shared(loop_->answers(), std::move(done));
  return loop_->Admit(
      {}, shared.OnFailure(),
      [this, shared, collection = std::move(collection)](const RequestPtr& active) mutable {
        loop_->Drop(active, std::move(collection), shared);
      });
}

absl::StatusOr<RequestId> Engine::SubmitAliases(std::vector<AliasAction> actions, Done<bool> done) {
  const SharedDone<bool> shared(loop_->answers(), std::move(done));
  return loop_->Admit(
      {}, shared.OnFailure(),
      [this, shared, actions = std::move(actions)](const RequestPtr& active) mutable {
        loop_->UpdateAliases(active, std::move(actions), shared);
      });
}

absl::StatusOr<RequestId> Engine::SubmitTokenize(std::string model, std::string text,
                                                 std::optional<bool> add_bos,
                                                 Done<std::vector<TokenId>> done) {
  return SubmitWithModel<std::vector<TokenId>>(
      std::move(model),
      [text = std::move(text),
       add_bos](const LanguageModel& found) -> absl::StatusOr<std::vector<TokenId>> {
        const Tokenizer& tokenizer = found.tokenizer();
        std::vector<TokenId> ids = tokenizer.Encode(text);
        if (add_bos.value_or(tokenizer.add_bos()) && tokenizer.bos().has_value()) {
          ids.insert(ids.begin(), *tokenizer.bos());
        }
        return ids;
      },
      std::move(done));
}

absl::StatusOr<RequestId> Engine::SubmitDetokenize(std::string model, std::vector<TokenId> ids,
                                                   Done<std::string> done) {
  return SubmitWithModel<std::string>(
      std::move(model),
      [ids = std::move(ids)](const LanguageModel& found) -> absl::StatusOr<std::string> {
        for (size_t i = 0; i < ids.size(); ++i) {
          if (ids[i] < 0 || ids[i] >= found.shape().vocabulary) {
            return absl::InvalidArgumentError(StrCat(
                "ids[", i, "] must be 0 to ", found.shape().vocabulary - 1, ", but is ", ids[i]));
          }
        }
        return DecodeAll(found.tokenizer(), ids);
      },
      std::move(done));
}

template <class T>
absl::StatusOr<RequestId> Engine::SubmitWithModel(
    std::string model, absl::AnyInvocable<absl::StatusOr<T>(const LanguageModel&)> work,
    Done<T> done) {
  RETURN_IF_ERROR(loop_->models().FindLanguage(model).status());
  const SharedDone<T> shared(loop_->answers(), std::move(done));
  return loop_->Admit(
      {}, shared.OnFailure(),
      [this, shared, model = std::move(model),
       work = std::move(work)](const RequestPtr& active) mutable {
        const auto found = loop_->UseLanguage(active, model);
        if (!found.ok()) return loop_->Fail(active, found.status());
        loop_->RunHost<T>(
            active, [found = *found, work = std::move(work)]() mutable { return work(*found); },
            [this, active, shared](T value) {
              if (loop_->Finish(active)) shared(std::move(value));
            });
      });
}

template <class T>
absl::StatusOr<RequestId> Engine::SubmitHost(TimeUs deadline_us,
                                             absl::AnyInvocable<absl::StatusOr<T>()> work,
                                             Done<T> done) {
  const SharedDone<T> shared(loop_->answers(), std::move(done));
  Envelope envelope;
  envelope.deadline_us = deadline_us;
  return loop_->Admit(std::move(envelope), shared.OnFailure(),
                      [this, shared, work = std::move(work)](const RequestPtr& active) mutable {
                        loop_->RunHost<T>(active, std::move(work), [this, active, shared](T value) {
                          if (loop_->Finish(active)) shared(std::move(value));
                        });
                      });
}

absl::StatusOr<RequestId> Engine::SubmitCalibrate(TimeUs deadline_us,
                                                  Done<std::vector<LearnedCost>> done) {
  const SharedDone<std::vector<LearnedCost>> shared(loop_->answers(), std::move(done));
  Envelope envelope;
  envelope.deadline_us = deadline_us;
  return loop_->Admit(
      std::move(envelope), shared.OnFailure(),
      [this, shared](const RequestPtr& active) { loop_->Calibrate(active, shared); });
}

void Engine::Cancel(RequestId id) { loop_->Cancel(id); }

std::vector<CollectionInfo> Engine::ListCollections() const { return loop_->parts().store->List(); }

std::vector<Alias> Engine::ListAliases() const { return loop_->parts().store->ListAliases(); }

absl::StatusOr<CollectionInfo> Engine::DescribeCollection(const std::string& name) const {
  return loop_->parts().store->Describe(name);
}

std::vector<ModelReport> Engine::ListModels() const { return loop_->models().List(); }

std::vector<DeviceReport> Engine::Devices() const { return loop_->board().Devices(); }
std::string Engine::PeerAddress() const { return loop_->peer_address(); }
std::vector<PathReport> Engine::TransferPaths() const { return loop_->transfer().Paths(); }

void Engine::BeginDrain() { loop_->BeginDrain(); }
int64_t Engine::InFlight() const { return loop_->requests_in_flight(); }
absl::Status Engine::Progress() const { return loop_->Progress(); }
std::vector<LearnedCost> Engine::Costs() const { return loop_->board().Costs(); }
PowerMode Engine::power_mode() const { return loop_->board().power_mode(); }
double Engine::NodeWatts() const { return loop_->board().NodeWatts(); }
void Engine::SetSlowMs(int64_t slow_ms) { loop_->slow_log().set_slow_ms(slow_ms); }

void Engine::SetPowerMode(PowerMode mode) { loop_->board().set_power_mode(mode); }

}  // namespace baton
