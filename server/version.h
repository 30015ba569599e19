#pragma once

namespace baton {

inline constexpr const char* kVersion = BATON_VERSION;  // of the CMake project

}  // namespace baton
