#pragma once

#include <string_view>

namespace baton {

// Names the calling thread for top -H, perf and debuggers: "NAME" or, of several alike,
// "NAME-INDEX". Linux keeps the first 15 bytes.
void NameThread(std::string_view name);
void NameThread(std::string_view name, int index);

}  // namespace baton
