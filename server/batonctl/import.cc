#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/progress.h"
#include "server/batonctl/text.h"
#include "server/batonctl/vector_file.h"

namespace baton::ctl {
namespace {

// Well below the daemon's 10,000 points and 32 MiB. Large enough for a commit each to be cheap.
constexpr int kImportBatchPointsMax = 2000;
constexpr size_t kImportBatchBytesMax = 4 << 20;
// Batches that are on their way at most: one is stored while the next is read and the rest waits.
constexpr size_t kWindowBatches = 4;
// A stream has the deadline of one request, so that nothing waits forever.
constexpr int kStreamBatches = 256;
// Where the daemon has no room, it is asked again so often in a row, for some minutes in all.
constexpr int kRetriesMax = 200;
constexpr int64_t kRetryMsDefault = 1000;
constexpr int64_t kRetryMsMax = 10'000;

struct Batch {
  v1::UpsertRequest request;
  size_t bytes = 0;
};

// One `batonctl import`: sends the rows of a file, and again those that were not acknowledged.
class Import {
 public:
  Import(Session& session, const ImportOptions& options, VectorFile& file, int64_t bytes_total)
      : session_(session),
        options_(options),
        file_(file),
        progress_(session.terminal.err, session.terminal.err_is_tty, bytes_total) {}

  // What is wrong with the file; OK where all was sent, or failure() says why not.
  absl::Status Run() {
    while (true) {
      absl::Status status = FillWindow();
      if (status.ok() && !window_.empty()) {
        if (!Pump()) break;
        continue;
      }
      // The rows in front of one that cannot be read still count.
      while (!window_.empty() && Pump()) {
      }
      progress_.Clear();
      CloseStream();
      return status;
    }
    progress_.Clear();
    return absl::OkStatus();
  }

  const grpc::Status& failure() const { return failure_; }
  int64_t acknowledged() const { return acknowledged_; }

