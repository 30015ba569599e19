#include "server/batonctl/table.h"

#include <algorithm>

#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {
constexpr size_t kCellCharsMax = 160;
}

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {
  for (std::string& header : headers_) {
    right_.push_back(header.front() == '>');
    if (right_.back()) {
      header.erase(0, 1);
    }
    widths_.push_back(CountChars(header));
  }
}

void Table::AddRow(std::vector<std::string> cells) {
  cells.resize(headers_.size());
  for (size_t i = 0; i < cells.size(); ++i) {
    cells[i] = OneLine(cells[i], kCellCharsMax);
    widths_[i] = std::max(widths_[i], CountChars(cells[i]));
  }
  rows_.push_back(std::move(cells));
}

void Table::Print(std::ostream& out, const std::string& indent) const {
  out << indent;
  PrintRow(out, headers_);
  for (const auto& row : rows_) {
    out << indent;
    PrintRow(out, row);
  }
}

void Table::PrintRow(std::ostream& out, const std::vector<std::string>& cells) const {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string padding(widths_[i] - CountChars(cells[i]), ' ');
    line += (i == 0 ? "" : "  ");
    line += right_[i] ? padding + cells[i] : cells[i] + padding;
  }
  out << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
}

}  // namespace baton::ctl
