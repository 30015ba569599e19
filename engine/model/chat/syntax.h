#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/chat/marked_text.h"
#include "engine/model/chat/value.h"

// The syntax tree of a template. Immutable once parsed; whoever runs it only reads it.
namespace baton::chat {

struct SourcePosition {
  int line = 1;
  int column = 1;  // in bytes
};

enum class Operator : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kIn,
  kNotIn,
  kNot,
  kNegate,
  kPlus,
};

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct NamedArgument {
  std::string name;
  ExpressionPtr value;
};

struct Expression {
  enum class Kind : uint8_t {
    kConstant,     // value; a text's bytes are in `text`
    kName,         // name
    kAttribute,    // parts[0].name
    kItem,         // parts[0][parts[1]]
    kSlice,        // parts[0][parts[1]:parts[2]:parts[3]], null: not given
    kCall,         // parts[0](parts[1..], named)
    kFilter,       // parts[0] | name(parts[1..], named); parts[0] null: of a filter block
    kTest,         // parts[0] is name(parts[1..])
    kUnary,        // operators[0] parts[0]
    kArithmetic,   // parts[0] operators[0] parts[1]
    kComparison,   // parts[0] operators[0] parts[1] operators[1] parts[2] ..., all of them hold
    kAnd,          // parts
    kOr,           // parts
    kConcatenate,  // parts, with ~
    kConditional,  // parts[0] if parts[1] else parts[2], which may be null
    kList,         // parts
    kTuple,        // parts
    kDict,         // parts[2i]: parts[2i + 1]
  };

  Kind kind;
  SourcePosition at;
  int depth = 1;  // of the tree below, this one included
  Value value = {};
  MarkedText text = {};
  std::string name = {};
  std::vector<ExpressionPtr> parts = {};
  std::vector<NamedArgument> named = {};
  std::vector<Operator> operators = {};
};

struct Statement;
using StatementPtr = std::unique_ptr<const Statement>;
using Block = std::vector<StatementPtr>;

// What a set, for or with statement assigns to: names, one or several; or an attribute of a
// namespace.
struct Target {
  std::vector<std::string> names;
  MarkedText attribute = {};  // of names[0]; empty: the name itself
  bool several = false;       // a tuple is taken apart
};

struct Statement {
  enum class Kind : uint8_t {
    kText,      // text
    kOutput,    // expressions[0]
    kIf,        // expressions[i] decides on blocks[i]; one more block: else
    kFor,       // target in expressions[0] if expressions[1], which may be null; blocks[0], and
                // [1] where nothing was gone over
    kSet,       // target = expressions[0]
    kSetBlock,  // target = blocks[0] | expressions[0], a chain of filters, may be null
    kMacro,     // name(parameters): blocks[0]; expressions: defaults of the last parameters
    kFilter,    // blocks[0] | expressions[0]
    kWith,      // parameters = expressions: blocks[0]
    kScope,     // blocks[0]
    kBreak,
    kContinue,
  };

  Kind kind;
  SourcePosition at;
  std::string name = {};
  MarkedText text = {};
  Target target = {};
  std::vector<std::string> parameters = {};
  std::vector<ExpressionPtr> expressions = {};
  std::vector<Block> blocks = {};
};

}  // namespace baton::chat
