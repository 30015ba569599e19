#include "engine/schedule/device_queue.h"

#include <algorithm>
#include <vector>

namespace baton {
namespace {

constexpr int kSlotsMax = 256;
constexpr int kGrowAfterMax = 512;
// What a thread or an interrupt takes to begin is no queue.
constexpr TimeUs kPromptUs = 30;
constexpr double kRunForget = 1.0 / 16;
constexpr double kSharedForget = 1.0 / 16;

}  // namespace

DeviceQueue::Skill DeviceQueue::SkillOf(WorkClass work_class) {
  switch (work_class) {
    case WorkClass::kPrefill:
    case WorkClass::kDecode:
      return Skill::kLlm;
    case WorkClass::kEmbed:
    case WorkClass::kRerank:
      return Skill::kEmbed;
    case WorkClass::kKmeans:
      return Skill::kCluster;
    default:
      return Skill::kSearch;
  }
}

int DeviceQueue::UnderWay(Skill skill) const {
  int count = 0;
  for (const auto& [number, batch] : batches_) count += Counts(batch, skill) ? 1 : 0;
  return count;
}

uint64_t DeviceQueue::Begin(WorkClass work_class, TimeUs expected_us, TimeUs now_us) {
  const Skill skill = SkillOf(work_class);
  Batch batch{.skill = skill, .begun_us = now_us, .expected_us = expected_us};
  batch.beside = UnderWay(skill) + 1;
  for (const auto& [number, other] : batches_) batch.others += other.skill != skill ? 1 : 0;
  batches_.emplace(next_, batch);
  return next_++;
}

int DeviceQueue::Held(Skill skill) const {
  int count = 0;
  for (const auto& [number, batch] : batches_) count += batch.skill == skill ? 1 : 0;
  return count;
}

void DeviceQueue::End(uint64_t number, Outcome outcome, TimeUs queue_us, TimeUs run_us) {
  const auto it = batches_.find(number);
  if (it == batches_.end()) return;
  const Batch batch = it->second;
  int& places = places_[Index(batch.skill)];
  // Others may have ended since it began; and what it holds now it has places for.
  if (outcome == Outcome::kRan && places > 0) places = std::max(places, Held(batch.skill));
  batches_.erase(it);
  // Refused with nothing before it, it lacked something else.
  if (const int held = Held(batch.skill); outcome == Outcome::kRefused && held > 0) places = held;
  if (outcome == Outcome::kRan && run_us > 0) Learn(batch, std::max<TimeUs>(0, queue_us), run_us);
}

void DeviceQueue::Learn(const Batch& batch, TimeUs queue_us, TimeUs run_us) {
  Slots& slots = slots_[shared_ ? 0 : Index(batch.skill)];
  const auto run = static_cast<double>(run_us);
  slots.run_us += (slots.run_us == 0 ? 1 : kRunForget) * (run - slots.run_us);
  const bool waited = queue_us > std::max(kPromptUs, run_us / 4);
  const bool prompt = queue_us <= std::max(kPromptUs, run_us / 32);
  if (!shared_ && batch.beside == 1 && batch.others > 0) {
    waits_for_others_ += kSharedForget * ((waited ? 1 : 0) - waits_for_others_);
    if (waits_for_others_ > 0.5) {
      shared_ = true;
      slots_[0] = {.run_us = slots.run_us};
    }
    return;
  }
  if (waited && batch.beside <= slots.count && batch.beside > 1) {
    slots.count = batch.beside - 1;
    slots.unqueued = 0;
    slots.grow_after = std::min(kGrowAfterMax, slots.grow_after * 2);
  } else if (prompt && batch.beside >= slots.count) {
    if (++slots.unqueued < slots.grow_after) return;
    slots.count = std::min(kSlotsMax, slots.count + 1);
    slots.unqueued = 0;
  }
}

int DeviceQueue::Room(WorkClass work_class) const {
  const Skill skill = SkillOf(work_class);
  return SlotsOf(skill).count - UnderWay(skill);
}

bool DeviceQueue::Full(WorkClass work_class) const {
  const Skill skill = SkillOf(work_class);
  const int places = places_[Index(skill)];
  return places > 0 && Held(skill) >= places;
}

TimeUs DeviceQueue::WaitUs(WorkClass work_class, TimeUs now_us) const {
  const Skill skill = SkillOf(work_class);
  const Slots& slots = SlotsOf(skill);
  if (Room(work_class) > 0) return 0;
  std::vector<TimeUs> free_us(static_cast<size_t>(slots.count), 0);
  for (const auto& [number, batch] : batches_) {
    if (!Counts(batch, skill)) continue;
    const auto typical_us = static_cast<TimeUs>(slots.run_us);
    const TimeUs run_us = batch.expected_us > 0 ? batch.expected_us : typical_us;
    const auto slot = std::min_element(free_us.begin(), free_us.end());
    // One that is late may end at any moment.
    *slot = std::max(std::max(batch.begun_us, *slot) + run_us, now_us);
  }
  return *std::min_element(free_us.begin(), free_us.end()) - now_us;
}

TimeUs DeviceQueue::TypicalRunUs(WorkClass work_class) const {
  return static_cast<TimeUs>(SlotsOf(SkillOf(work_class)).run_us);
}

}  // namespace baton
