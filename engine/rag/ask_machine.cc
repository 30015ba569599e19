#include "engine/rag/ask_machine.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/rag/answer.h"
#include "engine/rag/passage.h"
#include "engine/rag/quote.h"
#include "engine/rag/rerank.h"
#include "engine/rag/verbatim.h"

namespace baton {
namespace {

// Passages beside those of a prompt that are looked through for what an answer quotes: the next one
// on either side of the best ones.
constexpr size_t kNeighboursMax = 16;

// Of the first `given` passages.
std::vector<PointId> NeighboursOf(std::span<const Passage> passages, size_t given) {
  std::vector<PointId> neighbours;
  for (const Passage& passage : passages.first(given)) {
    for (const int32_t number : {passage.passage + 1, passage.passage - 1}) {
      if (number < 0 || neighbours.size() == kNeighboursMax) continue;
      const PointId id = PassageId(passage.document_id, number);
      const auto retrieved = [id](const Passage& other) { return other.id == id; };
      const bool known = std::any_of(passages.begin(), passages.end(), retrieved) ||
                         std::find(neighbours.begin(), neighbours.end(), id) != neighbours.end();
      if (!known) neighbours.push_back(id);
    }
  }
  return neighbours;
}

Citation Cite(const Passage& passage, int32_t number, TextRange quote) {
  return Citation{.number = number,
                  .passage_id = passage.id,
                  .document_id = passage.document_id,
                  .title = passage.title,
                  .quote = passage.text.substr(static_cast<size_t>(quote.begin),
                                               static_cast<size_t>(quote.end - quote.begin)),
                  .begin = passage.begin + quote.begin,
                  .end = passage.begin + quote.end};
}

// How near the embeddings of passages are to the question's. What was found by its words alone is
// no nearer than the farthest one that was found by its embedding: it is taken to be as near. 0
// where nothing was.
std::vector<float> Similarities(const std::vector<ScoredPoint>& found) {
  std::optional<float> farthest;
  for (const ScoredPoint& point : found) {
    if (!point.parts.has_value() || point.parts->dense_rank == 0) continue;
    farthest = std::min(farthest.value_or(point.parts->dense_score), point.parts->dense_score);
  }
  std::vector<float> similarities;
  for (const ScoredPoint& point : found) {
    const bool is_fused = point.parts.has_value();
    const bool by_vector = is_fused && point.parts->dense_rank > 0;
    const float other = is_fused ? farthest.value_or(0) : point.score;
    similarities.push_back(by_vector ? point.parts->dense_score : other);
  }
  return similarities;
}

}  // namespace

AskMachine::AskMachine(AskRequest request, const RagOptions& options, Writer writer)
    : request_(std::move(request)), options_(options), writer_(std::move(writer)) {}

Retrieval AskMachine::retrieval() const {
  if (request_.retrieval.has_value()) return *request_.retrieval;
  if (options_.retrieval == "text") return Retrieval::kText;
  return options_.retrieval == "hybrid" ? Retrieval::kHybrid : Retrieval::kDense;
}

AskMachine::Work AskMachine::Start() const {
  if (retrieval() != Retrieval::kText) return Embed{.text = request_.question};
  return Search{.query = {}, .text = request_.question, .k = Candidates()};
}

AskMachine::Work AskMachine::OnEmbedded(std::vector<float> query) const {
  return Search{.query = std::move(query),
                .text = retrieval() == Retrieval::kHybrid ? request_.question : "",
                .k = Candidates()};
}

bool AskMachine::IsVerbatim() const {
  // What the request wants of the answer's form comes before the server's setting.
  if (request_.constraint.kind != TextConstraint::Kind::kNone) return false;
  return request_.verbatim.value_or(options_.answers == "verbatim");
}

int32_t AskMachine::AnswerTokensMax() const {
  // Half of a small context stays for the question and its passages.
  return std::min(request_.max_tokens.value_or(static_cast<int32_t>(options_.answer_tokens_max)),
                  std::max(1, writer_.context_tokens / 2));
}

absl::StatusOr<std::vector<std::string>> AskMachine::PassageTexts(
    const std::vector<ScoredPoint>& found) {
  std::vector<std::string> texts;
  for (const ScoredPoint& point : found) {
    ASSIGN_OR_RETURN(Passage passage, PassageFromPayload(point.id, point.score, point.payload));
    texts.push_back(StrCat(passage.title, passage.title.empty() ? "" : "\n", passage.text));
  }
  return texts;
}

PromptEncoder AskMachine::Encoder() const {
  const bool chats = options_.chat_template == "auto" && writer_.chat_templates != nullptr &&
                     writer_.chat_templates->HasDefault();
  if (!chats) return PromptEncoder(*writer_.tokenizer);
  return PromptEncoder(*writer_.tokenizer, *writer_.chat_templates, writer_.now_s);
}

absl::StatusOr<AskMachine::Context> AskMachine::Prepare(
    const std::vector<ScoredPoint>& found, const std::optional<std::vector<float>>& scores) const {
  Context context;
  const std::vector<float> similarities = Similarities(found);
  for (size_t i = 0; i < found.size(); ++i) {
    ASSIGN_OR_RETURN(Passage passage,
                     PassageFromPayload(found[i].id, similarities[i], found[i].payload));
    context.passages.push_back(std::move(passage));
  }
  if (scores.has_value()) {
    for (size_t i = 0; i < scores->size(); ++i) context.passages[i].score = (*scores)[i];
    SortByScore(context.passages);
  } else {
    Rerank(request_.question, context.passages, retrieval() != Retrieval::kText);
  }
  if (context.passages.size() > static_cast<size_t>(request_.k)) {
    context.passages.resize(static_cast<size_t>(request_.k));
  }
  const auto too_far = [this](const Passage& passage) {
    return double{passage.score} < options_.answer_score_min;
  };
  auto cited =
      static_cast<size_t>(std::find_if(context.passages.begin(), context.passages.end(), too_far) -
                          context.passages.begin());
  if (Generates() && cited > 0) {
    cited = std::min(cited, static_cast<size_t>(options_.context_passages_max));
    const auto sentences = static_cast<size_t>(options_.context_sentences_max);
    std::vector<std::string> texts;
    std::vector<PromptPassage> given;
    for (size_t i = 0; i < cited; ++i) {
      const std::string& text = context.passages[i].text;
      texts.push_back(sentences > 0 ? Focus(request_.question, text, sentences) : text);
    }
    for (size_t i = 0; i < cited; ++i) {
      given.push_back({.title = context.passages[i].title, .text = texts[i]});
    }
    ASSIGN_OR_RETURN(BuiltPrompt prompt, BuildPrompt(Encoder(), request_.question, given,
                                                     writer_.context_tokens - AnswerTokensMax()));
    context.prompt = std::move(prompt.tokens);
    cited = static_cast<size_t>(prompt.passages_used);
    if (IsVerbatim()) {
      for (size_t i = 0; i < cited; ++i) {
        const Passage& passage = context.passages[i];
        for (const TextRange sentence :
             BestSentences(request_.question, passage.text,
                           sentences > 0 ? sentences : passage.text.size())) {
          context.quotes.push_back(Cite(passage, static_cast<int32_t>(i) + 1, sentence));
        }
      }
      context.grammar = VerbatimGrammar(context.quotes);
    }
    context.neighbours = NeighboursOf(context.passages, cited);
    for (size_t i = 0; i < context.passages.size(); ++i) {
      const std::string& text = context.passages[i].text;
      if (i < cited && !prompt.cut && texts[i] == text) continue;
      context.quotable.push_back(writer_.tokenizer->Encode(text));
    }
  }
  for (size_t i = 0; i < cited; ++i) {
    const Passage& passage = context.passages[i];
    context.citations.push_back(
        Cite(passage, static_cast<int32_t>(i) + 1, FindQuote(request_.question, passage.text)));
  }
  return context;
}

void AskMachine::AddNeighbours(const std::vector<Point>& neighbours, Context& context) const {
  for (const Point& point : neighbours) {
    const absl::StatusOr<Passage> passage = PassageFromPayload(point.id, 0, point.payload);
    if (passage.ok()) context.quotable.push_back(writer_.tokenizer->Encode(passage->text));
  }
}

AskMachine::Work AskMachine::OnPrepared(Context context) {
  citations_ = std::move(context.citations);
  quotes_ = std::move(context.quotes);
  if (!context.prompt.empty()) {
    return Generate{.prompt = std::move(context.prompt),
                    .quotable = std::move(context.quotable),
                    .max_tokens = AnswerTokensMax()};
  }
  AskResult result;
  if (context.passages.empty()) {
    result.mode = AskMode::kNothingFound;
    result.mode_reason = "the collection holds no passages";
  } else if (citations_.empty()) {
    result.mode = AskMode::kNothingFound;
    result.mode_reason =
        StrCat("not in the documents: the best passage scores ", context.passages[0].score,
               ", below rag.answer_score_min, ", options_.answer_score_min);
  } else {
    result.mode = AskMode::kRetrievalOnly;
    result.mode_reason =
        request_.retrieval_only ? "the request asked for retrieval only" : writer_.reason;
  }
  result.citations = citations_;
  return Finish{.result = std::move(result)};
}

AskMachine::Work AskMachine::OnGenerated(GenerateResult generated, std::string_view answer) const {
  const AnswerMarks marks = ReadAnswer(answer, static_cast<int32_t>(citations_.size()));
  std::vector<Citation> cited;
  if (marks.refuses) {
    // It rests on none.
  } else if (const Citation* quoted = FindVerbatim(quotes_, answer); quoted != nullptr) {
    cited = {*quoted};
  } else {
    std::copy_if(citations_.begin(), citations_.end(), std::back_inserter(cited),
                 [&marks](const Citation& citation) {
                   return marks.cited.empty() ||
                          std::binary_search(marks.cited.begin(), marks.cited.end(),
                                             citation.number);
                 });
  }
  const std::string did = marks.refuses ? "no answer found by model " : "answered by model ";
  return Finish{.result = {.mode = AskMode::kGenerated,
                           .mode_reason = did + generated.model,
                           .citations = std::move(cited),
                           .generated = std::move(generated),
                           .timings = {}}};
}

}  // namespace baton
