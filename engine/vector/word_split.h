#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace baton {

// The distinct words of a text, sorted, in the form in which they are compared: runs of Unicode
// letters, digits and marks, composed (NFKC) and with their case folded. Bytes that are not UTF-8
// part words.
std::vector<std::string> DistinctWords(std::string_view text);

// The same in their order, each as often as it is there.
std::vector<std::string> ListWords(std::string_view text);

}  // namespace baton
