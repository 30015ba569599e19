#pragma once

#include <string>

#include "tests/bench/gpu/gpu_bench.h"

namespace baton::gpu_bench {

// Times every compiled tile variant of the kernels that have several, prints them as a table and
// writes it as JSON: {kernel and shape: {"unit", "variants": {name: figure}, "best": name,
// "usual": name}}. The usual one is what the launcher takes.
Error Tune(const Bench& bench, const std::string& json_path);

}  // namespace baton::gpu_bench
