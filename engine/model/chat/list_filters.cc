#include "engine/model/chat/list_filters.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/filters.h"
#include "engine/model/chat/operators.h"
#include "engine/model/chat/python_text.h"
#include "engine/model/chat/text_edits.h"
#include "engine/model/chat/value_tests.h"

namespace baton::chat {
namespace {

using Kind = Value::Kind;

// What stands at a path such as "function.name" or "args.0"; undefined where there is nothing.
absl::StatusOr<Value> AtPath(Value value, const Value& path, Workspace& workspace) {
  if (path.IsInteger()) return GetItem(value, path, workspace);
  if (!path.IsText()) return TypeError("a string that names an attribute", path);
  std::string_view left = path.text().bytes();
  while (true) {
    RETURN_IF_ERROR(workspace.Spend(1));
    const std::string_view part = left.substr(0, left.find('.'));
    int64_t index = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
    Value key = Value::Int(index);
    if (error != std::errc() || end != part.data() + part.size() || index < 0) {
      ASSIGN_OR_RETURN(key, workspace.Text(part));
    }
    ASSIGN_OR_RETURN(value, GetItem(value, key, workspace));
    if (part.size() == left.size()) return value;
    left.remove_prefix(part.size() + 1);
  }
}

// A value as it is compared: of a text its lower case, unless case matters.
absl::StatusOr<Value> SortKey(const Value& item, const std::optional<Value>& path,
                              bool case_sensitive, Workspace& workspace) {
  Value key = item;
  if (path.has_value() && !path->IsNone()) {
    ASSIGN_OR_RETURN(key, AtPath(item, *path, workspace));
  }
  if (!key.IsText() || case_sensitive) return key;
  RETURN_IF_ERROR(workspace.SpendText(key.text().size() * kCaseCost));
  return workspace.Text(WithCase(key.text(), LetterCase::kLower));
}

struct Keyed {
  Value key;
  Value item;
};

// Merges, so that equal ones keep their order and an error may stop it anywhere.
absl::Status SortByKey(std::vector<Keyed>& items, bool reverse, Workspace& workspace) {
  std::vector<Keyed> merged(items.size());
  for (size_t width = 1; width < items.size(); width *= 2) {
    for (size_t begin = 0; begin < items.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, items.size());
      const size_t end = std::min(begin + 2 * width, items.size());
      size_t left = begin;
      size_t right = middle;
      for (size_t out = begin; out < end; ++out) {
        bool take_right = left == middle;
        if (left < middle && right < end) {
          const Value& a = items[left].key;
          const Value& b = items[right].key;
          ASSIGN_OR_RETURN(take_right, reverse ? Less(a, b, workspace) : Less(b, a, workspace));
        }
        merged[out] = items[take_right ? right++ : left++];
      }
    }
    items.swap(merged);
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> ItemsOf(const std::vector<Keyed>& keyed, Workspace& workspace) {
  std::vector<Value> items;
  for (const Keyed& each : keyed) items.push_back(each.item);
  return workspace.List(std::move(items));
}

std::optional<Value> Given(const Bound& bound, size_t i) {
  return bound.has(i) ? std::optional(bound[i]) : std::nullopt;
}

absl::StatusOr<bool> Passes(const Value& value, std::span<const Value> test, Workspace& workspace) {
  RETURN_IF_ERROR(workspace.Spend(1));
  if (test.empty()) return IsTrue(value);
  if (!test[0].IsText()) return TypeError("the name of a test", test[0]);
  const std::string& name = test[0].text().bytes();
  if (!HasTest(name)) {
    return absl::InvalidArgumentError(StrCat("there is no test '", Escaped(name), "'"));
  }
  return ApplyTest(name, value, test.subspan(1), workspace);
}

// Items that pass a test, or that do not; of the whole item or of an attribute.
struct Selection {
  std::string_view name;
  bool wanted = true;
  bool attribute = false;
};
absl::StatusOr<Value> SelectItems(const Value& value, const Arguments& arguments,
                                  const Selection& selection, Workspace& workspace) {
  std::span<const Value> test = arguments.values;
  if (!arguments.named.empty() || (selection.attribute && test.empty())) {
    return absl::InvalidArgumentError(StrCat(
        selection.name, selection.attribute ? " needs the name of an attribute" : " takes a test"));
  }
  if (selection.attribute) test = test.subspan(1);
  if (!IsTrue(value)) return workspace.List({});  // none, too
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, workspace));
  std::vector<Value> selected;
  for (const Value& item : items) {
    Value tested = item;
    if (selection.attribute) {
      ASSIGN_OR_RETURN(tested, AtPath(item, arguments.values[0], workspace));
    }
    ASSIGN_OR_RETURN(const bool passes, Passes(tested, test, workspace));
    if (passes == selection.wanted) selected.push_back(item);
  }
  return workspace.List(std::move(selected));
}

// The least item, or the greatest one.
absl::StatusOr<Value> Extreme(std::string_view name, const Value& value, const Arguments& arguments,
                              Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound,
                   Bound::Bind(name, arguments, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, workspace));
  if (items.empty()) return workspace.Undefined("there is no first item, the list is empty");
  std::optional<Keyed> best;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Value key,
                     SortKey(item, Given(bound, 1), bound.True(0, false), workspace));
    bool better = !best.has_value();
    if (!better) {
      ASSIGN_OR_RETURN(better, name == "min" ? Less(key, best->key, workspace)
                                             : Less(best->key, key, workspace));
    }
    if (better) best = {key, item};
  }
  return best->item;
}

}  // namespace

