#pragma once

#include <string>

namespace baton {

// Documents in the text, at most 2. Ask before YAML::LoadAll, which never ends on text such as "}":
// yaml-cpp takes it for one empty document after another. Throws what yaml-cpp throws.
int CountYamlDocuments(const std::string& text);

}  // namespace baton
