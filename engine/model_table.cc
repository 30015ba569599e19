#include "engine/model_table.h"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/strings.h"
#include "engine/model/text_encoder.h"

namespace baton {
namespace {

constexpr std::array<std::string_view, 5> kKinds = {"unknown", "language", "embedding",
                                                    "lexical_embedding", "reranker"};
// Failed models listed at most: each costs a client one refused request.
constexpr ptrdiff_t kFailedMax = 16;

void Fill(const LanguageModel& model, ModelReport& report) {
  const LlmShape& shape = model.shape();
  report.kind = ModelKind::kLanguage;
  report.path = model.path();
  report.architecture = shape.architecture;
  report.context_tokens = shape.context_tokens;
  report.vocabulary = shape.vocabulary;
  report.parameters = shape.parameters;
  report.weight_bytes = model.weight_bytes();
}

void Fill(const Embedder& embedder, ModelReport& report) {
  report.embedding_dimension = embedder.dimension();
  if (embedder.kind() == Embedder::Kind::kLexical) {
    report.kind = ModelKind::kLexicalEmbedding;
    report.architecture = "lexical";
    return;
  }
  const auto& encoder = static_cast<const TextEncoder&>(embedder);  // by its kind
  const EncoderShape& shape = encoder.shape();
  const bool embeds = embedder.kind() == Embedder::Kind::kSemantic;
  report.kind = embeds ? ModelKind::kEmbedding : ModelKind::kReranker;
  if (!embeds) report.embedding_dimension = 0;
  report.path = encoder.path();
  report.architecture = shape.architecture;
  report.context_tokens = shape.context_tokens;
  report.vocabulary = shape.vocabulary;
  report.parameters = shape.parameters;
  report.weight_bytes = encoder.weight_bytes();
}

}  // namespace

std::string_view Name(ModelKind kind) { return kKinds[static_cast<size_t>(kind)]; }

ModelTable::ModelTable(int64_t bytes_max, Metrics& metrics)
    : bytes_max_(bytes_max),
      metrics_(metrics),
      bytes_gauge_(metrics.Gauge(MetricId::kModelsBytes)) {
  metrics.Gauge(MetricId::kModelsBytesMax).Set(static_cast<double>(bytes_max));
}

ModelTable::Entry* ModelTable::Find(const std::string& name) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return e.report.name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

const ModelTable::Entry* ModelTable::Find(const std::string& name) const {
  return const_cast<ModelTable*>(this)->Find(name);
}

std::vector<ModelReport> ModelTable::List() const {
  const std::lock_guard lock(mutex_);
  std::vector<ModelReport> reports;
  for (const Entry& entry : entries_) reports.push_back(ReportOf(entry));
  return reports;
}

absl::Status ModelTable::NotReady(std::string_view kind, const std::string& name,
                                  const std::string& known) const {
  const Entry* const entry = Find(name);
  if (entry != nullptr && entry->report.state == ModelState::kLoading) {
    return absl::UnavailableError(
        StrCat("model \"", name, "\" is being loaded: ", entry->report.detail));
  }
  if (entry != nullptr && entry->report.state == ModelState::kUnloading) {
    return absl::UnavailableError(StrCat("model \"", name, "\" is being unloaded"));
  }
  if (entry != nullptr && entry->report.state == ModelState::kFailed) {
    return absl::NotFoundError(
        StrCat("model \"", name, "\" could not be loaded: ", entry->report.detail));
  }
  return absl::NotFoundError(
      StrCat(kind, " \"", name, "\" is not loaded; loaded: ", known.empty() ? "none" : known));
}

absl::StatusOr<std::shared_ptr<const LanguageModel>> ModelTable::FindLanguage(
    const std::string& name) const {
  const std::lock_guard lock(mutex_);
  std::string known;
  for (const Entry& entry : entries_) {
    if (entry.language == nullptr || entry.report.state != ModelState::kReady) continue;
    if (name.empty() || entry.report.name == name) return entry.language;
    known += StrCat(known.empty() ? "" : ", ", entry.report.name);
  }
  if (known.empty() && Find(name) == nullptr) {
    return absl::FailedPreconditionError(
        "no language model is configured; start batond with --model FILE.gguf");
  }
  return NotReady("model", name, known);
}

std::shared_ptr<const OffloadStatus> ModelTable::OffloadOf(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_) {
    if (entry.language == nullptr || entry.report.state != ModelState::kReady) continue;
    if (name.empty() || entry.report.name == name) return entry.offload;
  }
  return nullptr;
}

