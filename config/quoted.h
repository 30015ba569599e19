#pragma once

#include <string>
#include <string_view>

namespace baton {

// A string in double quotes, valid YAML whatever it holds.
std::string Quoted(std::string_view text);

}  // namespace baton
