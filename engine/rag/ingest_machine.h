#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/rag/chunker.h"
#include "engine/rag/rag_options.h"
#include "engine/request/rag_request.h"

namespace baton {

// Passages that one Ingest may make.
inline constexpr int64_t kIngestPassagesMax = 10'000;

// An Ingest as a pure state machine: split -> embed (in batches) -> write -> finish. As AskMachine,
// it asks for one piece of work at a time and knows no thread, clock or store.
class IngestMachine {
 public:
  // Call Split() on a thread that may take its time.
  struct SplitDocuments {};
  struct Embed {
    std::vector<std::string> texts;
  };
  // All or nothing: the passages of all documents, and the ids of those they replace.
  struct Write {
    std::vector<Point> upserts;
    std::vector<PointId> deletes;
  };
  struct Finish {
    IngestResult result;  // its timings are the loop's to fill in
  };
  using Work = std::variant<SplitDocuments, Embed, Write, Finish>;

  // INVALID_ARGUMENT names the field, the limit and the value.
  static absl::StatusOr<IngestMachine> Create(IngestRequest request, const RagOptions& options);

  Work Start() const { return SplitDocuments{}; }
  // Cuts the documents. INVALID_ARGUMENT: more than kIngestPassagesMax passages.
  absl::Status Split();
  // The first passage's id of every document: those that are stored tell what is replaced.
  std::vector<PointId> FirstPassageIds() const;
  Work OnSplit(const std::vector<Point>& stored_first_passages);
  Work OnEmbedded(std::vector<std::vector<float>> embeddings);
  Work OnWritten(int64_t deleted) const;

  const IngestRequest& request() const { return request_; }

 private:
  struct PassageRef {
    size_t document = 0;
    TextRange range;
    int32_t passage = 0;
    int32_t passages = 0;
  };

  IngestMachine(IngestRequest request, const ChunkOptions& options)
      : request_(std::move(request)), chunk_options_(options) {}
  Work NextBatch();

  IngestRequest request_;
  ChunkOptions chunk_options_;
  std::vector<PassageRef> passages_;
  std::vector<PointId> deletes_;
  std::vector<Point> points_;  // of passages_, as far as they are embedded
};

}  // namespace baton
