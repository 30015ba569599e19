#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/metrics.h"
#include "engine/embedder_part.h"
#include "engine/kv/kv_layout.h"
#include "engine/model/language_model.h"
#include "engine/model_report.h"
#include "engine/offload_status.h"

namespace baton {

// The models that the engine has, and the memory they may take. A name is one model's from Begin()
// until it is removed. Looked at by any thread; what changes it is called by the engine's loop, or
// before that runs, except where a comment says otherwise.
class ModelTable {
 public:
  // `bytes_max`: of all models together.
  ModelTable(int64_t bytes_max, Metrics& metrics);

  // ---- Any thread

  std::vector<ModelReport> List() const;  // in the order of their coming
  // An empty name is the default: the first that is ready. FAILED_PRECONDITION: there is no
  // language model. NOT_FOUND names those there are. UNAVAILABLE: it is coming or going.
  absl::StatusOr<std::shared_ptr<const LanguageModel>> FindLanguage(const std::string& name) const;
  absl::StatusOr<std::shared_ptr<const EmbedderPart>> FindEmbedder(const std::string& name) const;
  // What orders texts by a query: a cross-encoder, or an embedder. An empty name is the first
  // cross-encoder, or else the first embedder.
  absl::StatusOr<std::shared_ptr<const EmbedderPart>> FindReranker(const std::string& name) const;
  // What is left for models now.
  int64_t BytesFree() const;

  // Sets memory aside for a model that is being loaded; RESOURCE_EXHAUSTED says what is free. Any
  // thread. Failing or removing the model gives it back.
  absl::Status Reserve(const std::string& name, int64_t bytes);
  // What goes on with a model. Any thread.
  void SetDetail(const std::string& name, std::string detail);

  // ---- The loop

  // ALREADY_EXISTS: another has the name; one that failed does not keep it.
  absl::Status Begin(const std::string& name, const std::string& path);
  // `offload` is null where it has no offload tier.
  void SetReady(const std::string& name, std::shared_ptr<const LanguageModel> model,
                const KvLayout& kv, std::shared_ptr<const OffloadStatus> offload = nullptr);
  void SetReady(const std::string& name, std::shared_ptr<const EmbedderPart> embedder);
  // Of those that failed, the last few stay listed.
  void SetFailed(const std::string& name, std::string_view reason);
  // From now on it is not found. NOT_FOUND: no such model. FAILED_PRECONDITION: it is built in, or
  // coming or going.
  absl::Status BeginUnload(const std::string& name);
  // The one of the two that a model is; the table keeps neither.
  struct Taken {
    std::shared_ptr<const LanguageModel> language;
    std::shared_ptr<const EmbedderPart> embedder;
  };
  Taken Take(const std::string& name);
  void Remove(const std::string& name);
  ModelState StateOf(const std::string& name) const;  // of one that is listed
  ModelReport Describe(const std::string& name) const;

  // Of a language model that is ready; empty: the first. Null: it has no offload tier, or is not
  // there. Any thread.
  std::shared_ptr<const OffloadStatus> OffloadOf(const std::string& name) const;

 private:
  struct Entry {
    ModelReport report;
    std::shared_ptr<const LanguageModel> language;
    std::shared_ptr<const EmbedderPart> embedder;
    std::shared_ptr<const OffloadStatus> offload = nullptr;
  };
  static ModelReport ReportOf(const Entry& entry);

  // The first that is ready, has a kind of `kinds` and, unless that is empty, the name. Null: none.
  // Adds the names of the others that would do to `known`.
  std::shared_ptr<const EmbedderPart> FindPart(const std::string& name,
                                               std::initializer_list<ModelKind> kinds,
                                               std::string& known) const;
  Entry* Find(const std::string& name);
  const Entry* Find(const std::string& name) const;
  void SetReady(Entry& entry);
  // Why `name` is not found among what is ready: `known` and of `kind`.
  absl::Status NotReady(std::string_view kind, const std::string& name,
                        const std::string& known) const;
  void UpdateBytes();

  const int64_t bytes_max_;
  Metrics& metrics_;
  prometheus::Gauge& bytes_gauge_;
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace baton
