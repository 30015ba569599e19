#include "server/batonctl/documents.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

namespace fs = std::filesystem;

// The bounds of rag.proto.
constexpr size_t kIdBytesMax = 512;
constexpr size_t kTitleBytesMax = 1'024;
constexpr size_t kTextBytesMax = 16 << 20;
constexpr size_t kMetadataKeysMax = 64;
constexpr std::array kReservedKeys = {"document_id", "passage", "passages", "begin", "end"};

// JSON spends at most six bytes on one of text, and some on the other keys.
constexpr size_t kLineBytesMax = 6 * kTextBytesMax + (1 << 20);

bool IsKnownKind(const fs::path& path) {
  const std::string extension = absl::AsciiStrToLower(path.extension().string());
  return extension == ".md" || extension == ".markdown" || extension == ".txt" ||
         extension == ".jsonl";
}

bool IsHidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

void AddFile(const fs::path& path, const fs::path& root, SourceFiles& found) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  if (error) {
    found.problems.push_back(absl::StrCat(path.string(), ": ", error.message()));
    return;
  }
  const fs::path id = fs::absolute(path, error).lexically_normal().lexically_relative(root);
  if (error || id.empty() || *id.begin() == "..") {
    found.problems.push_back(absl::StrCat(path.string(), ": not under --root ", root.string()));
    return;
  }
  found.files.push_back({path.string(), id.generic_string(), static_cast<int64_t>(bytes)});
}

// Absolute and without a trailing slash, so that relative ids come out the same for "a" and "a/".
fs::path RootPath(const fs::path& folder) {
  std::error_code error;
  fs::path root = fs::absolute(folder, error).lexically_normal();
  return root.has_filename() ? root : root.parent_path();
}

void AddFolder(const fs::path& folder, const fs::path& root, SourceFiles& found) {
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code entry_error;
    if (IsHidden(entry->path())) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file(entry_error)) {
      if (IsKnownKind(entry->path())) {
        AddFile(entry->path(), root, found);
      } else {
        ++found.other_files;
      }
    }
  }
  if (error) {
    found.problems.push_back(absl::StrCat(folder.string(), ": ", error.message()));
  }
}

absl::StatusOr<std::string> ReadWhole(const SourceFile& file) {
  std::ifstream stream(file.path, std::ios::binary);
  std::string text;
  char buffer[1 << 16];
  while (text.size() <= kTextBytesMax && stream.read(buffer, sizeof(buffer)).gcount() > 0) {
    text.append(buffer, static_cast<size_t>(stream.gcount()));
  }
  if (!stream.eof() && text.size() <= kTextBytesMax) {
    return absl::UnavailableError("cannot be read");
  }
  return text;  // what is longer than the limit fails the check of the text
}

// Why `document` may not be sent; empty when it may.
std::string FindFault(const v1::Document& document) {
  if (document.id().empty() || document.id().size() > kIdBytesMax) {
    return absl::StrCat("id has ", document.id().size(), " bytes, must have 1 to ", kIdBytesMax);
  }
  if (document.text().size() > kTextBytesMax) {
    return absl::StrCat("text is longer than ", kTextBytesMax, " bytes");
  }
  if (FindInvalidUtf8(document.id()) != std::string::npos) {
    return "its name is not UTF-8";
  }
  if (const size_t at = FindInvalidUtf8(document.text()); at != std::string::npos) {
    return absl::StrCat("not UTF-8 at byte ", at, "; convert it, or leave it out");
  }
  if (absl::StripAsciiWhitespace(document.text()).empty()) {
    return "text is blank";
  }
  if (document.metadata_size() > static_cast<int>(kMetadataKeysMax)) {
    return absl::StrCat(document.metadata_size(), " metadata keys, at most ", kMetadataKeysMax);
  }
  for (const char* key : kReservedKeys) {
    if (document.metadata().contains(key)) {
      return absl::StrCat("key \"", key, "\" is Baton's own; rename it");
    }
  }
  return "";
}

// A scalar of a JSON line as metadata; none for null, arrays and objects.
std::optional<v1::PayloadValue> ToPayload(const nlohmann::json& value) {
  v1::PayloadValue payload;
  if (const auto* text = value.get_ptr<const std::string*>()) {
    payload.set_text(*text);
  } else if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) {
    payload.set_number(value.get<double>());
  } else if (value.is_number_integer()) {
    payload.set_integer(value.get<int64_t>());
  } else if (value.is_number_float()) {
    payload.set_number(value.get<double>());
  } else if (value.is_boolean()) {
    payload.set_boolean(value.get<bool>());
  } else {
    return std::nullopt;
  }
  return payload;
}

