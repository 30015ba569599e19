#include "loadtest/results.h"

#include <algorithm>

namespace baton::load {
namespace {

constexpr size_t kTimelineSecondsMax = 90'000;
constexpr size_t kStageNamesMax = 64;
constexpr size_t kErrorCodesMax = 256;
constexpr double kNsInMs = 1e6;

double TpotNs(const RequestRecord& record) {
  return static_cast<double>(record.done_ns - record.first_output_ns) /
         static_cast<double>(record.tokens - 1);
}

}  // namespace

Results::Results(const SloOptions& slo, const std::vector<RequestMix>& load, bool probed)
    : slo_(slo) {
  for (const RequestMix& mix : load) groups.emplace_back(mix.name, Group());
  if (probed) groups.emplace_back("probe", Group());
}

Group& Results::GroupOf(int32_t mix) {
  return mix < 0 ? groups.back().second : groups[static_cast<size_t>(mix)].second;
}

TimelineSecond& Results::SecondAt(int64_t at_ns) {
  const auto second = static_cast<size_t>(std::max<int64_t>(at_ns, 0) / 1'000'000'000);
  const size_t index = std::min(second, kTimelineSecondsMax - 1);
  if (timeline.size() <= index) timeline.resize(index + 1);
  return timeline[index];
}

bool Results::IsGood(const RequestRecord& record) const {
  if (record.code != "OK" || record.given_up) return false;
  const auto within = [](double ns, const std::optional<double>& limit_ms) {
    return !limit_ms || ns <= *limit_ms * kNsInMs;
  };
  if (!within(static_cast<double>(record.done_ns - record.intended_ns), slo_.e2e_ms)) return false;
  if (record.first_output_ns < 0) return true;  // nothing was streamed, by its nature
  if (!within(static_cast<double>(record.first_output_ns - record.intended_ns), slo_.ttft_ms)) {
    return false;
  }
  if (record.tokens > 1 && !within(TpotNs(record), slo_.tpot_ms)) return false;
  return std::all_of(record.gaps_ns.begin(), record.gaps_ns.end(),
                     [&](int64_t ns) { return within(static_cast<double>(ns), slo_.itl_ms); });
}

void Results::AddTo(Group& group, const RequestRecord& record, bool good) {
  ++group.sent;
  group.send_lag.Add(record.sent_ns - record.intended_ns);
  if (record.given_up) {
    ++group.given_up;
    return;
  }
  if (record.code != "OK") {
    if (group.errors.size() < kErrorCodesMax || group.errors.contains(record.code)) {
      ++group.errors[record.code];
      group.error_texts.try_emplace(record.code, record.message.substr(0, 500));
    }
    if (record.code == "RESOURCE_EXHAUSTED") {
      ++group.refused;
      group.refused_hinted += record.retry_after_ms >= 0;
      group.refusal.Add(record.done_ns - record.intended_ns);
    }
    return;
  }
  ++group.ok;
  group.good += good;
  group.tokens += record.tokens;
  group.prompt_tokens += record.prompt_tokens;
  group.e2e.Add(record.done_ns - record.intended_ns);
  if (record.retrieved_ns >= 0) group.retrieved.Add(record.retrieved_ns - record.intended_ns);
  if (record.first_output_ns >= 0) {
    group.ttft.Add(record.first_output_ns - record.intended_ns);
    if (record.tokens > 1) group.tpot.Add(static_cast<int64_t>(TpotNs(record)));
  }
  for (int64_t gap_ns : record.gaps_ns) group.itl.Add(gap_ns);
}

void Results::Add(const RequestRecord& record) {
  const bool good = IsGood(record);
  AddTo(GroupOf(record.mix), record, good);
  if (record.mix < 0) return;
  AddTo(all, record, good);
  ExtendTo(record.done_ns);
  ++SecondAt(record.intended_ns).sent;
  TimelineSecond& second = SecondAt(record.done_ns);
  const bool ok = record.code == "OK" && !record.given_up;
  second.ok += ok;
  second.good += good;
  second.failed += !ok && !record.given_up;
  second.tokens += record.tokens;
  for (const StageRecord& stage : record.stages) {
    if (stages.size() >= kStageNamesMax && !stages.contains(stage.name)) continue;
    StageSum& sum = stages[stage.name];
    ++sum.count;
    sum.fallbacks += stage.fallback;
    sum.queue_us += static_cast<double>(stage.queue_us);
    sum.run_us += static_cast<double>(stage.run_us);
    ++sum.platforms[stage.platform];
  }
}

void Results::AddDropped(int32_t mix, bool late) {
  const auto count = [late](Group& group) { ++(late ? group.dropped_late : group.dropped); };
  count(GroupOf(mix));
  if (mix >= 0) count(all);
}

void Results::ExtendTo(int64_t end_ns) { last_done_ns_ = std::max(last_done_ns_, end_ns); }

double Results::goodput_share() const {
  const int64_t wanted = all.sent - all.given_up + all.dropped + all.dropped_late;
  return wanted == 0 ? 0 : static_cast<double>(all.good) / static_cast<double>(wanted);
}

double Results::goodput_per_s() const {
  return wall_s() > 0 ? static_cast<double>(all.good) / wall_s() : 0;
}

}  // namespace baton::load
