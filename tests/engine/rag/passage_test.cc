#include "engine/rag/passage.h"

#include <set>
#include <string>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

Document TestDocument() {
  return {.id = "light.md",
          .title = "The light",
          .text = "First part. Second part.",
          .metadata = {{"author", std::string("Wendle")}, {"year", int64_t{1846}}}};
}

TEST_CASE("passage ids are stable and differ", "[passage]") {
  // Stored collections depend on these two values.
  CHECK(PassageId("light.md", 0) == 0x352eaf59ff7a9f91);
  CHECK(PassageId("", 7) == 0x65b20ffba289d397);
  std::set<PointId> ids;
  for (int document = 0; document < 200; ++document) {
    for (int32_t passage = 0; passage < 200; ++passage) {
      ids.insert(PassageId("document-" + std::to_string(document), passage));
    }
  }
  CHECK(ids.size() == 200 * 200);
}

TEST_CASE("a passage comes back from its payload", "[passage]") {
  const Document document = TestDocument();
  const Payload payload = MakePassagePayload(document, {12, 24}, {.passage = 1, .passages = 2});
  CHECK(payload.size() == 9);
  CHECK(std::get<std::string>(payload.at("author")) == "Wendle");
  const auto passage = PassageFromPayload(42, 0.5f, payload);
  REQUIRE_OK(passage);
  CHECK(passage->id == 42);
  CHECK(passage->score == 0.5f);
  CHECK(passage->document_id == "light.md");
  CHECK(passage->title == "The light");
  CHECK(passage->text == "Second part.");
  CHECK(passage->passage == 1);
  CHECK(passage->begin == 12);
  CHECK(passage->end == 24);
  CHECK(DocumentPassages(payload).value() == 2);
}

TEST_CASE("points that Ingest did not store are told apart", "[passage]") {
  const Payload good = MakePassagePayload(TestDocument(), {0, 11}, {.passage = 0, .passages = 2});
  for (const char* key : {"document_id", "title", "text", "passage", "begin", "end"}) {
    CAPTURE(key);
    Payload payload = good;
    payload[key] = 1.5;
    REQUIRE_STATUS(PassageFromPayload(1, 0, payload), absl::StatusCode::kInvalidArgument, key);
    payload.erase(key);
    REQUIRE_STATUS(PassageFromPayload(1, 0, payload), absl::StatusCode::kInvalidArgument, key);
  }
  Payload payload = good;
  payload["passage"] = int64_t{-1};
  REQUIRE_STATUS(PassageFromPayload(1, 0, payload), absl::StatusCode::kInvalidArgument,
                 "passage must be 0 to 9999, got -1");
  payload = good;
  payload["end"] = int64_t{-1};
  CHECK_FALSE(PassageFromPayload(1, 0, payload).ok());

  payload = good;
  payload["passages"] = int64_t{1} << 40;
  REQUIRE_STATUS(DocumentPassages(payload), absl::StatusCode::kInvalidArgument, "1 to 10000");
  payload = good;
  payload.erase("document_id");
  REQUIRE_STATUS(DocumentPassages(payload), absl::StatusCode::kInvalidArgument, "document_id");
  CHECK_FALSE(DocumentPassages({}).ok());
}

TEST_CASE("metadata may not use Baton's keys, nor too many", "[passage]") {
  CHECK(ValidateMetadata(TestDocument().metadata).ok());
  for (const char* key : {"document_id", "title", "text", "passage", "passages", "begin", "end"}) {
    REQUIRE_STATUS(ValidateMetadata({{key, true}}), absl::StatusCode::kInvalidArgument, key);
  }
  Payload many;
  for (int i = 0; i < 64; ++i) many["key" + std::to_string(i)] = int64_t{i};
  CHECK(ValidateMetadata(many).ok());
  many["one more"] = true;
  REQUIRE_STATUS(ValidateMetadata(many), absl::StatusCode::kInvalidArgument,
                 "at most 64 keys, got 65");
}

}  // namespace
}  // namespace baton
