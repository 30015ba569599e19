// The compiler's flags for this file stand in CMakeLists.txt.
#define BATON_SIMD_NAMESPACE avx512_vbmi
#include "engine/vector/pq8_scan-inl.h"
