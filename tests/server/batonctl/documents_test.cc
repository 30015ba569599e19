#include "server/batonctl/documents.h"  // header under test

#include <catch2/catch.hpp>

#include "tests/server/batonctl/temporary_folder.h"
#include "tests/support/status_matchers.h"

namespace baton::ctl {
namespace {

struct Read {
  std::vector<v1::Document> documents;
  std::vector<std::string> problems;
  ReadCounts counts;
};

Read ReadAll(const SourceFiles& found) {
  Read read;
  for (const SourceFile& file : found.files) {
    REQUIRE_OK(ReadDocuments(
        file,
        [&](v1::Document document) {
          read.documents.push_back(std::move(document));
          return absl::OkStatus();
        },
        [&](std::string problem) { read.problems.push_back(std::move(problem)); }, read.counts));
  }
  return read;
}

Read ReadOne(const std::string& name, const std::string& content) {
  const TemporaryFolder folder;
  folder.Write(name, content);
  return ReadAll(FindFiles({folder.path()}, ""));
}

TEST_CASE("A folder's documents are found in order, with relative ids") {
  const TemporaryFolder folder;
  folder.Write("b.md", "B");
  folder.Write("a/deep/x.TXT", "X");
  folder.Write("a.jsonl", "{\"text\":\"t\"}");
  folder.Write("image.png", "no");
  folder.Write(".git/config.txt", "no");
  folder.Write(".hidden.md", "no");
  for (const std::string& path : {folder.path(), folder.path() + "/"}) {
    const SourceFiles found = FindFiles({path}, "");
    REQUIRE(found.files.size() == 3);
    CHECK(found.files[0].id == "a.jsonl");
    CHECK(found.files[1].id == "a/deep/x.TXT");
    CHECK(found.files[2].id == "b.md");
    CHECK(found.other_files == 1);
    CHECK(found.problems.empty());
  }
}

TEST_CASE("A single file's id is its name, or relative to the root") {
  const TemporaryFolder folder;
  const std::string file = folder.Write("a/x.md", "X");
  CHECK(FindFiles({file}, "").files.at(0).id == "x.md");
  CHECK(FindFiles({file}, folder.path()).files.at(0).id == "a/x.md");
  CHECK(FindFiles({file}, folder.path() + "/").files.at(0).id == "a/x.md");
  const SourceFiles outside = FindFiles({file}, folder.path() + "/b");
  CHECK(outside.files.empty());
  CHECK_THAT(outside.problems.at(0), Catch::Contains("not under --root"));
}

TEST_CASE("Paths that cannot be read are named, the others are found") {
  const TemporaryFolder folder;
  const std::string good = folder.Write("x.md", "X");
  const std::string other = folder.Write("x.pdf", "X");
  const SourceFiles found = FindFiles({folder.path() + "/missing", other, good}, "");
  CHECK(found.files.size() == 1);
  REQUIRE(found.problems.size() == 2);
  CHECK_THAT(found.problems[0], Catch::Contains("missing: no such file or folder"));
  CHECK_THAT(found.problems[1], Catch::Contains("x.pdf: not of a kind that is read"));
}

TEST_CASE("The title is the first heading, else the file's name") {
  CHECK(ReadOne("x.md", "intro\n## The *tower*  \r\ntext").documents.at(0).title() ==
        "The *tower*");
  CHECK(ReadOne("x.md", "no heading\n#hashtag").documents.at(0).title() == "x.md");
  CHECK(ReadOne("x.txt", "# in plain text").documents.at(0).title() == "x.txt");
  CHECK(FirstHeading("```\n# comment\n```\n# Real") == "Real");
  CHECK(FirstHeading("####### seven\n#\n# \n") == "");
  CHECK(ReadOne("x.md", "# " + std::string(2000, 'a')).documents.at(0).title().size() == 1024);
}

TEST_CASE("A byte order mark is no part of the text") {
  CHECK(ReadOne("x.md", "\xEF\xBB\xBF# T\n").documents.at(0).text() == "# T\n");
}

TEST_CASE("A file that cannot be a document is a problem that names it") {
  for (const auto& [content, part] : std::vector<std::pair<std::string, std::string>>{
           {"ab\xff", "not UTF-8 at byte 2"},
           {" \n\t", "text is blank"},
           {"", "text is blank"},
           {std::string((16 << 20) + 1, 'a'), "longer than 16777216 bytes"}}) {
    const Read read = ReadOne("bad.txt", content);
    CHECK(read.documents.empty());
    REQUIRE(read.problems.size() == 1);
    CHECK_THAT(read.problems[0], Catch::Contains("bad.txt: ") && Catch::Contains(part));
  }
}

TEST_CASE("JSON lines: fields, metadata and default ids") {
  const Read read =
      ReadOne("d.jsonl", R"({"id":"a","title":"T","text":"x","n":-3,"f":1.5,"b":true,"s":"v"})"
                         "\n\n"
                         R"({"id":17,"text":"y","nothing":null,"list":[1],"map":{}})"
                         "\r\n"
                         R"({"text":"z","big":18446744073709551615})");
  CHECK(read.problems.empty());
  REQUIRE(read.documents.size() == 3);
  const v1::Document& a = read.documents[0];
  CHECK(a.id() == "a");
  CHECK(a.title() == "T");
  CHECK(a.metadata().at("n").integer() == -3);
  CHECK(a.metadata().at("f").number() == 1.5);
  CHECK(a.metadata().at("b").boolean());
  CHECK(a.metadata().at("s").text() == "v");
  CHECK(a.metadata_size() == 4);
  CHECK(read.documents[1].id() == "17");
  CHECK(read.documents[1].metadata().empty());
  CHECK(read.counts.nested_values == 2);
  CHECK(read.documents[2].id() == "d.jsonl#4");
  CHECK(read.documents[2].metadata().at("big").number() == Approx(1.8446744073709552e19));
}

TEST_CASE("A bad JSON line is named and the rest is read") {
  std::string keys;
  for (int i = 0; i < 65; ++i) {
    keys += ",\"k" + std::to_string(i) + "\":1";
  }
  for (const auto& [line, part] : std::vector<std::pair<std::string, std::string>>{
           {"{\"text\":", "not a JSON object"},
           {"[1]", "not a JSON object"},
           {std::string(100'000, '['), "not a JSON object"},
           {"{\"title\":\"x\"}", "has no \"text\""},
           {"{\"text\":5}", "\"text\" is not a string"},
           {"{\"text\":\" \"}", "text is blank"},
           {"{\"id\":true,\"text\":\"x\"}", "\"id\" is not a string"},
           {"{\"id\":\"\",\"text\":\"x\"}", "id has 0 bytes"},
           {"{\"id\":\"" + std::string(513, 'a') + "\",\"text\":\"x\"}", "id has 513 bytes"},
           {"{\"text\":\"x\",\"begin\":1}", "\"begin\" is Baton's own"},
           {"{\"text\":\"x\"" + keys + "}", "65 metadata keys, at most 64"},
           {"{\"text\":\"\xff\"}", "not UTF-8 at byte 9"}}) {
    CAPTURE(part);
    const Read read = ReadOne("d.jsonl", line + "\n{\"text\":\"good\"}\n");
    CHECK(read.documents.size() == 1);
    REQUIRE(read.problems.size() == 1);
    CHECK_THAT(read.problems[0], Catch::Contains("d.jsonl:1: ") && Catch::Contains(part));
  }
}

TEST_CASE("The sink's failure ends the reading") {
  const TemporaryFolder folder;
  folder.Write("d.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n");
  int calls = 0;
  ReadCounts counts;
  const absl::Status status = ReadDocuments(
      FindFiles({folder.path()}, "").files.at(0),
      [&](v1::Document) {
        ++calls;
        return absl::AbortedError("full");
      },
      [](std::string) {}, counts);
  CHECK(status.code() == absl::StatusCode::kAborted);
  CHECK(calls == 1);
}

}  // namespace
}  // namespace baton::ctl