absl::StatusOr<Value> ToList(const Value& value, const Arguments& arguments, Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind("list", arguments, {}).status());
  ASSIGN_OR_RETURN(std::vector<Value> items, Items(value, workspace));
  return workspace.List(std::move(items));
}

absl::StatusOr<Value> First(const Value& value, const Arguments& arguments, Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind("first", arguments, {}).status());
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, workspace));
  if (items.empty()) return workspace.Undefined("there is no first item, the list is empty");
  return items.front();
}

absl::StatusOr<Value> Last(const Value& value, const Arguments& arguments, Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind("last", arguments, {}).status());
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, workspace));
  if (items.empty()) return workspace.Undefined("there is no last item, the list is empty");
  return items.back();
}

absl::StatusOr<Value> Reverse(const Value& value, const Arguments& arguments,
                              Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind("reverse", arguments, {}).status());
  if (value.IsText()) return GetSlice(value, {.step = -1}, workspace);
  ASSIGN_OR_RETURN(std::vector<Value> items, Items(value, workspace));
  std::reverse(items.begin(), items.end());
  return workspace.List(std::move(items));
}

absl::StatusOr<Value> JoinList(const Value& value, const Arguments& arguments,
                               Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("join", arguments, {"d", "attribute"}));
  ASSIGN_OR_RETURN(const MarkedText* const separator, bound.Text(0));
  ASSIGN_OR_RETURN(std::vector<Value> items, Items(value, workspace));
  if (bound.has(1) && !bound[1].IsNone()) {
    for (Value& item : items) {
      ASSIGN_OR_RETURN(item, AtPath(item, bound[1], workspace));
    }
  }
  return Join(items, separator != nullptr ? *separator : MarkedText(), workspace);
}

absl::StatusOr<Value> Map(const Value& value, const Arguments& arguments, Workspace& workspace) {
  if (!IsTrue(value)) return workspace.List({});  // none, too
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, workspace));
  std::vector<Value> mapped;
  if (arguments.values.empty()) {
    ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("map", arguments, {"attribute", "default"}, 1));
    for (const Value& item : items) {
      ASSIGN_OR_RETURN(Value found, AtPath(item, bound[0], workspace));
      if (found.IsUndefined() && bound.has(1)) found = bound[1];
      mapped.push_back(found);
    }
    return workspace.List(std::move(mapped));
  }
  if (!arguments.values[0].IsText()) return TypeError("the name of a filter", arguments.values[0]);
  Arguments rest = arguments;
  rest.values.erase(rest.values.begin());
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Value result,
                     ApplyFilter(arguments.values[0].text().bytes(), item, rest, workspace));
    mapped.push_back(result);
  }
  return workspace.List(std::move(mapped));
}

