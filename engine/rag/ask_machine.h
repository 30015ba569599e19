#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/model/tokenizer.h"
#include "engine/rag/prompt.h"
#include "engine/rag/rag_options.h"
#include "engine/request/rag_request.h"

namespace baton {

// An Ask as a pure state machine: embed -> search -> prepare -> generate -> finish; without embed
// where passages are found by their words alone. It asks for one
// piece of work at a time; the engine's loop has it done and feeds the outcome back. No thread, no
// clock, no executor. Errors of a stage end the request in the loop and never come here.
class AskMachine {
 public:
  // The model that would answer; absent: retrieval only, and `reason` says why.
  struct Writer {
    const Tokenizer* tokenizer = nullptr;
    const ChatTemplates* chat_templates = nullptr;  // null: as without any
    int64_t now_s = 0;                              // since 1970, for templates
    int32_t context_tokens = 0;
    std::string reason;
  };

  struct Embed {
    std::string text;
  };
  struct Search {
    std::vector<float> query;  // empty: by text alone
    std::string text;          // empty: by vector alone
    int32_t k = 0;             // more than the request's: the best of them are kept
  };
  // Call Prepare() with the points that were found, on a thread that may take milliseconds.
  struct PrepareContext {};
  struct Generate {
    std::vector<TokenId> prompt;
    std::vector<std::vector<TokenId>> quotable;  // what the answer may quote beside the prompt
    int32_t max_tokens = 0;
  };
  struct Finish {
    AskResult result;  // its timings are the loop's to fill in
  };
  using Work = std::variant<Embed, Search, PrepareContext, Generate, Finish>;

  // What Prepare() makes of the found points.
  struct Context {
    std::vector<Passage> passages;               // best first
    std::vector<Citation> citations;             // of those an answer may rest on, by their numbers
    std::vector<TokenId> prompt;                 // empty where nothing is generated
    std::vector<std::vector<TokenId>> quotable;  // retrieved, and not or not all in the prompt
    // Of those that are: the passages beside them in their documents, where they were not retrieved
    // themselves. There may be none of that id.
    std::vector<PointId> neighbours;
    std::vector<Citation> quotes;  // one of which the answer is to be; empty: free
    std::string grammar;           // GBNF of such an answer
  };

  // `request` has been validated. The tokenizer and the chat templates outlive the machine.
  AskMachine(AskRequest request, const RagOptions& options, Writer writer);

  Work Start() const;
  Work OnEmbedded(std::vector<float> query) const;
  Work OnFound() const { return PrepareContext{}; }
  // What a reranker reads of the found points: each passage behind its document's title, as it was
  // embedded. Pure; INVALID_ARGUMENT: a point was not stored by Ingest.
  static absl::StatusOr<std::vector<std::string>> PassageTexts(
      const std::vector<ScoredPoint>& found);
  // Pure and const: may run beside anything. `scores`: a reranker's, one per point; absent: the
  // question's words decide. INVALID_ARGUMENT: the question does not fit the model's context, or a
  // point was not stored by Ingest.
  absl::StatusOr<Context> Prepare(const std::vector<ScoredPoint>& found,
                                  const std::optional<std::vector<float>>& scores = {}) const;
  // What the context's neighbours are, as stored: an answer may go on to quote them, too. What is
  // no passage is left out. Pure and const.
  void AddNeighbours(const std::vector<Point>& neighbours, Context& context) const;
  Work OnPrepared(Context context);
  // Once for each of the request's answers. `answer`: all of its text.
  Work OnGenerated(GenerateResult generated, std::string_view answer) const;

  const AskRequest& request() const { return request_; }

 private:
  Retrieval retrieval() const;
  int32_t Candidates() const { return std::max(request_.k, options_.rerank_candidates); }
  bool Generates() const { return writer_.tokenizer != nullptr && !request_.retrieval_only; }
  // Whether the answer is to be a sentence of the prompt.
  bool IsVerbatim() const;
  int32_t AnswerTokensMax() const;
  PromptEncoder Encoder() const;

  const AskRequest request_;
  const RagOptions options_;
  const Writer writer_;
  std::vector<Citation> citations_;
  std::vector<Citation> quotes_;
};

}  // namespace baton
