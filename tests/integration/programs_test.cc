// The programs that people use against a daemon: batonctl and baton-load.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/integration/client.h"
#include "tests/support/daemon.h"
#include "tests/support/eventually.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/process.h"
#include "tests/support/shared_data.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

using nlohmann::json;

constexpr const char* kCorpus = "deploy/demo/corpus";  // tests run in the root of the repository
constexpr const char* kQuestions = "deploy/demo/questions.jsonl";

// batonctl against a daemon; the proxy would lead nowhere.
ProgramResult Ctl(const Daemon& daemon, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {BATON_BATONCTL, "--server", daemon.grpc_address()});
  return RunProgram(arguments,
                    {"http_proxy=http://127.0.0.1:9", "grpc_proxy=http://127.0.0.1:9", "LC_ALL=C"});
}

// Its output, one JSON document a line or one in all.
std::vector<json> JsonOf(const ProgramResult& result, bool is_by_line) {
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  if (!is_by_line) return {json::parse(result.out)};
  std::vector<json> documents;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) documents.push_back(json::parse(line));
  return documents;
}

json JsonOf(const ProgramResult& result) { return JsonOf(result, /*is_by_line=*/false).front(); }

struct Question {
  std::string question, document, quote;
};
std::vector<Question> AnswerableQuestions() {
  std::vector<Question> questions;
  std::ifstream in(kQuestions);
  for (std::string line; std::getline(in, line);) {
    const json entry = json::parse(line);
    if (entry.at("document").is_null()) continue;
    questions.push_back({entry.at("question"), entry.at("document"), entry.at("quote")});
  }
  return questions;
}

TEST_CASE("batonctl ingests the demo corpus and asks it") {
  Daemon daemon;
  const json ingested = JsonOf(Ctl(daemon, {"ingest", kCorpus, "--collection", "town", "--json"}));
  // Protobuf's JSON has 64-bit numbers as strings.
  CHECK(std::stoi(ingested.at("documents").get<std::string>()) >= 15);
  const int passages = std::stoi(ingested.at("passages").get<std::string>());
  CHECK(passages >= 100);

  const std::vector<Question> questions = AnswerableQuestions();
  REQUIRE(questions.size() >= 40);
  int cited = 0;
  constexpr int kAsked = 10;
  for (size_t i = 0; i < kAsked; ++i) {
    const Question& question = questions[i * questions.size() / kAsked];
    CAPTURE(question.question);
    const std::vector<json> events =
        JsonOf(Ctl(daemon, {"--json", "ask", question.question, "-c", "town"}), true);
    REQUIRE(events.size() == 2);
    CHECK(events[0].at("retrieved").at("passages").size() == 5);
    const json& finished = events[1].at("finished");
    CHECK(finished.at("mode") == "RETRIEVAL_ONLY");
    CHECK(finished.at("timings").at("stages").size() == 2);
    for (const json& citation : finished.at("citations")) {
      if (citation.at("document_id") != question.document) continue;
      cited += citation.at("quote") == question.quote;
      break;
    }
  }
  CHECK(cited >= kAsked - 2);  // lexical retrieval: a question may use other words than its answer

  const ProgramResult shown = Ctl(daemon, {"ask", questions[0].question, "-c", "town"});
  CHECK(shown.exit_code == 0);
  CHECK_THAT(shown.out, Catch::Contains(questions[0].document) &&
                            Catch::Contains("search_single") &&
                            Catch::Contains("No text was generated"));

  const json collections = JsonOf(Ctl(daemon, {"--json", "collections"}));
  REQUIRE(collections.at("collections").size() == 1);
  CHECK(collections.at("collections")[0].at("points") == std::to_string(passages));

  const json found = JsonOf(
      Ctl(daemon, {"search", "--json", "-c", "town", "--text", "lighthouse keeper", "-k", "3"}));
  REQUIRE(found.at("points").size() == 3);
  CHECK_FALSE(found.at("points")[0].at("payload").at("text").at("text").get<std::string>().empty());
}

