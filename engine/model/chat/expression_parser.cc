#include "engine/model/chat/expression_parser.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/filters.h"
#include "engine/model/chat/limits.h"
#include "engine/model/chat/value_tests.h"

namespace baton::chat {
namespace {

using Kind = Expression::Kind;

struct OperatorSign {
  std::string_view sign;
  Operator op;
};

template <size_t kCount>
std::optional<Operator> OperatorOf(const Token& token, const OperatorSign (&signs)[kCount]) {
  if (token.kind != Token::Kind::kSign) return std::nullopt;
  const auto found = std::find_if(std::begin(signs), std::end(signs),
                                  [&token](const auto& sign) { return sign.sign == token.text; });
  return found == std::end(signs) ? std::nullopt : std::optional(found->op);
}

bool IsConstant(std::string_view name) {
  constexpr std::string_view kConstants[] = {"true", "True", "false", "False", "none", "None"};
  return std::find(std::begin(kConstants), std::end(kConstants), name) != std::end(kConstants);
}

constexpr OperatorSign kComparisons[] = {
    {"==", Operator::kEqual},       {"!=", Operator::kNotEqual}, {"<", Operator::kLess},
    {"<=", Operator::kLessOrEqual}, {">", Operator::kGreater},   {">=", Operator::kGreaterOrEqual},
};
constexpr OperatorSign kSums[] = {{"+", Operator::kAdd}, {"-", Operator::kSubtract}};
constexpr OperatorSign kProducts[] = {{"*", Operator::kMultiply},
                                      {"/", Operator::kDivide},
                                      {"//", Operator::kFloorDivide},
                                      {"%", Operator::kModulo}};
constexpr OperatorSign kPowers[] = {{"**", Operator::kPower}};

}  // namespace

bool IsReserved(std::string_view name) {
  constexpr std::string_view kReserved[] = {"and", "or", "not", "in", "is", "if", "else", "elif"};
  return IsConstant(name) ||
         std::find(std::begin(kReserved), std::end(kReserved), name) != std::end(kReserved);
}

class ExpressionParser::Nesting {
 public:
  explicit Nesting(int& nesting) : nesting_(nesting) { ++nesting_; }
  ~Nesting() { --nesting_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& nesting_;
};

absl::Status ExpressionParser::CheckNesting(const Nesting& /*nesting*/) const {
  if (nesting_ <= kNestingMax) return absl::OkStatus();
  return tokens_.ErrorHere(StrCat("an expression is nested deeper than ", kNestingMax));
}

ExpressionParser::Mutable ExpressionParser::Make(Kind kind) const {
  return std::make_unique<Expression>(Expression{.kind = kind, .at = tokens_.current().at});
}

absl::Status ExpressionParser::Add(ExpressionPtr part, Expression& whole) const {
  whole.depth = std::max(whole.depth, part->depth + 1);
  whole.parts.push_back(std::move(part));
  if (whole.depth <= kNestingMax) return absl::OkStatus();
  return tokens_.ErrorHere(StrCat("an expression is nested deeper than ", kNestingMax));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTuple(bool conditional) {
  const auto part = [this, conditional] { return conditional ? ParseConditional() : ParseOr(); };
  auto tuple = Make(Kind::kTuple);
  ASSIGN_OR_RETURN(ExpressionPtr first, part());
  if (!tokens_.current().Is(Token::Kind::kSign, ",")) return first;
  RETURN_IF_ERROR(Add(std::move(first), *tuple));
  while (tokens_.TakeSign(",")) {
    const Token& token = tokens_.current();
    const bool ends = token.kind == Token::Kind::kOutputEnd ||
                      token.kind == Token::Kind::kBlockEnd || token.Is(Token::Kind::kSign, ")");
    if (ends) break;
    ASSIGN_OR_RETURN(ExpressionPtr next, part());
    RETURN_IF_ERROR(Add(std::move(next), *tuple));
  }
  return tuple;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseConditional() {
  const Nesting nesting(nesting_);
  RETURN_IF_ERROR(CheckNesting(nesting));
  ASSIGN_OR_RETURN(ExpressionPtr value, ParseOr());
  while (tokens_.current().Is(Token::Kind::kName, "if")) {
    auto whole = Make(Kind::kConditional);
    tokens_.Take();
    RETURN_IF_ERROR(Add(std::move(value), *whole));
    ASSIGN_OR_RETURN(ExpressionPtr condition, ParseOr());
    RETURN_IF_ERROR(Add(std::move(condition), *whole));
    if (tokens_.TakeName("else")) {
      ASSIGN_OR_RETURN(ExpressionPtr other, ParseConditional());
      RETURN_IF_ERROR(Add(std::move(other), *whole));
    } else {
      whole->parts.push_back(nullptr);
    }
    value = std::move(whole);
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseJoined(Kind kind, Token::Kind token,
                                                            std::string_view sign, Step part) {
  auto joined = Make(kind);
  ASSIGN_OR_RETURN(ExpressionPtr first, (this->*part)());
  if (!tokens_.current().Is(token, sign)) return first;
  RETURN_IF_ERROR(Add(std::move(first), *joined));
  while (tokens_.current().Is(token, sign)) {
    tokens_.Take();
    ASSIGN_OR_RETURN(ExpressionPtr next, (this->*part)());
    RETURN_IF_ERROR(Add(std::move(next), *joined));
  }
  return joined;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseOr() {
  return ParseJoined(Kind::kOr, Token::Kind::kName, "or", &ExpressionParser::ParseAnd);
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseAnd() {
  return ParseJoined(Kind::kAnd, Token::Kind::kName, "and", &ExpressionParser::ParseNot);
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseNot() {
  if (!tokens_.current().Is(Token::Kind::kName, "not")) return ParseComparison();
  const Nesting nesting(nesting_);
  RETURN_IF_ERROR(CheckNesting(nesting));
  auto negation = Make(Kind::kUnary);
  tokens_.Take();
  negation->operators.push_back(Operator::kNot);
  ASSIGN_OR_RETURN(ExpressionPtr value, ParseNot());
  RETURN_IF_ERROR(Add(std::move(value), *negation));
  return negation;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseComparison() {
  auto comparison = Make(Kind::kComparison);
  ASSIGN_OR_RETURN(ExpressionPtr first, ParseSum());
  RETURN_IF_ERROR(Add(std::move(first), *comparison));
  while (true) {
    std::optional<Operator> op = OperatorOf(tokens_.current(), kComparisons);
    if (op.has_value()) {
      comparison->at = comparison->operators.empty() ? tokens_.current().at : comparison->at;
      tokens_.Take();
    } else if (tokens_.TakeName("in")) {
      op = Operator::kIn;
    } else if (tokens_.current().Is(Token::Kind::kName, "not") &&
               tokens_.next().Is(Token::Kind::kName, "in")) {
      tokens_.Take();
      tokens_.Take();
      op = Operator::kNotIn;
    } else {
      break;
    }
    comparison->operators.push_back(*op);
    ASSIGN_OR_RETURN(ExpressionPtr next, ParseSum());
    RETURN_IF_ERROR(Add(std::move(next), *comparison));
  }
  if (comparison->operators.empty()) return std::move(comparison->parts.front());
  return comparison;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSum() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseConcatenation());
  while (const auto op = OperatorOf(tokens_.current(), kSums)) {
    auto sum = Make(Kind::kArithmetic);
    tokens_.Take();
    sum->operators.push_back(*op);
    RETURN_IF_ERROR(Add(std::move(left), *sum));
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseConcatenation());
    RETURN_IF_ERROR(Add(std::move(right), *sum));
    left = std::move(sum);
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseConcatenation() {
  return ParseJoined(Kind::kConcatenate, Token::Kind::kSign, "~", &ExpressionParser::ParseProduct);
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseProduct() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParsePower());
  while (const auto op = OperatorOf(tokens_.current(), kProducts)) {
    auto product = Make(Kind::kArithmetic);
    tokens_.Take();
    product->operators.push_back(*op);
    RETURN_IF_ERROR(Add(std::move(left), *product));
    ASSIGN_OR_RETURN(ExpressionPtr right, ParsePower());
    RETURN_IF_ERROR(Add(std::move(right), *product));
    left = std::move(product);
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePower() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseUnary());
  while (const auto op = OperatorOf(tokens_.current(), kPowers)) {
    auto power = Make(Kind::kArithmetic);
    tokens_.Take();
    power->operators.push_back(*op);
    RETURN_IF_ERROR(Add(std::move(left), *power));
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseUnary());
    RETURN_IF_ERROR(Add(std::move(right), *power));
    left = std::move(power);
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSigned(bool filters) {
  const Nesting nesting(nesting_);
  RETURN_IF_ERROR(CheckNesting(nesting));
  ExpressionPtr value;
  const bool minus = tokens_.current().Is(Token::Kind::kSign, "-");
  if (minus || tokens_.current().Is(Token::Kind::kSign, "+")) {
    auto sign = Make(Kind::kUnary);
    tokens_.Take();
    sign->operators.push_back(minus ? Operator::kNegate : Operator::kPlus);
    ASSIGN_OR_RETURN(ExpressionPtr signed_value, ParseSigned(/*filters=*/false));
    RETURN_IF_ERROR(Add(std::move(signed_value), *sign));
    value = std::move(sign);
  } else {
    ASSIGN_OR_RETURN(value, ParsePrimary());
  }
  ASSIGN_OR_RETURN(value, ParsePostfix(std::move(value)));
  while (filters) {
    if (tokens_.TakeSign("|")) {
      ASSIGN_OR_RETURN(value, ParseFilter(std::move(value)));
    } else if (tokens_.TakeName("is")) {
      ASSIGN_OR_RETURN(value, ParseTest(std::move(value)));
    } else if (tokens_.current().Is(Token::Kind::kSign, "(")) {
      ASSIGN_OR_RETURN(value, ParseCall(std::move(value)));
    } else {
      break;
    }
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePrimary() {
  const Token& token = tokens_.current();
  switch (token.kind) {
    case Token::Kind::kName:
      return ParseName();
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
      return ParseNumber();
    case Token::Kind::kString:
      return ParseString();
    case Token::Kind::kSign:
      if (token.text == "(") return ParseParentheses();
      if (token.text == "[") return ParseList();
      if (token.text == "{") return ParseDict();
      break;
    default:
      break;
  }
  return tokens_.ErrorHere(StrCat("a value is expected, not ", tokens_.Shown()));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseName() {
  auto constant = Make(Kind::kConstant);
  const std::string name = tokens_.current().text;
  if (name == "true" || name == "True") {
    constant->value = Value::Bool(true);
  } else if (name == "false" || name == "False") {
    constant->value = Value::Bool(false);
  } else if (name == "none" || name == "None") {
    constant->value = Value::None();
  } else if (IsReserved(name)) {
    return tokens_.ErrorHere(StrCat("a value is expected, not '", name, "'"));
  } else {
    constant->kind = Kind::kName;
    constant->name = name;
  }
  tokens_.Take();
  return constant;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseNumber() {
  auto constant = Make(Kind::kConstant);
  const Token token = tokens_.current();
  const char* const first = token.text.data();
  const char* const last = first + token.text.size();
  std::errc error{};
  if (token.kind == Token::Kind::kInteger) {
    int64_t value = 0;
    error = std::from_chars(first, last, value).ec;
    constant->value = Value::Int(value);
  } else {
    double value = 0;
    error = std::from_chars(first, last, value).ec;
    constant->value = Value::Float(value);
  }
  if (error != std::errc()) return tokens_.ErrorHere("the number is out of range");
  tokens_.Take();
  return constant;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseString() {
  auto constant = Make(Kind::kConstant);
  while (tokens_.current().kind == Token::Kind::kString) {
    constant->text.Append(tokens_.Take().text, Origin::kTemplate);
  }
  constant->value = Value::Text(&constant->text);
  return constant;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseParentheses() {
  auto empty = Make(Kind::kTuple);
  tokens_.Take();
  if (tokens_.TakeSign(")")) return empty;
  ASSIGN_OR_RETURN(ExpressionPtr inside, ParseTuple());
  if (!tokens_.TakeSign(")")) {
    return tokens_.ErrorHere(StrCat("')' is expected, not ", tokens_.Shown()));
  }
  return inside;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseList() {
  auto list = Make(Kind::kList);
  tokens_.Take();
  while (!tokens_.TakeSign("]")) {
    if (!list->parts.empty() && !tokens_.TakeSign(",")) {
      return tokens_.ErrorHere(StrCat("',' or ']' is expected, not ", tokens_.Shown()));
    }
    if (!list->parts.empty() && tokens_.TakeSign("]")) break;
    ASSIGN_OR_RETURN(ExpressionPtr item, ParseConditional());
    RETURN_IF_ERROR(Add(std::move(item), *list));
  }
  return list;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseDict() {
  auto dict = Make(Kind::kDict);
  tokens_.Take();
  while (!tokens_.TakeSign("}")) {
    if (!dict->parts.empty() && !tokens_.TakeSign(",")) {
      return tokens_.ErrorHere(StrCat("',' or '}' is expected, not ", tokens_.Shown()));
    }
    if (!dict->parts.empty() && tokens_.TakeSign("}")) break;
    ASSIGN_OR_RETURN(ExpressionPtr key, ParseConditional());
    RETURN_IF_ERROR(Add(std::move(key), *dict));
    if (!tokens_.TakeSign(":")) {
      return tokens_.ErrorHere(StrCat("':' is expected, not ", tokens_.Shown()));
    }
    ASSIGN_OR_RETURN(ExpressionPtr value, ParseConditional());
    RETURN_IF_ERROR(Add(std::move(value), *dict));
  }
  return dict;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePostfix(ExpressionPtr of) {
  while (true) {
    if (tokens_.current().Is(Token::Kind::kSign, ".")) {
      auto attribute = Make(Kind::kAttribute);
      tokens_.Take();
      const Token::Kind kind = tokens_.current().kind;
      if (kind == Token::Kind::kInteger) {
        attribute->kind = Kind::kItem;
        RETURN_IF_ERROR(Add(std::move(of), *attribute));
        ASSIGN_OR_RETURN(ExpressionPtr index, ParseNumber());
        RETURN_IF_ERROR(Add(std::move(index), *attribute));
      } else if (kind == Token::Kind::kName) {
        attribute->name = tokens_.Take().text;
        RETURN_IF_ERROR(Add(std::move(of), *attribute));
      } else {
        return tokens_.ErrorHere(StrCat("an attribute's name is expected, not ", tokens_.Shown()));
      }
      of = std::move(attribute);
    } else if (tokens_.current().Is(Token::Kind::kSign, "[")) {
      ASSIGN_OR_RETURN(of, ParseItem(std::move(of)));
    } else if (tokens_.current().Is(Token::Kind::kSign, "(")) {
      ASSIGN_OR_RETURN(of, ParseCall(std::move(of)));
    } else {
      return of;
    }
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseItem(ExpressionPtr of) {
  auto item = Make(Kind::kItem);
  tokens_.Take();
  RETURN_IF_ERROR(Add(std::move(of), *item));
  ExpressionPtr bounds[3];
  size_t bound = 0;
  while (!tokens_.TakeSign("]")) {
    if (tokens_.TakeSign(":")) {
      item->kind = Kind::kSlice;
      if (++bound == 3) return tokens_.ErrorHere("a slice has at most three parts");
    } else if (bounds[bound] != nullptr) {
      return tokens_.ErrorHere(StrCat("']' is expected, not ", tokens_.Shown()));
    } else {
      ASSIGN_OR_RETURN(bounds[bound], ParseConditional());
    }
  }
  if (item->kind == Kind::kItem && bounds[0] == nullptr) {
    return tokens_.ErrorHere("an index is missing in '[]'");
  }
  for (size_t i = 0; i < (item->kind == Kind::kItem ? 1 : 3); ++i) {
    if (bounds[i] == nullptr) {
      item->parts.push_back(nullptr);
    } else {
      RETURN_IF_ERROR(Add(std::move(bounds[i]), *item));
    }
  }
  return item;
}

absl::Status ExpressionParser::ParseArguments(Expression& call) {
  tokens_.Take();
  for (bool first = true; !tokens_.TakeSign(")"); first = false) {
    if (!first && !tokens_.TakeSign(",")) {
      return tokens_.ErrorHere(StrCat("',' or ')' is expected, not ", tokens_.Shown()));
    }
    if (!first && tokens_.TakeSign(")")) break;
    if (tokens_.current().Is(Token::Kind::kSign, "*") ||
        tokens_.current().Is(Token::Kind::kSign, "**")) {
      return tokens_.ErrorHere("'*' before an argument is not supported");
    }
    const bool named =
        tokens_.current().kind == Token::Kind::kName && tokens_.next().Is(Token::Kind::kSign, "=");
    if (!named && !call.named.empty()) {
      return tokens_.ErrorHere("an argument without a name stands behind one with a name");
    }
    if (!named) {
      ASSIGN_OR_RETURN(ExpressionPtr value, ParseConditional());
      RETURN_IF_ERROR(Add(std::move(value), call));
      continue;
    }
    std::string name = tokens_.Take().text;
    tokens_.Take();
    ASSIGN_OR_RETURN(ExpressionPtr value, ParseConditional());
    call.depth = std::max(call.depth, value->depth + 1);
    call.named.push_back({std::move(name), std::move(value)});
  }
  if (call.depth <= kNestingMax) return absl::OkStatus();
  return tokens_.ErrorHere(StrCat("an expression is nested deeper than ", kNestingMax));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseCall(ExpressionPtr of) {
  auto call = Make(Kind::kCall);
  RETURN_IF_ERROR(Add(std::move(of), *call));
  RETURN_IF_ERROR(ParseArguments(*call));
  return call;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilter(ExpressionPtr of) {
  auto filter = Make(Kind::kFilter);
  if (tokens_.current().kind != Token::Kind::kName) {
    return tokens_.ErrorHere(StrCat("a filter's name is expected, not ", tokens_.Shown()));
  }
  if (!HasFilter(tokens_.current().text)) {
    return tokens_.ErrorHere(StrCat("there is no filter ", tokens_.Shown()));
  }
  filter->name = tokens_.Take().text;
  if (of == nullptr) {
    filter->parts.push_back(nullptr);
  } else {
    RETURN_IF_ERROR(Add(std::move(of), *filter));
  }
  if (tokens_.current().Is(Token::Kind::kSign, "(")) RETURN_IF_ERROR(ParseArguments(*filter));
  return filter;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilterOfBlock() {
  ASSIGN_OR_RETURN(ExpressionPtr filter, ParseFilter(nullptr));
  while (tokens_.TakeSign("|")) {
    ASSIGN_OR_RETURN(filter, ParseFilter(std::move(filter)));
  }
  return filter;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilters() {
  if (!tokens_.TakeSign("|")) return ExpressionPtr();
  return ParseFilterOfBlock();
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTest(ExpressionPtr of) {
  auto negation = Make(Kind::kUnary);
  const bool negated = tokens_.TakeName("not");
  auto test = Make(Kind::kTest);
  if (tokens_.current().kind != Token::Kind::kName) {
    return tokens_.ErrorHere(StrCat("a test's name is expected, not ", tokens_.Shown()));
  }
  if (!HasTest(tokens_.current().text)) {
    return tokens_.ErrorHere(StrCat("there is no test ", tokens_.Shown()));
  }
  test->name = tokens_.Take().text;
  RETURN_IF_ERROR(Add(std::move(of), *test));
  const Token& token = tokens_.current();
  if (token.Is(Token::Kind::kSign, "(")) {
    RETURN_IF_ERROR(ParseArguments(*test));
    if (!test->named.empty()) return tokens_.ErrorHere("a test takes no named arguments");
  } else if (token.kind == Token::Kind::kString || token.kind == Token::Kind::kInteger ||
             token.kind == Token::Kind::kFloat || token.Is(Token::Kind::kSign, "[") ||
             token.Is(Token::Kind::kSign, "{") ||
             (token.kind == Token::Kind::kName &&
              (!IsReserved(token.text) || IsConstant(token.text)))) {
    ASSIGN_OR_RETURN(ExpressionPtr argument, ParsePrimary());
    ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    RETURN_IF_ERROR(Add(std::move(argument), *test));
  }
  if (!negated) return test;
  negation->operators.push_back(Operator::kNot);
  RETURN_IF_ERROR(Add(std::move(test), *negation));
  return negation;
}

}  // namespace baton::chat
