// The demo corpus is consistent, and chunker, lexical embedder and reranking together find its
// answers.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <string>

#include "catch2/catch.hpp"
#include "engine/model/embedder.h"
#include "engine/rag/chunker.h"
#include "engine/rag/quote.h"
#include "engine/rag/rag_options.h"
#include "engine/rag/rerank.h"
#include "nlohmann/json.hpp"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

struct Question {
  std::string question;
  std::string document;  // empty: the corpus does not answer it
  std::string quote;
  std::string answer;
};

std::map<std::string, std::string> ReadCorpus() {
  std::map<std::string, std::string> documents;
  for (const auto& entry : fs::directory_iterator("deploy/demo/corpus")) {
    documents[entry.path().filename().string()] = ReadWholeFile(entry.path());
  }
  return documents;
}

std::vector<Question> ReadQuestions() {
  std::vector<Question> questions;
  std::ifstream in("deploy/demo/questions.jsonl");
  for (std::string line; std::getline(in, line);) {
    const auto json = nlohmann::json::parse(line);
    Question question;
    question.question = json.at("question");
    if (!json.at("document").is_null()) {
      question.document = json.at("document");
      question.quote = json.at("quote");
      question.answer = json.at("answer");
    } else {
      CHECK(json.at("quote").is_null());
      CHECK(json.at("answer").is_null());
    }
    questions.push_back(std::move(question));
  }
  return questions;
}

TEST_CASE("every quote stands once in its document", "[demo]") {
  const auto documents = ReadCorpus();
  const auto questions = ReadQuestions();
  int unanswerable = 0;
  for (const Question& question : questions) {
    CAPTURE(question.question);
    if (question.document.empty()) {
      ++unanswerable;
      continue;
    }
    REQUIRE(documents.contains(question.document));
    const std::string& text = documents.at(question.document);
    const size_t at = text.find(question.quote);
    REQUIRE(at != std::string::npos);
    CHECK(text.find(question.quote, at + 1) == std::string::npos);
    CHECK_FALSE(question.answer.empty());
    CHECK_THAT(question.quote, Catch::Contains(question.answer));
  }
  CHECK(unanswerable >= 20);
  CHECK(questions.size() - unanswerable >= 100);
}

TEST_CASE("the passage with the answer is among the first five", "[demo]") {
  const int32_t dimension = GENERATE(512, 1024);
  const auto embedder = MakeLexicalEmbedder(dimension);
  const auto embed = [&](const std::string& text) {
    std::vector<float> vector(static_cast<size_t>(dimension));
    embedder->Embed(text, vector);
    return vector;
  };

  struct Stored {
    std::string document;
    std::string title;  // as batonctl gives it: the first heading
    std::string text;
    std::vector<float> vector;
  };
  std::vector<Stored> stored;
  const RagOptions options;
  for (const auto& [name, text] : ReadCorpus()) {
    const size_t begin = text.starts_with("# ") ? 2 : 0;
    const std::string title = text.substr(begin, text.find('\n') - begin);
    for (const Chunk& chunk :
         SplitPassages(text, {.passage_chars_max = options.passage_chars_max,
                             .passage_overlap_chars = options.passage_overlap_chars})) {
      const std::string passage(Slice(text, chunk));
      stored.push_back({name, title, passage, embed(passage)});
    }
  }
  CHECK(stored.size() >= 300);

  int answerable = 0, first = 0, in_five = 0, quoted = 0;
  for (const Question& question : ReadQuestions()) {
    if (question.document.empty()) continue;
    ++answerable;
    const std::vector<float> query = embed(question.question);
    std::vector<Passage> ranked;
    for (size_t i = 0; i < stored.size(); ++i) {
      float dot = 0;
      for (size_t j = 0; j < query.size(); ++j) dot += query[j] * stored[i].vector[j];
      ranked.push_back({.id = i,
                        .document_id = stored[i].document,
                        .title = stored[i].title,
                        .text = stored[i].text,
                        .score = dot});
    }
    std::sort(ranked.begin(), ranked.end(),
              [](const Passage& a, const Passage& b) { return a.score > b.score; });
    ranked.resize(static_cast<size_t>(options.rerank_candidates));
    Rerank(question.question, ranked);
    int rank = 0;
    while (rank < 5) {
      const Passage& found = ranked[rank];
      if (found.document_id == question.document &&
          found.text.find(question.quote) != found.text.npos) {
        const std::string quote(Slice(found.text, FindQuote(question.question, found.text)));
        quoted += quote == question.quote ? 1 : 0;
        break;
      }
      ++rank;
    }
    first += rank == 0 ? 1 : 0;
    in_five += rank < 5 ? 1 : 0;
    if (rank == 5) std::cout << "not in five: " << question.question << "\n";
  }
  std::cout << "demo corpus, dimension " << dimension << ": " << stored.size() << " passages, "
            << answerable << " questions, first " << first << ", in five " << in_five
            << ", quoted the sentence " << quoted << "\n";
  CHECK(in_five >= 0.95 * answerable);
  CHECK(quoted >= 0.8 * answerable);
}

}  // namespace
}  // namespace baton