TEST_CASE("batonctl imports one of a collection's named vectors") {
  Daemon daemon;
  JsonOf(Ctl(daemon, {"--json", "collections", "create", "media", "--vector", "image:2:l2",
                      "--vector", "text:3"}));
  const TempDir folder;
  const std::string path = folder.path() + "/images.jsonl";
  std::ofstream(path) << R"({"id": 100, "vector": [50, 0]})"
                         "\n"
                      << R"({"id": 101, "vector": [60, 0]})"
                         "\n";
  const ProgramResult imported =
      Ctl(daemon, {"import", path, "-c", "media", "--vector-name", "image"});
  INFO(imported.err);
  CHECK(imported.exit_code == 0);
  const json found = JsonOf(Ctl(daemon, {"search", "--json", "-c", "media", "--vector", "59,0",
                                         "--vector-name", "image", "-k", "1"}));
  CHECK(found.at("points")[0].at("id") == "101");
  const ProgramResult unknown =
      Ctl(daemon, {"import", path, "-c", "media", "--vector-name", "sound"});
  CHECK(unknown.exit_code == 1);
  CHECK_THAT(unknown.err, Catch::Contains("sound"));
  const ProgramResult unnamed = Ctl(daemon, {"import", path, "-c", "media"});
  CHECK(unnamed.exit_code == 1);
  CHECK_THAT(unnamed.err, Catch::Contains("vector"));
}

TEST_CASE("batonctl imports vectors, and goes on where it stopped") {
  Daemon daemon;
  JsonOf(Ctl(daemon, {"--json", "collections", "create", "v", "--dim", "3", "--metric", "l2"}));
  const TempDir folder;
  const std::string path = folder.path() + "/rows.fvecs";
  constexpr int kRows = 5000;
  {
    std::ofstream out(path, std::ios::binary);
    for (int32_t row = 0; row < kRows; ++row) {
      const int32_t dimension = 3;
      const float values[] = {static_cast<float>(row), 1, row == 4500 ? NAN : 0};
      out.write(reinterpret_cast<const char*>(&dimension), sizeof(dimension));
      out.write(reinterpret_cast<const char*>(values), sizeof(values));
    }
  }
  const ProgramResult stopped = Ctl(daemon, {"import", path, "-c", "v", "--first-id", "100"});
  CHECK(stopped.exit_code == 1);
  CHECK_THAT(stopped.out, Catch::Contains("v: 4500 points"));
  CHECK_THAT(stopped.err, Catch::Contains("value 2 of row 4500 at byte 72000 is not finite") &&
                              Catch::Contains("--skip 4500"));
  const ProgramResult rest =
      Ctl(daemon, {"import", path, "-c", "v", "--first-id", "100", "--skip", "4501"});
  INFO(rest.err);
  CHECK(rest.exit_code == 0);
  CHECK_THAT(rest.out, Catch::Contains("v: 499 points"));
  const json found =
      JsonOf(Ctl(daemon, {"search", "--json", "-c", "v", "--vector", "4321,1,0", "-k", "1"}));
  CHECK(found.at("points")[0].at("id") == "4421");
  const json described = JsonOf(Ctl(daemon, {"--json", "collections", "describe", "v"}));
  CHECK(described.at("collection").at("points") == "4999");

  CHECK(Ctl(daemon, {"import", "rows.hdf5", "-c", "v"}).exit_code == 2);
  CHECK_THAT(Ctl(daemon, {"import", folder.path() + "/no.npy", "-c", "v"}).err,
             Catch::Contains("cannot be read"));
  const ProgramResult nowhere = Ctl(daemon, {"import", path, "-c", "w"});
  CHECK(nowhere.exit_code == 1);
  CHECK_THAT(nowhere.err, Catch::Contains("--skip 0"));
}

