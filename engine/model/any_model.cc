#include "engine/model/any_model.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "engine/model/gguf.h"

namespace baton {

absl::StatusOr<AnyModel> LoadAnyModel(std::string name, const std::string& path) {
  ASSIGN_OR_RETURN(auto file, GgufFile::Open(path));
  ASSIGN_OR_RETURN(const std::string_view architecture, file->GetString("general.architecture"));
  if (architecture == "bert") {
    ASSIGN_OR_RETURN(AnyModel encoder, LoadTextEncoder(std::move(name), std::move(file)));
    return encoder;
  }
  ASSIGN_OR_RETURN(AnyModel model, LoadLanguageModel(std::move(name), std::move(file)));
  return model;
}

}  // namespace baton
