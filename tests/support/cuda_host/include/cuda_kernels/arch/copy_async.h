#pragma once

// Stands in for the header of this name: a copy lands at its wait, not before.

#include <cuda_runtime.h>

namespace baton::cuda {

inline void CopyAsync16(void* shared, const void* global, bool valid = true) {
  cuda_host::CopyAsync(shared, global, /*bytes=*/16, /*zeros=*/valid ? 0 : 16);
}
inline void CopyAsyncCommit() { cuda_host::CopyAsyncCommit(); }
template <int kPending>
void CopyAsyncWait(const std::source_location& where = std::source_location::current()) {
  cuda_host::CopyAsyncWait(kPending, where);
}

}  // namespace baton::cuda
