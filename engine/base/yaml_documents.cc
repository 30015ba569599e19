#include "engine/base/yaml_documents.h"

#include <sstream>

#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/yaml.h"

namespace baton {
namespace {

// Hears of a document and keeps nothing.
class Unheard : public YAML::EventHandler {
 public:
  using Mark = YAML::Mark;
  using Style = YAML::EmitterStyle::value;
  void OnDocumentStart(const Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const Mark&, YAML::anchor_t) override {}
  void OnAlias(const Mark&, YAML::anchor_t) override {}
  void OnScalar(const Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const Mark&, const std::string&, YAML::anchor_t, Style) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const Mark&, const std::string&, YAML::anchor_t, Style) override {}
  void OnMapEnd() override {}
};

}  // namespace

int CountYamlDocuments(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  Unheard handler;
  int count = 0;
  while (count < 2 && parser.HandleNextDocument(handler)) ++count;
  return count;
}

}  // namespace baton
