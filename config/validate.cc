#include "config/validate.h"

#include <initializer_list>
#include <string>

#include "config/models.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// Where the first of `keys` that was set at all was set.
std::string Origin(const Origins& origins, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto origin = origins.find(key);
    if (origin != origins.end()) return StrCat(origin->second, ": ");
  }
  return "";
}

}  // namespace

absl::Status ValidateConfig(const Config& config, const Origins& origins) {
  const RagOptions& rag = config.engine.rag;
  if (rag.passage_overlap_chars * 2 >= rag.passage_chars_max) {
    return absl::InvalidArgumentError(
        StrCat(Origin(origins, {"rag.passage_overlap_chars", "rag.passage_chars_max"}),
               "rag.passage_overlap_chars must be less than half of rag.passage_chars_max (",
               rag.passage_chars_max, "), but is ", rag.passage_overlap_chars));
  }
  if (!config.embedder.path.empty()) {
    const absl::Status embedder = EmbedderModel(config).status();
    if (!embedder.ok()) {
      return absl::InvalidArgumentError(StrCat(Origin(origins, {"embedder.name", "embedder.path"}),
                                               std::string(embedder.message())));
    }
  }
  if (config.vector.data_dir.empty()) {
    return absl::InvalidArgumentError(
        StrCat(Origin(origins, {"vector.data_dir"}),
               "vector.data_dir must be the path of a directory, but is empty"));
  }
  return absl::OkStatus();
}

}  // namespace baton
