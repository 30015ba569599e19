#include "engine/model/chat/marked_text.h"

#include <algorithm>

#include "engine/base/check.h"

namespace baton {

std::vector<MarkedText::Range>::const_iterator MarkedText::RangeBehind(size_t index) const {
  return std::partition_point(from_request_.begin(), from_request_.end(),
                              [index](const Range& range) { return range.end <= index; });
}

Origin MarkedText::OriginOf(size_t index) const {
  const auto range = RangeBehind(index);
  const bool inside = range != from_request_.end() && range->begin <= index;
  return inside ? Origin::kRequest : Origin::kTemplate;
}

void MarkedText::Append(std::string_view bytes, Origin origin) {
  if (bytes.empty()) return;
  const size_t begin = bytes_.size();
  bytes_.append(bytes);
  if (origin != Origin::kRequest) return;
  if (!from_request_.empty() && from_request_.back().end == begin) {
    from_request_.back().end = bytes_.size();
  } else {
    from_request_.push_back({begin, bytes_.size()});
  }
}

void MarkedText::Append(const MarkedText& other, Range range) {
  BATON_DCHECK(&other != this && range.begin <= range.end && range.end <= other.size());
  const std::string_view bytes = other.bytes_;
  size_t at = range.begin;
  for (auto next = other.RangeBehind(at); next != other.from_request_.end(); ++next) {
    if (next->begin >= range.end) break;
    const size_t begin = std::max(next->begin, at);
    const size_t end = std::min(next->end, range.end);
    Append(bytes.substr(at, begin - at), Origin::kTemplate);
    Append(bytes.substr(begin, end - begin), Origin::kRequest);
    at = end;
  }
  Append(bytes.substr(at, range.end - at), Origin::kTemplate);
}

MarkedText MarkedText::Sub(Range range) const {
  MarkedText sub;
  sub.Append(*this, range);
  return sub;
}

}  // namespace baton
