#include "engine/model/grammar/matcher.h"

#include <bit>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<GrammarMatcher> GrammarMatcher::Make(std::shared_ptr<const Grammar> grammar) {
  GrammarMatcher matcher(std::move(grammar));
  RETURN_IF_ERROR(
      matcher.grammar_->masks().Start(matcher.readings_, matcher.stacks_, matcher.can_end_));
  return matcher;
}

absl::StatusOr<int32_t> GrammarMatcher::Allowed(std::span<uint64_t> mask) const {
  const GrammarVocabulary& vocabulary = grammar_->vocabulary();
  BATON_CHECK(mask.size() == Words(vocabulary.size()));
  RETURN_IF_ERROR(grammar_->masks().Allowed(readings_, stacks_, mask));
  if (can_end_ && !end_of_text_) {
    for (const TokenId token : vocabulary.end_of_text()) {
      mask[static_cast<size_t>(token) / 64] |= uint64_t{1} << (static_cast<size_t>(token) % 64);
    }
  }
  int32_t count = 0;
  for (const uint64_t word : mask) {
    count += std::popcount(word);
  }
  if (count == 0 && !can_end_) {
    return absl::FailedPreconditionError(
        StrCat("grammar: no token of the vocabulary continues the text, which is not complete, "
               "within ",
               GrammarStepper::kReadingsMax, " ways to read it and ", GrammarStepper::kFramesMax,
               " open rules"));
  }
  return count;
}

absl::Status GrammarMatcher::Advance(TokenId token) {
  const GrammarVocabulary& vocabulary = grammar_->vocabulary();
  if (!vocabulary.Contains(token)) {
    return absl::InvalidArgumentError(
        StrCat("token ", token, " is not in the vocabulary of ", vocabulary.size()));
  }
  if (vocabulary.IsEndOfText(token)) {
    if (!can_end_ || end_of_text_) {
      return absl::InvalidArgumentError(
          StrCat("the grammar does not allow the text to end here with token ", token));
    }
    readings_.clear();
    end_of_text_ = true;
    return absl::OkStatus();
  }
  const std::string_view bytes = vocabulary.Bytes(token);
  if (bytes.empty()) {
    return absl::InvalidArgumentError(
        StrCat("token ", token, " stands for no text, a grammar does not allow it"));
  }
  return AdvanceBytes(bytes);
}

absl::Status GrammarMatcher::AdvanceBytes(std::string_view bytes) {
  if (bytes.empty()) {
    return absl::OkStatus();
  }
  std::vector<GrammarReading> readings = readings_;
  GrammarStacks stacks = stacks_;
  bool can_end = false;
  RETURN_IF_ERROR(grammar_->masks().Advance(bytes, readings, stacks, can_end));
  if (readings.empty() && !can_end) {
    return absl::InvalidArgumentError(
        StrCat("the grammar does not allow '", Escaped(bytes), "' here"));
  }
  readings_ = std::move(readings);
  stacks_ = std::move(stacks);
  can_end_ = can_end;
  return absl::OkStatus();
}

}  // namespace baton
