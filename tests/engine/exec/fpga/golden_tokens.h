#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/base/ids.h"

namespace baton {

// What another engine had as prompt and generated with a model of the shared data: prompt |
// answer.
inline std::vector<TokenId> GoldenTokens(const std::filesystem::path& model,
                                         size_t* prompt_tokens) {
  std::ifstream ids((model.parent_path() / "golden" / model.stem()).string() + ".p0.ids");
  std::vector<TokenId> tokens;
  for (std::string word; ids >> word;) {
    if (word == "|") {
      *prompt_tokens = tokens.size();
    } else {
      tokens.push_back(std::stoi(word));
    }
  }
  return tokens;
}

}  // namespace baton