TEST_CASE("batonctl generates, and shows models, devices and explanations") {
  const TempFile model(RandomModelBytes({}));
  Daemon daemon({"--model=tiny=" + model.path()});
  const std::vector<json> events = JsonOf(
      Ctl(daemon, {"generate", "hello there", "--max-tokens", "8", "--ignore-eos", "--json"}),
      true);
  REQUIRE(events.size() >= 2);
  CHECK(events.back().at("finished").at("generated_tokens") == 8);

  const json models = JsonOf(Ctl(daemon, {"models", "--json"}));
  CHECK(models.at("models")[0].at("name") == "tiny");
  const json devices = JsonOf(Ctl(daemon, {"devices", "--json"}));
  CHECK(devices.at("devices").size() >= 3);
  const json explained =
      JsonOf(Ctl(daemon, {"explain", "--kind", "search", "--items", "64", "--json"}));
  CHECK(explained.at("stages")[0].at("route").at("rule") == "search-bulk");
  for (const char* command : {"models", "devices", "explain", "collections"}) {
    CAPTURE(command);
    const ProgramResult shown = Ctl(daemon, {command});
    CHECK(shown.exit_code == 0);
    CHECK_FALSE(shown.out.empty());
    CHECK(shown.err.empty());
  }
}

TEST_CASE("batonctl loads and unloads models") {
  const TempDir dir;
  dir.Write("tiny.gguf", RandomModelBytes({}));
  Daemon daemon({"--repository.directory=" + dir.path()});
  const ProgramResult loaded = Ctl(daemon, {"load", "tiny", "tiny.gguf"});
  CHECK(loaded.exit_code == 0);
  CHECK_THAT(loaded.out, Catch::Contains("tiny: loaded, "));
  const ProgramResult shown = Ctl(daemon, {"models"});
  CHECK_THAT(shown.out, Catch::Contains("tiny") && Catch::Contains("ready"));
  CHECK(Ctl(daemon, {"generate", "hello", "--max-tokens", "2"}).exit_code == 0);
  const ProgramResult failed = Ctl(daemon, {"load", "other", "none.gguf"});
  CHECK(failed.exit_code == 1);
  CHECK_THAT(failed.err, Catch::Contains("none.gguf"));
  CHECK_THAT(Ctl(daemon, {"models"}).out, Catch::Contains("other: path \"none.gguf\""));
  const json unloaded = JsonOf(Ctl(daemon, {"unload", "tiny", "--drain", "1", "--json"}));
  CHECK(unloaded.at("model").at("name") == "tiny");
  CHECK(Ctl(daemon, {"unload", "tiny"}).exit_code == 1);
  CHECK(Ctl(daemon, {"unload"}).exit_code == 2);
  CHECK(Ctl(daemon, {"unload", "tiny", "--drain", "-1"}).exit_code == 2);
}

TEST_CASE("batonctl indexes, filters, patches and deletes") {
  Daemon daemon;
  CHECK(Ctl(daemon, {"collections", "create", "pts", "--dim", "2", "--metric", "l2"}).exit_code ==
        0);
  const Client client(daemon);
  v1::UpsertRequest upsert;
  upsert.set_collection("pts");
  for (uint64_t id = 0; id < 10; ++id) {
    AddPoint(upsert, id, {static_cast<float>(id), 0}, id % 2 == 0 ? "even" : "odd");
  }
  Must(client.vectors, &v1::VectorService::Stub::Upsert, upsert);
  const std::string even = R"({"must": [{"field": "note", "match": {"text": "even"}}]})";
  const ProgramResult unindexed = Ctl(daemon, {"count", "-c", "pts", "--filter", even});
  CHECK(unindexed.exit_code == 1);
  CHECK_THAT(unindexed.err, Catch::Contains("\"note\""));
  CHECK_THAT(Ctl(daemon, {"index", "create", "note", "-c", "pts", "--kind", "keyword"}).out,
             Catch::Contains("note:keyword"));
  CHECK(Ctl(daemon, {"count", "-c", "pts", "--filter", even}).out == "5\n");
  CHECK(Ctl(daemon, {"count", "-c", "pts", "--filter", "{must"}).exit_code == 2);
  const json found = JsonOf(Ctl(
      daemon, {"search", "-c", "pts", "--vector", "9,0", "-k", "2", "--filter", even, "--json"}));
  CHECK(found.at("points").at(0).at("id") == "8");
  CHECK_THAT(Ctl(daemon, {"search", "-c", "pts", "--vector", "9,0", "--group-by", "note"}).out,
             Catch::Contains("odd") && Catch::Contains("even"));
  CHECK_THAT(Ctl(daemon, {"scroll", "-c", "pts", "--limit", "2", "--filter", even}).out,
             Catch::Contains("more: --offset"));
  CHECK_THAT(Ctl(daemon, {"facet", "note", "-c", "pts"}).out, Catch::Contains("even"));
  CHECK(Ctl(daemon, {"patch", "-c", "pts", "1", "3", "--set", R"({"note": "even", "n": [1, 2]})"})
            .out == "patched 2\n");
  CHECK(Ctl(daemon, {"delete", "-c", "pts", "--filter", even}).out == "deleted 7\n");
  CHECK(Ctl(daemon, {"delete", "-c", "pts"}).exit_code == 2);
  CHECK(Ctl(daemon, {"delete", "-c", "pts", "5", "6"}).out == "deleted 1\n");
  CHECK(Ctl(daemon, {"index", "drop", "note", "-c", "pts"}).exit_code == 0);
}

