#include "engine/rag/ingest_machine.h"

#include <catch2/catch.hpp>

#include "engine/rag/passage.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Runs a machine to its write, embedding every text as {its number}.
IngestMachine::Write RunToWrite(IngestMachine& machine, const std::vector<Point>& stored,
                                std::vector<size_t>* batch_sizes = nullptr) {
  REQUIRE(std::holds_alternative<IngestMachine::SplitDocuments>(machine.Start()));
  REQUIRE_OK(machine.Split());
  IngestMachine::Work work = machine.OnSplit(stored);
  float next = 0;
  while (auto* embed = std::get_if<IngestMachine::Embed>(&work)) {
    if (batch_sizes != nullptr) batch_sizes->push_back(embed->texts.size());
    std::vector<std::vector<float>> embeddings;
    for (size_t i = 0; i < embed->texts.size(); ++i) embeddings.push_back({next++});
    work = machine.OnEmbedded(std::move(embeddings));
  }
  return std::get<IngestMachine::Write>(std::move(work));
}

std::string Lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text += "This is line number " + std::to_string(i) + " of it.\n\n";
  return text;
}

TEST_CASE("documents become points with their passages' payloads, embedded in bounded batches") {
  IngestRequest request{
      .collection = "c",
      .documents = {{.id = "a", .title = "A", .text = Lines(300)}, {.id = "b", .text = "Short."}},
      .passage_chars_max = 64};
  auto machine = IngestMachine::Create(request, {});
  REQUIRE_OK(machine);
  std::vector<size_t> batches;
  const IngestMachine::Write write = RunToWrite(*machine, {}, &batches);
  REQUIRE(write.upserts.size() > 128);
  CHECK(batches.size() == (write.upserts.size() + 127) / 128);
  CHECK(write.deletes.empty());
  for (size_t i = 0; i < write.upserts.size(); ++i) {
    CHECK(write.upserts[i].vector == std::vector<float>{static_cast<float>(i)});
    const auto passage = PassageFromPayload(write.upserts[i].id, 0, write.upserts[i].payload);
    REQUIRE_OK(passage);
    CHECK(passage->id == PassageId(passage->document_id, passage->passage));
  }
  const auto finish = std::get<IngestMachine::Finish>(machine->OnWritten(3));
  CHECK(finish.result.documents == 2);
  CHECK(finish.result.passages == std::ssize(write.upserts));
  CHECK(finish.result.passages_removed == 3);
}

TEST_CASE("the title is embedded with every passage") {
  auto machine = IngestMachine::Create(
      {.documents = {{.id = "a", .title = "Ferries", .text = "At noon."}}}, {});
  REQUIRE_OK(machine);
  REQUIRE_OK(machine->Split());
  const auto embed = std::get<IngestMachine::Embed>(machine->OnSplit({}));
  CHECK(embed.texts == std::vector<std::string>{"Ferries\nAt noon."});
}

TEST_CASE("passages that the old version had beyond the new one are deleted") {
  auto old_machine = IngestMachine::Create(
      {.documents = {{.id = "a", .text = Lines(10)}}, .passage_chars_max = 64}, {});
  REQUIRE_OK(old_machine);
  const IngestMachine::Write old_write = RunToWrite(*old_machine, {});
  REQUIRE(old_write.upserts.size() > 2);

  const IngestRequest request{.documents = {{.id = "a", .text = "One."}}};
  auto machine = IngestMachine::Create(request, {});
  REQUIRE_OK(machine);
  const IngestMachine::Write write = RunToWrite(*machine, {old_write.upserts[0]});
  CHECK(write.upserts.size() == 1);
  REQUIRE(write.deletes.size() == old_write.upserts.size() - 1);
  for (size_t i = 0; i < write.deletes.size(); ++i) {
    CHECK(write.deletes[i] == old_write.upserts[i + 1].id);
  }

  SECTION("but never on the word of a point that is not this document's") {
    for (const auto& payload : {Payload{}, Payload{{"passages", int64_t{5}}}, [&] {
                                  Payload other = old_write.upserts[0].payload;
                                  other["document_id"] = std::string("somebody else's");
                                  return other;
                                }()}) {
      auto fresh = IngestMachine::Create(request, {});
      REQUIRE_OK(fresh);
      CHECK(RunToWrite(*fresh, {{.id = PassageId("a", 0), .payload = payload}}).deletes.empty());
    }
  }
}

TEST_CASE("documents out of bounds are refused by field, limit and value") {
  const auto status_of = [](std::vector<Document> documents) {
    return IngestMachine::Create({.documents = std::move(documents)}, {});
  };
  REQUIRE_STATUS(status_of({}), kInvalid, "documents must be 1 to 1000, but are 0");
  REQUIRE_STATUS(status_of(std::vector<Document>(1001)), kInvalid, "1001");
  REQUIRE_STATUS(status_of({{.id = "", .text = "x"}}), kInvalid, "documents[0].id");
  REQUIRE_STATUS(status_of({{.id = "a", .text = "x"}, {.id = "a", .text = "y"}}), kInvalid,
                 "documents[1].id \"a\" stands twice");
  REQUIRE_STATUS(status_of({{.id = "a", .title = std::string(1025, 't'), .text = "x"}}), kInvalid,
                 "documents[0].title");
  REQUIRE_STATUS(status_of({{.id = "a", .text = " \n\t"}}), kInvalid, "documents[0].text is blank");
  REQUIRE_STATUS(status_of({{.id = "a", .text = "x", .metadata = {{"title", true}}}}), kInvalid,
                 "documents[0].");
  REQUIRE_STATUS(
      IngestMachine::Create({.documents = {{.id = "a", .text = "x"}}, .passage_chars_max = 63}, {}),
      kInvalid, "passage_chars_max");
  REQUIRE_STATUS(IngestMachine::Create({.documents = {{.id = "a", .text = "x"}},
                                        .passage_chars_max = 100,
                                        .passage_overlap_chars = 50},
                                       {}),
                 kInvalid, "passage_overlap_chars");
}

TEST_CASE("more passages than one Ingest may make are refused before anything is embedded") {
  auto machine = IngestMachine::Create(
      {.documents = {{.id = "a", .text = Lines(20'000)}}, .passage_chars_max = 64}, {});
  REQUIRE_OK(machine);
  REQUIRE_STATUS(machine->Split(), kInvalid, "more than 10000 passages");
}

}  // namespace
}  // namespace baton
