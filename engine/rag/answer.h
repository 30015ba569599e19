#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace baton {

// What the prompt asks a model to write where the passages do not answer the question.
inline constexpr std::string_view kRefusal = "Not in the documents.";

// What a generated answer says of itself, by the rules that the prompt gives the model.
struct AnswerMarks {
  bool refuses = false;        // it begins as kRefusal does
  std::vector<int32_t> cited;  // the passages that it names as [n], ascending, each once
};

// Numbers that no passage from 1 to `passages` has are not citations. Linear in the text.
AnswerMarks ReadAnswer(std::string_view text, int32_t passages);

}  // namespace baton
