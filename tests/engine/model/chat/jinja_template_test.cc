#include "engine/model/chat/jinja_template.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "catch2/catch.hpp"
#include "engine/base/strings.h"
#include "engine/model/chat/json_parser.h"
#include "engine/model/chat/limits.h"
#include "engine/model/chat/workspace.h"
#include "tests/engine/model/chat/jinja_cases.h"
#include "tests/support/status_matchers.h"

namespace baton::chat {
namespace {

// Noon of 2026-06-15, UTC: that day in every time zone but a few islands'.
constexpr int64_t kNow = 1781524800;

absl::StatusOr<MarkedText> Render(std::string_view source, std::string_view variables = "{}") {
  Workspace workspace(kNow);
  const auto parsed = ParseJson(variables, workspace);
  REQUIRE_OK(parsed);
  const auto made = JinjaTemplate::Parse(std::string(source));
  if (!made.ok()) return made.status();
  return made->Render(parsed->dict(), workspace);
}

std::string Rendered(std::string_view source, std::string_view variables = "{}") {
  const auto text = Render(source, variables);
  REQUIRE_OK(text);
  return text->bytes();
}

TEST_CASE("what a template writes is what Jinja writes") {
  for (const JinjaCase& each : kJinjaCases) {
    INFO(each.source);
    CHECK(Rendered(each.source, kJinjaVariables) == each.rendered);
  }
}

TEST_CASE("a template's line ends are read as one kind, the last one is dropped") {
  CHECK(Rendered("a\r\nb\rc\n") == "a\nb\nc");
  CHECK(Rendered("{% if true %}\r\na{% endif %}\r\n\r\n\r\n") == "a\n");
}

TEST_CASE("what Jinja or its sandbox lacks, but templates use") {
  CHECK(Rendered("{% set l = [1, 2, 3] %}{{ l.pop(0) }}{{ l.pop() }}{{ l }}") == "13[2]");
  CHECK(Rendered(
            "{% set l = [] %}{% set _ = l.append(1) %}{% set _ = l.append({'a': 2}) %}{{ l }}") ==
        "[1, {'a': 2}]");
  CHECK(Rendered("{{ ('{\"a\": [1, 2.0]}'|from_json).a }}") == "[1, 2.0]");
}

TEST_CASE("errors of the source name line and column") {
  const std::pair<const char*, const char*> cases[] = {
      {"a\n  {{ 1 + }}", "template line 2, column 10: a value is expected, not '}}'"},
      {"{{ x", "template line 1, column 1: the tag does not end"},
      {"\n{# x", "template line 2, column 1: the comment does not end"},
      {"{% raw %} x", "template line 1, column 1: the raw block does not end"},
      {"{{ 'x }}", "template line 1, column 4: the string does not end"},
      {"{{ (1] }}", "template line 1, column 6: ']' closes nothing"},
      {"{{ \xE2\x82 ! }}", "'!' is not expected"},
      {"{% if x %}a", "template line 1, column 11: the block that begins here lacks its 'endif'"},
      {"{% for x in y %}a{% endif %}", "column 21: the statement 'endif' is not supported here"},
      {"{% endif %}", "the statement 'endif' is not supported here"},
      {"{% include 'x' %}", "the statement 'include' is not supported here"},
      {"{% for x y %}{% endfor %}", "column 10: 'in' is expected, not 'y'"},
      {"{% for x in y recursive %}{% endfor %}", "'recursive' loops are not supported"},
      {"{% set true = 1 %}", "'true' cannot be assigned to"},
      {"{% set a, b %}x{% endset %}", "a block cannot be assigned to several names"},
      {"{{ x | nofilter }}", "column 8: there is no filter 'nofilter'"},
      {"{{ x is notest }}", "column 9: there is no test 'notest'"},
      {"{{ f(a=1, 2) }}", "an argument without a name stands behind one with a name"},
      {"{{ f(*a) }}", "'*' before an argument is not supported"},
      {"{{ x[] }}", "an index is missing in '[]'"},
      {"{{ x[1:2:3:4] }}", "a slice has at most three parts"},
      {"{% break %}", "'break' outside of a loop"},
      {"{% for x in y %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}",
       "'continue' outside of a loop"},
      {"{% macro m(a=1, b) %}{% endmacro %}", "a parameter without a default"},
      {"{{ 99999999999999999999 }}", "the number is out of range"},
      {"{{ '\\ud800' }}", "\\u needs 4 hexadecimal digits of a character"},
      {"{{ a b }}", "column 6: '}}' is expected, not 'b'"},
      {"{{ a.'b' }}", "an attribute's name is expected, not 'b'"},
      {"{{ else }}", "a value is expected, not 'else'"},
  };
  for (const auto& [source, message] : cases) {
    INFO(source);
    REQUIRE_STATUS(Render(source), absl::StatusCode::kInvalidArgument, message);
  }
}

TEST_CASE("errors while a template runs name line and column") {
  const std::pair<const char*, const char*> cases[] = {
      {"a\n{{ x.y }}", "template line 2, column 5: 'x' is undefined"},
      {"{{ d.a.b }}", "'dict object' has no attribute 'a'"},
      {"{{ none.a.b }}", "'None' has no attribute 'a'"},
      {"{{ n['a'].b }}", "'int object' has no attribute 'a'"},
      {"{{ [1][2].b }}", "'list object' has no item 2"},
      {"{{ x + 'a' }}", "'x' is undefined"},
      {"{{ 'a' + 1 }}", "'+' is not defined of str and int"},
      {"{{ n < 'a' }}", "'<' is not defined of int and str"},
      {"{{ 1 / 0 }}", "division by zero"},
      {"{{ 1 % 0.0 }}", "division by zero"},
      {"{{ 9223372036854775807 + 1 }}", "a number leaves 64 bits"},
      {"{{ 3 ** 1000 }}", "a number leaves 64 bits"},
      {"{{ x() }}", "'x' is undefined"},
      {"{{ n() }}", "a value of type int cannot be called"},
      {"{{ 'a'.nope() }}", "'str object' has no attribute 'nope'"},
      {"{{ 1 in 5 }}", "a string, list or object on the right of 'in' is needed"},
      {"{{ 5 in 'a' }}", "a string on the left of 'in' is needed"},
      {"{% for x in 5 %}{% endfor %}", "a list, object or string to go over is needed"},
      {"{% for a, b in [1] %}{% endfor %}", "is of type int"},
      {"{% for a, b in [[1]] %}{% endfor %}", "1 parts cannot be taken apart into 2 names"},
      {"{% set d.a = 1 %}", "'d' is no namespace whose attributes can be set"},
      {"{{ {none: 2} }}", "a string or an integer as an object's key is needed"},
      {"{{ '[1'|from_json }}", "JSON, byte 2: ',' or ']' is missing"},
      {"{{ [].pop() }}", "pop: a list of 0 items has none at -1"},
      {"{{ raise_exception('no ' ~ n) }}", "column 19: the template refuses: no 7"},
      {"{{ 'a'|replace('b') }}", "replace needs its argument 'new'"},
      {"{{ 'a'|trim(1, 2) }}", "trim takes at most 1 arguments, but is given 2"},
      {"{{ 'a'|trim(what=1) }}", "trim has no parameter 'what'"},
      {"{{ 'a'|trim('x', chars='x') }}", "trim is given 'chars' twice"},
      {"{{ 'a'|indent(first=1, width=1.5) }}", "'width' must be an integer"},
      {"{{ 1 is divisibleby }}", "the test 'divisibleby' takes one argument"},
      {"{{ [1]|map('nope')|list }}", "there is no filter 'nope'"},
      {"{{ [1]|select('nope')|list }}", "there is no test 'nope'"},
      {"{{ [1, 'a']|sort }}", "'<' is not defined of str and int"},
      {"{{ [x]|tojson }}", "a value of type Undefined has no JSON"},
      {"{{ 'a'.split('') }}", "the separator is empty"},
      {"{{ '{}'.format() }}", "there is no argument 0"},
      {"{{ '{'.format() }}", "a brace has no other"},
      {"{{ [1][::0] }}", "a slice's step must not be 0"},
      {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "'m' takes at most 1 arguments"},
      {"{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "'m' has no parameter 'b'"},
      {"{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}", "parameter 'a' was not provided"},
  };
  for (const auto& [source, message] : cases) {
    INFO(source);
    REQUIRE_STATUS(Render(source, R"({"d": {}, "n": 7})"), absl::StatusCode::kInvalidArgument,
                   message);
  }
}

std::string Repeated(std::string_view text, int times) {
  std::string repeated;
  for (int i = 0; i < times; ++i) repeated += text;
  return repeated;
}

TEST_CASE("every limit is an error that names it") {
  const auto fails = [](const std::string& source, std::string_view message) {
    INFO(source.substr(0, 200));
    REQUIRE_STATUS(Render(source), absl::StatusCode::kInvalidArgument, std::string(message));
  };
  fails(std::string(kTemplateBytesMax + 1, 'a'),
        "must be at most 262144 bytes long, but is 262145");
  CHECK(Rendered(std::string(kTemplateBytesMax, 'a')).size() == kTemplateBytesMax);

  fails("{{ " + Repeated("(", 1000) + "1" + Repeated(")", 1000) + " }}", "nested deeper than 200");
  fails("{{ " + Repeated("[", 1000) + Repeated("]", 1000) + " }}", "nested deeper than 200");
  fails("{{ " + Repeated("not ", 1000) + "1 }}", "nested deeper than 200");
  fails("{{ " + Repeated("-", 1000) + "1 }}", "nested deeper than 200");
  fails("{{ 1" + Repeated(" + 1", 1000) + " }}", "nested deeper than 200");
  fails("{{ a" + Repeated(".a", 1000) + " }}", "nested deeper than 200");
  fails("{{ a" + Repeated("|trim", 1000) + " }}", "nested deeper than 200");
  fails("{{ " + Repeated("1 if 1 else ", 1000) + "1 }}", "nested deeper than 200");
  fails(Repeated("{% if 1 %}", 1000), "nested deeper than 200");
  CHECK(Rendered("{{ 'a'" + Repeated(" ~ 'a'", 1000) + " }}").size() == 1001);
  CHECK(Rendered("{{ 1" + Repeated(" + 1", 150) + " }}") == "151");
  CHECK(Rendered("{% if 0 %}" + Repeated("{% elif 0 %}", 1000) + "{% else %}x{% endif %}") == "x");

  fails("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recurses deeper than 500");
  fails("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "takes more than 8388608 steps");
  fails("{{ range(100001) }}", "more than 100000 items");
  fails("{{ 'abcdefgh' * 100000000 }}", "takes more than 8388608 steps");
  fails("{{ 'a' * 9223372036854775807 }}", "takes more than 8388608 steps");
  fails("{{ [1] * 100000000 }}", "takes more than 8388608 steps");
  fails("{% set x = 'aaaaaaaa' * 1000 %}{{ x.replace('a', x).replace('a', x) }}",
        "takes more than 8388608 steps");
  fails(
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
      "{% endfor %}{{ ns.x }}",
      "takes more than 8388608 steps");
  fails(
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
      "{% endfor %}{{ ns.x == ns.x ~ '' or ns.x|tojson }}",
      "takes more than 8388608 steps");
  fails("{% set x = 'aaaaaaaa' * 1000000 %}{{ x }}{{ x }}", "longer than 8388608 bytes");
  fails(
      "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}"
      "{% endfor %}{{ ns.x }}",
      "nested deeper than 100");
  fails(
      "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}"
      "{% endfor %}{{ ns.x|tojson }}",
      "nested deeper than 100");
  fails("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", "nested deeper than 100");
  fails(
      "{% set l = [] %}{% set _ = l.append(l) %}{% set m = [] %}{% set _ = m.append(m) %}"
      "{{ l == m }}",
      "nested deeper than 100");
}

TEST_CASE("lists and objects may hold each other in circles and deep, and go away") {
  CHECK(Rendered("{% set ns = namespace() %}{% set ns.ns = ns %}{% set l = [ns] %}"
                 "{% set _ = l.append(l) %}{% macro m() %}{{ m is callable }}{% endmacro %}"
                 "{% set ns.m = m %}{{ ns.m() }}{{ l|length }}") == "True2");
  CHECK(Rendered("{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}"
                 "{% endfor %}{{ ns.x|length }}") == "1");
  CHECK(Rendered("{% set ns = namespace() %}{% for i in range(3) %}{% macro m() %}{{ i }}"
                 "{% endmacro %}{% set ns.m = m %}{% set ns.loop = loop %}{% endfor %}"
                 "{{ ns.m() }}{{ ns.loop.index }}") == "23");
}

// "tttRRt": who wrote each byte.
std::string Origins(const MarkedText& text) {
  std::string origins;
  for (size_t i = 0; i < text.size(); ++i) {
    origins += text.OriginOf(i) == Origin::kRequest ? 'R' : 't';
  }
  return origins;
}

TEST_CASE("text knows who wrote it through every change") {
  const auto origins = [](std::string_view source) {
    const auto text = Render(source, R"({"c": " ab-ab ", "d": {"k": ["x\n"]}, "q": "a\"b"})");
    REQUIRE_OK(text);
    return text->bytes() + "=" + Origins(*text);
  };
  CHECK(origins("<{{ c }}>") == "< ab-ab >=tRRRRRRRt");
  CHECK(origins("{{ '<' + c.strip() ~ '>' }}") == "<ab-ab>=tRRRRRt");
  CHECK(origins("{{ c|trim|upper }}x") == "AB-ABx=RRRRRt");
  CHECK(origins("{{ c|replace('ab', '|') }}") == " |-| =RtRtR");
  CHECK(origins("{{ 'xx'|replace('x', c|trim) }}!") == "ab-abab-ab!=RRRRRRRRRRt");
  CHECK(origins("{{ c.strip().split('-')|join('+') }}") == "ab+ab=RRtRR");
  CHECK(origins("{{ c.strip()[::-1] }}{{ c[1] }}.") == "ba-baa.=RRRRRRt");
  CHECK(origins("{{ d|tojson }}") == "{\"k\": [\"x\\n\"]}=ttRtttttRRRttt");
  CHECK(origins("{{ d }}") == "{'k': ['x\\n']}=ttRtttttRRRttt");
  CHECK(origins("{{ q|tojson }}") == "\"a\\\"b\"=tRRRRt");
  CHECK(origins("{{ 'x\ny'|indent(c|trim) }}") == "x\nab-aby=ttRRRRRt");
  CHECK(origins("{% for k, v in d|items %}{{ k }}{% endfor %}.") == "k.=Rt");
  CHECK(origins("{% set x %}({{ c|trim }}){% endset %}{{ x }}") == "(ab-ab)=tRRRRRt");
  CHECK(origins("{% macro m(x) %}[{{ x|first }}{% endmacro %}{{ m(c|trim) }}") == "[a=tR");
  CHECK(origins("{{ '{}:{}'.format(c|trim|length, c.strip()) }}") == "5:ab-ab=ttRRRRR");
  CHECK(origins("{{ c|length }}{{ [c.strip()]|map('title')|first }}") == "7Ab-Ab=tRRRRR");
}

}  // namespace
}  // namespace baton::chat
