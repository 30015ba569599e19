#pragma once

#include <cstdint>

namespace baton {

// GB/s of one thread that only reads `bytes` of memory over and over, the best of several ways:
// over pages of 4 KB and huge ones, in order and in four places at once, with the widest loads this
// machine has. What is measured beside it stands in either kind of pages, and a limit is what none
// of them passes. `bytes`: what is measured beside it reads, for a server's last cache holds a good
// part of some hundred MB, and reading 256 MB again can be a fifth faster than reading 1 GB.
double ReadBandwidth(int64_t bytes, bool tiny);

}  // namespace baton