std::shared_ptr<const EmbedderPart> ModelTable::FindPart(const std::string& name,
                                                         std::initializer_list<ModelKind> kinds,
                                                         std::string& known) const {
  for (const Entry& entry : entries_) {
    const ModelReport& report = entry.report;
    if (entry.embedder == nullptr || report.state != ModelState::kReady ||
        std::find(kinds.begin(), kinds.end(), report.kind) == kinds.end()) {
      continue;
    }
    if (name.empty() || report.name == name) return entry.embedder;
    known += StrCat(known.empty() ? "" : ", ", report.name);
  }
  return nullptr;
}

absl::StatusOr<std::shared_ptr<const EmbedderPart>> ModelTable::FindEmbedder(
    const std::string& name) const {
  const std::lock_guard lock(mutex_);
  std::string known;
  auto found = FindPart(name, {ModelKind::kEmbedding, ModelKind::kLexicalEmbedding}, known);
  if (found == nullptr) return NotReady("embedding model", name, known);
  return found;
}

absl::StatusOr<std::shared_ptr<const EmbedderPart>> ModelTable::FindReranker(
    const std::string& name) const {
  const std::lock_guard lock(mutex_);
  std::string known;
  auto found = FindPart(name, {ModelKind::kReranker}, known);
  if (found == nullptr) {
    found = FindPart(name, {ModelKind::kEmbedding, ModelKind::kLexicalEmbedding}, known);
  }
  if (found == nullptr) return NotReady("reranking model", name, known);
  return found;
}

int64_t ModelTable::BytesFree() const {
  const std::lock_guard lock(mutex_);
  int64_t free = bytes_max_;
  for (const Entry& entry : entries_) free -= entry.report.memory_bytes;
  return free;
}

absl::Status ModelTable::Reserve(const std::string& name, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  int64_t free = bytes_max_;
  for (const Entry& entry : entries_) free -= entry.report.memory_bytes;
  if (bytes > free) {
    return absl::ResourceExhaustedError(
        StrCat("model \"", name, "\" takes ", bytes, " bytes, but of memory.models_bytes_max, ",
               bytes_max_, ", ", free, " are free; unload another model"));
  }
  Entry* const entry = Find(name);
  BATON_CHECK(entry != nullptr);
  entry->report.memory_bytes += bytes;
  UpdateBytes();
  return absl::OkStatus();
}

void ModelTable::SetDetail(const std::string& name, std::string detail) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(name);
  BATON_CHECK(entry != nullptr);
  entry->report.detail = std::move(detail);
}

absl::Status ModelTable::Begin(const std::string& name, const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const Entry* const entry = Find(name); entry != nullptr) {
    if (entry->report.state != ModelState::kFailed) {
      return absl::AlreadyExistsError(StrCat("model \"", name, "\" exists already"));
    }
    entries_.erase(entries_.begin() + (entry - entries_.data()));
  }
  Entry entry;
  entry.report.name = name;
  entry.report.path = path;
  entries_.push_back(std::move(entry));
  return absl::OkStatus();
}

void ModelTable::SetReady(Entry& entry) {
  ModelReport& report = entry.report;
  report.state = ModelState::kReady;
  report.detail.clear();
  metrics_.Gauge(MetricId::kModelInfo, {report.name, Name(report.kind)}).Set(1);
  metrics_.Gauge(MetricId::kModelBytes, {report.name})
      .Set(static_cast<double>(report.memory_bytes));
}

