// The compiler's flags for this file stand in CMakeLists.txt.
#define BATON_SIMD_NAMESPACE avx512_vnni
#include "engine/vector/nibble_screen-inl.h"
