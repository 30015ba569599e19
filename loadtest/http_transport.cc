#include "loadtest/http_transport.h"

#include <curl/curl.h>
#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/strings.h"
#include "loadtest/sse.h"

namespace baton::load {
namespace {

constexpr size_t kErrorBodyBytesMax = 64 << 10;
constexpr int kPollMsMax = 1000;

// curl_global_init is once per process.
void InitCurl() {
  static const CURLcode done = curl_global_init(CURL_GLOBAL_DEFAULT);
  (void)done;
}

// One transfer; the driver thread's, but for `given_up`.
struct Transfer {
  Call call;
  std::shared_ptr<const Transport::Sinks> sinks;
  OpenAiStream stream;
  std::string error_body;  // of an answer that is not 200
  CURL* handle = nullptr;
  std::atomic<bool> given_up = false;
  bool too_long = false;
};

size_t OnBytes(char* bytes, size_t size, size_t count, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  const std::string_view text(bytes, size * count);
  long status = 0;
  curl_easy_getinfo(transfer->handle, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) {
    const size_t room =
        kErrorBodyBytesMax - std::min(kErrorBodyBytesMax, transfer->error_body.size());
    transfer->error_body += text.substr(0, room);
    return size * count;
  }
  if (!transfer->stream.Feed(text, transfer->sinks->now_ns(), transfer->call.record)) {
    transfer->too_long = true;
    return 0;  // ends the transfer
  }
  return size * count;
}

class HttpTransport final : public Transport {
 public:
  HttpTransport(const Scenario& scenario, ClientCredentials credentials)
      : target_(scenario.target),
        base_(scenario.target.find("://") != std::string::npos
                  ? scenario.target
                  : (credentials.tls ? "https://" : "http://") + scenario.target),
        credentials_(std::move(credentials)),
        connect_ms_(scenario.connect_ms) {
    InitCurl();
    multi_ = curl_multi_init();
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(scenario.in_flight_max));
    headers_ = curl_slist_append(headers_, "Content-Type: application/json");
    headers_ = curl_slist_append(headers_, "Accept: text/event-stream");
    headers_ = curl_slist_append(headers_, "Expect:");  // no round trip before a large body
    if (!credentials_.token.empty()) {
      headers_ =
          curl_slist_append(headers_, ("Authorization: Bearer " + credentials_.token).c_str());
    }
    driver_ = std::thread([this] { Drive(); });
  }

  ~HttpTransport() override {
    stop_ = true;
    curl_multi_wakeup(multi_);
    driver_.join();
    for (CURL* handle : idle_) curl_easy_cleanup(handle);
    curl_multi_cleanup(multi_);
    curl_slist_free_all(headers_);
  }