absl::StatusOr<v1::Document> ParseLine(const std::string& line, const std::string& default_id,
                                       ReadCounts& counts) {
  if (const size_t at = FindInvalidUtf8(line); at != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("not UTF-8 at byte ", at, " of the line"));
  }
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return absl::InvalidArgumentError("not a JSON object");
  }
  v1::Document document;
  document.set_id(default_id);
  for (const auto& [key, value] : object.items()) {
    const auto* text = value.get_ptr<const std::string*>();
    if (key == "id" && value.is_number_integer()) {
      document.set_id(value.dump());
    } else if (key == "id" || key == "title" || key == "text") {
      if (text == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is not a string"));
      }
      (key == "id"      ? *document.mutable_id()
       : key == "title" ? *document.mutable_title()
                        : *document.mutable_text()) = *text;
    } else if (auto payload = ToPayload(value)) {
      (*document.mutable_metadata())[key] = *std::move(payload);
    } else if (!value.is_null()) {
      ++counts.nested_values;
    }
  }
  document.set_title(std::string(TruncateUtf8(document.title(), kTitleBytesMax)));
  if (!object.contains("text")) {
    return absl::InvalidArgumentError("has no \"text\"");
  }
  return document;
}

// Lines of a stream, none kept beyond kLineBytesMax.
class LineReader {
 public:
  explicit LineReader(std::istream& stream) : stream_(stream) {}

  // False at the end. `too_long`: `line` holds nothing of use.
  bool Next(std::string& line, bool& too_long) {
    line.clear();
    too_long = false;
    bool any = false;
    for (int c = stream_.get(); c != std::istream::traits_type::eof(); c = stream_.get()) {
      any = true;
      if (c == '\n') {
        break;
      }
      if (line.size() < kLineBytesMax) {
        line += static_cast<char>(c);
      } else {
        too_long = true;
      }
    }
    return any;
  }

 private:
  std::istream& stream_;
};

absl::Status ReadLines(const SourceFile& file, const DocumentSink& sink, const ProblemSink& problem,
                       ReadCounts& counts) {
  std::ifstream stream(file.path, std::ios::binary);
  if (!stream) {
    problem(absl::StrCat(file.path, ": cannot be read"));
    return absl::OkStatus();
  }
  LineReader lines(stream);
  std::string line;
  bool too_long = false;
  for (int64_t number = 1; lines.Next(line, too_long); ++number) {
    const std::string where = absl::StrCat(file.path, ":", number);
    if (too_long) {
      problem(absl::StrCat(where, ": line longer than ", kLineBytesMax, " bytes"));
      continue;
    }
    if (absl::StripAsciiWhitespace(line).empty()) {
      continue;
    }
    auto document = ParseLine(line, absl::StrCat(file.id, "#", number), counts);
    const std::string fault =
        document.ok() ? FindFault(*document) : std::string(document.status().message());
    if (!fault.empty()) {
      problem(absl::StrCat(where, ": ", fault));
      continue;
    }
    if (absl::Status status = sink(*std::move(document)); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace

SourceFiles FindFiles(const std::vector<std::string>& paths, const std::string& root) {
  SourceFiles found;
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) {
      found.problems.push_back(absl::StrCat(path, ": no such file or folder"));
    } else if (fs::is_directory(status)) {
      AddFolder(path, RootPath(root.empty() ? path : root), found);
    } else if (!IsKnownKind(path)) {
      found.problems.push_back(
          absl::StrCat(path, ": not of a kind that is read (.md, .markdown, .txt, .jsonl)"));
    } else {
      const fs::path parent = fs::path(path).parent_path();
      AddFile(path,
              RootPath(!root.empty()    ? fs::path(root)
                       : parent.empty() ? "."
                                        : parent),
              found);
    }
  }
  std::sort(found.files.begin(), found.files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return found;
}

std::string FirstHeading(absl::string_view markdown) {
  bool in_fence = false;
  for (absl::string_view line : absl::StrSplit(markdown, '\n')) {
    if (absl::StartsWith(line, "```") || absl::StartsWith(line, "~~~")) {
      in_fence = !in_fence;
    }
    const size_t level = line.find_first_not_of('#');
    if (in_fence || level == 0 || level == absl::string_view::npos || level > 6 ||
        line[level] != ' ') {
      continue;
    }
    const absl::string_view heading = absl::StripAsciiWhitespace(line.substr(level));
    if (!heading.empty()) {
      return std::string(heading);
    }
  }
  return "";
}

absl::Status ReadDocuments(const SourceFile& file, const DocumentSink& sink,
                           const ProblemSink& problem, ReadCounts& counts) {
  const std::string extension = absl::AsciiStrToLower(fs::path(file.path).extension().string());
  if (extension == ".jsonl") {
    return ReadLines(file, sink, problem, counts);
  }
  auto text = ReadWhole(file);
  if (!text.ok()) {
    problem(absl::StrCat(file.path, ": ", text.status().message()));
    return absl::OkStatus();
  }
  v1::Document document;
  document.set_id(file.id);
  document.set_text(std::string(absl::StripPrefix(*text, "\xEF\xBB\xBF")));  // byte order mark
  if (const std::string fault = FindFault(document); !fault.empty()) {
    problem(absl::StrCat(file.path, ": ", fault));
    return absl::OkStatus();
  }
  std::string title = extension == ".txt" ? "" : FirstHeading(document.text());
  if (title.empty()) {
    title = fs::path(file.path).filename().string();
  }
  document.set_title(std::string(TruncateUtf8(title, kTitleBytesMax)));
  return sink(std::move(document));
}

}  // namespace baton::ctl
