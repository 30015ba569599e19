#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "baton/v1/rag.pb.h"

// Files as documents. Nothing here talks to the daemon.
namespace baton::ctl {

// A file to ingest.
struct SourceFile {
  std::string path;
  std::string id;  // its path relative to the root: the document's id, or the front of its lines'
  int64_t bytes = 0;
};

struct SourceFiles {
  std::vector<SourceFile> files;      // sorted by path, so that a resumed ingest has the same order
  int64_t other_files = 0;            // in the folders, of kinds that are not read
  std::vector<std::string> problems;  // paths that cannot be read, each with the reason
};

// The .md, .markdown, .txt and .jsonl files under `paths`; hidden files and folders are passed by,
// links to folders not followed. Ids are relative to `root`, or, where that is empty, to the folder
// named in `paths`; a file named there has its own name for an id.
SourceFiles FindFiles(const std::vector<std::string>& paths, const std::string& root);

// Takes one document; a failure ends the reading.
using DocumentSink = std::function<absl::Status(v1::Document document)>;
// Takes what is wrong with one file or line, in words that name it.
using ProblemSink = std::function<void(std::string problem)>;

struct ReadCounts {
  int64_t nested_values = 0;  // of JSON lines, left out: metadata holds text, numbers and booleans
};

// Hands every document of `file` to `sink`, checked against the bounds of rag.proto. A document
// that cannot be used goes to `problem` instead, and reading goes on.
//
// .md, .markdown, .txt: one document; its title is the first Markdown heading (not in .txt), else
// the file's name. .jsonl: each line {"id", "title", "text", other scalars: metadata}; without an
// id it is "file id#line".
// Returns only the sink's failure.
absl::Status ReadDocuments(const SourceFile& file, const DocumentSink& sink,
                           const ProblemSink& problem, ReadCounts& counts);

// Title of a Markdown text: its first heading outside code fences; empty where there is none.
std::string FirstHeading(absl::string_view markdown);

}  // namespace baton::ctl
