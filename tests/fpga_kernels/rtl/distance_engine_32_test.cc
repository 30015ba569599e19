#include "Vdistance_engine_32.h"
#include "tests/fpga_kernels/rtl/distance_queries.h"

namespace baton::fpga {
namespace {

TEST_CASE("32 lanes give what a sort of all scores gives") {
  CheckQueries<Vdistance_engine_32>(32, 1);
}

}  // namespace
}  // namespace baton::fpga
