#include "engine/vector/field_values.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/request/datetime.h"
#include "engine/vector/word_split.h"

namespace baton {
namespace {

class Taker {
 public:
  explicit Taker(PayloadIndexKind kind) : kind_(kind) { taken_.values = EmptyValues(kind); }

  void operator()(const std::string& text) {
    ++taken_.count;
    if (kind_ == PayloadIndexKind::kKeyword) List<std::string>().push_back(text);
    if (kind_ == PayloadIndexKind::kText) {
      for (std::string& word : ListWords(text)) List<std::string>().push_back(std::move(word));
    }
    if (kind_ == PayloadIndexKind::kDatetime) {
      if (const auto us = ParseDatetime(text)) List<int64_t>().push_back(*us);
    }
  }
  void operator()(int64_t integer) {
    ++taken_.count;
    if (kind_ == PayloadIndexKind::kInteger || kind_ == PayloadIndexKind::kDatetime) {
      List<int64_t>().push_back(integer);
    }
    if (kind_ == PayloadIndexKind::kNumber) {
      List<double>().push_back(static_cast<double>(integer));
    }
  }
  void operator()(double number) {
    ++taken_.count;
    if (kind_ == PayloadIndexKind::kNumber && !std::isnan(number)) {
      List<double>().push_back(number);
    }
  }
  void operator()(bool boolean) {
    ++taken_.count;
    if (kind_ == PayloadIndexKind::kBoolean) List<int64_t>().push_back(boolean ? 1 : 0);
  }
  template <class T>
  void operator()(const std::vector<T>& list) {
    for (const T& value : list) (*this)(value);
  }

  FieldValues Finish() && {
    std::visit(
        [this](auto& values) {
          std::sort(values.begin(), values.end());
          if (kind_ == PayloadIndexKind::kText) CountEach(values);
          values.erase(std::unique(values.begin(), values.end()), values.end());
        },
        taken_.values);
    return std::move(taken_);
  }

 private:
  // How often each of sorted values is there.
  template <class T>
  void CountEach(const std::vector<T>& sorted) {
    bool repeated = false;
    for (size_t first = 0; first < sorted.size();) {
      size_t end = first + 1;
      while (end < sorted.size() && sorted[end] == sorted[first]) ++end;
      repeated = repeated || end - first > 1;
      taken_.frequencies.push_back(
          static_cast<uint32_t>(std::min<size_t>(end - first, FieldValues::kFrequencyMax)));
      first = end;
    }
    if (!repeated) taken_.frequencies = {};
  }

  template <class T>
  std::vector<T>& List() {
    return std::get<std::vector<T>>(taken_.values);
  }

  const PayloadIndexKind kind_;
  FieldValues taken_;
};

}  // namespace

ValueList EmptyValues(PayloadIndexKind kind) {
  switch (kind) {
    case PayloadIndexKind::kInteger:
    case PayloadIndexKind::kBoolean:
    case PayloadIndexKind::kDatetime:
      return std::vector<int64_t>();
    case PayloadIndexKind::kNumber:
      return std::vector<double>();
    case PayloadIndexKind::kKeyword:
    case PayloadIndexKind::kText:
      return std::vector<std::string>();
  }
  return std::vector<std::string>();
}

uint32_t FieldValues::Length() const {
  if (!frequencies.empty()) {
    return std::accumulate(frequencies.begin(), frequencies.end(), uint32_t{0});
  }
  return std::visit([](const auto& list) { return static_cast<uint32_t>(list.size()); }, values);
}

FieldValues TakeValues(const PayloadIndex& index, const Payload& payload) {
  Taker taker(index.kind);
  const auto found = payload.find(index.field);
  if (found != payload.end()) std::visit(taker, found->second);
  return std::move(taker).Finish();
}

IndexedRow TakeValues(std::span<const PayloadIndex> indexes, const Payload& payload) {
  IndexedRow row;
  row.reserve(indexes.size());
  for (const PayloadIndex& index : indexes) row.push_back(TakeValues(index, payload));
  return row;
}

}  // namespace baton
