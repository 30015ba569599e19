#include "engine/model/word_piece_tokenizer.h"

#include <ctime>
#include <string>

#include "catch2/catch.hpp"
#include "engine/model/gguf.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

const std::string kMark = "\xE2\x96\x81";

struct Piece {
  std::string text;
  int32_t type = 1;
};

GgufWriter Write(const std::vector<Piece>& pieces) {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  for (const Piece& piece : pieces) {
    tokens.push_back(piece.text);
    types.push_back(piece.type);
  }
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "bert");
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddInts("tokenizer.ggml.token_type", types);
  return writer;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Make(const GgufWriter& writer) {
  const std::string bytes = writer.Bytes();
  const auto file = GgufFile::FromMemory("bert.gguf", std::as_bytes(std::span(bytes)));
  REQUIRE_OK(file);
  return MakeTokenizer(**file);
}

using Ids = std::vector<TokenId>;

// 0 to 3 are special; 4 is a word, 5 and 6 its pieces.
const std::vector<Piece> kPieces = {{"[PAD]", 3},  {"[UNK]", 3},          {"[CLS]", 3},
                                    {"[SEP]", 3},  {kMark + "un"},        {"aff"},
                                    {"able"},      {kMark + "unaff"},     {"a"},
                                    {kMark + ","}, {kMark + "caf\u00e9"}, {kMark + "cafe"},
                                    {kMark},       {kMark + "\u6771"},    {"\u0301"}};

std::unique_ptr<const Tokenizer> MakePieces() {
  auto tokenizer = Make(Write(kPieces));
  REQUIRE_OK(tokenizer);
  return *std::move(tokenizer);
}

TEST_CASE("the longest piece from the left is taken, or the word is unknown", "[word_piece]") {
  const auto tokenizer = MakePieces();
  CHECK(tokenizer->Encode("unaffable") == Ids{7, 6});  // not un, aff, able
  CHECK(tokenizer->Encode("un") == Ids{4});
  CHECK(tokenizer->Encode("UNaa") == Ids{4, 8, 8});
  CHECK(tokenizer->Encode("affable") == Ids{1});  // no word begins so
  CHECK(tokenizer->Encode("unx, un") == Ids{1, 9, 4});
  CHECK(tokenizer->Encode("unable\u6771,").size() == 4);
  CHECK(tokenizer->Encode("").empty());
  CHECK(tokenizer->Encode(" \n").empty());
}

TEST_CASE("special tokens and the mark in a text are text", "[word_piece]") {
  const auto tokenizer = MakePieces();
  CHECK(tokenizer->Encode("[CLS]") == Ids{1, 1, 1});
  CHECK(tokenizer->Encode(kMark) == Ids{1});
  CHECK(tokenizer->Encode("un" + kMark + "un") == Ids{1});  // 4 is no piece inside a word
  CHECK(tokenizer->bos() == 2);
  CHECK(tokenizer->add_bos());
  CHECK(tokenizer->separator() == 3);
  CHECK(tokenizer->vocabulary() == 15);
}

TEST_CASE("a word of more than 100 characters is unknown", "[word_piece]") {
  const auto tokenizer = MakePieces();
  CHECK(tokenizer->Encode("un" + std::string(98, 'a')).size() == 99);
  CHECK(tokenizer->Encode("un" + std::string(99, 'a')) == Ids{1});
}

TEST_CASE("case and accents matter where the file says so", "[word_piece]") {
  CHECK(MakePieces()->Encode("Caf\u00c9") == Ids{11});
  GgufWriter cased = Write(kPieces);
  cased.AddBool("tokenizer.ggml.normalizer.lowercase", false);
  const auto tokenizer = Make(cased);
  REQUIRE_OK(tokenizer);
  CHECK((*tokenizer)->Encode("caf\u00e9 cafe Cafe") == Ids{10, 11, 1});
  GgufWriter accents = Write(kPieces);
  accents.AddBool("tokenizer.ggml.normalizer.strip_accents", false);
  const auto accented = Make(accents);
  REQUIRE_OK(accented);
  CHECK((*accented)->Encode("CAF\u00c9 cafe\u0301") == Ids{10, 11, 14});
}

TEST_CASE("words come back with a space between them", "[word_piece]") {
  const auto tokenizer = MakePieces();
  CHECK(DecodeAll(*tokenizer, tokenizer->Encode("UNaffable,un")) == "unaffable , un");
  CHECK(DecodeAll(*tokenizer, {2, 4, 1, 4, 3}) == "un un");
  CHECK(tokenizer->TokenBytes(-1, false).empty());
  CHECK(tokenizer->TokenBytes(15, false).empty());
}

TEST_CASE("a user-defined token is one token wherever it stands", "[word_piece]") {
  std::vector<Piece> pieces = kPieces;
  pieces.push_back({"<X>", 4});
  const auto tokenizer = Make(Write(pieces));
  REQUIRE_OK(tokenizer);
  CHECK((*tokenizer)->Encode("un<X>un") == Ids{4, 15, 4});
  CHECK((*tokenizer)->Encode("<x>").size() == 3);
}

TEST_CASE("keys name the special tokens, or their names do", "[word_piece]") {
  GgufWriter keys = Write({{"u", 3}, {"c", 3}, {"s", 3}});
  keys.AddUint32("tokenizer.ggml.unknown_token_id", 0);
  keys.AddUint32("tokenizer.ggml.seperator_token_id", 2);
  SECTION("cls") { keys.AddUint32("tokenizer.ggml.cls_token_id", 1); }
  SECTION("bos") { keys.AddUint32("tokenizer.ggml.bos_token_id", 1); }
  const auto tokenizer = Make(keys);
  if (tokenizer.ok()) {
    CHECK((*tokenizer)->bos() == 1);
    CHECK((*tokenizer)->separator() == 2);
    CHECK((*tokenizer)->Encode("u") == Ids{0});
  } else {  // neither
    REQUIRE_STATUS(tokenizer, absl::StatusCode::kInvalidArgument, "the vocabulary's [CLS]");
  }
  REQUIRE_STATUS(Make(Write({{"[CLS]", 3}, {"[SEP]", 3}})), absl::StatusCode::kInvalidArgument,
                 "the vocabulary's [UNK]");
  REQUIRE_STATUS(Make(Write({{"[CLS]", 3}, {"[UNK]", 3}})), absl::StatusCode::kInvalidArgument,
                 "the vocabulary's [SEP]");
  GgufWriter outside = Write(kPieces);
  outside.AddUint32("tokenizer.ggml.seperator_token_id", 15);
  REQUIRE_STATUS(Make(outside), absl::StatusCode::kInvalidArgument,
                 "'tokenizer.ggml.seperator_token_id' is 15, outside the vocabulary of 15 tokens");
}

TEST_CASE("long texts take linear time", "[word_piece]") {
  const auto tokenizer = MakePieces();
  for (const std::string unit : {"un", "un ", "\xFF", "\u6771", "\u0301", "unaffable,"}) {
    std::string text;
    while (text.size() < 1'000'000) {
      text += unit;
    }
    const std::clock_t start = std::clock();
    (void)tokenizer->Encode(text);
    CHECK(std::clock() - start < 10 * CLOCKS_PER_SEC);
  }
}

}  // namespace
}  // namespace baton
