#pragma once

#include "engine/exec/plugin_fault.h"

namespace baton::gpu {

using plugin::Fault;
using plugin::Text;

}  // namespace baton::gpu

#define BATON_GPU_TRY(expr) BATON_PLUGIN_TRY(expr)
