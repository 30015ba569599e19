#pragma once

#include <exception>
#include <new>

#include "engine/exec/plugin_fault.h"

namespace baton::fpga {

using plugin::Fault;
using plugin::Text;

// What XRT is asked for: it throws, and nothing it throws leaves `work`, which returns a Fault.
// RESOURCE_EXHAUSTED: XRT has no memory. INTERNAL: anything else that it throws, in its words.
template <class Work>
Fault Guarded(const char* what, Work work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return {BATON_RESOURCE_EXHAUSTED, Text(what, ": XRT has no memory for it")};
  } catch (const std::exception& error) {
    return {BATON_INTERNAL, Text(what, ": ", error.what())};
  } catch (...) {
    return {BATON_INTERNAL, Text(what, ": XRT failed and does not say why")};
  }
}

}  // namespace baton::fpga