TEST_CASE("batonctl says what went wrong and what to do") {
  Daemon daemon;
  const ProgramResult missing = Ctl(daemon, {"ask", "Who?", "-c", "nowhere"});
  CHECK(missing.exit_code == 1);
  CHECK(missing.out.empty());
  CHECK_THAT(missing.err, Catch::Contains("nowhere"));
  CHECK(Ctl(daemon, {"ask"}).exit_code == 2);
  CHECK(Ctl(daemon, {"dance"}).exit_code == 2);
  CHECK(daemon.Terminate() == 0);
  const ProgramResult gone = Ctl(daemon, {"devices", "--timeout", "5"});
  CHECK(gone.exit_code == 1);
  CHECK_THAT(gone.err, Catch::Contains("no daemon answers at " + daemon.grpc_address()));
}

TEST_CASE("baton-load measures a running daemon") {
  const TempFile model(RandomModelBytes({.context_tokens = 2048}));
  Daemon daemon({"--model=tiny=" + model.path()});
  REQUIRE(Ctl(daemon, {"ingest", kCorpus, "-c", "town"}).exit_code == 0);
  const TempDir dir;
  const std::string prompts = dir.Write("prompts.txt", "hello there\nthe cat sat on\n");
  struct Scenario {
    std::string name;
    std::vector<std::string> flags;
    std::string latency;
  };
  for (const Scenario& scenario : std::vector<Scenario>{
           {"search", {"--collection", "town", "--rate", "50", "--duration", "2"}, "e2e_ms.p99"},
           {"generate",
            {"--prompts", prompts, "--max-tokens", "8", "--rate", "10", "--duration", "1"},
            "ttft_ms.p50"},
           {"ask",
            {"--collection", "town", "--questions", kQuestions, "--max-tokens", "8", "--rate", "5",
             "--duration", "1"},
            "retrieved_ms.p50"}}) {
    CAPTURE(scenario.name);
    const std::string figures_file = dir.File(scenario.name + ".json");
    std::vector<std::string> arguments = {BATON_LOAD,   "--target",    daemon.grpc_address(),
                                          "--scenario", scenario.name, "--json",
                                          figures_file, "--seed",      "5"};
    arguments.insert(arguments.end(), scenario.flags.begin(), scenario.flags.end());
    const ProgramResult result = RunProgram(arguments, {"http_proxy=http://127.0.0.1:9"});
    INFO(result.err);
    CHECK(result.exit_code == 0);
    CHECK_THAT(result.out,
               Catch::StartsWith(scenario.name + " over baton to ") && Catch::Contains("p99"));
    const json report = json::parse(ReadWholeFile(figures_file));
    const json& figures = report.at("figures");
    CAPTURE(figures.dump());
    CHECK(figures.at("requests.sent").get<double>() > 0);
    CHECK(figures.at("requests.ok") == figures.at("requests.sent"));
    CHECK(figures.at(scenario.latency).get<double>() > 0);
    CHECK(report.at("seed") == 5);
    CHECK(report.contains("machine"));
  }
  const std::string search = dir.File("search.json");
  const ProgramResult same = RunProgram({BATON_LOAD, "compare", search, search});
  CHECK(same.exit_code == 0);
  CHECK_THAT(same.out, Catch::Contains("e2e_ms.p99") && !Catch::Contains("WORSE"));
  CHECK(RunProgram({BATON_LOAD, "compare", search, dir.File("none.json")}).exit_code == 2);
  const std::string page = dir.File("page.html");
  CHECK(RunProgram({BATON_LOAD, "html", search, dir.File("ask.json"), "--out", page}).exit_code ==
        0);
  CHECK_THAT(ReadWholeFile(page), Catch::Contains("<svg") && Catch::EndsWith("</html>\n"));
}

