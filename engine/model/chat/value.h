#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/model/chat/marked_text.h"

// The values of a template while it runs. They live in a ValuePool until the text is rendered, so
// that values are plain pointers, lists may hold themselves, and nothing is freed recursively.
namespace baton::chat {

struct List;
class Dict;
struct Loop;
struct Macro;
struct Method;

// What the language brings along.
enum class Function : uint8_t { kRaiseException, kStrftimeNow, kRange, kNamespace, kDict };

class Value {
 public:
  enum class Kind : uint8_t {
    kUndefined,
    kNone,
    kBool,
    kInt,
    kFloat,
    kText,
    kList,
    kDict,
    kNamespace,
    kLoop,
    kMacro,
    kMethod,
    kFunction,
  };

  // Undefined; `reason` says in words what was not there.
  Value() : kind_(Kind::kUndefined), text_(nullptr) {}
  static Value Undefined(const MarkedText* reason) { return {Kind::kUndefined, reason}; }
  static Value None() { return {Kind::kNone, static_cast<const MarkedText*>(nullptr)}; }
  static Value Bool(bool value) {
    Value made;
    made.kind_ = Kind::kBool;
    made.bool_ = value;
    return made;
  }
  static Value Int(int64_t value) {
    Value made;
    made.kind_ = Kind::kInt;
    made.int_ = value;
    return made;
  }
  static Value Float(double value) {
    Value made;
    made.kind_ = Kind::kFloat;
    made.float_ = value;
    return made;
  }
  static Value Text(const MarkedText* text) { return {Kind::kText, text}; }
  static Value OfList(List* list) {
    Value made;
    made.kind_ = Kind::kList;
    made.list_ = list;
    return made;
  }
  static Value OfDict(Dict* dict) {
    Value made;
    made.kind_ = Kind::kDict;
    made.dict_ = dict;
    return made;
  }
  static Value OfNamespace(Dict* dict) {
    Value made = OfDict(dict);
    made.kind_ = Kind::kNamespace;
    return made;
  }
  static Value OfLoop(Loop* loop) {
    Value made;
    made.kind_ = Kind::kLoop;
    made.loop_ = loop;
    return made;
  }
  static Value OfMacro(const Macro* macro) {
    Value made;
    made.kind_ = Kind::kMacro;
    made.macro_ = macro;
    return made;
  }
  static Value OfMethod(const Method* method) {
    Value made;
    made.kind_ = Kind::kMethod;
    made.method_ = method;
    return made;
  }
  static Value OfFunction(Function function) {
    Value made;
    made.kind_ = Kind::kFunction;
    made.function_ = function;
    return made;
  }

  Kind kind() const { return kind_; }
  bool Is(Kind kind) const { return kind_ == kind; }
  bool IsUndefined() const { return kind_ == Kind::kUndefined; }
  bool IsNone() const { return kind_ == Kind::kNone; }
  bool IsText() const { return kind_ == Kind::kText; }
  bool IsInteger() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool IsNumber() const { return IsInteger() || kind_ == Kind::kFloat; }

  // Of that kind only.
  const MarkedText* reason() const { return text_; }
  bool boolean() const { return bool_; }
  int64_t integer() const { return kind_ == Kind::kBool ? int64_t{bool_} : int_; }
  double number() const { return kind_ == Kind::kFloat ? float_ : static_cast<double>(integer()); }
  const MarkedText& text() const { return *text_; }
  List& list() const { return *list_; }
  Dict& dict() const { return *dict_; }  // of a namespace, too
  Loop& loop() const { return *loop_; }
  const Macro& macro() const { return *macro_; }
  const Method& method() const { return *method_; }
  Function function() const { return function_; }

 private:
  Value(Kind kind, const MarkedText* text) : kind_(kind), text_(text) {}

  Kind kind_;
  union {
    bool bool_;
    int64_t int_;
    double float_;
    const MarkedText* text_;
    List* list_;
    Dict* dict_;
    Loop* loop_;
    const Macro* macro_;
    const Method* method_;
    Function function_;
  };
};

// As Python's type names, for messages.
std::string_view TypeName(const Value& value);

struct List {
  std::vector<Value> items;
  bool tuple = false;
};

// An object or a namespace. Keys are texts or integers, in the order in which they were first set;
// a text lives as long as the dict.
class Dict {
 public:
  struct Entry {
    Value key;
    Value value;
  };
  const std::vector<Entry>& entries() const { return entries_; }

  static bool IsKey(const Value& value) { return value.IsText() || value.Is(Value::Kind::kInt); }
  const Value* Find(std::string_view key) const;  // null: no such key
  const Value* Find(const Value& key) const;
  void Set(const MarkedText* key, Value value) { Set(Value::Text(key), value); }
  void Set(const Value& key, Value value);  // IsKey(key)

 private:
  std::vector<Entry> entries_;
  absl::flat_hash_map<std::string_view, size_t> texts_;
  absl::flat_hash_map<int64_t, size_t> integers_;
};

// The `loop` of a for statement.
struct Loop {
  const List* items = nullptr;
  size_t index0 = 0;
};

// A method of a value, which a call may follow.
struct Method {
  Value self;
  std::string_view name;  // static storage
};

struct Scope {
  Scope* parent = nullptr;
  absl::flat_hash_map<std::string_view, Value> variables = {};  // names live in the syntax tree
};

struct Statement;
struct Macro {
  const Statement* statement = nullptr;
  Scope* scope = nullptr;  // where it stands
};

}  // namespace baton::chat
