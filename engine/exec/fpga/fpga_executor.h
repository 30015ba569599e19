#pragma once

#include <memory>

#include "engine/exec/executor.h"
#include "engine/exec/fpga/fpga_options.h"

namespace baton {

// The FPGA executor: a proxy over libbaton_fpga.so. Never null: where there is no plug-in, no XRT
// or no card, a placeholder whose Describe() gives the reason. Blocks while XRT looks for cards.
std::unique_ptr<Executor> MakeFpgaExecutor(const FpgaOptions& options);

}  // namespace baton
