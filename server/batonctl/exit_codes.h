#pragma once

namespace baton::ctl {

// What batonctl's process ends with.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

}  // namespace baton::ctl
