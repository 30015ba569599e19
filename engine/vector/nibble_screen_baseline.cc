// The compiler's flags for this file stand in CMakeLists.txt.
#define BATON_SIMD_NAMESPACE baseline
#include "engine/vector/nibble_screen-inl.h"
