#include "engine/model/chat/parser.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/expression_parser.h"
#include "engine/model/chat/lexer.h"
#include "engine/model/chat/limits.h"
#include "engine/model/chat/token_stream.h"

namespace baton::chat {
namespace {

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)), expressions_(tokens_) {}

  absl::StatusOr<Block> Run() {
    ASSIGN_OR_RETURN(Block block, ParseBlock({}));
    return block;
  }

 private:
  using Names = std::initializer_list<std::string_view>;

  absl::Status ErrorHere(std::string_view what) const { return tokens_.ErrorHere(what); }

  // Statements up to a block tag of one of the names, of which "{%" and the name are taken; no
  // names: to the template's end.
  absl::StatusOr<Block> ParseBlock(Names ends) {
    if (depth_ >= kNestingMax) {
      return ErrorHere(StrCat("statements are nested deeper than ", kNestingMax));
    }
    ++depth_;
    const SourcePosition begin = tokens_.current().at;
    Block block;
    while (!tokens_.current().Is(Token::Kind::kEnd, "end of the template")) {
      if (tokens_.current().kind == Token::Kind::kText) {
        auto statement = Make(Statement::Kind::kText);
        const Token text = tokens_.Take();
        statement->text = MarkedText(text.text, Origin::kTemplate);
        block.push_back(std::move(statement));
      } else if (tokens_.current().kind == Token::Kind::kOutputBegin) {
        auto statement = Make(Statement::Kind::kOutput);
        tokens_.Take();
        ASSIGN_OR_RETURN(ExpressionPtr shown, expressions_.ParseTuple());
        statement->expressions.push_back(std::move(shown));
        if (tokens_.current().kind != Token::Kind::kOutputEnd) {
          return ErrorHere(StrCat("'}}' is expected, not ", tokens_.Shown()));
        }
        tokens_.Take();
        block.push_back(std::move(statement));
      } else {
        tokens_.Take();  // "{%"
        if (tokens_.current().kind != Token::Kind::kName) {
          return ErrorHere(StrCat("a statement is expected, not ", tokens_.Shown()));
        }
        const std::string& name = tokens_.current().text;
        if (std::find(ends.begin(), ends.end(), name) != ends.end()) {
          --depth_;
          ended_by_ = tokens_.Take().text;
          return block;
        }
        ASSIGN_OR_RETURN(StatementPtr statement, ParseStatement());
        block.push_back(std::move(statement));
      }
    }
    --depth_;
    if (ends.size() == 0) return block;
    return TemplateError(begin,
                         StrCat("the block that begins here lacks its '", *(ends.end() - 1), "'"));
  }

  absl::StatusOr<StatementPtr> ParseStatement() {
    const std::string& name = tokens_.current().text;
    if (name == "if") return ParseIf();
    if (name == "for") return ParseFor();
    if (name == "set") return ParseSet();
    if (name == "macro") return ParseMacro();
    if (name == "filter") return ParseFilterBlock();
    if (name == "with") return ParseWith();
    if (name == "generation") return ParseScope();
    if (name == "break") return ParseJump(Statement::Kind::kBreak);
    if (name == "continue") return ParseJump(Statement::Kind::kContinue);
    return ErrorHere(StrCat("the statement '", Escaped(name), "' is not supported here"));
  }

  std::unique_ptr<Statement> Make(Statement::Kind kind) const {
    return std::make_unique<Statement>(Statement{.kind = kind, .at = tokens_.current().at});
  }

  // A statement whose name is taken.
  std::unique_ptr<Statement> Begin(Statement::Kind kind) {
    auto statement = Make(kind);
    tokens_.Take();
    return statement;
  }

  absl::Status EndTag() {
    if (tokens_.current().kind != Token::Kind::kBlockEnd) {
      return ErrorHere(StrCat("'%}' is expected, not ", tokens_.Shown()));
    }
    tokens_.Take();
    return absl::OkStatus();
  }

  // The rest of this tag, the block behind it and the whole tag that ends it.
  absl::Status ParseBody(std::string_view end, Statement& statement) {
    RETURN_IF_ERROR(EndTag());
    ASSIGN_OR_RETURN(Block body, ParseBlock({end}));
    statement.blocks.push_back(std::move(body));
    // Jinja lets the name of a macro stand behind its end.
    if (end == "endmacro" && tokens_.current().kind == Token::Kind::kName) tokens_.Take();
    return EndTag();
  }

  absl::StatusOr<StatementPtr> ParseIf() {
    auto statement = Begin(Statement::Kind::kIf);
    while (true) {
      ASSIGN_OR_RETURN(ExpressionPtr condition, expressions_.ParseTuple());
      statement->expressions.push_back(std::move(condition));
      RETURN_IF_ERROR(EndTag());
      ASSIGN_OR_RETURN(Block body, ParseBlock({"elif", "else", "endif"}));
      statement->blocks.push_back(std::move(body));
      if (ended_by_ != "elif") break;
    }
    if (ended_by_ == "else") {
      RETURN_IF_ERROR(ParseBody("endif", *statement));
    } else {
      RETURN_IF_ERROR(EndTag());
    }
    return statement;
  }

  absl::StatusOr<StatementPtr> ParseFor() {
    auto statement = Begin(Statement::Kind::kFor);
    ASSIGN_OR_RETURN(statement->target, ParseTarget(/*attributes=*/false));
    if (!tokens_.TakeName("in")) {
      return ErrorHere(StrCat("'in' is expected, not ", tokens_.Shown()));
    }
    ASSIGN_OR_RETURN(ExpressionPtr items, expressions_.ParseTuple(/*conditional=*/false));
    ExpressionPtr condition;
    if (tokens_.TakeName("if")) {
      ASSIGN_OR_RETURN(condition, expressions_.Parse());
    }
    if (tokens_.current().Is(Token::Kind::kName, "recursive")) {
      return ErrorHere("'recursive' loops are not supported");
    }
    statement->expressions.push_back(std::move(items));
    statement->expressions.push_back(std::move(condition));
    RETURN_IF_ERROR(EndTag());
    ++loops_;
    ASSIGN_OR_RETURN(Block body, ParseBlock({"else", "endfor"}));
    --loops_;
    statement->blocks.push_back(std::move(body));
    if (ended_by_ == "else") {
      RETURN_IF_ERROR(ParseBody("endfor", *statement));
    } else {
      RETURN_IF_ERROR(EndTag());
    }
    return statement;
  }

  absl::StatusOr<Target> ParseTarget(bool attributes) {
    Target target;
    const bool parentheses = tokens_.TakeSign("(");
    while (true) {
      if (tokens_.current().kind != Token::Kind::kName) {
        return ErrorHere(StrCat("a name is expected, not ", tokens_.Shown()));
      }
      if (IsReserved(tokens_.current().text)) {
        return ErrorHere(StrCat("'", tokens_.current().text, "' cannot be assigned to"));
      }
      target.names.push_back(tokens_.Take().text);
      if (attributes && target.names.size() == 1 && tokens_.TakeSign(".")) {
        if (tokens_.current().kind != Token::Kind::kName) {
          return ErrorHere(StrCat("an attribute's name is expected, not ", tokens_.Shown()));
        }
        target.attribute = MarkedText(tokens_.Take().text, Origin::kTemplate);
        break;
      }
      if (!tokens_.TakeSign(",")) break;
      target.several = true;
      // A comma may stand behind the last name.
      if (tokens_.current().kind != Token::Kind::kName) break;
    }
    if (parentheses && !tokens_.TakeSign(")")) {
      return ErrorHere(StrCat("')' is expected, not ", tokens_.Shown()));
    }
    return target;
  }

  absl::StatusOr<StatementPtr> ParseSet() {
    auto statement = Begin(Statement::Kind::kSet);
    ASSIGN_OR_RETURN(statement->target, ParseTarget(/*attributes=*/true));
    if (tokens_.TakeSign("=")) {
      ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.ParseTuple());
      statement->expressions.push_back(std::move(value));
      RETURN_IF_ERROR(EndTag());
      return statement;
    }
    if (statement->target.several) return ErrorHere("a block cannot be assigned to several names");
    statement->kind = Statement::Kind::kSetBlock;
    ASSIGN_OR_RETURN(ExpressionPtr filters, expressions_.ParseFilters());
    statement->expressions.push_back(std::move(filters));
    RETURN_IF_ERROR(ParseBody("endset", *statement));
    return statement;
  }

  absl::Status ParseParameters(Statement& statement) {
    if (!tokens_.TakeSign("(")) {
      return ErrorHere(StrCat("'(' is expected, not ", tokens_.Shown()));
    }
    while (!tokens_.TakeSign(")")) {
      if (!statement.parameters.empty() && !tokens_.TakeSign(",")) {
        return ErrorHere(StrCat("',' or ')' is expected, not ", tokens_.Shown()));
      }
      if (tokens_.current().kind != Token::Kind::kName) {
        return ErrorHere(StrCat("a parameter's name is expected, not ", tokens_.Shown()));
      }
      statement.parameters.push_back(tokens_.Take().text);
      if (tokens_.TakeSign("=")) {
        ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.Parse());
        statement.expressions.push_back(std::move(value));
      } else if (!statement.expressions.empty()) {
        return ErrorHere("a parameter without a default stands behind one with a default");
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<StatementPtr> ParseMacro() {
    auto statement = Begin(Statement::Kind::kMacro);
    if (tokens_.current().kind != Token::Kind::kName) {
      return ErrorHere(StrCat("the macro's name is expected, not ", tokens_.Shown()));
    }
    statement->name = tokens_.Take().text;
    RETURN_IF_ERROR(ParseParameters(*statement));
    const int loops = std::exchange(loops_, 0);
    RETURN_IF_ERROR(ParseBody("endmacro", *statement));
    loops_ = loops;
    return statement;
  }

  absl::StatusOr<StatementPtr> ParseFilterBlock() {
    auto statement = Begin(Statement::Kind::kFilter);
    ASSIGN_OR_RETURN(ExpressionPtr filters, expressions_.ParseFilterOfBlock());
    statement->expressions.push_back(std::move(filters));
    RETURN_IF_ERROR(ParseBody("endfilter", *statement));
    return statement;
  }

  absl::StatusOr<StatementPtr> ParseWith() {
    auto statement = Begin(Statement::Kind::kWith);
    while (tokens_.current().kind == Token::Kind::kName) {
      statement->parameters.push_back(tokens_.Take().text);
      if (!tokens_.TakeSign("=")) {
        return ErrorHere(StrCat("'=' is expected, not ", tokens_.Shown()));
      }
      ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.Parse());
      statement->expressions.push_back(std::move(value));
      if (!tokens_.TakeSign(",")) break;
    }
    RETURN_IF_ERROR(ParseBody("endwith", *statement));
    return statement;
  }

  // What a model is to generate, marked for training: its text is like any other.
  absl::StatusOr<StatementPtr> ParseScope() {
    auto statement = Begin(Statement::Kind::kScope);
    RETURN_IF_ERROR(ParseBody("endgeneration", *statement));
    return statement;
  }

  absl::StatusOr<StatementPtr> ParseJump(Statement::Kind kind) {
    if (loops_ == 0) return ErrorHere(StrCat("'", tokens_.current().text, "' outside of a loop"));
    auto statement = Begin(kind);
    RETURN_IF_ERROR(EndTag());
    return statement;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  std::string ended_by_;  // the name of the tag that ended the last block
  int depth_ = 0;
  int loops_ = 0;  // around this place
};

}  // namespace

absl::StatusOr<Block> ParseTemplate(std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Lex(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace baton::chat