TEST_CASE("baton-load reports what there is when the server is away or the input is bad") {
  const TempDir dir;
  const std::string report = dir.File("report.json");
  const ProgramResult away =
      RunProgram({BATON_LOAD, "--target", "127.0.0.1:1", "--scenario", "generate", "--rate", "1",
                  "--duration", "1", "--json", report});
  CHECK(away.exit_code == 1);
  CHECK_THAT(away.err, Catch::Contains("nothing answers at 127.0.0.1:1"));
  CHECK_THAT(json::parse(ReadWholeFile(report)).at("status").get<std::string>(),
             Catch::Contains("nothing answers"));
  const std::string scenario =
      dir.Write("bad.yaml", "target: a:1\nload: [{kind: generate}]\nduration_s: never\n");
  const ProgramResult bad = RunProgram({BATON_LOAD, "--scenario", scenario});
  CHECK(bad.exit_code == 2);
  CHECK_THAT(bad.err, Catch::Contains("bad.yaml:3: duration_s must be a number"));
}

TEST_CASE(
    "baton-load ends with 1 and a partial report: no trace or an absurd rate or a dead server") {
  const TempDir dir;
  Daemon daemon;
  const Client client(daemon);
  CreateCollection(client, "points", 8);
  const std::string report = dir.File("report.json");
  const auto figures = [&] { return json::parse(ReadWholeFile(report)).at("figures"); };
  const auto status = [&] {
    return json::parse(ReadWholeFile(report)).at("status").get<std::string>();
  };
  const std::vector<std::string> flags = {BATON_LOAD,     "--target", daemon.grpc_address(),
                                          "--scenario",   "search",   "--collection",
                                          "points",       "--json",   report,
                                          "--deadline-ms"};
  const std::string lines =
      dir.Write("trace.jsonl",
                "{\"timestamp\": 0, \"input_length\": 4, \"output_length\": 2, \"hash_ids\": []}\n"
                "{\"timestamp\": 1, \"input_len");
  const std::string replay = dir.Write(
      "replay.yaml", "trace: trace.jsonl\narrivals: {process: trace}\nload: [{kind: generate}]\n");
  const ProgramResult cut = RunProgram(
      {BATON_LOAD, "--target", daemon.grpc_address(), "--scenario", replay, "--json", report});
  CHECK(cut.exit_code != 0);
  CHECK_THAT(cut.err, Catch::Contains(lines + ":2: "));

  std::vector<std::string> absurd = flags;
  for (const char* flag :
       {"5000", "--rate", "1000000", "--duration", "2", "--max-in-flight", "100000"}) {
    absurd.push_back(flag);
  }
  const ProgramResult late = RunProgram(absurd);
  CHECK(late.exit_code == 1);
  CHECK_THAT(status(), Catch::Contains("cannot send"));
  CHECK(figures().at("requests.ok").get<double>() > 0);

  std::vector<std::string> lasting = flags;
  for (const char* flag : {"1000", "--rate", "100", "--duration", "60"}) lasting.push_back(flag);
  constexpr const char* kServed =
      R"(baton_requests_total{code="OK",method="VectorService/Search"})";
  const double before = daemon.Metric(kServed).value_or(0);
  ChildProcess load(lasting, {}, {.out = dir.File("log"), .err = dir.File("log")});
  REQUIRE(Eventually([&] { return daemon.Metric(kServed).value_or(0) >= before + 50; }));
  daemon.Kill9();
  CHECK(load.Wait(std::chrono::seconds(50)) == 1);
  CHECK_THAT(status(), Catch::Contains("stopped answering"));
  CHECK(figures().at("requests.ok").get<double>() >= 40);
  CHECK(figures().at("errors.UNAVAILABLE").get<double>() > 0);
  CHECK_THAT(ReadWholeFile(dir.File("log")), Catch::Contains("artial"));
}

}  // namespace
}  // namespace baton
