// The compiler's flags for this file stand in CMakeLists.txt.
#define BATON_SIMD_NAMESPACE avx512
#include "engine/vector/scan_screen-inl.h"
