#include "engine/rag/ingest_machine.h"

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/rag/passage.h"

namespace baton {
namespace {

// Passages embedded at a time: enough to keep an executor busy, few enough to be cancelled between.
constexpr size_t kEmbedBatchTexts = 128;

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

absl::Status ValidateDocuments(const std::vector<Document>& documents) {
  if (documents.empty() || documents.size() > 1000) {
    return absl::InvalidArgumentError(
        StrCat("documents must be 1 to 1000, but are ", documents.size()));
  }
  std::unordered_set<std::string_view> ids;
  size_t bytes = 0;
  for (size_t i = 0; i < documents.size(); ++i) {
    const Document& document = documents[i];
    const auto invalid = [i](std::string_view what) {
      return absl::InvalidArgumentError(StrCat("documents[", i, "].", what));
    };
    if (document.id.empty() || document.id.size() > 512) {
      return invalid(StrCat("id must be 1 to 512 bytes, but is ", document.id.size()));
    }
    if (!ids.insert(document.id).second) {
      return invalid(StrCat("id \"", document.id, "\" stands twice in the request"));
    }
    if (document.title.size() > 1024) {
      return invalid(StrCat("title must be at most 1024 bytes, but is ", document.title.size()));
    }
    if (IsBlank(document.text)) return invalid("text is blank");
    if (document.text.size() > (16 << 20)) {
      return invalid(StrCat("text must be at most 16777216 bytes, but is ", document.text.size()));
    }
    if (const absl::Status status = ValidateMetadata(document.metadata); !status.ok()) {
      return invalid(std::string(status.message()));
    }
    bytes += document.text.size();
  }
  if (bytes > (32 << 20)) {
    return absl::InvalidArgumentError(
        StrCat("documents must hold at most 33554432 bytes of text, but hold ", bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<IngestMachine> IngestMachine::Create(IngestRequest request,
                                                    const RagOptions& options) {
  RETURN_IF_ERROR(ValidateDocuments(request.documents));
  const ChunkOptions chunks{
      .passage_chars_max = request.passage_chars_max.value_or(options.passage_chars_max),
      // The configured overlap yields to a shorter passage that the request asked for.
      .passage_overlap_chars = request.passage_overlap_chars.value_or(
          std::min(options.passage_overlap_chars,
                   (request.passage_chars_max.value_or(options.passage_chars_max) - 1) / 2))};
  RETURN_IF_ERROR(ValidateChunkOptions(chunks));
  return IngestMachine(std::move(request), chunks);
}

absl::Status IngestMachine::Split() {
  for (size_t i = 0; i < request_.documents.size(); ++i) {
    const std::vector<Chunk> chunks = SplitPassages(request_.documents[i].text, chunk_options_);
    if (passages_.size() + chunks.size() > kIngestPassagesMax) {
      return absl::InvalidArgumentError(StrCat("documents make more than ", kIngestPassagesMax,
                                               " passages (reached in documents[", i,
                                               "]); send fewer at a time"));
    }
    for (size_t j = 0; j < chunks.size(); ++j) {
      passages_.push_back({.document = i,
                           .range = chunks[j],
                           .passage = static_cast<int32_t>(j),
                           .passages = static_cast<int32_t>(chunks.size())});
    }
  }
  return absl::OkStatus();
}

std::vector<PointId> IngestMachine::FirstPassageIds() const {
  std::vector<PointId> ids;
  for (const Document& document : request_.documents) ids.push_back(PassageId(document.id, 0));
  return ids;
}

IngestMachine::Work IngestMachine::OnSplit(const std::vector<Point>& stored_first_passages) {
  std::map<PointId, const PassageRef*> first;  // of each document, by id
  for (const PassageRef& passage : passages_) {
    if (passage.passage != 0) continue;
    first[PassageId(request_.documents[passage.document].id, 0)] = &passage;
  }
  for (const Point& stored : stored_first_passages) {
    const PassageRef& now = *first.at(stored.id);
    const std::string& document_id = request_.documents[now.document].id;
    // A point under that id that is no passage of this document was not stored by Ingest; it says
    // nothing of what to delete.
    const absl::StatusOr<Passage> passage = PassageFromPayload(stored.id, 0, stored.payload);
    const absl::StatusOr<int32_t> count = DocumentPassages(stored.payload);
    if (!passage.ok() || !count.ok() || passage->document_id != document_id) continue;
    for (int32_t i = now.passages; i < *count; ++i) {
      deletes_.push_back(PassageId(document_id, i));
    }
  }
  return NextBatch();
}

IngestMachine::Work IngestMachine::NextBatch() {
  if (points_.size() == passages_.size()) {
    return Write{.upserts = std::move(points_), .deletes = std::move(deletes_)};
  }
  Embed batch;
  const size_t end = std::min(passages_.size(), points_.size() + kEmbedBatchTexts);
  for (size_t i = points_.size(); i < end; ++i) {
    const PassageRef& passage = passages_[i];
    const Document& document = request_.documents[passage.document];
    // The title belongs to every passage: it often names what the passage only calls "it".
    batch.texts.push_back(
        StrCat(document.title, document.title.empty() ? "" : "\n",
               std::string_view(document.text)
                   .substr(static_cast<size_t>(passage.range.begin),
                           static_cast<size_t>(passage.range.end - passage.range.begin))));
  }
  return batch;
}

IngestMachine::Work IngestMachine::OnEmbedded(std::vector<std::vector<float>> embeddings) {
  BATON_CHECK(points_.size() + embeddings.size() <= passages_.size());
  for (std::vector<float>& embedding : embeddings) {
    const PassageRef& passage = passages_[points_.size()];
    const Document& document = request_.documents[passage.document];
    points_.push_back(
        {.id = PassageId(document.id, passage.passage),
         .vector = std::move(embedding),
         .payload = MakePassagePayload(
             document, passage.range, {.passage = passage.passage, .passages = passage.passages})});
  }
  return NextBatch();
}

IngestMachine::Work IngestMachine::OnWritten(int64_t deleted) const {
  return Finish{.result = {.documents = static_cast<int64_t>(request_.documents.size()),
                           .passages = static_cast<int64_t>(passages_.size()),
                           .passages_removed = deleted,
                           .timings = {}}};
}

}  // namespace baton
