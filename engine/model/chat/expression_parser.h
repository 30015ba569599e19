#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/chat/syntax.h"
#include "engine/model/chat/token_stream.h"

namespace baton::chat {

// Words that stand for a constant or an operator and name no variable.
bool IsReserved(std::string_view name);

// Reads expressions with Jinja's precedence: if-else, or, and, not, comparisons, + and -, ~,
// * / // %, **, signs, then filters, tests, calls, attributes and items.
class ExpressionParser {
 public:
  // `tokens` outlives this.
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  absl::StatusOr<ExpressionPtr> Parse() { return ParseConditional(); }
  // One expression, or several with commas, which make a tuple. Not `conditional`: an `if` is left
  // for the statement.
  absl::StatusOr<ExpressionPtr> ParseTuple(bool conditional = true);
  // "| name(arguments) | ..." on a block; null: no filter follows.
  absl::StatusOr<ExpressionPtr> ParseFilters();
  // The same without the first "|".
  absl::StatusOr<ExpressionPtr> ParseFilterOfBlock();

 private:
  using Mutable = std::unique_ptr<Expression>;
  using Step = absl::StatusOr<ExpressionPtr> (ExpressionParser::*)();

  // Counts how deep the parser's own calls are.
  class Nesting;
  absl::Status CheckNesting(const Nesting& nesting) const;

  Mutable Make(Expression::Kind kind) const;
  // Adds a part; an error where the tree gets too deep.
  absl::Status Add(ExpressionPtr part, Expression& whole) const;

  absl::StatusOr<ExpressionPtr> ParseConditional();
  absl::StatusOr<ExpressionPtr> ParseOr();
  absl::StatusOr<ExpressionPtr> ParseAnd();
  absl::StatusOr<ExpressionPtr> ParseNot();
  absl::StatusOr<ExpressionPtr> ParseComparison();
  absl::StatusOr<ExpressionPtr> ParseSum();
  absl::StatusOr<ExpressionPtr> ParseConcatenation();
  absl::StatusOr<ExpressionPtr> ParseProduct();
  absl::StatusOr<ExpressionPtr> ParsePower();
  absl::StatusOr<ExpressionPtr> ParseUnary() { return ParseSigned(/*filters=*/true); }
  absl::StatusOr<ExpressionPtr> ParseSigned(bool filters);
  absl::StatusOr<ExpressionPtr> ParsePrimary();
  absl::StatusOr<ExpressionPtr> ParseName();
  absl::StatusOr<ExpressionPtr> ParseNumber();
  absl::StatusOr<ExpressionPtr> ParseString();
  absl::StatusOr<ExpressionPtr> ParseParentheses();
  absl::StatusOr<ExpressionPtr> ParseList();
  absl::StatusOr<ExpressionPtr> ParseDict();
  absl::StatusOr<ExpressionPtr> ParsePostfix(ExpressionPtr of);
  absl::StatusOr<ExpressionPtr> ParseItem(ExpressionPtr of);
  absl::StatusOr<ExpressionPtr> ParseCall(ExpressionPtr of);
  absl::StatusOr<ExpressionPtr> ParseFilter(ExpressionPtr of);
  absl::StatusOr<ExpressionPtr> ParseTest(ExpressionPtr of);
  absl::Status ParseArguments(Expression& call);
  // Parts that `sign` joins, each read by `part`.
  absl::StatusOr<ExpressionPtr> ParseJoined(Expression::Kind kind, Token::Kind token,
                                            std::string_view sign, Step part);

  TokenStream& tokens_;
  int nesting_ = 0;
};

}  // namespace baton::chat
