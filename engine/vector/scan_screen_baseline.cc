// The compiler's flags for this file stand in CMakeLists.txt.
#define BATON_SIMD_NAMESPACE baseline
#include "engine/vector/scan_screen-inl.h"
