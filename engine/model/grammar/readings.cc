#include "engine/model/grammar/readings.h"

#include "engine/base/strings.h"

namespace baton {

uint32_t GrammarStacks::Push(uint32_t return_to, uint32_t below) {
  // An equal frame lies above the stack it stands on; what is open is mostly near the end.
  for (size_t i = frames_.size(); i > below; --i) {
    if (frames_[i - 1].below == below && frames_[i - 1].return_to == return_to) {
      return static_cast<uint32_t>(i);
    }
  }
  frames_.push_back({return_to, below});
  return static_cast<uint32_t>(frames_.size());
}

void GrammarStacks::Keep(std::vector<GrammarReading>& readings) {
  std::vector<uint32_t> numbers(frames_.size() + 1, 0);  // 0: not needed; else 1, then the new one
  for (const GrammarReading& reading : readings) {
    numbers[reading.stack] = 1;
  }
  for (size_t stack = frames_.size(); stack > 0; --stack) {
    if (numbers[stack] != 0) {
      numbers[frames_[stack - 1].below] = 1;
    }
  }
  numbers[kBottom] = kBottom;
  uint32_t kept = 0;
  for (size_t stack = 1; stack < numbers.size(); ++stack) {
    if (numbers[stack] != 0) {
      const Frame& frame = frames_[stack - 1];
      frames_[kept] = {frame.return_to, numbers[frame.below]};
      numbers[stack] = ++kept;
    }
  }
  frames_.resize(kept);
  for (GrammarReading& reading : readings) {
    reading.stack = numbers[reading.stack];
  }
}

void GrammarStepper::StartRound() {
  if (++round_ == 0) {  // after 2^32 rounds old marks would look new
    slots_.fill({});
    round_ = 1;
  }
  visited_ = 0;
  to_do_.clear();
}

void GrammarStepper::Visit(GrammarReading reading) {
  const uint64_t key = uint64_t{reading.state} << 32 | reading.stack;
  size_t at = (key * 0x9e3779b97f4a7c15u) >> 32;
  for (;; ++at) {
    Slot& slot = slots_[at % kSlots];
    if (slot.round != round_) {
      if (visited_ <= kReadingsMax) {  // one more than allowed is noticed in Close
        slot = {round_, reading};
        to_do_.push_back(reading);
        ++visited_;
      }
      return;
    }
    if (slot.reading.state == reading.state && slot.reading.stack == reading.stack) {
      return;
    }
  }
}

bool GrammarStepper::Close(GrammarStacks& stacks, std::vector<GrammarReading>& readings,
                           bool& ended) {
  while (!to_do_.empty()) {
    if (visited_ > kReadingsMax) {
      limit_ = Limit::kReadings;
      return false;
    }
    if (stacks.size() > kFramesMax) {
      limit_ = Limit::kFrames;
      return false;
    }
    const GrammarReading reading = to_do_.back();
    to_do_.pop_back();
    size_t work = 1;
    const GrammarState& state = automaton_.states[reading.state];
    if (state.bytes_begin != state.bytes_end) {
      readings.push_back(reading);
    }
    for (const GrammarCall& call : automaton_.Calls(state)) {
      if (call.return_to == GrammarCall::kTail) {
        Visit({call.entry, reading.stack});
      } else {
        work += (stacks.size() - reading.stack) / 16;  // frames that Push looks at, at most
        Visit({call.entry, stacks.Push(call.return_to, reading.stack)});
      }
    }
    if (state.ends) {
      if (reading.stack == GrammarStacks::kBottom) {
        ended = true;
      } else {
        const GrammarStacks::Frame top = stacks.Top(reading.stack);
        Visit({top.return_to, top.below});
      }
    }
    if (work_left_ < work) {
      limit_ = Limit::kWork;
      return false;
    }
    work_left_ -= work;
  }
  return true;
}

bool GrammarStepper::Step(size_t begin, size_t end, uint8_t byte, GrammarStacks& stacks,
                          std::vector<GrammarReading>& readings, bool& ended) {
  ended = false;
  if (work_left_ < end - begin) {
    limit_ = Limit::kWork;
    return false;
  }
  work_left_ -= end - begin;
  if (end - begin == 1) {
    // Most bytes lead one reading to one state in which nothing is entered or left.
    const GrammarReading from = readings[begin];
    const ByteEdge* found = nullptr;
    bool several = false;
    for (const ByteEdge& edge : automaton_.Bytes(automaton_.states[from.state])) {
      if (byte < edge.low) {
        break;
      }
      if (byte <= edge.high) {
        several |= found != nullptr;
        found = &edge;
      }
    }
    if (found == nullptr) {
      return true;
    }
    if (!several && automaton_.states[found->to].plain) {
      readings.push_back({found->to, from.stack});
      return true;
    }
  }
  StartRound();
  for (size_t i = begin; i < end; ++i) {
    const GrammarReading from = readings[i];
    for (const ByteEdge& edge : automaton_.Bytes(automaton_.states[from.state])) {
      if (byte < edge.low) {
        break;
      }
      if (byte <= edge.high) {
        Visit({edge.to, from.stack});
      }
    }
  }
  return Close(stacks, readings, ended);
}

bool GrammarStepper::Enter(GrammarReading from, GrammarStacks& stacks,
                           std::vector<GrammarReading>& readings, bool& ended) {
  ended = false;
  StartRound();
  Visit(from);
  return Close(stacks, readings, ended);
}

absl::Status GrammarStepper::status() const {
  switch (limit_) {
    case Limit::kReadings:
      return absl::ResourceExhaustedError(StrCat(
          "grammar: ambiguous, the text can be read in more than ", kReadingsMax, " ways at once"));
    case Limit::kFrames:
      return absl::ResourceExhaustedError(
          StrCat("grammar: the text is nested deeper than ", kFramesMax, " rules"));
    case Limit::kWork:
      return absl::ResourceExhaustedError(
          "grammar: so ambiguous that the tokens it allows cannot be found in bounded time");
  }
  return absl::OkStatus();
}

}  // namespace baton
