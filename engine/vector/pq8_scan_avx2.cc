// The compiler's flags for this file stand in CMakeLists.txt.
#define BATON_SIMD_NAMESPACE avx2
#include "engine/vector/pq8_scan-inl.h"
