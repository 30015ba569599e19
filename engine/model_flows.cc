// How models come and go while the daemon runs. What takes time is done on the loader's thread; the
// table, the lanes and who uses what change on the loop.

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/engine_loop.h"
#include "engine/model_path.h"

namespace baton {
namespace {

// A file's size; 0 where it cannot be had: opening it will say why.
int64_t FileBytes(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 ? int64_t{info.st_size} : 0;
}

// Who looked the model up before it went may hold it for a moment longer.
constexpr std::chrono::seconds kLastUseMax{10};

}  // namespace

// ---- What requests hold on to

void Engine::Loop::Use(const RequestPtr& active, const std::string& name) {
  active->models.push_back(name);
  ++model_uses_[name];
}

absl::StatusOr<std::shared_ptr<const LanguageModel>> Engine::Loop::UseLanguage(
    const RequestPtr& active, const std::string& name) {
  auto found = models_.FindLanguage(name);
  if (found.ok()) Use(active, (*found)->name());
  return found;
}

absl::StatusOr<std::shared_ptr<const EmbedderPart>> Engine::Loop::UseEmbedder(
    const RequestPtr& active, const std::string& name) {
  auto found = models_.FindEmbedder(name);
  if (found.ok()) Use(active, (*found)->embedder->name());
  return found;
}

absl::StatusOr<std::shared_ptr<const EmbedderPart>> Engine::Loop::UseReranker(
    const RequestPtr& active, const std::string& name) {
  auto found = models_.FindReranker(name);
  if (found.ok()) Use(active, (*found)->embedder->name());
  return found;
}

// ---- Coming

int32_t Engine::Loop::TakeSlots(const std::string& name) {
  const auto step = static_cast<int32_t>(options_.schedule.sequences_running_max);
  int32_t first = 0;
  const auto is_taken = [&](const auto& slots) { return slots.second == first; };
  while (std::any_of(lane_slots_.begin(), lane_slots_.end(), is_taken)) first += step;
  lane_slots_[name] = first;
  return first;
}

absl::StatusOr<Engine::Loop::LoadedModel> Engine::Loop::Install(
    std::shared_ptr<const LanguageModel> model, int32_t first_slot) {
  int64_t bytes = model->weight_bytes();
  std::vector<Executor*> executors;
  for (const auto& executor : parts_.executors) {
    executors.push_back(executor.get());
    if (executor->llm() != nullptr) bytes += executor->llm()->ModelBytes(*model);
  }
  bytes += LaneKv::Bytes(model->shape(), options_.schedule, options_.kv, executors);
  RETURN_IF_ERROR(models_.Reserve(model->name(), bytes));
  LoadedModel loaded;
  loaded.language = std::move(model);
  const auto tell = [this, name = loaded.language->name()](std::string what) {
    models_.SetDetail(name, std::move(what));
    return !stopping_.load();
  };
  auto lane = LlmLane::Create(loaded.language, options_.schedule, options_.kv,
                              {.clock = &clock_,
                               .metrics = &metrics_,
                               .transfer = &transfer_,
                               .executors = executors,
                               .mailbox = &mailbox_,
                               .board = &board_,
                               .fenced = [this](int executor) { OnLlmFenced(executor); },
                               .first_slot = first_slot,
                               .progress = tell});
  if (!lane.ok()) {
    Release(std::move(loaded));
    return lane.status();
  }
  loaded.lane = *std::move(lane);
  if (options_.peer.enabled()) loaded.peer_model = PeerModelOf(*loaded.language);
  return loaded;
}

absl::StatusOr<Engine::Loop::LoadedModel> Engine::Loop::Install(EmbedderPart part) {
  LoadedModel loaded;
  loaded.embedder = std::make_shared<const EmbedderPart>(std::move(part));
  if (loaded.embedder->embedder->kind() == Embedder::Kind::kLexical) return loaded;
  const auto encoder = std::static_pointer_cast<const TextEncoder>(loaded.embedder->embedder);
  int64_t bytes = encoder->weight_bytes();
  for (const auto& executor : parts_.executors) {
    if (executor->embed() != nullptr) bytes += executor->embed()->ModelBytes(*encoder);
  }
  RETURN_IF_ERROR(models_.Reserve(encoder->name(), bytes));
  for (const auto& executor : parts_.executors) {
    if (executor->embed() == nullptr) continue;
    const absl::Status status = executor->embed()->LoadModel(encoder);
    if (status.ok()) continue;
    // Others embed by it; routes tell the reason.
    if (executor->Describe().platform != Platform::kCpu) {
      Log().warn("model {}: not embedded by on the {}: {}", encoder->name(),
                 executor->Describe().device, std::string(status.message()));
      continue;
    }
    for (const auto& other : parts_.executors) {
      if (other->embed() != nullptr) other->embed()->UnloadModel(*encoder);
    }
    return status;
  }
  return loaded;
}

void Engine::Loop::TakeOver(const std::string& name, LoadedModel model) {
  if (model.lane == nullptr) {
    lane_slots_.erase(name);
    models_.SetReady(name, std::move(model.embedder));
    return;
  }
  std::shared_ptr<const OffloadStatus> offload = model.lane->offload_status();
  llm_lanes_.push_back(std::move(model.lane));
  if (model.peer_model) {
    peer_models_.emplace(model.language.get(), *std::move(model.peer_model));
  }
  grammars_.emplace(model.language.get(),
                    std::make_shared<GrammarCache>(model.language->tokenizer()));
  const KvLayout kv = LaneKv::LayoutIn(model.language->shape(), options_.kv);
  models_.SetReady(name, std::move(model.language), kv, std::move(offload));
}

absl::StatusOr<Engine::Loop::LoadedModel> Engine::Loop::Load(const LoadModelRequest& request,
                                                             int32_t first_slot) {
  if (stopping_) return absl::UnavailableError("the daemon is shutting down");
  ASSIGN_OR_RETURN(const std::string path,
                   ResolveModelPath(options_.repository.directory, request.path));
  // Before minutes are spent on reading it.
  if (const int64_t bytes = FileBytes(path), free = models_.BytesFree(); bytes > free) {
    return absl::ResourceExhaustedError(
        StrCat("model \"", request.name, "\" takes more than ", bytes,
               " bytes, its file's size, but of memory.models_bytes_max ", free,
               " are free; unload another model"));
  }
  models_.SetDetail(request.name, "reading and checking the file");
  ASSIGN_OR_RETURN(AnyModel model, LoadAnyModel(request.name, path));
  models_.SetDetail(request.name, "preparing the weights");
  if (auto* language = std::get_if<std::shared_ptr<const LanguageModel>>(&model)) {
    return Install(std::move(*language), first_slot);
  }
  return Install({.embedder = std::get<std::shared_ptr<const TextEncoder>>(std::move(model)),
                  .question_prefix = request.question_prefix,
                  .passage_prefix = request.passage_prefix});
}

void Engine::Loop::LoadModel(const RequestPtr& active, LoadModelRequest request,
                             Done<ModelReport> done) {
  if (model_jobs_ + std::ssize(unloads_) >= kModelJobsMax) {
    return Fail(active, absl::ResourceExhaustedError(StrCat(
                            kModelJobsMax, " models are coming or going; retry in 1000 ms")));
  }
  absl::Status begun = models_.Begin(request.name, request.path);
  if (!begun.ok()) return Fail(active, std::move(begun));
  models_.SetDetail(request.name, "waiting for its turn");
  const std::string name = request.name;
  const int32_t first_slot = TakeSlots(name);
  ++model_jobs_;
  const bool queued = loader_->TryRun([this, active, name, first_slot, done = std::move(done),
                                       request = std::move(request)]() mutable {
    absl::StatusOr<LoadedModel> loaded = Load(request, first_slot);
    mailbox_.Post([this, active, name, done = std::move(done),
                   loaded = std::move(loaded)]() mutable {
      --model_jobs_;
      metrics_.Counter(MetricId::kModelLoads, {absl::StatusCodeToString(loaded.status().code())})
          .Increment();
      if (!loaded.ok()) {
        Log().warn("model {}: not loaded: {}", name, std::string(loaded.status().message()));
        lane_slots_.erase(name);
        models_.SetFailed(name, std::string(loaded.status().message()));
        return Fail(active, loaded.status());
      }
      TakeOver(name, *std::move(loaded));
      ModelReport report = models_.Describe(name);
      Log().info("model {}: loaded, {} bytes", name, report.memory_bytes);
      if (Finish(active)) done(std::move(report));
    });
  });
  BATON_CHECK(queued);
}

// ---- Going

void Engine::Loop::UnloadModel(const RequestPtr& active, UnloadModelRequest request,
                               Done<ModelReport> done) {
  absl::Status begun = models_.BeginUnload(request.name);
  if (!begun.ok()) return Fail(active, std::move(begun));
  if (models_.StateOf(request.name) == ModelState::kFailed) {
    ModelReport report = models_.Describe(request.name);
    models_.Remove(request.name);
    if (Finish(active)) done(std::move(report));
    return;
  }
  unloads_.push_back({.name = std::move(request.name),
                      .cancel_at_us = clock_.NowUs() + request.drain_us,
                      .active = active,
                      .done = std::move(done)});
}

TimeUs Engine::Loop::NextUnloadUs() const {
  TimeUs next_us = kNoDeadline;
  for (const Unload& unload : unloads_) {
    // What uses it ends, or is ended then; after that its lane says when there is something to do.
    if (model_uses_.contains(unload.name)) next_us = std::min(next_us, unload.cancel_at_us);
  }
  return next_us;
}

void Engine::Loop::AdvanceUnloads(TimeUs now_us) {
  for (Unload& unload : unloads_) {
    if (unload.releasing) continue;
    if (model_uses_.contains(unload.name) && now_us >= unload.cancel_at_us) {
      std::vector<RequestPtr> users;
      for (const auto& [id, active] : active_) {
        const auto& models = active->models;
        if (std::find(models.begin(), models.end(), unload.name) != models.end()) {
          users.push_back(active);
        }
      }
      for (const RequestPtr& active : users) {
        Fail(active, absl::UnavailableError(StrCat("model \"", unload.name,
                                                   "\" is being unloaded, and the request "
                                                   "did not end within the drain timeout")));
      }
    }
    const auto lane = std::find_if(llm_lanes_.begin(), llm_lanes_.end(),
                                   [&](const auto& l) { return l->model().name() == unload.name; });
    const bool has_lane = lane != llm_lanes_.end();
    if (model_uses_.contains(unload.name) || (has_lane && !(*lane)->idle()) ||
        model_jobs_ >= kModelJobsMax) {
      continue;
    }
    ModelTable::Taken taken = models_.Take(unload.name);
    grammars_.erase(taken.language.get());
    peer_models_.erase(taken.language.get());
    LoadedModel model = {.language = std::move(taken.language),
                         .embedder = std::move(taken.embedder),
                         .lane = nullptr};
    if (has_lane) {
      model.lane = std::move(*lane);
      llm_lanes_.erase(lane);
      lane_slots_.erase(unload.name);
    }
    models_.SetDetail(unload.name, "giving its memory back");
    unload.releasing = true;
    ++model_jobs_;
    const bool queued =
        loader_->TryRun([this, name = unload.name, model = std::move(model)]() mutable {
          const std::weak_ptr<const void> last =
              model.language != nullptr ? std::weak_ptr<const void>(model.language)
                                        : std::weak_ptr<const void>(model.embedder->embedder);
          Release(std::move(model));
          AwaitLastUse(last, name);
          mailbox_.Post([this, name] { EndUnload(name); });
        });
    BATON_CHECK(queued);
  }
}

void Engine::Loop::Release(LoadedModel model) {
  model.lane.reset();
  for (const auto& executor : parts_.executors) {
    if (model.language != nullptr && executor->llm() != nullptr) {
      executor->llm()->UnloadModel(*model.language);
    }
    if (model.embedder != nullptr && executor->embed() != nullptr) {
      executor->embed()->UnloadModel(static_cast<const TextEncoder&>(*model.embedder->embedder));
    }
  }
}

void Engine::Loop::AwaitLastUse(const std::weak_ptr<const void>& model, const std::string& name) {
  const auto end = std::chrono::steady_clock::now() + kLastUseMax;
  while (!model.expired() && !stopping_) {
    if (std::chrono::steady_clock::now() > end) {
      Log().warn("model {}: still held after it was unloaded; its file stays mapped", name);
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void Engine::Loop::EndUnload(const std::string& name) {
  --model_jobs_;
  const auto unload = std::find_if(unloads_.begin(), unloads_.end(),
                                   [&](const Unload& u) { return u.name == name; });
  BATON_CHECK(unload != unloads_.end());
  Unload ended = std::move(*unload);
  unloads_.erase(unload);
  ModelReport report = models_.Describe(name);
  models_.Remove(name);
  metrics_.Counter(MetricId::kModelUnloads).Increment();
  Log().info("model {}: unloaded, {} bytes given back", name, report.memory_bytes);
  report.detail.clear();
  if (Finish(ended.active)) ended.done(std::move(report));
}

}  // namespace baton
