#pragma once

// Stands in for the header of this name.

#include <cuda_runtime.h>

#include <source_location>

namespace baton::cuda {

inline void NamedBarrierWait(int id, int threads,
                             const std::source_location& where = std::source_location::current()) {
  cuda_host::NamedBarrier(id, threads, /*arrive=*/false, where);
}
inline void NamedBarrierArrive(
    int id, int threads, const std::source_location& where = std::source_location::current()) {
  cuda_host::NamedBarrier(id, threads, /*arrive=*/true, where);
}

}  // namespace baton::cuda
