#include "engine/model/chat/value.h"

#include "engine/base/check.h"

namespace baton::chat {

std::string_view TypeName(const Value& value) {
  switch (value.kind()) {
    case Value::Kind::kUndefined:
      return "Undefined";
    case Value::Kind::kNone:
      return "None";
    case Value::Kind::kBool:
      return "bool";
    case Value::Kind::kInt:
      return "int";
    case Value::Kind::kFloat:
      return "float";
    case Value::Kind::kText:
      return "str";
    case Value::Kind::kList:
      return value.list().tuple ? "tuple" : "list";
    case Value::Kind::kDict:
      return "dict";
    case Value::Kind::kNamespace:
      return "Namespace";
    case Value::Kind::kLoop:
      return "LoopContext";
    case Value::Kind::kMacro:
      return "Macro";
    case Value::Kind::kMethod:
      return "method";
    case Value::Kind::kFunction:
      return "function";
  }
  return "unknown";
}

const Value* Dict::Find(std::string_view key) const {
  const auto it = texts_.find(key);
  return it == texts_.end() ? nullptr : &entries_[it->second].value;
}

const Value* Dict::Find(const Value& key) const {
  if (key.IsText()) return Find(key.text().bytes());
  if (!key.Is(Value::Kind::kInt)) return nullptr;
  const auto it = integers_.find(key.integer());
  return it == integers_.end() ? nullptr : &entries_[it->second].value;
}

void Dict::Set(const Value& key, Value value) {
  BATON_DCHECK(IsKey(key));
  const size_t index = key.IsText()
                           ? texts_.try_emplace(key.text().bytes(), entries_.size()).first->second
                           : integers_.try_emplace(key.integer(), entries_.size()).first->second;
  if (index == entries_.size()) {
    entries_.push_back({key, value});
  } else {
    entries_[index].value = value;
  }
}

}  // namespace baton::chat
