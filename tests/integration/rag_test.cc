// Documents in, cited answers out.
#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/integration/client.h"
#include "tests/support/gguf_writer.h"

namespace baton {
namespace {

using Names = std::vector<std::string>;

// A fact made up at run time: no text holds its name or value by chance.
struct Fact {
  std::string document;
  std::string question;
  std::string sentence;
  std::string value;
};

std::string InventedName(std::mt19937& random) {
  std::string name;
  for (int i = 0; i < 4; ++i) {
    name += "bdfgklmnprstvz"[random() % 14];
    name += "aeiou"[random() % 5];
  }
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  return name;
}

Fact InventFact(std::mt19937& random, const std::string& document) {
  const std::string name = InventedName(random);
  const std::string value = std::to_string(10'000 + random() % 90'000);
  switch (random() % 4) {
    case 0:
      return {document, "How tall is the tower of " + name + "?",
              "The tower of " + name + " is " + value + " millimetres tall.", value};
    case 1:
      return {document, "What is the number of the ferry " + name + "?",
              "The ferry " + name + " carries the number " + value + " on her bow.", value};
    case 2:
      return {document, "Which telephone extension does Captain " + name + " have?",
              "Captain " + name + " can be reached on telephone extension " + value + ".", value};
    default: {
      const std::string friend_name = InventedName(random);
      return {document, "Who looked after " + name + "'s orchard?",
              "For years the orchard of " + name + " was looked after by " + friend_name + ".",
              friend_name};
    }
  }
}

constexpr std::array<const char*, 4> kFiller = {
    "Visitors come in spring, when the road is dry.", "Nobody remembers who built the wall.",
    "The council met twice and decided nothing.", "On clear days one can see the islands."};

void CheckCited(const Asked& asked, const Fact& fact,
                const std::map<std::string, std::string>& documents) {
  CAPTURE(fact.question, fact.sentence);
  REQUIRE_RPC_OK(asked.status);
  REQUIRE(asked.is_finished);
  CHECK(asked.retrieved_messages == 1);
  CAPTURE(asked.finished.DebugString());
  bool is_cited = false;
  for (const v1::Citation& citation : asked.finished.citations()) {
    REQUIRE(documents.contains(citation.document_id()));
    const std::string& text = documents.at(citation.document_id());
    // A quote is the document's own words, at the place it names.
    CHECK(text.substr(static_cast<size_t>(citation.begin()),
                      static_cast<size_t>(citation.end() - citation.begin())) == citation.quote());
    CHECK(citation.title() == "About " + citation.document_id());
    is_cited |= citation.document_id() == fact.document &&
                citation.quote().find(fact.value) != std::string::npos;
  }
  CHECK(is_cited);
}

TEST_CASE("facts made up at run time are each cited in the answer to their question") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  std::map<std::string, std::string> documents;
  std::vector<Fact> facts;
  for (int d = 0; d < 6; ++d) {
    const std::string id = "chapter" + std::to_string(d) + ".md";
    for (int i = 0; i < 8; ++i) {
      facts.push_back(InventFact(random, id));
      documents[id] += facts.back().sentence + " " + kFiller[random() % kFiller.size()] +
                       (i % 2 == 0 ? " " : "\n\n") + kFiller[random() % kFiller.size()] + "\n\n";
    }
  }

  Daemon daemon;
  auto client = std::make_unique<Client>(daemon);
  v1::IngestRequest ingest = IngestOf("facts", documents);
  ingest.set_passage_chars_max(200);  // a fact or two, or their common words outweigh their names
  const v1::IngestResponse ingested = Must(client->rag, &v1::RagService::Stub::Ingest, ingest);
  CHECK(ingested.documents() == 6);
  CHECK(ingested.passages() >= 24);
  CHECK(ingested.passages_removed() == 0);
  CHECK(CheckedStages(ingested.timings()) == Names{"embed", "write"});
  CHECK(CountOf(*client, "facts") == ingested.passages());

  for (const Fact& fact : facts) {
    const Asked asked = Ask(*client, AskOf("facts", fact.question));
    CheckCited(asked, fact, documents);
    CHECK(asked.passages.size() == 5);
    for (size_t i = 1; i < asked.passages.size(); ++i) {
      CHECK(asked.passages[i - 1].score() >= asked.passages[i].score());
    }
    CHECK(asked.finished.mode() == v1::AskFinished::RETRIEVAL_ONLY);
    CHECK_THAT(asked.finished.mode_reason(), Catch::Contains("no language model"));
    CHECK(asked.ids.empty());
    CHECK(CheckedStages(asked.finished.timings()) == Names{"embed", "search"});
  }

  // Prometheus shows the same stages.
  const double asks = static_cast<double>(facts.size());
  CHECK(daemon.Metric(R"(baton_requests_total{code="OK",method="RagService/Ask"})") == asks);
  CHECK(daemon.Metric(R"(baton_stages_total{emulated="false",platform="cpu",rule="default",)"
                      R"(work_class="search_single"})") == asks);
  CHECK(daemon.Metric(R"(baton_stage_seconds_count{platform="cpu",work_class="search_single"})") ==
        asks);

