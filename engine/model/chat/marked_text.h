#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace baton {

// Who wrote a piece of text.
enum class Origin : bool {
  kTemplate,  // its literals, and values of ours: these may spell special tokens
  kRequest,   // content, names, tools, arguments: text, whatever it spells
};

// A text that knows of each byte who wrote it, through every cut and join. A value, as std::string
// is one.
class MarkedText {
 public:
  struct Range {
    size_t begin;
    size_t end;
    bool operator==(const Range&) const = default;
  };

  MarkedText() = default;
  MarkedText(std::string_view bytes, Origin origin) { Append(bytes, origin); }

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // The bytes that came with the request: ascending, neither empty nor touching each other.
  const std::vector<Range>& from_request() const { return from_request_; }
  Origin OriginOf(size_t index) const;

  void Append(std::string_view bytes, Origin origin);
  void Append(const MarkedText& other) { Append(other, {0, other.size()}); }
  void Append(const MarkedText& other, Range range);
  MarkedText Sub(Range range) const;

 private:
  // The first range that ends behind `index`.
  std::vector<Range>::const_iterator RangeBehind(size_t index) const;

  std::string bytes_;
  std::vector<Range> from_request_;
};

}  // namespace baton
