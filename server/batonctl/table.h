#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace baton::ctl {

// A table in plain text: columns as wide as their widest cell, two spaces apart.
class Table {
 public:
  // A header that begins with '>' makes its column flush right.
  explicit Table(std::vector<std::string> headers);

  // As many cells as headers. Cells become one line each, safe for a terminal.
  void AddRow(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }

  void Print(std::ostream& out, const std::string& indent = "") const;

 private:
  void PrintRow(std::ostream& out, const std::vector<std::string>& cells) const;

  std::vector<std::string> headers_;
  std::vector<bool> right_;
  std::vector<size_t> widths_;  // characters
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace baton::ctl
