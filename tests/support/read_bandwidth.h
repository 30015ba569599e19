#pragma once

namespace baton {

// GB/s of one thread that only reads memory, the best of several ways: over pages of 4 KB and huge
// ones, in order and in four places at once, with the widest loads this machine has. What is
// measured beside it stands in either kind of pages, and a limit is what none of them passes.
double ReadBandwidth(bool tiny);

}  // namespace baton
