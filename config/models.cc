#include "config/models.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "config/key_table.h"
#include "config/quoted.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// Bytes of "-00001-of-00003" at the end of `name`, or 0: a model in several files is called what
// they have in common.
size_t ShardSuffixBytes(std::string_view name) {
  constexpr std::string_view kShape = "-00000-of-00000";
  if (name.size() <= kShape.size()) return 0;
  const std::string_view end = name.substr(name.size() - kShape.size());
  const bool fits = std::ranges::equal(end, kShape, [](char is, char shape) {
    return shape == '0' ? is >= '0' && is <= '9' : is == shape;
  });
  return fits ? kShape.size() : 0;
}

}  // namespace

absl::Status AddModel(ModelOptions model, std::vector<ModelOptions>& models) {
  if (model.path.empty()) {
    return absl::InvalidArgumentError("models.path must name a GGUF file, but is empty");
  }
  if (model.name.empty()) {
    model.name = model.path.substr(model.path.find_last_of('/') + 1);
    const size_t ending = model.name.rfind(".gguf");
    if (ending != model.name.npos && ending > 0) model.name.resize(ending);
    model.name.resize(model.name.size() - ShardSuffixBytes(model.name));
  }
  if (!IsPlainName(model.name)) {
    return absl::InvalidArgumentError(
        StrCat("models.name must be 1 to 128 characters of [A-Za-z0-9_.:-], but is ",
               Quoted(model.name), " for ", model.path));
  }
  if (std::ranges::find(models, model.name, &ModelOptions::name) != models.end()) {
    return absl::InvalidArgumentError(StrCat("models.name must differ between models, but ",
                                             Quoted(model.name), " is given twice"));
  }
  models.push_back(std::move(model));
  return absl::OkStatus();
}

absl::StatusOr<ModelOptions> EmbedderModel(const Config& config) {
  std::vector<ModelOptions> models = config.models;
  const absl::Status added = AddModel({.name = config.embedder.name,
                                       .path = config.embedder.path,
                                       .question_prefix = config.embedder.question_prefix,
                                       .passage_prefix = config.embedder.passage_prefix},
                                      models);
  if (!added.ok()) {
    return absl::Status(added.code(), StrCat("embedder: ", std::string(added.message())));
  }
  return std::move(models.back());
}

ModelOptions ParseModelFlag(std::string_view text) {
  const size_t equals = text.find('=');
  // A '=' after a slash belongs to the path.
  if (equals == text.npos || text.substr(0, equals).find('/') != text.npos) {
    return {.name = "", .path = std::string(text)};
  }
  return {.name = std::string(text.substr(0, equals)),
          .path = std::string(text.substr(equals + 1))};
}

}  // namespace baton
