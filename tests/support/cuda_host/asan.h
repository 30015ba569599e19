#pragma once

// What the host runtime asks of AddressSanitizer, and does without where it is not there.

#if defined(__SANITIZE_ADDRESS__)
#define BATON_CUDA_HOST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BATON_CUDA_HOST_ASAN 1
#endif
#endif

#ifdef BATON_CUDA_HOST_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
namespace baton::cuda_host {
inline constexpr bool kAsan = true;
}
#else
#include <cstddef>
inline void __sanitizer_start_switch_fiber(void**, const void*, size_t) {}
inline void __sanitizer_finish_switch_fiber(void*, const void**, size_t*) {}
inline void __asan_poison_memory_region(const void*, size_t) {}
inline void __asan_unpoison_memory_region(const void*, size_t) {}
namespace baton::cuda_host {
inline constexpr bool kAsan = false;
}
#endif