absl::StatusOr<Value> Select(const Value& value, const Arguments& arguments, Workspace& workspace) {
  return SelectItems(value, arguments, {.name = "select"}, workspace);
}
absl::StatusOr<Value> Reject(const Value& value, const Arguments& arguments, Workspace& workspace) {
  return SelectItems(value, arguments, {.name = "reject", .wanted = false}, workspace);
}
absl::StatusOr<Value> SelectAttribute(const Value& value, const Arguments& arguments,
                                      Workspace& workspace) {
  return SelectItems(value, arguments, {.name = "selectattr", .attribute = true}, workspace);
}
absl::StatusOr<Value> RejectAttribute(const Value& value, const Arguments& arguments,
                                      Workspace& workspace) {
  return SelectItems(value, arguments, {.name = "rejectattr", .wanted = false, .attribute = true},
                     workspace);
}

absl::StatusOr<Value> Min(const Value& value, const Arguments& arguments, Workspace& workspace) {
  return Extreme("min", value, arguments, workspace);
}
absl::StatusOr<Value> Max(const Value& value, const Arguments& arguments, Workspace& workspace) {
  return Extreme("max", value, arguments, workspace);
}

absl::StatusOr<Value> Sort(const Value& value, const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound,
                   Bound::Bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, workspace));
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Value key,
                     SortKey(item, Given(bound, 2), bound.True(1, false), workspace));
    keyed.push_back({key, item});
  }
  RETURN_IF_ERROR(SortByKey(keyed, bound.True(0, false), workspace));
  return ItemsOf(keyed, workspace);
}

absl::StatusOr<Value> Unique(const Value& value, const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound,
                   Bound::Bind("unique", arguments, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, workspace));
  std::vector<Keyed> kept;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Value key,
                     SortKey(item, Given(bound, 1), bound.True(0, false), workspace));
    bool known = false;
    for (size_t i = 0; i < kept.size() && !known; ++i) {
      ASSIGN_OR_RETURN(known, Equal(kept[i].key, key, workspace));
    }
    if (!known) kept.push_back({key, item});
  }
  return ItemsOf(kept, workspace);
}

absl::StatusOr<Value> Sum(const Value& value, const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("sum", arguments, {"attribute", "start"}));
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, workspace));
  Value sum = bound.has(1) ? bound[1] : Value::Int(0);
  for (const Value& item : items) {
    Value part = item;
    if (bound.has(0) && !bound[0].IsNone()) {
      ASSIGN_OR_RETURN(part, AtPath(item, bound[0], workspace));
    }
    ASSIGN_OR_RETURN(sum, Calculate(Operator::kAdd, sum, part, workspace));
  }
  return sum;
}

absl::StatusOr<Value> DictItems(const Value& value, const Arguments& arguments,
                                Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind("items", arguments, {}).status());
  if (value.IsUndefined()) return workspace.List({});
  if (!value.Is(Kind::kDict)) return TypeError("an object for items", value);
  std::vector<Value> items;
  for (const Dict::Entry& entry : value.dict().entries()) {
    ASSIGN_OR_RETURN(const Value item, workspace.List({entry.key, entry.value}, /*tuple=*/true));
    items.push_back(item);
  }
  return workspace.List(std::move(items));
}

absl::StatusOr<Value> DictSort(const Value& value, const Arguments& arguments,
                               Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound,
                   Bound::Bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  ASSIGN_OR_RETURN(const MarkedText* const by, bound.Text(1));
  const bool by_value = by != nullptr && by->bytes() == "value";
  ASSIGN_OR_RETURN(const Value pairs, DictItems(value, {}, workspace));
  std::vector<Keyed> keyed;
  for (const Value& pair : pairs.list().items) {
    ASSIGN_OR_RETURN(const Value key, SortKey(pair.list().items[by_value ? 1 : 0], std::nullopt,
                                              bound.True(0, false), workspace));
    keyed.push_back({key, pair});
  }
  RETURN_IF_ERROR(SortByKey(keyed, bound.True(2, false), workspace));
  return ItemsOf(keyed, workspace);
}

}  // namespace baton::chat
