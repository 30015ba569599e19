#include <chrono>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/documents.h"
#include "server/batonctl/progress.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

// Well below the daemon's 1,000 documents and 32 MiB: each batch is one step of the progress bar
// and what an interrupted ingest repeats. A single larger document travels alone.
constexpr int kBatchDocumentsMax = 100;
constexpr size_t kBatchBytesMax = 8 << 20;

constexpr int kProblemsShown = 20;

// One `batonctl ingest`: reads files, sends batches, counts.
class Ingest {
 public:
  Ingest(Session& session, const IngestOptions& options, int64_t bytes_total)
      : session_(session),
        options_(options),
        progress_(session.terminal.err, session.terminal.err_is_tty, bytes_total) {
    NewBatch();
  }

  // False where the daemon refused a batch; `failure()` says why.
  bool AddFile(const SourceFile& file) {
    const absl::Status status = ReadDocuments(
        file, [&](v1::Document document) { return Add(std::move(document), file.path); },
        [&](std::string problem) { AddProblem(std::move(problem)); }, read_);
    bytes_read_ += file.bytes;
    return status.ok();
  }

  void AddProblem(std::string problem) {
    ++problems_;
    if (problems_ <= kProblemsShown) {
      progress_.Clear();
      session_.terminal.err << "batonctl: " << Printable(problem) << "\n";
    }
  }

  bool Flush() { return request_.documents().empty() || Send().ok(); }

  void Clear() { progress_.Clear(); }

  const grpc::Status& failure() const { return failure_; }
  const v1::IngestResponse& total() const { return total_; }
  int64_t problems() const { return problems_; }
  int64_t nested_values() const { return read_.nested_values; }
  // Documents seen and settled: skipped or acknowledged.
  int64_t settled() const { return settled_; }

 private:
  absl::Status Add(v1::Document document, const std::string& path) {
    const auto [first, is_new] = id_path_.emplace(document.id(), path);
    if (!is_new) {
      AddProblem(absl::StrCat(path, ": document id \"", document.id(), "\" is taken by ",
                              first->second, "; left out"));
      return absl::OkStatus();
    }
    if (settled_ < options_.skip) {
      ++settled_;
      return absl::OkStatus();
    }
    const size_t bytes = document.ByteSizeLong();
    if (request_.documents_size() > 0 && (request_.documents_size() >= kBatchDocumentsMax ||
                                          batch_bytes_ + bytes > kBatchBytesMax)) {
      if (absl::Status status = Send(); !status.ok()) {
        return status;
      }
    }
    batch_bytes_ += bytes;
    *request_.add_documents() = std::move(document);
    return absl::OkStatus();
  }

  absl::Status Send() {
    v1::IngestResponse response;
    failure_ =
        session_.client.rag().Ingest(session_.client.NewContext().get(), request_, &response);
    if (!failure_.ok()) {
      return absl::AbortedError("the daemon refused a batch");
    }
    settled_ += request_.documents_size();
    total_.set_documents(total_.documents() + response.documents());
    total_.set_passages(total_.passages() + response.passages());
    total_.set_passages_removed(total_.passages_removed() + response.passages_removed());
    progress_.Show(bytes_read_, absl::StrFormat("%d documents, %d passages", total_.documents(),
                                                total_.passages()));
    NewBatch();
    return absl::OkStatus();
  }

  void NewBatch() {
    request_.Clear();
    request_.set_collection(options_.collection);
    if (options_.passage_chars_max) {
      request_.set_passage_chars_max(*options_.passage_chars_max);
    }
    if (options_.passage_overlap_chars) {
      request_.set_passage_overlap_chars(*options_.passage_overlap_chars);
    }
    *request_.mutable_options() = session_.options.request;
    batch_bytes_ = 0;
  }

  Session& session_;
  const IngestOptions& options_;
  Progress progress_;
  v1::IngestRequest request_;
  size_t batch_bytes_ = 0;
  v1::IngestResponse total_;
  grpc::Status failure_;
  ReadCounts read_;
  int64_t bytes_read_ = 0;
  int64_t problems_ = 0;
  int64_t settled_ = 0;
  std::unordered_map<std::string, std::string> id_path_;  // whose file each id came from
};

void PrintSummary(Session& session, const IngestOptions& options, const Ingest& ingest,
                  int64_t other_files, double seconds) {
  std::ostream& err = session.terminal.err;
  if (ingest.problems() > kProblemsShown) {
    err << "batonctl: and " << ingest.problems() - kProblemsShown << " more like these\n";
  }
  if (ingest.nested_values() > 0) {
    err << "note: " << ingest.nested_values()
        << " nested values were left out: metadata holds text, numbers and booleans\n";
  }
  if (other_files > 0) {
    err << "note: " << other_files << " files of other kinds were passed by\n";
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, ingest.total());
    return;
  }
  const v1::IngestResponse& total = ingest.total();
  session.terminal.out << absl::StreamFormat(
      "%s: %d documents as %d passages in %.1f s%s%s\n", options.collection, total.documents(),
      total.passages(), seconds,
      total.passages_removed() > 0
          ? absl::StrFormat("; %d passages of replaced documents removed", total.passages_removed())
          : "",
      ingest.problems() > 0 ? absl::StrFormat("; %d left out", ingest.problems()) : "");
}

}  // namespace

int RunIngest(Session& session, const IngestOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const SourceFiles found = FindFiles(options.paths, options.root);
  int64_t bytes_total = 0;
  for (const SourceFile& file : found.files) {
    bytes_total += file.bytes;
  }
  Ingest ingest(session, options, bytes_total);
  for (const std::string& problem : found.problems) {
    ingest.AddProblem(problem);
  }
  bool sent = true;
  for (const SourceFile& file : found.files) {
    if (sent = ingest.AddFile(file); !sent) {
      break;
    }
  }
  sent = sent && ingest.Flush();
  ingest.Clear();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  PrintSummary(session, options, ingest, found.other_files, elapsed.count());
  if (!sent) {
    session.client.Fail(session.terminal, ingest.failure(), {options.collection, ""});
    session.terminal.err << "batonctl: stopped after " << ingest.settled()
                         << " documents; the same command with --skip " << ingest.settled()
                         << " goes on from there\n";
    return kExitFailed;
  }
  if (found.files.empty()) {
    session.terminal.err << "batonctl: no .md, .markdown, .txt or .jsonl file was found\n";
    return kExitFailed;
  }
  return ingest.problems() > 0 ? kExitFailed : kExitOk;
}

}  // namespace baton::ctl
