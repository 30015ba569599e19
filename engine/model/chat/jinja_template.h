#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/model/chat/evaluator.h"
#include "engine/model/chat/parser.h"
#include "engine/model/chat/workspace.h"

namespace baton::chat {

// A template, read once. Immutable and thread safe; moving it is cheap.
class JinjaTemplate {
 public:
  // As ParseTemplate.
  static absl::StatusOr<JinjaTemplate> Parse(std::string source) {
    auto block = ParseTemplate(source);
    if (!block.ok()) return std::move(block).status();
    return JinjaTemplate(std::move(source), *std::move(block));
  }

  const std::string& source() const { return source_; }

  // As Evaluate. `variables` are values of `workspace`, which is used once.
  absl::StatusOr<MarkedText> Render(const Dict& variables, Workspace& workspace) const {
    return Evaluate(block_, variables, workspace);
  }

 private:
  JinjaTemplate(std::string source, Block block)
      : source_(std::move(source)), block_(std::move(block)) {}

  std::string source_;
  Block block_;
};

}  // namespace baton::chat
