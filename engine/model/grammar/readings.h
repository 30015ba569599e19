#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model/grammar/automaton.h"

namespace baton {

// Where one reading of the text so far stands: a state, and the calls it has to return from.
struct GrammarReading {
  uint32_t state;
  uint32_t stack;  // of GrammarStacks
};

// The calls that readings have open, as stacks that share what lies below their tops. The same
// stack has the same number, so that readings can be compared. Copying it is copying one array.
class GrammarStacks {
 public:
  static constexpr uint32_t kBottom = 0;  // the empty stack

  struct Frame {
    uint32_t return_to;  // state
    uint32_t below;      // stack
  };

  uint32_t Push(uint32_t return_to, uint32_t below);
  // The top of a stack that is not empty.
  const Frame& Top(uint32_t stack) const { return frames_[stack - 1]; }

  size_t size() const { return frames_.size(); }
  // Forgets stacks made since size() was `size`.
  void Truncate(size_t size) { frames_.resize(size); }
  // Forgets all that `readings` do not need, and renumbers them.
  void Keep(std::vector<GrammarReading>& readings);

 private:
  std::vector<Frame> frames_;  // stack n is frames_[n - 1] on another of a lower number
};

// Takes readings over bytes. Its tables are scratch, of some 50 KiB, and hold nothing between
// calls, except what is left of the work it may do. Not thread safe.
class GrammarStepper {
 public:
  static constexpr size_t kReadingsMax = 1024;  // of one text at the same time
  static constexpr size_t kFramesMax = 16'384;  // open calls of all readings

  explicit GrammarStepper(const GrammarAutomaton& automaton) : automaton_(automaton) {}

  // Steps that may be taken until the next such call. A step is one reading and one byte, call or
  // return, some ten nanoseconds.
  void AllowWork(size_t steps) { work_left_ = steps; }

  // Appends to `readings` those that follow by `byte` from the ones in [begin, end), each once and
  // with what can be entered or returned to without another byte; all of them read bytes. `ended`:
  // whether a reading has returned from its last call. False: a limit is reached, see status().
  bool Step(size_t begin, size_t end, uint8_t byte, GrammarStacks& stacks,
            std::vector<GrammarReading>& readings, bool& ended);
  // As Step, those that follow from `from` without a byte.
  bool Enter(GrammarReading from, GrammarStacks& stacks, std::vector<GrammarReading>& readings,
             bool& ended);

  // RESOURCE_EXHAUSTED with the limit that the last failed call has reached.
  absl::Status status() const;
  // Whether that limit is what AllowWork has set; the other ones are the text's.
  bool out_of_work() const { return limit_ == Limit::kWork; }

 private:
  enum class Limit { kReadings, kFrames, kWork };
  static constexpr size_t kSlots = 4 * kReadingsMax;
  struct Slot {
    uint32_t round = 0;
    GrammarReading reading{};
  };

  void StartRound();
  void Visit(GrammarReading reading);
  bool Close(GrammarStacks& stacks, std::vector<GrammarReading>& readings, bool& ended);

  const GrammarAutomaton& automaton_;
  size_t work_left_ = 0;
  Limit limit_ = Limit::kWork;
  uint32_t round_ = 0;
  std::array<Slot, kSlots> slots_;  // what this round has visited, by hash
  size_t visited_ = 0;
  std::vector<GrammarReading> to_do_;
};

}  // namespace baton
