#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace baton {

// Finds the first of some stop strings in a text that comes in pieces, and lets through only text
// that no stop string can begin in any more. The first is the one that ends first; of those that
// end together, the longest. How the text is cut into pieces changes nothing.
//
// Each byte costs one step of a Knuth-Morris-Pratt automaton per string. A copy goes on by itself.
class StopScanner {
 public:
  // `strings`: none empty.
  explicit StopScanner(std::span<const std::string> strings);

  // The text that may be shown now. Nothing more comes once a string was found: what lies behind it
  // is dropped. `may_stop` false: strings that end within `text` are only text.
  std::string Push(std::string_view text, bool may_stop = true);
  // What is still held back, at the end of a text in which nothing was found.
  std::string Finish();
  // Index of the string that was found.
  std::optional<size_t> found() const { return found_; }

 private:
  struct Automaton {
    std::string string;
    // [string's length + 1]: of its first i bytes, the longest proper suffix that it begins with.
    std::vector<size_t> border;
    size_t matched = 0;  // how much of it the text so far ends with
  };

  std::vector<Automaton> automata_;
  std::string held_;  // ends the text so far, and may begin a stop string
  std::optional<size_t> found_;
};

}  // namespace baton
