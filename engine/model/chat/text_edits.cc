#include "engine/model/chat/text_edits.h"

#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/model/chat/python_text.h"
#include "engine/model/chat/value_text.h"

namespace baton::chat {

absl::StatusOr<Value> Replace(const MarkedText& text, const Replacement& replacement,
                              Workspace& workspace) {
  const std::string_view bytes = text.bytes();
  const std::string_view from = replacement.from.bytes();
  MarkedText result;
  size_t kept = 0;  // up to here, `text` is in the result
  size_t at = 0;
  for (int64_t count = 0; count != replacement.count; ++count) {
    const size_t found = FindText(bytes, from, at);
    if (found == bytes.npos) break;
    RETURN_IF_ERROR(workspace.SpendText(replacement.to));
    result.Append(text, {kept, found});
    result.Append(replacement.to);
    kept = found + from.size();
    at = kept;
    if (from.empty()) {
      if (at == bytes.size()) break;
      at += CharacterBytes(bytes.substr(at));
    }
  }
  result.Append(text, {kept, text.size()});
  return workspace.Text(std::move(result));
}

absl::StatusOr<Value> Join(const std::vector<Value>& items, const MarkedText& separator,
                           Workspace& workspace) {
  MarkedText joined;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) joined.Append(separator);
    ASSIGN_OR_RETURN(const MarkedText item, ToText(items[i], workspace));
    RETURN_IF_ERROR(workspace.SpendText(separator));
    joined.Append(item);
  }
  return workspace.Text(std::move(joined));
}

absl::StatusOr<Value> PartsOf(const MarkedText& text, const std::vector<MarkedText::Range>& parts,
                              Workspace& workspace) {
  std::vector<Value> items;
  for (const MarkedText::Range& part : parts) {
    ASSIGN_OR_RETURN(const Value item, workspace.Text(text.Sub(part)));
    items.push_back(item);
  }
  return workspace.List(std::move(items));
}

}  // namespace baton::chat