  absl::Status Connect() override {
    CURL* handle = curl_easy_init();
    std::array<char, CURL_ERROR_SIZE> reason = {};
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, reason.data());
    curl_easy_setopt(handle, CURLOPT_URL, base_.c_str());
    SetTls(handle);
    curl_easy_setopt(handle, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connect_ms_));
    const CURLcode code = curl_easy_perform(handle);
    curl_easy_cleanup(handle);
    if (code == CURLE_OK) return absl::OkStatus();
    return absl::UnavailableError(
        StrCat("nothing answers at ", target_, ": ",
               reason[0] != '\0' ? reason.data() : curl_easy_strerror(code)));
  }

  absl::StatusOr<int32_t> Dimension(const RequestMix&) override {
    return absl::UnimplementedError("the OpenAI API has no vectors");
  }

  absl::StatusOr<Body> Encode(const RequestMix& mix, const Input& input, uint64_t, bool) override {
    nlohmann::json body = {{"stream", true},
                           {"stream_options", {{"include_usage", true}}},
                           {"max_tokens", input.max_tokens},
                           {"temperature", 0}};
    if (!mix.model.empty()) body["model"] = mix.model;
    if (mix.ignore_eos) body["ignore_eos"] = true;
    if (mix.priority) body["priority"] = *mix.priority;
    if (mix.kind == Kind::kChat) {
      body["messages"] = {{{"role", "user"}, {"content", input.text}}};
    } else {
      body["prompt"] = input.text;
    }
    // A prompt that is not UTF-8 must not throw.
    return std::make_shared<const std::string>(
        body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }

  void SetSinks(std::shared_ptr<const Sinks> sinks) override { sinks_ = std::move(sinks); }

  void Start(Call call) override {
    auto transfer = std::make_unique<Transfer>();
    transfer->call = std::move(call);
    transfer->sinks = sinks_;
    {
      std::lock_guard lock(mutex_);
      if (transfer->call.cancellable) {
        cancellable_.emplace(transfer->call.record.id, transfer.get());
      }
      waiting_.push_back(std::move(transfer));
    }
    curl_multi_wakeup(multi_);
  }

  void Cancel(uint64_t id) override {
    {
      std::lock_guard lock(mutex_);
      const auto found = cancellable_.find(id);
      if (found == cancellable_.end()) return;
      found->second->given_up = true;
      cancelled_.push_back(id);
    }
    curl_multi_wakeup(multi_);
  }

  int64_t BusiestThreadCpuNs() const override {
    clockid_t clock{};
    timespec time{};
    auto& thread = const_cast<std::thread&>(driver_);
    if (pthread_getcpuclockid(thread.native_handle(), &clock) != 0) return 0;
    clock_gettime(clock, &time);
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
  }

 private:
  void Drive() {
    while (!stop_) {
      std::vector<std::unique_ptr<Transfer>> begun;
      std::vector<Transfer*> ended;
      {
        std::lock_guard lock(mutex_);
        begun.swap(waiting_);
        for (const uint64_t id : cancelled_) {
          const auto found = cancellable_.find(id);
          if (found != cancellable_.end() && found->second->handle != nullptr) {
            ended.push_back(found->second);
          }
        }
        // What has no handle yet begins now, and is looked at the next time.
        std::erase_if(cancelled_, [&](uint64_t id) {
          const auto found = cancellable_.find(id);
          return found == cancellable_.end() || found->second->handle != nullptr;
        });
      }
      for (auto& transfer : begun) Begin(transfer.release());
      for (Transfer* transfer : ended) End(transfer, CURLE_ABORTED_BY_CALLBACK);
      int running = 0;
      curl_multi_perform(multi_, &running);
      int left = 0;
      while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        Transfer* transfer = nullptr;
        const CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        End(transfer, code);
      }
      {
        std::lock_guard lock(mutex_);
        if (!waiting_.empty() || !cancelled_.empty()) continue;
      }
      curl_multi_poll(multi_, nullptr, 0, kPollMsMax, nullptr);
    }
  }

  // What is not given is as curl has it: the system's authorities, no certificate.
  void SetTls(CURL* handle) const {
    const auto set = [handle](CURLoption option, const std::string& pem) {
      if (pem.empty()) return;
      curl_blob blob = {.data = const_cast<char*>(pem.data()),  // curl reads it only
                        .len = pem.size(),
                        .flags = CURL_BLOB_NOCOPY};
      curl_easy_setopt(handle, option, &blob);
    };
    set(CURLOPT_CAINFO_BLOB, credentials_.ca);
    set(CURLOPT_SSLCERT_BLOB, credentials_.certificate);
    set(CURLOPT_SSLKEY_BLOB, credentials_.key);
  }

  void Begin(Transfer* transfer) {
    CURL* handle = nullptr;
    if (idle_.empty()) {
      handle = curl_easy_init();
    } else {
      handle = idle_.back();
      idle_.pop_back();
    }
    {
      std::lock_guard lock(mutex_);
      transfer->handle = handle;
    }
    Call& call = transfer->call;
    call.record.sent_ns = transfer->sinks->now_ns();
    const int64_t left_ms = (call.deadline_ns - call.record.sent_ns) / 1'000'000;
    const char* path = call.mix->kind == Kind::kChat ? "/v1/chat/completions" : "/v1/completions";
    curl_easy_setopt(handle, CURLOPT_URL, (base_ + path).c_str());
    SetTls(handle);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(call.body->size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, call.body->data());
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &OnBytes);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(handle, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PROXY, "");  // a proxy would be measured along
    curl_easy_setopt(handle, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<int64_t>(left_ms, 1)));
    curl_multi_add_handle(multi_, handle);
  }

  // Takes the transfer off, counts it, and frees it.
  void End(Transfer* transfer, CURLcode code) {
    const std::unique_ptr<Transfer> owner(transfer);
    {
      std::lock_guard lock(mutex_);
      cancellable_.erase(transfer->call.record.id);
    }
    RequestRecord record = std::move(transfer->call.record);
    record.done_ns = transfer->sinks->now_ns();
    long status = 0;
    curl_easy_getinfo(transfer->handle, CURLINFO_RESPONSE_CODE, &status);
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(transfer->handle, CURLINFO_RETRY_AFTER, &retry_after_s);
    if (retry_after_s > 0) record.retry_after_ms = retry_after_s * 1000;
    curl_multi_remove_handle(multi_, transfer->handle);
    curl_easy_reset(transfer->handle);
    idle_.push_back(transfer->handle);
    record.given_up = transfer->given_up && code == CURLE_ABORTED_BY_CALLBACK;
    Judge(*transfer, code, status, record);
    transfer->sinks->done(std::move(record));
  }

  static void Judge(const Transfer& transfer, CURLcode code, long status, RequestRecord& record) {
    if (record.given_up) {
      record.code = "CANCELLED";
    } else if (transfer.too_long) {
      record.code = "GARBLED_ANSWER";
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
      record.code = "DEADLINE_EXCEEDED";
    } else if (code != CURLE_OK) {
      record.code = "UNAVAILABLE";
      record.message = curl_easy_strerror(code);
    } else if (status != 200) {
      record.code = CodeOfHttp(status);
      record.message = OpenAiStream::ErrorOf(transfer.error_body);
    } else if (!transfer.stream.error().empty()) {
      record.code = "INTERNAL";
      record.message = transfer.stream.error();
    } else if (transfer.stream.garbled()) {
      record.code = "GARBLED_ANSWER";
    } else {
      record.code = transfer.stream.done() ? "OK" : "INCOMPLETE_STREAM";
    }
  }

  const std::string target_;
  const std::string base_;
  const ClientCredentials credentials_;
  const int64_t connect_ms_;
  std::shared_ptr<const Sinks> sinks_;  // the sender's
  CURLM* multi_ = nullptr;
  curl_slist* headers_ = nullptr;
  std::vector<CURL*> idle_;  // the driver's
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Transfer>> waiting_;       // guarded by mutex_
  std::unordered_map<uint64_t, Transfer*> cancellable_;  // guarded by mutex_
  std::vector<uint64_t> cancelled_;                      // guarded by mutex_
  std::thread driver_;
};

}  // namespace

std::string CodeOfHttp(long status) {
  switch (status) {
    case 400:
    case 413:
    case 422:
      return "INVALID_ARGUMENT";
    case 401:
      return "UNAUTHENTICATED";
    case 403:
      return "PERMISSION_DENIED";
    case 404:
      return "NOT_FOUND";
    case 429:
      return "RESOURCE_EXHAUSTED";
    case 499:
      return "CANCELLED";
    case 500:
      return "INTERNAL";
    case 501:
      return "UNIMPLEMENTED";
    case 503:
      return "UNAVAILABLE";
    case 504:
      return "DEADLINE_EXCEEDED";
    default:
      return StrCat("HTTP_", status);
  }
}

std::unique_ptr<Transport> MakeHttpTransport(const Scenario& scenario,
                                             ClientCredentials credentials) {
  return std::make_unique<HttpTransport>(scenario, std::move(credentials));
}

}  // namespace baton::load