 private:
  absl::Status FillWindow() {
    while (window_.size() < kWindowBatches && !file_over_) {
      Batch batch;
      batch.request.set_collection(options_.collection);
      *batch.request.mutable_options() = session_.options.request;
      absl::Status status = Fill(batch);
      if (batch.request.points_size() > 0) window_.push_back(std::move(batch));
      if (!status.ok()) {
        file_over_ = true;
        return status;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Fill(Batch& batch) {
    FilePoint row;
    while (batch.request.points_size() < kImportBatchPointsMax &&
           batch.bytes < kImportBatchBytesMax) {
      const absl::StatusOr<bool> read = file_.Next(&row);
      if (!read.ok()) return read.status();
      if (!*read) {
        file_over_ = true;
        return absl::OkStatus();
      }
      v1::Point& point = *batch.request.add_points();
      if (row.uuid.empty()) {
        point.set_id(row.id + options_.first_id);
      } else {
        point.set_uuid(row.uuid);
      }
      if (options_.vector_name.empty()) {
        point.mutable_vector()->Add(row.vector.begin(), row.vector.end());
      } else {
        v1::NamedVector& vector = *point.add_vectors();
        vector.set_name(options_.vector_name);
        vector.mutable_values()->Add(row.vector.begin(), row.vector.end());
      }
      for (auto& [key, value] : row.payload) {
        v1::PayloadValue& to = (*point.mutable_payload())[key];
        if (const auto* text = std::get_if<std::string>(&value)) to.set_text(*text);
        if (const auto* integer = std::get_if<int64_t>(&value)) to.set_integer(*integer);
        if (const auto* number = std::get_if<double>(&value)) to.set_number(*number);
        if (const auto* boolean = std::get_if<bool>(&value)) to.set_boolean(*boolean);
        batch.bytes += key.size() + 32;
      }
      batch.bytes += row.vector.size() * sizeof(float) + 16;
    }
    return absl::OkStatus();
  }

  // Sends what is in the window and waits for the first acknowledgement. False where the daemon
  // does not take it, now or later.
  bool Pump() {
    if (stream_ == nullptr) {
      context_ = session_.client.NewContext();
      stream_ = session_.client.vectors().UpsertStream(context_.get());
      sent_ = 0;
      sent_in_stream_ = 0;
    }
    while (sent_ < window_.size() && sent_in_stream_ < kStreamBatches) {
      if (!stream_->Write(window_[sent_].request)) return EndedEarly();
      ++sent_;
      ++sent_in_stream_;
    }
    v1::UpsertResponse response;
    if (!stream_->Read(&response)) return EndedEarly();
    Acknowledge();
    progress_.Show(file_.bytes_read(), absl::StrFormat("%d points", acknowledged_));
    if (sent_ == 0 && sent_in_stream_ == kStreamBatches) return CloseStream();
    return true;
  }

  // The first batch of the window is stored.
  void Acknowledge() {
    acknowledged_ += window_.front().request.points_size();
    window_.pop_front();
    --sent_;
    retries_ = 0;
  }

  bool CloseStream() {
    if (stream_ == nullptr) return true;
    stream_->WritesDone();
    const grpc::Status status = stream_->Finish();
    stream_.reset();
    if (!status.ok()) failure_ = status;
    return status.ok();
  }

  // True where it is worth trying again, once some time has passed.
  bool EndedEarly() {
    v1::UpsertResponse response;
    while (sent_ > 0 && stream_->Read(&response)) Acknowledge();
    const grpc::Status status = stream_->Finish();
    stream_.reset();
    int64_t wait_ms = kRetryMsDefault;
    const auto& trailers = context_->GetServerTrailingMetadata();
    const auto hint = trailers.find("baton-retry-after-ms");
    const bool hinted =
        hint != trailers.end() &&
        absl::SimpleAtoi(absl::string_view(hint->second.data(), hint->second.size()), &wait_ms);
    if (!hinted || ++retries_ > kRetriesMax) {
      failure_ = status;
      return false;
    }
    std::this_thread::sleep_for(
        std::chrono::milliseconds(std::clamp<int64_t>(wait_ms, 1, kRetryMsMax)));
    return true;
  }

  Session& session_;
  const ImportOptions& options_;
  VectorFile& file_;
  Progress progress_;
  bool file_over_ = false;
  std::deque<Batch> window_;  // the first sent_ are on their way, in this stream
  size_t sent_ = 0;
  int sent_in_stream_ = 0;
  int retries_ = 0;
  int64_t acknowledged_ = 0;
  grpc::Status failure_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::UpsertRequest, v1::UpsertResponse>> stream_;
};

int FailFile(Session& session, const ImportOptions& options, const absl::Status& status) {
  session.terminal.err << "batonctl: " << Printable(options.path) << ": "
                       << Printable(std::string(status.message())) << "\n";
  return kExitFailed;
}

}  // namespace

int RunImport(Session& session, const ImportOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const absl::StatusOr<VectorFormat> format = FormatOf(options.path);
  if (!format.ok()) {
    return FailUsage(session.terminal, format.status());
  }
  std::ifstream stream(options.path, std::ios::binary);
  std::error_code error;
  const auto bytes = std::filesystem::file_size(options.path, error);
  if (!stream || error) {
    return FailFile(session, options, absl::NotFoundError("it cannot be read"));
  }
  absl::StatusOr<std::unique_ptr<VectorFile>> file =
      VectorFile::Open(*format, stream, static_cast<int64_t>(bytes));
  if (!file.ok()) {
    return FailFile(session, options, file.status());
  }
  if (absl::Status status = (*file)->Skip(options.skip); !status.ok()) {
    return FailFile(session, options, status);
  }
  Import import(session, options, **file, static_cast<int64_t>(bytes));
  const absl::Status read = import.Run();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  if (session.options.json) {
    session.terminal.out << absl::StreamFormat("{\"points\": %d, \"seconds\": %.3f}\n",
                                               import.acknowledged(), elapsed.count());
  } else {
    session.terminal.out << absl::StreamFormat("%s: %d points in %.1f s\n", options.collection,
                                               import.acknowledged(), elapsed.count());
  }
  int exit_code = kExitOk;
  if (!import.failure().ok()) {
    exit_code = session.client.Fail(session.terminal, import.failure(), {options.collection, ""});
  } else if (!read.ok()) {
    exit_code = FailFile(session, options, read);
  }
  if (exit_code != kExitOk) {
    session.terminal.err << "batonctl: stopped after row " << options.skip + import.acknowledged()
                         << "; the same command with --skip "
                         << options.skip + import.acknowledged() << " goes on from there\n";
  }
  return exit_code;
}

}  // namespace baton::ctl
