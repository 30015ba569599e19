#pragma once

#include <memory>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "engine/model/language_model.h"
#include "engine/model/text_encoder.h"

namespace baton {

using AnyModel =
    std::variant<std::shared_ptr<const LanguageModel>, std::shared_ptr<const TextEncoder>>;

// Loads a GGUF file as what its architecture says that it is: "bert" is an encoder of texts, all
// others are language models. Errors as of LoadLanguageModel and LoadTextEncoder.
absl::StatusOr<AnyModel> LoadAnyModel(std::string name, const std::string& path);

}  // namespace baton
