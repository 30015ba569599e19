#pragma once

#include <array>
#include <cstdint>
#include <map>

#include "engine/base/clock.h"
#include "engine/request/work.h"

namespace baton {

// What is under way on one device, and how long more work would wait for it. Pure, not thread safe.
//
// How many batches a device runs beside each other is learned from what batches say of the time
// they waited in its queue: one that waited though no more than `slots` were under way says that
// there are fewer, ones that did not wait though there were as many say that there are more. The
// latter is tried the less often the more often it was wrong, so that a device of one slot sees a
// second batch queued once in hundreds. Each skill has slots of its own until batches are seen to
// wait for those of other skills; then all share.
class DeviceQueue {
 public:
  // `expected_us`: how long it is expected to run; 0: not known. The number is for End().
  uint64_t Begin(WorkClass work_class, TimeUs expected_us, TimeUs now_us);
  // kRan: it did what such work does, so that its times tell something. kRefused: the device's
  // queue had no place for it.
  enum class Outcome : uint8_t { kRan, kRefused, kOther };
  void End(uint64_t batch, Outcome outcome, TimeUs queue_us, TimeUs run_us);

  // How many batches more would run at once; 0 or below: none.
  int Room(WorkClass work_class) const;
  // Whether so many batches are under way that the device refused one more the last time.
  bool Full(WorkClass work_class) const;
  // How long a batch that goes now would wait.
  TimeUs WaitUs(WorkClass work_class, TimeUs now_us) const;
  // What its batches run lately, on average; 0: not known.
  TimeUs TypicalRunUs(WorkClass work_class) const;

 private:
  enum class Skill : uint8_t { kLlm, kSearch, kEmbed, kCluster };
  static constexpr int kSkillCount = 4;
  struct Batch {
    Skill skill = Skill::kSearch;
    TimeUs begun_us = 0;
    TimeUs expected_us = 0;
    int beside = 0;  // batches under way with it when it began, itself included
    int others = 0;  // and those of other skills
  };
  struct Slots {
    int count = 1;
    int unqueued = 0;    // batches in a row that did not wait though all slots were taken
    int grow_after = 1;  // so many of them, and there is another slot
    double run_us = 0;   // average; 0: not known
  };

  static Skill SkillOf(WorkClass work_class);
  const Slots& SlotsOf(Skill skill) const { return slots_[shared_ ? 0 : Index(skill)]; }
  bool Counts(const Batch& batch, Skill skill) const { return shared_ || batch.skill == skill; }
  int UnderWay(Skill skill) const;
  int Held(Skill skill) const;  // of its own
  static size_t Index(Skill skill) { return static_cast<size_t>(skill); }
  void Learn(const Batch& batch, TimeUs queue_us, TimeUs run_us);

  std::map<uint64_t, Batch> batches_;  // in the order they began
  uint64_t next_ = 1;
  std::array<int, kSkillCount> places_ = {};  // that its queue has; 0: not known
  std::array<Slots, kSkillCount> slots_;      // the first is everybody's where shared
  double waits_for_others_ = 0;               // of batches beside other skills' alone, 0 to 1
  bool shared_ = false;
};

}  // namespace baton
