// Every tokenizer against texts and token ids made by another implementation.

#include <sstream>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "engine/model/gguf.h"
#include "engine/model/language_model.h"
#include "engine/model/tokenizer.h"
#include "tests/support/shared_data.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

std::vector<std::string> SplitBy(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t start = 0;
  for (size_t at; (at = text.find(separator, start)) != text.npos; start = at + separator.size()) {
    parts.push_back(text.substr(start, at - start));
  }
  parts.push_back(text.substr(start));
  return parts;
}

std::vector<TokenId> ReadIds(const std::string& line) {
  std::istringstream in(line);
  std::vector<TokenId> ids;
  for (TokenId id; in >> id;) {
    ids.push_back(id);
  }
  return ids;
}

TEST_CASE("texts give the expected tokens and come back from them", "[tokenizer]") {
  const std::string name =
      GENERATE("ggml-vocab-llama-spm", "ggml-vocab-phi-3", "ggml-vocab-gpt-2",
               "ggml-vocab-starcoder", "ggml-vocab-deepseek-coder", "ggml-vocab-deepseek-llm",
               "made-llama-bpe", "made-qwen2", "ggml-vocab-bert-bge");
  const auto folder = SharedData("vocab");
  if (!folder.has_value()) {
    return;
  }
  const auto file = GgufFile::Open((*folder / (name + ".gguf")).string());
  REQUIRE_OK(file);
  const auto tokenizer = MakeTokenizer(**file);
  REQUIRE_OK(tokenizer);
  const auto texts =
      SplitBy(ReadWholeFile(*folder / (name + ".gguf.inp")), "\n__ggml_vocab_test__\n");
  const auto lines = SplitBy(ReadWholeFile(*folder / (name + ".gguf.out")), "\n");
  REQUIRE(texts.size() > 40);
  REQUIRE(lines.size() >= texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(name, i, texts[i]);
    const auto tokens = (*tokenizer)->Encode(texts[i]);
    CHECK(tokens == ReadIds(lines[i]));
    // WordPiece keeps a text's words alone.
    if (name != "ggml-vocab-bert-bge") {
      CHECK(DecodeAll(**tokenizer, tokens) == texts[i]);
    }
  }
}

TEST_CASE("prompts give the golden models' tokens", "[tokenizer]") {
  const std::string prompts[] = {"Once upon a time", "The dog ran to the park and",
                                 "Lily and Tom were playing when", "One day, a little bird",
                                 "Mom said, \"It is time"};
  const std::string name = GENERATE("stories260K", "baby105-940K");
  const std::string type = GENERATE("f32", "f16", "q8_0");
  const auto folder = SharedData("models");
  if (!folder.has_value()) {
    return;
  }
  const auto model = LoadLanguageModel(name, (*folder / (name + "-" + type + ".gguf")).string());
  REQUIRE_OK(model);
  const Tokenizer& tokenizer = (*model)->tokenizer();
  for (int i = 0; i < 5; ++i) {
    const std::string base = name + "-" + type + ".p" + std::to_string(i);
    CAPTURE(base);
    const auto ids = SplitBy(ReadWholeFile(*folder / "golden" / (base + ".ids")), "|");
    REQUIRE(ids.size() == 2);
    const auto prompt = ReadIds(ids[0]);
    CHECK(EncodePrompt(tokenizer, prompts[i]) == prompt);
    // The whole text from prompt and generated tokens, as the other implementation printed it.
    std::vector<TokenId> all = prompt;
    const auto generated = ReadIds(ids[1]);
    all.insert(all.end(), generated.begin(), generated.end());
    // It ends with a line end and spells out the unknown token, which is no text to us.
    std::string expected = ReadWholeFile(*folder / "golden" / (base + ".llamacpp.txt"));
    expected.pop_back();
    if (const size_t at = expected.find("<unk>"); at != expected.npos) {
      expected.erase(at, 5);
    }
    CHECK(DecodeAll(tokenizer, all) == expected);
    // The same, split where generation starts.
    StreamDecoder decoder(tokenizer, /*continues=*/true);
    std::string text = prompts[i];
    for (const TokenId token : generated) {
      text += decoder.Push(token);
    }
    CHECK(text + decoder.Finish() == expected);
  }
}

}  // namespace
}  // namespace baton