  // What was acknowledged is still there after a restart.
  CHECK(daemon.Terminate() == 0);
  daemon.Start();
  client = std::make_unique<Client>(daemon);
  for (const Fact& fact : facts) {
    CheckCited(Ask(*client, AskOf("facts", fact.question)), fact, documents);
  }
}

TEST_CASE("a document ingested again replaces its passages, others stay") {
  Daemon daemon;
  const Client client(daemon);
  std::string text;
  for (int i = 0; i < 30; ++i) {
    text += "Paragraph number " + std::to_string(i) + " of the old version speaks of pears.\n\n";
  }
  v1::IngestRequest request = IngestOf("docs", {{"a", text}, {"b", "The bell rings at nine."}});
  request.set_passage_chars_max(64);
  request.set_passage_overlap_chars(0);
  (*request.mutable_documents(0)->mutable_metadata())["year"].set_integer(1911);
  const v1::IngestResponse first = Must(client.rag, &v1::RagService::Stub::Ingest, request);
  REQUIRE(first.passages() > 20);

  const v1::IngestResponse second = Must(client.rag, &v1::RagService::Stub::Ingest,
                                         IngestOf("docs", {{"a", "Only plums are left here."}}));
  CHECK(second.documents() == 1);
  CHECK(second.passages() == 1);
  CHECK(second.passages_removed() == first.passages() - 2);
  CHECK(CountOf(client, "docs") == 2);
  const Asked pears = Ask(client, AskOf("docs", "Which paragraph speaks of pears?"));
  std::set<std::string> left;
  for (const v1::Passage& passage : pears.passages) left.insert(passage.text());
  CHECK(left == std::set<std::string>{"Only plums are left here.", "The bell rings at nine."});

  // By an alias it is the same collection.
  v1::UpdateAliasesRequest update;
  v1::CreateAlias& alias = *update.add_actions()->mutable_create();
  alias.set_alias("live");
  alias.set_collection("docs");
  Must(client.vectors, &v1::VectorService::Stub::UpdateAliases, update);
  const v1::IngestResponse third = Must(client.rag, &v1::RagService::Stub::Ingest,
                                        IngestOf("live", {{"a", "The plums were eaten."}}));
  CHECK(third.passages() == 1);
  CHECK(CountOf(client, "docs") == 2);
  CHECK(Ask(client, AskOf("live", "Who ate plums?")).passages.at(0).text() ==
        "The plums were eaten.");
}

TEST_CASE(
    "a verbatim answer is a sentence of the passages, whatever the model would rather write") {
  const TempFile model(RandomModelBytes({.context_tokens = 1024}));
  const bool by_setting = GENERATE(false, true);
  Daemon daemon({"--model=writer=" + model.path(),
                 by_setting ? "--rag.answers=verbatim" : "--rag.answers=free"});
  const Client client(daemon);
  Must(client.rag, &v1::RagService::Stub::Ingest,
       IngestOf("docs", {{"bell", "The bell rings at nine. It is \"old\"."},
                         {"ferry", "The ferry leaves at noon\nfrom the old pier."}}));
  v1::AskRequest request = AskOf("docs", "When does the ferry leave?");
  if (!by_setting) request.set_verbatim(true);
  int sentences = 0;
  for (int seed = 0; seed < 8; ++seed) {
    request.mutable_sampling()->set_temperature(2);
    request.mutable_sampling()->set_seed(seed);
    const Asked asked = Ask(client, request);
    REQUIRE_RPC_OK(asked.status);
    CAPTURE(asked.text);
    const v1::AskFinished& finished = asked.finished;
    CHECK(finished.finish_reason() == v1::FINISH_REASON_STOP);
    if (asked.text.find("Not in the documents.") != std::string::npos) {
      CHECK(finished.citations_size() == 0);
      continue;
    }
    ++sentences;
    REQUIRE(finished.citations_size() == 1);
    const std::string answer =
        finished.citations(0).quote() + " [" + std::to_string(finished.citations(0).number()) + "]";
    CHECK((asked.text == answer || asked.text == " " + answer));
  }
  CHECK(sentences > 0);
  if (by_setting) {
    request.set_verbatim(false);
    request.set_max_tokens(8);
    const Asked free = Ask(client, request);
    REQUIRE_RPC_OK(free.status);
    CHECK(free.finished.generated_tokens() > 0);
  }
}

TEST_CASE("with a language model the answer streams, and every stage says where it ran and why") {
  const TempFile model(RandomModelBytes({.context_tokens = 1024}));
  Daemon daemon({"--model=writer=" + model.path()});
  const Client client(daemon);
  Must(client.rag, &v1::RagService::Stub::Ingest,
       IngestOf("docs", {{"bell", "The bell rings at nine."},
                         {"ferry", "The ferry leaves at noon from the old pier."}}));
  v1::AskRequest request = AskOf("docs", "When does the ferry leave?");
  request.set_max_tokens(24);
  const Asked asked = Ask(client, request);
  REQUIRE_RPC_OK(asked.status);
  CHECK(asked.retrieved_messages == 1);
  REQUIRE(asked.passages.size() == 2);
  CHECK(asked.passages[0].document_id() == "ferry");
  REQUIRE(asked.is_finished);
  const v1::AskFinished& finished = asked.finished;
  CHECK(finished.mode() == v1::AskFinished::GENERATED);
  CHECK_THAT(finished.mode_reason(), Catch::Contains("writer"));
  CHECK(finished.model() == "writer");
  CHECK(finished.finish_reason() != v1::FINISH_REASON_UNSPECIFIED);
  CHECK(finished.prompt_tokens() > 20);
  REQUIRE(finished.generated_tokens() > 1);
  CHECK(static_cast<size_t>(finished.generated_tokens()) == asked.ids.size());
  REQUIRE(finished.citations_size() > 0);
  CHECK(finished.citations(0).number() == 1);
  CHECK(finished.citations(0).quote() == "The ferry leaves at noon from the old pier.");

  REQUIRE(CheckedStages(finished.timings()) ==
          Names{"embed", "search", "prefill", "handoff", "decode"});
  const v1::Stage& prefill = finished.timings().stages(2);
  CHECK(prefill.route().work_class() == v1::WORK_CLASS_PREFILL);
  CHECK(prefill.route().rule() == "llm-prefill");
  CHECK(prefill.items() == finished.prompt_tokens());
  CHECK(prefill.run_us() > 0);
  const v1::Stage& decode = finished.timings().stages(4);
  CHECK(decode.route().work_class() == v1::WORK_CLASS_DECODE);
  CHECK(decode.route().rule() == "llm-decode");
  CHECK(decode.run_us() > 0);
  CHECK(prefill.start_us() < decode.start_us());

  CHECK(daemon.Metric("baton_time_to_first_token_seconds_count") == 1);
  CHECK(daemon.Metric("baton_generated_tokens_total") == finished.generated_tokens());
  CHECK(daemon.Metric("baton_prompt_tokens_total") == finished.prompt_tokens());

  // The same answer, which a token or a string of it ends, with its tokens' log probabilities.
  request.mutable_sampling()->set_temperature(0);
  request.set_logprobs(2);
  const Asked greedy = Ask(client, request);
  REQUIRE_RPC_OK(greedy.status);
  REQUIRE(greedy.ids.size() > 3);
  REQUIRE(greedy.logprobs.size() == greedy.ids.size());
  for (size_t i = 0; i < greedy.ids.size(); ++i) {
    CHECK(greedy.logprobs[i].token().id() == greedy.ids[i]);
    CHECK(greedy.logprobs[i].token().logprob() <= 0);
    REQUIRE(greedy.logprobs[i].top_size() == 2);
    CHECK(greedy.logprobs[i].top(0).id() == greedy.ids[i]);
  }
  v1::AskRequest ended = request;
  ended.add_stop_token_ids(greedy.ids[3]);
  const auto at = std::find(greedy.ids.begin(), greedy.ids.end(), greedy.ids[3]);
  const Asked by_token = Ask(client, ended);
  CHECK(by_token.ids == std::vector<int32_t>(greedy.ids.begin(), at));
  CHECK(by_token.finished.finish_reason() == v1::FINISH_REASON_STOP_TOKEN);
  CHECK(by_token.finished.stop_token() == greedy.ids[3]);
  ended.set_include_stop(true);
  CHECK(Ask(client, ended).ids == std::vector<int32_t>(greedy.ids.begin(), at + 1));
  ended.set_min_tokens(request.max_tokens());
  CHECK(Ask(client, ended).ids.size() == static_cast<size_t>(request.max_tokens()));
  const auto letter = std::find_if(greedy.text.begin() + 1, greedy.text.end(),
                                   [](char c) { return c >= 'a' && c <= 'z'; });
  REQUIRE(letter != greedy.text.end());
  ended = request;
  ended.add_stop(std::string(1, *letter));
  const Asked by_text = Ask(client, ended);
  CHECK(by_text.text == greedy.text.substr(0, greedy.text.find(*letter)));
  CHECK(by_text.finished.finish_reason() == v1::FINISH_REASON_STOP_STRING);
  CHECK(by_text.finished.stop_string() == std::string(1, *letter));

  request.set_retrieval_only(true);
  const Asked retrieved = Ask(client, request);
  CHECK(retrieved.finished.mode() == v1::AskFinished::RETRIEVAL_ONLY);
  CHECK_THAT(retrieved.finished.mode_reason(), Catch::Contains("asked for retrieval only"));
  CHECK(retrieved.ids.empty());
}

}  // namespace
}  // namespace baton
