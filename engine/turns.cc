#include "engine/turns.h"

#include <algorithm>
#include <utility>

namespace baton {

thread_local Turns::Behind* Turns::behind_ = nullptr;

Turns::Turns(const Clock& clock, Mailbox& mailbox, Turn turn)
    : clock_(clock), mailbox_(mailbox), turn_(std::move(turn)) {}

void Turns::Run() {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      turner_ = std::this_thread::get_id();
      const std::optional<TimeUs> next_us = turn_();
      turner_ = std::thread::id();
      if (!next_us) return;
      sleeps_until_us_ = *next_us;
    }
    mailbox_.Wait(std::max<TimeUs>(0, sleeps_until_us_ - clock_.NowUs()));
  }
}

void Turns::Bring(Mailbox::Task task) {
  // In a turn of this thread's own it comes with the next one.
  if (turner_ == std::this_thread::get_id()) return mailbox_.Post(std::move(task));
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || closed_) return mailbox_.Post(std::move(task));
  Behind own;
  Behind* const behind = behind_ != nullptr ? behind_ : &own;
  mailbox_.Leave([this, behind, task = std::move(task)]() mutable {
    kept_ = behind;
    task();
    kept_ = nullptr;
  });
  turner_ = std::this_thread::get_id();
  const std::optional<TimeUs> next_us = turn_();
  turner_ = std::thread::id();
  const bool wake = !next_us || *next_us < sleeps_until_us_ || !mailbox_.empty();
  lock.unlock();
  if (wake) mailbox_.Wake();
  if (behind != &own) return;  // it runs when the job that brought this one is done
  behind_ = &own;
  while (own.job) (*std::exchange(own.job, std::nullopt))();
  behind_ = nullptr;
}

bool Turns::Keep(Job& job) {
  if (!keeps()) return false;
  kept_->job = std::move(job);
  return true;
}

void Turns::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

}  // namespace baton
