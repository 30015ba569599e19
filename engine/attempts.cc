// How batches of requests' work get to executors: each is routed, may wait for company, goes, and
// goes again elsewhere where the executor fails at it.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "engine/base/check.h"
#include "engine/engine_loop.h"

namespace baton {

template <class Batch, class Result>
void Engine::Loop::Try(const AttemptPtr<Batch, Result>& attempt) {
  attempt->executor = Route(attempt->active, attempt->stage_name, attempt->work);
  if (attempt->executor < 0) return;
  attempt->stage = attempt->active->stages.size() - 1;
  if (attempt->retries_left < 0) {
    attempt->retries_left = RetriesOf(options_.route, attempt->active->envelope.hints);
    // Where there is no other executor a copy of the batch would be for nothing.
    const bool again = attempt->active->envelope.hints.fallback == Fallback::kRetry ||
                       options_.route.fallback == "retry";
    if (board_.present_count() < 2 && !again) attempt->retries_left = 0;
  }
  attempt->ready_us = clock_.NowUs();
  if (!Collect(attempt)) Launch<Batch, Result>({attempt});
}

template <class Batch, class Result>
bool Engine::Loop::Collect(const AttemptPtr<Batch, Result>& attempt) {
  if constexpr (std::is_same_v<Batch, ClusterBatch>) {
    return false;
  } else {
    const WorkClass work_class = attempt->work_class();
    const ClassBatchingOptions* options = options_.batching.Of(work_class);
    if (options == nullptr || options->items_max == 1) return false;
    const auto at = static_cast<size_t>(attempt->executor);
    if (!options_.batching.cpu && parts_.executors[at]->Describe().platform == Platform::kCpu) {
      return false;
    }
    const int64_t items = ItemsOf(attempt->batch);
    std::string kind = LaunchKind(attempt->batch);
    if (items >= options->items_max || kind.empty()) return false;
    const auto expected = board_.Expected(
        {.executor = attempt->executor, .work_class = work_class, .shape = attempt->work.shape});
    LaunchPiece piece{.items = items,
                      .latest_us = attempt->batch.deadline_us,
                      .wanted_us = attempt->batch.deadline_us,
                      .shape = attempt->work.shape};
    if (expected) piece.run_us = std::llround(expected->run_us);
    if (piece.latest_us != kNoDeadline) {
      // What it runs is left to it, and half of its time in any case.
      const TimeUs run_us = expected ? std::llround(expected->run_us_high) : 0;
      piece.latest_us -= std::max(run_us, (piece.latest_us - attempt->ready_us) / 2);
    }
    if (const auto& sla_us = attempt->active->envelope.hints.latency_sla_us) {
      piece.wanted_us = std::min(piece.wanted_us, attempt->ready_us + *sla_us);
    }
    piece.id = next_piece_++;
    if constexpr (std::is_same_v<Batch, SearchBatch>) {
      waiting_searches_.emplace(piece.id, attempt);
    } else {
      waiting_embeds_.emplace(piece.id, attempt);
    }
    collector_.Add({attempt->executor, work_class, std::move(kind)}, piece, attempt->ready_us);
    return true;
  }
}

void Engine::Loop::LaunchDue(TimeUs now_us) {
  const auto take = [](auto& waiting, const std::vector<uint64_t>& ids) {
    std::vector<typename std::remove_reference_t<decltype(waiting)>::mapped_type> taken;
    for (const uint64_t id : ids) {
      const auto it = waiting.find(id);
      taken.push_back(std::move(it->second));
      waiting.erase(it);
    }
    return taken;
  };
  for (const LaunchCollector::Launch& due : collector_.Take(now_us)) {
    if (due.key.work_class == WorkClass::kEmbed) {
      Launch(take(waiting_embeds_, due.ids));
    } else {
      Launch(take(waiting_searches_, due.ids));
    }
  }
}

template <class Batch, class Result>
void Engine::Loop::Launch(std::vector<AttemptPtr<Batch, Result>> attempts) {
  std::erase_if(attempts, [](const auto& attempt) { return attempt->active->ended; });
  if (attempts.empty()) return;
  const Attempt<Batch, Result>& first = *attempts.front();
  const int executor = first.executor;
  const WorkClass work_class = first.work_class();
  ExecutorBoard::Begun begun = {.executor = executor,
                                .work_class = work_class,
                                .shape = first.work.shape,
                                .open_ended = first.open_ended};
  struct Member {
    AttemptPtr<Batch, Result> attempt;
    uint32_t number;
    double items;
    TimeUs waited_us;
  };
  std::vector<Member> members;
  const TimeUs now_us = clock_.NowUs();
  begun.shape.items = 0;
  begun.shape.context = 0;
  for (const AttemptPtr<Batch, Result>& attempt : attempts) {
    const WorkShape& shape = attempt->work.shape;
    begun.shape.items += shape.items;
    begun.shape.context += shape.items * shape.context;
    members.push_back({attempt, ++attempt->number, shape.items, now_us - attempt->ready_us});
  }
  begun.shape.context /= std::max(1.0, begun.shape.items);
  begun.shape.batch = static_cast<double>(attempts.size());
  const double items = begun.shape.items;
  const char* platform =
      Name(parts_.executors[static_cast<size_t>(executor)]->Describe().platform).data();
  metrics_.Histogram(MetricId::kLaunchItems, {Name(work_class), platform}).Observe(items);
  metrics_.Histogram(MetricId::kLaunchRequests, {Name(work_class), platform})
      .Observe(begun.shape.batch);
  metrics_.Histogram(MetricId::kLaunchWaitSeconds, {Name(work_class), platform})
      .Observe(Seconds(members.front().waited_us));

  Batch batch;
  std::vector<int64_t> parts;
  for (size_t i = 0; i < attempts.size(); ++i) {
    Attempt<Batch, Result>& attempt = *attempts[i];
    Batch own = attempt.retries_left > 0 ? attempt.batch : std::move(attempt.batch);
    if constexpr (!std::is_same_v<Batch, ClusterBatch>) {
      parts.push_back(ItemsOf(own));
      if (i > 0) {
        Append(std::move(own), batch);
        continue;
      }
    }
    batch = std::move(own);
  }
  const auto for_each = [](const std::vector<Member>& all, auto&& act) {
    for (size_t i = 0; i < all.size(); ++i) {
      const Member& member = all[i];
      if (member.number == member.attempt->number && !member.attempt->active->ended) act(i);
    }
  };
  collector_.Begin(executor, work_class);
  [[maybe_unused]] const bool here = std::is_same_v<Batch, SearchBatch> && MaySearchHere(begun);
  const uint64_t ticket = board_.Begin(std::move(begun), [this, members, for_each] {
    for_each(members, [&](size_t i) {
      OnTried(members[i].attempt,
              absl::UnavailableError("the device completes nothing and was fenced"));
    });
  });
  auto ended = [this, executor, work_class, ticket, items, for_each, members = std::move(members),
                parts = std::move(parts)](Result result) mutable {
    collector_.End(executor, work_class);
    const auto energy = board_.End(ticket, result.status, result.times);
    if (!energy) return;
    std::vector<Result> results;
    if constexpr (std::is_same_v<Batch, ClusterBatch>) {
      results.push_back(std::move(result));
    } else if (parts.size() == 1) {
      results.push_back(std::move(result));
    } else {
      results = Split(std::move(result), parts);
    }
    for_each(members, [&](size_t i) {
      const Member& member = members[i];
      Result& own = results[i];
      BatchTimes times = own.times;
      times.queue_us += member.waited_us;
      Energy share = *energy;
      share.joules *= items > 0 ? member.items / items : 1;
      EndStage(member.attempt->active->stages[member.attempt->stage], times, share);
      if (!own.status.ok()) return OnTried(member.attempt, std::move(own.status));
      member.attempt->then(std::move(own));
    });
  };
  auto done = [this, ended = std::move(ended)](Result result) mutable {
    Mailbox::Task task = [ended = std::move(ended), result = std::move(result)]() mutable {
      ended(std::move(result));
    };
    if constexpr (std::is_same_v<Batch, SearchBatch>) {
      Bring(std::move(task));
    } else {
      mailbox_.Post(std::move(task));
    }
  };
  Executor& on = *parts_.executors[static_cast<size_t>(executor)];
  if constexpr (std::is_same_v<Batch, SearchBatch>) {
    if (here) {
      Turns::Job search = [&on, batch = std::move(batch), done = std::move(done)]() mutable {
        on.search()->ExecuteHere(std::move(batch), std::move(done));
      };
      BATON_CHECK(turns_.Keep(search));
      return;
    }
  }
  attempts.front()->execute(on, std::move(batch), std::move(done));
}

template <class Batch, class Result>
void Engine::Loop::OnTried(const AttemptPtr<Batch, Result>& attempt, absl::Status fault) {
  ++attempt->number;  // what still comes of this attempt is dropped
  const RequestPtr& active = attempt->active;
  if (MayRetry(active, fault, attempt->executor, attempt->work_class(), attempt->work,
               attempt->retries_left)) {
    return Try(attempt);
  }
  Fail(active, std::move(fault));
}

template void Engine::Loop::Try(const AttemptPtr<SearchBatch, SearchBatchResult>& attempt);
template void Engine::Loop::Try(const AttemptPtr<EmbedBatch, EmbedBatchResult>& attempt);
template void Engine::Loop::Try(const AttemptPtr<ClusterBatch, ClusterBatchResult>& attempt);

}  // namespace baton
