#pragma once

// Stands in for the toolkit's header of this name; see cuda_runtime.h beside it.

#define CUDART_INF_F __builtin_inff()
#define CUDART_NAN_F __builtin_nanf("")