void ModelTable::SetReady(const std::string& name, std::shared_ptr<const LanguageModel> model,
                          const KvLayout& kv, std::shared_ptr<const OffloadStatus> offload) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(name);
  BATON_CHECK(entry != nullptr);
  Fill(*model, entry->report);
  entry->report.kv_type = Name(kv.type);
  entry->report.kv_token_bytes = kv.token_bytes();
  entry->offload = std::move(offload);
  entry->language = std::move(model);
  SetReady(*entry);
}

void ModelTable::SetReady(const std::string& name, std::shared_ptr<const EmbedderPart> embedder) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(name);
  BATON_CHECK(entry != nullptr);
  Fill(*embedder->embedder, entry->report);
  entry->embedder = std::move(embedder);
  SetReady(*entry);
}

void ModelTable::SetFailed(const std::string& name, std::string_view reason) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(name);
  BATON_CHECK(entry != nullptr);
  entry->report.state = ModelState::kFailed;
  entry->report.detail = std::string(reason);
  entry->report.memory_bytes = 0;
  UpdateBytes();
  const auto failed = [](const Entry& e) { return e.report.state == ModelState::kFailed; };
  if (std::count_if(entries_.begin(), entries_.end(), failed) > kFailedMax) {
    entries_.erase(std::find_if(entries_.begin(), entries_.end(), failed));
  }
}

absl::Status ModelTable::BeginUnload(const std::string& name) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(name);
  if (entry == nullptr) {
    return absl::NotFoundError(StrCat("model \"", name, "\" is not loaded"));
  }
  ModelReport& report = entry->report;
  if (report.kind == ModelKind::kLexicalEmbedding) {
    return absl::FailedPreconditionError(
        StrCat("model \"", name, "\" is built in and cannot be unloaded"));
  }
  if (report.state == ModelState::kLoading || report.state == ModelState::kUnloading) {
    return absl::FailedPreconditionError(
        StrCat("model \"", name, "\" is being ",
               report.state == ModelState::kLoading ? "loaded" : "unloaded", ": ", report.detail));
  }
  if (report.state == ModelState::kReady) {
    metrics_.RemoveGauge(MetricId::kModelInfo, {name, Name(report.kind)});
    report.state = ModelState::kUnloading;
    report.detail = "running requests end";
  }
  return absl::OkStatus();
}

ModelTable::Taken ModelTable::Take(const std::string& name) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(name);
  BATON_CHECK(entry != nullptr);
  return {.language = std::exchange(entry->language, nullptr),
          .embedder = std::exchange(entry->embedder, nullptr)};
}

void ModelTable::Remove(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const Entry* const entry = Find(name);
  BATON_CHECK(entry != nullptr);
  if (entry->report.state == ModelState::kUnloading) {
    metrics_.RemoveGauge(MetricId::kModelBytes, {name});
  }
  entries_.erase(entries_.begin() + (entry - entries_.data()));
  UpdateBytes();
}

ModelState ModelTable::StateOf(const std::string& name) const { return Describe(name).state; }

ModelReport ModelTable::Describe(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const Entry* const entry = Find(name);
  BATON_CHECK(entry != nullptr);
  return ReportOf(*entry);
}

ModelReport ModelTable::ReportOf(const Entry& entry) {
  ModelReport report = entry.report;
  if (const OffloadStatus* const offload = entry.offload.get()) {
    report.kv_offload_space = offload->space;
    report.kv_offload_bytes = offload->bytes;
    report.kv_offload_blocks = offload->blocks;
    report.kv_offload_blocks_used = offload->used;
    report.kv_offload_blocks_stored = offload->stored;
    report.kv_offload_blocks_reloaded = offload->reloaded;
  }
  return report;
}

void ModelTable::UpdateBytes() {
  int64_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.report.memory_bytes;
  bytes_gauge_.Set(static_cast<double>(bytes));
}

}  // namespace baton
