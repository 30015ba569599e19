#pragma once

#include <cstddef>
#include <cstdint>

namespace baton {

// What a grammar from a stranger may ask for. The defaults hold a JSON schema of several hundred
// properties and keep one grammar below about 32 MiB and a second of compiling.
struct GrammarLimits {
  size_t text_bytes_max = 512 * 1024;
  size_t rules_max = 16'384;
  int32_t nesting_max = 64;           // groups and repetitions within one another
  uint32_t repetitions_max = 65'536;  // m and n of {m,n}
  size_t states_max = 262'144;  // of the automaton, and of what it is made from, {m,n} written out
  size_t edges_max = 1'048'576;
};

}  // namespace baton
