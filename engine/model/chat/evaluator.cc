#include "engine/model/chat/evaluator.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/arguments.h"
#include "engine/model/chat/filters.h"
#include "engine/model/chat/functions.h"
#include "engine/model/chat/lexer.h"
#include "engine/model/chat/limits.h"
#include "engine/model/chat/methods.h"
#include "engine/model/chat/operators.h"
#include "engine/model/chat/value_tests.h"
#include "engine/model/chat/value_text.h"

namespace baton::chat {
namespace {

// How a block was left.
enum class Flow : uint8_t { kNext, kBreak, kContinue };

class Evaluator {
 public:
  Evaluator(const Dict& variables, Workspace& workspace)
      : workspace_(workspace), scope_(workspace.NewScope(nullptr)) {
    for (const Dict::Entry& entry : variables.entries()) {
      scope_->variables.insert_or_assign(entry.key.text().bytes(), entry.value);
    }
  }

  absl::StatusOr<MarkedText> Render(const Block& block) {
    const auto flow = Run(block);
    if (!flow.ok()) {
      return TemplateError(error_at_.value_or(SourcePosition{}),
                           std::string(flow.status().message()));
    }
    return std::move(root_);
  }

 private:
  // Counts how deep statements, operators and macros are in each other while they run.
  class Depth {
   public:
    explicit Depth(int& depth) : depth_(depth) { ++depth_; }
    ~Depth() { --depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    int& depth_;
  };

  // Everything until the end of a C++ scope runs in `scope`.
  class Inside {
   public:
    Inside(Scope*& current, Scope* scope) : current_(current), outer_(current) { current = scope; }
    ~Inside() { current_ = outer_; }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    Scope*& current_;
    Scope* const outer_;
  };

  // An error is where it first came up: the innermost place.
  absl::Status At(SourcePosition at, absl::Status status) {
    if (!status.ok() && !error_at_.has_value()) error_at_ = at;
    return status;
  }
  absl::Status Error(SourcePosition at, const std::string& what) {
    return At(at, absl::InvalidArgumentError(what));
  }
  template <class T>
  absl::StatusOr<T> At(SourcePosition at, absl::StatusOr<T> result) {
    if (!result.ok()) return At(at, std::move(result).status());
    return result;
  }

  absl::Status Enter(SourcePosition at) {
    if (depth_ > kRecursionMax) {
      return Error(at, StrCat("the template recurses deeper than ", kRecursionMax));
    }
    return At(at, workspace_.Spend(1));
  }

  absl::StatusOr<Scope*> NewScope(Scope* parent) {
    RETURN_IF_ERROR(workspace_.Spend(kScopeSteps));
    return workspace_.NewScope(parent);
  }

  // ---- statements

