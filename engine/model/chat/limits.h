#pragma once

#include <cstddef>
#include <cstdint>

// What a template may ask for at most. Templates of published models stay far below each; together
// they bound the time and memory that a hostile one costs: about a second, and 300 MiB.
namespace baton::chat {

inline constexpr size_t kTemplateBytesMax = 256 << 10;  // of its source; published: up to 20 KiB
inline constexpr int kNestingMax = 200;                 // of statements and operators in the source
inline constexpr int kRecursionMax = 500;      // of statements, operators and macros as they run
inline constexpr int64_t kStepsMax = 8 << 20;  // see Workspace::Spend
inline constexpr int64_t kValueSteps = 4;      // a value is some 100 bytes beside what it holds
inline constexpr int64_t kScopeSteps = 16;     // a scope some 400
inline constexpr int64_t kTextBytesPerStep = 16;
inline constexpr size_t kCaseCost = 8;  // changing a text's case costs as many copies of it
inline constexpr int64_t kListItemSteps = 4;
inline constexpr size_t kOutputBytesMax = 8 << 20;
inline constexpr int64_t kRangeItemsMax = 100'000;
inline constexpr int kValueDepthMax = 100;  // of lists and objects in each other, where walked

}  // namespace baton::chat
