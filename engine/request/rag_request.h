#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/request/generate_request.h"
#include "engine/request/vector_request.h"

namespace baton {

struct Document {
  std::string id;     // 1 to 512 bytes
  std::string title;  // at most 1,024 bytes
  std::string text;   // UTF-8, not blank, at most 16 MiB
  Payload metadata;
};

struct IngestRequest {
  Envelope envelope;
  std::string collection;
  std::vector<Document> documents;
  std::optional<int32_t> passage_chars_max;
  std::optional<int32_t> passage_overlap_chars;
};

struct IngestResult {
  int64_t documents = 0;
  int64_t passages = 0;
  int64_t passages_removed = 0;
  Timings timings;
};

// How passages are found: by their embeddings, by their words, or by both.
enum class Retrieval : uint8_t { kDense, kText, kHybrid };

struct AskRequest {
  Envelope envelope;
  std::string collection;
  std::string question;
  int32_t k = 5;
  std::string model;  // empty: the default one, if any
  SamplingParams sampling;
  std::optional<int32_t> max_tokens;
  StopConditions stop = {};
  TextConstraint constraint = {};        // of the answer
  std::optional<bool> verbatim = {};     // one of the prompt's sentences; absent: the server's word
  std::optional<int32_t> logprobs = {};  // alternatives beside each token's own, 0 to 20
  int32_t answers = 1;                   // 1 to 16, from the same passages
  bool retrieval_only = false;
  FilterPtr filter = nullptr;  // of the passages
  std::optional<Retrieval> retrieval = {};
  PartitionChoice partition = {};
  std::string vector_name = {};  // which vector the question is compared with; empty: the unnamed
};

// A stored piece of a document.
struct Passage {
  PointId id = 0;
  std::string document_id;
  std::string title;
  std::string text;
  int32_t passage = 0;  // which one of its document, from 0
  int64_t begin = 0;    // bytes of the document's text: [begin, end)
  int64_t end = 0;
  float score = 0;
};

struct Citation {
  int32_t number = 0;  // of the passage in the prompt, from 1
  PointId passage_id = 0;
  std::string document_id;
  std::string title;
  std::string quote;  // the passage's sentence nearest to the question
  int64_t begin = 0;  // where the quote stands in the document's text, bytes: [begin, end)
  int64_t end = 0;
};

enum class AskMode : uint8_t { kGenerated, kRetrievalOnly, kNothingFound };

struct AskResult {
  AskMode mode = AskMode::kNothingFound;
  std::string mode_reason;
  std::vector<Citation> citations;
  GenerateResult generated;  // meaningful in kGenerated; its timings are empty
  Timings timings;
};

// As TokenSink, for Ask: OnRetrieved comes at most once and before any token.
class AskSink {
 public:
  virtual ~AskSink() = default;
  virtual void OnRetrieved(std::vector<Passage> passages) = 0;
  virtual void OnTokens(TokenChunk chunk) = 0;
  // One of the answers has come to its end, generated.index; or nothing is generated.
  virtual void OnAnswer(AskResult result) = 0;
  // Comes exactly once and last; OK: after all answers.
  virtual void OnFinished(absl::Status status) = 0;
};

}  // namespace baton
