// Trained models on the GPU executor, on the host runtime for kernels, against what another engine
// computed from the same files.
#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "engine/exec/plugin_forward.h"
#include "tests/engine/exec/gpu/gpu_harness.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

// Of each text; a step takes milliseconds here, and the CPU's test goes through all of them.
constexpr size_t kTokensMax = 24;

struct Golden {
  std::vector<TokenId> prompt;
  std::vector<TokenId> generated;
};

Golden ReadGolden(const std::filesystem::path& model, int prompt) {
  std::ifstream ids((model.parent_path() / "golden" / model.stem()).string() + ".p" +
                    std::to_string(prompt) + ".ids");
  Golden golden;
  std::string word;
  bool after_bar = false;
  while (ids >> word) {
    if (word == "|") {
      after_bar = true;
    } else {
      (after_bar ? golden.generated : golden.prompt).push_back(std::stoi(word));
    }
  }
  REQUIRE_FALSE(golden.prompt.empty());
  REQUIRE_FALSE(golden.generated.empty());
  return golden;
}

}  // namespace

TEST_CASE("F32 and F16 models generate the golden tokens on the GPU in f32") {
  const std::string name =
      GENERATE("stories260K-f32", "stories260K-f16", "baby105-940K-f32", "baby105-940K-f16");
  CAPTURE(name);
  const auto path = SharedData("models/" + name + ".gguf");
  if (!path) return;
  const auto model = LoadLanguageModel("golden", path->string());
  REQUIRE_OK(model);
  const auto device = OpenGpu(/*f32=*/true, /*step_tokens_max=*/128);
  auto forward = PluginForward::Load(device, *model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf((*model)->shape(), 16);
  for (int prompt = 0; prompt < 5; ++prompt) {
    CAPTURE(prompt);
    const Golden golden = ReadGolden(*path, prompt);
    DeviceBlocks blocks(*device, layout, 40);
    const auto of = blocks.Take(400);
    std::vector<TokenId> got;
    std::vector<TokenId> tokens = golden.prompt;
    int32_t position = 0;
    while (got.size() < std::min(kTokensMax, golden.generated.size())) {
      const ForwardItem item = {.tokens = tokens,
                                .position = position,
                                .blocks = of,
                                .logits = 1,
                                .sampling = PlainSampling{}};
      position += static_cast<int32_t>(tokens.size());
      REQUIRE_OK((*forward)->Run(
          layout, {&item, 1}, [](size_t, std::span<const float>) { FAIL("logits"); },
          [&](size_t, const ChosenToken& chosen) { got.push_back(chosen.token); }));
      tokens = {got.back()};
    }
    CHECK(got ==
          std::vector<TokenId>(golden.generated.begin(),
                               golden.generated.begin() + static_cast<std::ptrdiff_t>(got.size())));
  }
}

}  // namespace baton
