// How well passages are found: the built-in lexical embedder alone and with reranking, beside BM25
// over the same words as the peer. Exact search, so that nothing but the ranking is measured.
//
// Sets: the demo's corpus, and XQuAD (English) and Cranfield where the test data is there. Figures:
// SET.METHOD.recall_at_K, the share of relevant texts among the first K, of at most K, averaged
// over the questions; Cranfield has several relevant texts a question, the others one.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/numeric/int128.h"
#include "engine/model/embedder.h"
#include "engine/model/text_features.h"
#include "engine/rag/chunker.h"
#include "engine/rag/rag_options.h"
#include "engine/rag/rerank.h"
#include "tests/support/bench_report.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

constexpr int32_t kDimension = 1024;  // the daemon's default
constexpr size_t kRanks = 5;

struct Query {
  std::string text;
  std::set<size_t> relevant;  // indices into Set::passages
};
struct Set {
  std::string name;
  std::vector<Passage> passages;  // ids are their indices
  std::vector<Query> queries;
};

std::vector<nlohmann::json> ReadJsonLines(const std::filesystem::path& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

void AddPassage(Set& set, std::string document, std::string title, std::string text) {
  set.passages.push_back({.id = set.passages.size(),
                          .document_id = std::move(document),
                          .title = std::move(title),
                          .text = std::move(text)});
}

Set ReadDemo() {
  Set set{.name = "demo"};
  const RagOptions options;
  for (const auto& entry : std::filesystem::directory_iterator("deploy/demo/corpus")) {
    const std::string text = ReadWholeFile(entry.path());
    const size_t begin = text.starts_with("# ") ? 2 : 0;
    const std::string title = text.substr(begin, text.find('\n') - begin);
    for (const Chunk& chunk :
         SplitPassages(text, {.passage_chars_max = options.passage_chars_max,
                             .passage_overlap_chars = options.passage_overlap_chars})) {
      AddPassage(set, entry.path().filename(), title, std::string(Slice(text, chunk)));
    }
  }
  for (const auto& line : ReadJsonLines("deploy/demo/questions.jsonl")) {
    if (line.at("document").is_null()) continue;
    Query query{.text = line.at("question")};
    for (const Passage& passage : set.passages) {
      if (passage.document_id == line.at("document").get<std::string>() &&
          passage.text.find(line.at("quote").get<std::string>()) != std::string::npos) {
        query.relevant.insert(absl::Uint128Low64(passage.id));
      }
    }
    set.queries.push_back(std::move(query));
  }
  return set;
}

Set ReadXquad(const std::filesystem::path& folder) {
  Set set{.name = "xquad"};
  std::map<std::string, size_t> index;
  for (const auto& line : ReadJsonLines(folder / "xquad-en.passages.jsonl")) {
    index[line.at("id")] = set.passages.size();
    AddPassage(set, line.at("id"), line.at("title"), line.at("text"));
  }
  for (const auto& line : ReadJsonLines(folder / "xquad-en.questions.jsonl")) {
    set.queries.push_back({line.at("text"), {index.at(line.at("doc"))}});
  }
  return set;
}

Set ReadCranfield(const std::filesystem::path& folder) {
  Set set{.name = "cranfield"};
  std::map<std::string, size_t> index;
  for (const auto& line : ReadJsonLines(folder / "cranfield.docs.jsonl")) {
    index[line.at("id")] = set.passages.size();
    AddPassage(set, line.at("id"), line.at("title"), line.at("text"));
  }
  std::map<std::string, std::set<size_t>> relevant;
  std::ifstream in(folder / "cranfield.qrels.tsv");
  std::string query, document;
  for (int grade = 0; in >> query >> document >> grade;) {
    const auto it = index.find(document);
    if (grade > 0 && it != index.end()) relevant[query].insert(it->second);
  }
  for (const auto& line : ReadJsonLines(folder / "cranfield.queries.jsonl")) {
    const auto it = relevant.find(line.at("id"));
    if (it != relevant.end()) set.queries.push_back({line.at("text"), it->second});
  }
  return set;
}

// What an Ingest embeds.
std::string Embedded(const Passage& passage) {
  return passage.title + (passage.title.empty() ? "" : "\n") + passage.text;
}

using Ranking = std::vector<size_t>;

// The passages as vectors, all of them compared with each question.
class LexicalRanker {
 public:
  LexicalRanker(const Set& set, bool rerank)
      : passages_(set.passages), rerank_(rerank), embedder_(MakeLexicalEmbedder(kDimension)) {
    for (const Passage& passage : passages_) vectors_.push_back(Embed(Embedded(passage)));
  }

  Ranking operator()(const std::string& question) const {
    const std::vector<float> query = Embed(question);
    std::vector<std::pair<float, size_t>> scored;
    for (size_t i = 0; i < vectors_.size(); ++i) {
      float dot = 0;
      for (size_t j = 0; j < query.size(); ++j) dot += query[j] * vectors_[i][j];
      scored.emplace_back(-dot, i);
    }
    std::sort(scored.begin(), scored.end());
    const auto candidates = static_cast<size_t>(RagOptions().rerank_candidates);
    scored.resize(std::min(scored.size(), candidates));
    Ranking ranking;
    if (!rerank_) {
      for (const auto& [distance, i] : scored) ranking.push_back(i);
      return ranking;
    }
    std::vector<Passage> found;
    for (const auto& [distance, i] : scored) {
      found.push_back(passages_[i]);
      found.back().score = -distance;
    }
    Rerank(question, found);
    for (const Passage& passage : found) ranking.push_back(absl::Uint128Low64(passage.id));
    return ranking;
  }

 private:
  std::vector<float> Embed(const std::string& text) const {
    std::vector<float> vector(kDimension);
    embedder_->Embed(text, vector);
    return vector;
  }

  const std::vector<Passage>& passages_;
  const bool rerank_;
  const std::unique_ptr<const LexicalEmbedder> embedder_;
  std::vector<std::vector<float>> vectors_;
};

// Robertson's BM25 with k1 = 1.2 and b = 0.75, over the same stems.
class Bm25Ranker {
 public:
  explicit Bm25Ranker(const Set& set) {
    for (const Passage& passage : set.passages) {
      counts_.emplace_back();
      for (const TextWord& word : SplitWords(Embedded(passage))) {
        if (counts_.back()[word.stem]++ == 0) ++holders_[word.stem];
        ++words_;
      }
      lengths_.push_back(words_);
    }
    for (size_t i = lengths_.size(); i-- > 1;) lengths_[i] -= lengths_[i - 1];
  }

  Ranking operator()(const std::string& question) const {
    const auto number = static_cast<double>(counts_.size());
    const double mean_length = words_ / number;
    std::vector<std::pair<double, size_t>> scored;
    const std::vector<TextWord> words = SplitWords(question);
    for (size_t i = 0; i < counts_.size(); ++i) {
      double score = 0;
      for (const TextWord& word : words) {
        const auto it = counts_[i].find(word.stem);
        if (it == counts_[i].end()) continue;
        const double held = holders_.at(word.stem);
        const double count = it->second;
        const double norm = 1.2 * (0.25 + 0.75 * lengths_[i] / mean_length);
        score += std::log(1 + (number - held + 0.5) / (held + 0.5)) * count * 2.2 / (count + norm);
      }
      scored.emplace_back(-score, i);
    }
    std::sort(scored.begin(), scored.end());
    Ranking ranking;
    for (const auto& [score, i] : scored) ranking.push_back(i);
    return ranking;
  }

 private:
  std::vector<std::unordered_map<std::string, int>> counts_;  // of each passage, by stem
  std::unordered_map<std::string, int> holders_;
  std::vector<double> lengths_;
  double words_ = 0;
};

template <class Ranker>
void Measure(const Set& set, const std::string& method, const Ranker& rank, BenchReport& report) {
  std::vector<double> recall(kRanks + 1);
  for (const Query& query : set.queries) {
    const Ranking ranking = rank(query.text);
    size_t found = 0;
    for (size_t k = 1; k <= std::min(kRanks, ranking.size()); ++k) {
      found += query.relevant.count(ranking[k - 1]);
      recall[k] +=
          static_cast<double>(found) / static_cast<double>(std::min(k, query.relevant.size()));
    }
  }
  for (const size_t k : {size_t{1}, size_t{3}, kRanks}) {
    report.Add(set.name + "." + method + ".recall_at_" + std::to_string(k),
               recall[k] / static_cast<double>(set.queries.size()),
               "of " + std::to_string(set.queries.size()) + " questions");
  }
}

int Main(int argc, char** argv) {
  const BenchArgs args = ParseBenchArgs(argc, argv);
  BenchReport report(args);
  std::filesystem::current_path(BATON_SOURCE_DIR);
  std::vector<Set> sets = {ReadDemo()};
  if (!args.tiny) {
    if (const auto folder = SharedData("text")) {
      sets.push_back(ReadXquad(*folder));
      sets.push_back(ReadCranfield(*folder));
    }
  }
  for (Set& set : sets) {
    if (args.tiny && set.queries.size() > 5) set.queries.resize(5);
    Measure(set, "lexical", LexicalRanker(set, false), report);
    Measure(set, "reranked", LexicalRanker(set, true), report);
    Measure(set, "bm25", Bm25Ranker(set), report);
  }
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Main(argc, argv); }