  absl::StatusOr<Flow> Run(const Block& block) {
    for (const StatementPtr& statement : block) {
      ASSIGN_OR_RETURN(const Flow flow, Run(*statement));
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  absl::StatusOr<Flow> Run(const Statement& statement) {
    const Depth depth(depth_);
    RETURN_IF_ERROR(Enter(statement.at));
    switch (statement.kind) {
      case Statement::Kind::kText:
        RETURN_IF_ERROR(Output(statement.at, statement.text));
        return Flow::kNext;
      case Statement::Kind::kOutput:
        return RunOutput(statement);
      case Statement::Kind::kIf:
        return RunIf(statement);
      case Statement::Kind::kFor:
        return RunFor(statement);
      case Statement::Kind::kSet:
        return RunSet(statement);
      case Statement::Kind::kSetBlock:
        return RunSetBlock(statement);
      case Statement::Kind::kMacro:
        RETURN_IF_ERROR(At(statement.at, workspace_.Spend(kValueSteps)));
        scope_->variables.insert_or_assign(
            statement.name, workspace_.NewMacro({.statement = &statement, .scope = scope_}));
        return Flow::kNext;
      case Statement::Kind::kFilter:
        return RunFilter(statement);
      case Statement::Kind::kWith:
        return RunWith(statement);
      case Statement::Kind::kScope: {
        ASSIGN_OR_RETURN(Scope* const scope, At(statement.at, NewScope(scope_)));
        const Inside inside(scope_, scope);
        return Run(statement.blocks[0]);
      }
      case Statement::Kind::kBreak:
        return Flow::kBreak;
      case Statement::Kind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kNext;
  }

  absl::Status Output(SourcePosition at, const MarkedText& text) {
    if (out_->size() + text.size() > kOutputBytesMax) {
      return Error(at, StrCat("the text gets longer than ", kOutputBytesMax, " bytes"));
    }
    RETURN_IF_ERROR(At(at, workspace_.SpendText(text)));
    out_->Append(text);
    return absl::OkStatus();
  }

  absl::StatusOr<Flow> RunOutput(const Statement& statement) {
    ASSIGN_OR_RETURN(const Value value, Eval(*statement.expressions[0]));
    if (value.IsText()) {
      RETURN_IF_ERROR(Output(statement.at, value.text()));
    } else {
      ASSIGN_OR_RETURN(const MarkedText text, At(statement.at, ToText(value, workspace_)));
      RETURN_IF_ERROR(Output(statement.at, text));
    }
    return Flow::kNext;
  }

  absl::StatusOr<Flow> RunIf(const Statement& statement) {
    for (size_t i = 0; i < statement.expressions.size(); ++i) {
      ASSIGN_OR_RETURN(const Value condition, Eval(*statement.expressions[i]));
      if (IsTrue(condition)) return Run(statement.blocks[i]);
    }
    if (statement.blocks.size() > statement.expressions.size()) {
      return Run(statement.blocks.back());
    }
    return Flow::kNext;
  }

  absl::StatusOr<Flow> RunFor(const Statement& statement) {
    ASSIGN_OR_RETURN(const Value over, Eval(*statement.expressions[0]));
    ASSIGN_OR_RETURN(std::vector<Value> items, At(statement.at, Items(over, workspace_)));
    ASSIGN_OR_RETURN(Scope* const scope, At(statement.at, NewScope(scope_)));
    if (statement.expressions[1] != nullptr) {
      RETURN_IF_ERROR(Filter(statement, *scope, items));
    }
    if (items.empty()) {
      return statement.blocks.size() > 1 ? Run(statement.blocks[1]) : Flow::kNext;
    }
    ASSIGN_OR_RETURN(const Value list, At(statement.at, workspace_.List(std::move(items))));
    Loop* const loop = workspace_.NewLoop();
    loop->items = &list.list();
    const Inside inside(scope_, scope);
    for (; loop->index0 < loop->items->items.size(); ++loop->index0) {
      RETURN_IF_ERROR(At(statement.at, workspace_.Spend(1)));
      scope->variables.clear();
      scope->variables.insert_or_assign("loop", Value::OfLoop(loop));
      RETURN_IF_ERROR(Assign(statement, loop->items->items[loop->index0]));
      ASSIGN_OR_RETURN(const Flow flow, Run(statement.blocks[0]));
      if (flow == Flow::kBreak) break;
    }
    // What outlives the loop sees its last item.
    loop->index0 = std::min(loop->index0, loop->items->items.size() - 1);
    return Flow::kNext;
  }

  // Keeps the items that a for statement's condition is true of.
  absl::Status Filter(const Statement& statement, Scope& scope, std::vector<Value>& items) {
    const Inside inside(scope_, &scope);
    std::vector<Value> kept;
    for (const Value& item : items) {
      RETURN_IF_ERROR(Assign(statement, item));
      ASSIGN_OR_RETURN(const Value condition, Eval(*statement.expressions[1]));
      if (IsTrue(condition)) kept.push_back(item);
    }
    items = std::move(kept);
    return absl::OkStatus();
  }

  // To the statement's target, in the current scope.
  absl::Status Assign(const Statement& statement, const Value& value) {
    const Target& target = statement.target;
    if (!target.attribute.empty()) {
      const Value of = Lookup(target.names[0]);
      if (!of.Is(Value::Kind::kNamespace)) {
        return Error(statement.at,
                     StrCat("'", target.names[0], "' is no namespace whose attributes can be set"));
      }
      of.dict().Set(&target.attribute, value);
      return absl::OkStatus();
    }
    if (!target.several) {
      scope_->variables.insert_or_assign(target.names[0], value);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const std::vector<Value> parts, At(statement.at, Items(value, workspace_)));
    if (parts.size() != target.names.size()) {
      return Error(statement.at, StrCat("a value of ", parts.size(),
                                        " parts cannot be taken apart "
                                        "into ",
                                        target.names.size(), " names"));
    }
    for (size_t i = 0; i < parts.size(); ++i) {
      scope_->variables.insert_or_assign(target.names[i], parts[i]);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Flow> RunSet(const Statement& statement) {
    ASSIGN_OR_RETURN(const Value value, Eval(*statement.expressions[0]));
    RETURN_IF_ERROR(Assign(statement, value));
    return Flow::kNext;
  }

  // What a block writes, in a scope of its own.
  absl::StatusOr<Value> Captured(SourcePosition at, const Block& block, Scope* scope) {
    MarkedText text;
    MarkedText* const outer = std::exchange(out_, &text);
    const Inside inside(scope_, scope);
    const auto flow = Run(block);
    out_ = outer;
    RETURN_IF_ERROR(flow.status());
    return At(at, workspace_.Text(std::move(text)));
  }

  absl::StatusOr<Flow> RunSetBlock(const Statement& statement) {
    ASSIGN_OR_RETURN(Scope* const scope, At(statement.at, NewScope(scope_)));
    ASSIGN_OR_RETURN(Value value, Captured(statement.at, statement.blocks[0], scope));
    if (statement.expressions[0] != nullptr) {
      ASSIGN_OR_RETURN(value, EvalFilter(*statement.expressions[0], &value));
    }
    RETURN_IF_ERROR(Assign(statement, value));
    return Flow::kNext;
  }

  absl::StatusOr<Flow> RunFilter(const Statement& statement) {
    ASSIGN_OR_RETURN(Scope* const scope, At(statement.at, NewScope(scope_)));
    ASSIGN_OR_RETURN(const Value block, Captured(statement.at, statement.blocks[0], scope));
    ASSIGN_OR_RETURN(const Value value, EvalFilter(*statement.expressions[0], &block));
    ASSIGN_OR_RETURN(const MarkedText text, At(statement.at, ToText(value, workspace_)));
    RETURN_IF_ERROR(Output(statement.at, text));
    return Flow::kNext;
  }

  absl::StatusOr<Flow> RunWith(const Statement& statement) {
    ASSIGN_OR_RETURN(Scope* const scope, At(statement.at, NewScope(scope_)));
    for (size_t i = 0; i < statement.parameters.size(); ++i) {
      ASSIGN_OR_RETURN(const Value value, Eval(*statement.expressions[i]));
      scope->variables.insert_or_assign(statement.parameters[i], value);
    }
    const Inside inside(scope_, scope);
    return Run(statement.blocks[0]);
  }

  // ---- expressions

  Value Lookup(std::string_view name) {
    for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
      const auto found = scope->variables.find(name);
      if (found != scope->variables.end()) return found->second;
      workspace_.Owe(1);
    }
    if (const auto function = FindFunction(name)) return Value::OfFunction(*function);
    return workspace_.Undefined(StrCat("'", Escaped(name), "' is undefined"));
  }

  absl::StatusOr<Value> Eval(const Expression& expression) {
    const Depth depth(depth_);
    RETURN_IF_ERROR(Enter(expression.at));
    switch (expression.kind) {
      case Expression::Kind::kConstant:
        return expression.value;
      case Expression::Kind::kName:
        return Lookup(expression.name);
      case Expression::Kind::kAttribute:
        return EvalAttribute(expression);
      case Expression::Kind::kItem:
        return EvalItem(expression);
      case Expression::Kind::kSlice:
        return EvalSlice(expression);
      case Expression::Kind::kCall:
        return EvalCall(expression);
      case Expression::Kind::kFilter:
        return EvalFilter(expression, nullptr);
      case Expression::Kind::kTest:
        return EvalTest(expression);
      case Expression::Kind::kUnary:
        return EvalUnary(expression);
      case Expression::Kind::kArithmetic:
        return EvalArithmetic(expression);
      case Expression::Kind::kComparison:
        return EvalComparison(expression);
      case Expression::Kind::kAnd:
        return EvalLogic(expression, /*stop_at=*/false);
      case Expression::Kind::kOr:
        return EvalLogic(expression, /*stop_at=*/true);
      case Expression::Kind::kConcatenate:
        return EvalConcatenation(expression);
      case Expression::Kind::kConditional:
        return EvalConditional(expression);
      case Expression::Kind::kList:
      case Expression::Kind::kTuple:
        return EvalList(expression);
      case Expression::Kind::kDict:
        return EvalDict(expression);
    }
    return Value();
  }

  absl::StatusOr<Value> EvalAttribute(const Expression& expression) {
    ASSIGN_OR_RETURN(const Value object, Eval(*expression.parts[0]));
    return At(expression.at, GetAttribute(object, expression.name, workspace_));
  }

  absl::StatusOr<Value> EvalItem(const Expression& expression) {
    ASSIGN_OR_RETURN(const Value object, Eval(*expression.parts[0]));
    ASSIGN_OR_RETURN(const Value key, Eval(*expression.parts[1]));
    return At(expression.at, GetItem(object, key, workspace_));
  }

  absl::StatusOr<std::optional<int64_t>> EvalBound(const Expression* bound) {
    if (bound == nullptr) return std::optional<int64_t>();
    ASSIGN_OR_RETURN(const Value value, Eval(*bound));
    if (value.IsNone()) return std::optional<int64_t>();
    if (!value.IsInteger()) return At(bound->at, TypeError("an integer in a slice", value));
    return std::optional(value.integer());
  }

  absl::StatusOr<Value> EvalSlice(const Expression& expression) {
    ASSIGN_OR_RETURN(const Value object, Eval(*expression.parts[0]));
    SliceBounds bounds;
    ASSIGN_OR_RETURN(bounds.begin, EvalBound(expression.parts[1].get()));
    ASSIGN_OR_RETURN(bounds.end, EvalBound(expression.parts[2].get()));
    ASSIGN_OR_RETURN(const auto step, EvalBound(expression.parts[3].get()));
    bounds.step = step.value_or(1);
    return At(expression.at, GetSlice(object, bounds, workspace_));
  }

  // parts[1..] and named.
  absl::StatusOr<Arguments> EvalArguments(const Expression& call) {
    Arguments arguments;
    for (size_t i = 1; i < call.parts.size(); ++i) {
      ASSIGN_OR_RETURN(const Value value, Eval(*call.parts[i]));
      arguments.values.push_back(value);
    }
    for (const NamedArgument& named : call.named) {
      ASSIGN_OR_RETURN(const Value value, Eval(*named.value));
      arguments.named.emplace_back(named.name, value);
    }
    return arguments;
  }

  absl::StatusOr<Value> EvalCall(const Expression& expression) {
    const Expression& callee = *expression.parts[0];
    Value called;
    if (callee.kind == Expression::Kind::kAttribute) {
      ASSIGN_OR_RETURN(const Value self, Eval(*callee.parts[0]));
      if (const auto method = FindMethod(self, callee.name)) {
        ASSIGN_OR_RETURN(const Arguments arguments, EvalArguments(expression));
        return At(expression.at,
                  CallMethod({.self = self, .name = *method}, arguments, workspace_));
      }
      ASSIGN_OR_RETURN(called, At(callee.at, GetAttribute(self, callee.name, workspace_)));
    } else {
      ASSIGN_OR_RETURN(called, Eval(callee));
    }
    ASSIGN_OR_RETURN(const Arguments arguments, EvalArguments(expression));
    switch (called.kind()) {
      case Value::Kind::kMacro:
        return CallMacro(expression.at, called.macro(), arguments);
      case Value::Kind::kFunction:
        return At(expression.at, CallFunction(called.function(), arguments, workspace_));
      case Value::Kind::kMethod:
        return At(expression.at, CallMethod(called.method(), arguments, workspace_));
      case Value::Kind::kUndefined:
        return At(expression.at, UndefinedError(called));
      default:
        return Error(expression.at,
                     StrCat("a value of type ", TypeName(called), " cannot be called"));
    }
  }

  absl::StatusOr<Value> CallMacro(SourcePosition at, const Macro& macro,
                                  const Arguments& arguments) {
    const Statement& statement = *macro.statement;
    const std::vector<std::string>& parameters = statement.parameters;
    ASSIGN_OR_RETURN(Scope* const scope, At(at, NewScope(macro.scope)));
    if (arguments.values.size() > parameters.size()) {
      return Error(at, StrCat("'", statement.name, "' takes at most ", parameters.size(),
                              " arguments, but is given ", arguments.values.size()));
    }
    for (size_t i = 0; i < arguments.values.size(); ++i) {
      scope->variables.insert_or_assign(parameters[i], arguments.values[i]);
    }
    for (const auto& [name, value] : arguments.named) {
      const auto found = std::find(parameters.begin(), parameters.end(), name);
      if (found == parameters.end()) {
        return Error(at, StrCat("'", statement.name, "' has no parameter '", Escaped(name), "'"));
      }
      if (!scope->variables.try_emplace(*found, value).second) {
        return Error(at, StrCat("'", statement.name, "' is given '", Escaped(name), "' twice"));
      }
    }
    const Inside inside(scope_, scope);
    const size_t first_default = parameters.size() - statement.expressions.size();
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (scope->variables.contains(parameters[i])) continue;
      Value value =
          workspace_.Undefined(StrCat("parameter '", Escaped(parameters[i]), "' was not provided"));
      if (i >= first_default) {
        ASSIGN_OR_RETURN(value, Eval(*statement.expressions[i - first_default]));
      }
      scope->variables.insert_or_assign(parameters[i], value);
    }
    return Captured(at, statement.blocks[0], scope);
  }

  // A chain of filters of a block goes over `block`.
  absl::StatusOr<Value> EvalFilter(const Expression& expression, const Value* block) {
    const Depth depth(depth_);
    RETURN_IF_ERROR(Enter(expression.at));
    Value value;
    if (expression.parts[0] == nullptr) {
      value = *block;
    } else if (block != nullptr) {
      ASSIGN_OR_RETURN(value, EvalFilter(*expression.parts[0], block));
    } else {
      ASSIGN_OR_RETURN(value, Eval(*expression.parts[0]));
    }
    ASSIGN_OR_RETURN(const Arguments arguments, EvalArguments(expression));
    return At(expression.at, ApplyFilter(expression.name, value, arguments, workspace_));
  }

  absl::StatusOr<Value> EvalTest(const Expression& expression) {
    ASSIGN_OR_RETURN(const Value value, Eval(*expression.parts[0]));
    ASSIGN_OR_RETURN(const Arguments arguments, EvalArguments(expression));
    ASSIGN_OR_RETURN(const bool holds, At(expression.at, ApplyTest(expression.name, value,
                                                                   arguments.values, workspace_)));
    return Value::Bool(holds);
  }

  absl::StatusOr<Value> EvalUnary(const Expression& expression) {
    ASSIGN_OR_RETURN(const Value value, Eval(*expression.parts[0]));
    if (expression.operators[0] == Operator::kNot) return Value::Bool(!IsTrue(value));
    if (expression.operators[0] == Operator::kNegate) return At(expression.at, Negate(value));
    if (!value.IsNumber()) return At(expression.at, TypeError("a number behind '+'", value));
    return value.Is(Value::Kind::kBool) ? Value::Int(value.integer()) : value;
  }

  absl::StatusOr<Value> EvalArithmetic(const Expression& expression) {
    ASSIGN_OR_RETURN(const Value left, Eval(*expression.parts[0]));
    ASSIGN_OR_RETURN(const Value right, Eval(*expression.parts[1]));
    return At(expression.at, Calculate(expression.operators[0], left, right, workspace_));
  }

  absl::StatusOr<Value> EvalComparison(const Expression& expression) {
    ASSIGN_OR_RETURN(Value left, Eval(*expression.parts[0]));
    for (size_t i = 0; i < expression.operators.size(); ++i) {
      ASSIGN_OR_RETURN(const Value right, Eval(*expression.parts[i + 1]));
      ASSIGN_OR_RETURN(const bool holds, At(expression.at, Compare(expression.operators[i], left,
                                                                   right, workspace_)));
      if (!holds) return Value::Bool(false);
      left = right;
    }
    return Value::Bool(true);
  }

  // The first part that is `stop_at`, or the last one.
  absl::StatusOr<Value> EvalLogic(const Expression& expression, bool stop_at) {
    Value value;
    for (const ExpressionPtr& part : expression.parts) {
      ASSIGN_OR_RETURN(value, Eval(*part));
      if (IsTrue(value) == stop_at) break;
    }
    return value;
  }

  absl::StatusOr<Value> EvalConcatenation(const Expression& expression) {
    MarkedText text;
    for (const ExpressionPtr& part : expression.parts) {
      ASSIGN_OR_RETURN(const Value value, Eval(*part));
      ASSIGN_OR_RETURN(const MarkedText shown, At(part->at, ToText(value, workspace_)));
      text.Append(shown);
    }
    return At(expression.at, workspace_.Text(std::move(text)));
  }

  absl::StatusOr<Value> EvalConditional(const Expression& expression) {
    ASSIGN_OR_RETURN(const Value condition, Eval(*expression.parts[1]));
    if (IsTrue(condition)) return Eval(*expression.parts[0]);
    if (expression.parts[2] != nullptr) return Eval(*expression.parts[2]);
    return workspace_.Undefined("the inline 'if' was false and has no 'else'");
  }

  absl::StatusOr<Value> EvalList(const Expression& expression) {
    std::vector<Value> items;
    for (const ExpressionPtr& part : expression.parts) {
      ASSIGN_OR_RETURN(const Value item, Eval(*part));
      items.push_back(item);
    }
    return At(expression.at,
              workspace_.List(std::move(items), expression.kind == Expression::Kind::kTuple));
  }

  absl::StatusOr<Value> EvalDict(const Expression& expression) {
    RETURN_IF_ERROR(At(expression.at, workspace_.SpendItems(expression.parts.size())));
    Dict* const dict = workspace_.NewDict();
    for (size_t i = 0; i < expression.parts.size(); i += 2) {
      ASSIGN_OR_RETURN(const Value key, Eval(*expression.parts[i]));
      ASSIGN_OR_RETURN(const Value value, Eval(*expression.parts[i + 1]));
      if (!Dict::IsKey(key)) {
        return At(expression.parts[i]->at,
                  TypeError("a string or an integer as an object's key", key));
      }
      dict->Set(key, value);
    }
    return Value::OfDict(dict);
  }

  Workspace& workspace_;
  Scope* scope_;
  MarkedText root_;
  MarkedText* out_ = &root_;
  int depth_ = 0;
  std::optional<SourcePosition> error_at_;
};

}  // namespace

absl::StatusOr<MarkedText> Evaluate(const Block& block, const Dict& variables,
                                    Workspace& workspace) {
  return Evaluator(variables, workspace).Render(block);
}

}  // namespace baton::chat
