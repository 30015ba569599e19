#pragma once

// Snippets of templates and what Jinja 3.1 renders of them, set up as transformers sets it up:
// trim_blocks, lstrip_blocks, loop controls, its own tojson, and 2026-06-15 as the date.
namespace baton::chat {

inline constexpr const char* kJinjaVariables =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", \"c"
    "ontent\": \"  Hi <b>\\\"x\\\"</b> \\n\"}, {\"role\": \"assistant\", \"content\": \"Hé — ok\""
    "}], \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"add\", \"parameters\": {"
    "\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": [\""
    "number\", \"null\"]}}, \"required\": [\"a\", \"b\"]}}}], \"n\": 7, \"f\": 2.5, \"s\": \"Stra"
    "ße und naïve\", \"empty\": \"\", \"none_value\": null, \"yes\": true, \"nums\": [3, 1, 2, 3]"
    ", \"words\": [\"b\", \"A\", \"c\", \"a\"], \"d\": {\"z\": 1, \"a\": {\"k\": [1, 2.0, \"x\"]}"
    "}, \"multi\": \"one\\ntwo\\n\\nfour\\n\"}";

struct JinjaCase {
  const char* source;
  const char* rendered;
};

inline constexpr JinjaCase kJinjaCases[] = {
    {"a{{ n }}b\n"
     "{% if yes %}\n"
     "  x\n"
     "{% endif %}\n"
     "y",
     "a7b\n"
     "  x\n"
     "y"},
    {"  {% if yes %}x{% endif %}  z", "x  z"},
    {"a\n"
     "  {%- if yes -%}\n"
     "  b\n"
     "  {%- endif %}\n"
     "c",
     "abc"},
    {"a\n"
     "   {%+ if yes %}b{% endif +%}\n"
     "c",
     "a\n"
     "   b\n"
     "c"},
    {"x {# gone #} y\n"
     "{# whole line #}\n"
     "z {#- left -#} w",
     "x  y\n"
     "zw"},
    {"  {# lstripped #}\n"
     "next",
     "next"},
    {"{{- n -}}   t   {{- n }} u", "7t7 u"},
    {"{% raw %}{{ not }} {% parsed %}{% endraw %}!", "{{ not }} {% parsed %}!"},
    {"{%- raw -%}\n"
     "  {{ kept }}  \n"
     "{%- endraw %}\n"
     "q",
     "{{ kept }}q"},
    {"line\n"
     "{% set x = 1 %}\n"
     "  {% set y = 2 %}\n"
     "{{ x + y }}\n"
     "end\n",
     "line\n"
     "3\n"
     "end"},
    {"{{ \"a\\tb\\n\\\"q\\\" \\x41 \\u00e9 \\d\" }}|{{ 'it''s' }}|{{ \"a\" 'b' }}",
     "a\tb\n"
     "\"q\" A é \\d|its|ab"},
    {"{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ loop.index0 }} {{ loop.revinde"
     "x }} {{ loop.first }} {{ loop.last }} {{ m.role }} {{ m['content']|trim }};{% endfor %}",
     "1/3 0 3 True False system Be brief.;2/3 1 2 False False user Hi <b>\"x\"</b>;3/3 2 1 False "
     "True assistant Hé — ok;"},
    {"{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}>{{ loo"
     "p.nextitem.role if not loop.last else '-' }} {% endfor %}",
     "->user system>assistant user>- "},
    {"{% for x in nums if x != 3 %}{{ loop.index }}:{{ x }},{% else %}none{% endfor %}|{% for x i"
     "n [] %}a{% else %}none{% endfor %}|{% for x in missing %}a{% else %}none{% endfor %}",
     "1:1,2:2,|none|none"},
    {"{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{"
     "% for c in \"hé!\" %}[{{ c }}]{% endfor %}",
     "z=1;a={'k': [1, 2.0, 'x']};za[h][é][!]"},
    {"{% for x in nums %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 2 %}{% break %}{% end"
     "if %}{{ x }}{% endfor %}.",
     "3."},
    {"{% set x = 0 %}{% for i in nums %}{% set x = x + i %}{{ x }}{% endfor %}={{ x }}", "3123=0"},
    {"{% set ns = namespace(total=0, seen=false) %}{% for i in nums %}{% set ns.total = ns.total "
     "+ i %}{% if i == 2 %}{% set ns.seen = true %}{% endif %}{% endfor %}{{ ns.total }} {{ ns.se"
     "en }} {{ ns.nope is defined }}",
     "9 True False"},
    {"{% if n > 10 %}a{% elif n > 5 and n < 8 %}b{% else %}c{% endif %}{% if not yes %}d{% endif "
     "%}",
     "b"},
    {"{% set a, b = 1, 'two' %}{{ a }}{{ b }}{% set (p, q) = (b, a) %}{{ p }}{{ q }}", "1twotwo1"},
    {"{% set text %}\n"
     "Hello {{ n }}\n"
     "  indented\n"
     "{% endset %}[{{ text }}]{% set up | upper | trim %} abc {% endset %}[{{ up }}]",
     "[Hello 7\n"
     "  indented\n"
     "][ABC]"},
    {"{% macro greet(name, mark='!', end=none) %}Hi {{ name }}{{ mark }}{% if end is not none %}{"
     "{ end }}{% endif %}{% endmacro %}{{ greet('A') }}{{ greet('B', mark='?') }}{{ greet(name='C"
     "', end='.') }}{{ greet() }}",
     "Hi A!Hi B?Hi C!.Hi !"},
    {"{% macro walk(v, depth=0) %}{% if v is mapping %}{ {%- for k, x in v|dictsort %}{{ k }}:{{ "
     "walk(x, depth + 1) }}{% if not loop.last %},{% endif %}{% endfor -%} }{% elif v is iterable"
     " and v is not string %}[{% for x in v %}{{ walk(x, depth + 1) }}{% endfor %}]{% else %}{{ d"
     "epth }}{{ v }}{% endif %}{% endmacro %}{{ walk(d) }}",
     "{a:{k:[3132.03x]},z:11}"},
    {"{% set g = 5 %}{% macro uses() %}{{ g }}{{ later }}{% endmacro %}{% set later = 'L' %}{{ us"
     "es() }}",
     "5L"},
    {"{{ '12'.isdigit() }}{{ ''.isdigit() }}{{ '1a'.isdigit() }}{{ 'a\\nb\\r\\nc'.splitlines() "
     "}}{{ 'straße é'.upper() }}{{ 'É'.lower() }}",
     "TrueFalseFalse['a', 'b', 'c']STRASSE Éé"},
    {"{{ {2: 'b', 1: 'a', 'x': 3} }}{% for k, v in {10: 1, 9: 2}|dictsort %}{{ k + 1 }}:{{ v }} {% "
     "endfor %}{{ {2: 'b'}[2] }}{{ {2: 'b'}.get(3, '?') }}{{ 2 in {2: 'b'} }}{{ '2' in {2: 'b'} "
     "}}{{ {2: 'b', 1: none}|tojson(sort_keys=true) }}{{ {1: 2} == {1: 2.0} }}",
     "{2: 'b', 1: 'a', 'x': 3}10:2 11:1 b?TrueFalse{\"1\": null, \"2\": \"b\"}True"},
    {"{{ none_value|selectattr('a')|list }}{{ none_value|map('upper')|list }}{{ "
     "none_value|reject('odd')|list }}",
     "[][][]"},
    {"{% filter upper %}abc {{ s }}{% endfilter %}|{% filter trim | replace('a', 'b') %}  xax {% "
     "endfilter %}",
     "ABC STRASSE UND NAÏVE|xbx"},
    {"{% with a = 1, b = n %}{{ a + b }}{% endwith %}{{ a is defined }}", "8False"},
    {"{% generation %}out {{ n }}{% endgeneration %}", "out 7"},
    {"{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 2 ** 10 }} {"
     "{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 / 4 }} {{ 2 ** -1 }} {{ 10 / 5 }} {{ -n }} {{ +f }}",
     "5.0 3 -4 1 2 1024 3.0 0.5 0.25 0.5 2.0 -7 2.5"},
    {"{{ 'a' ~ 1 ~ none ~ true ~ 2.0 }} {{ 'ab' + 'cd' }} {{ 'ab' * 3 }} {{ [1] + [2, 3] }} {{ [0"
     "] * 2 }} {{ (1, 2) + (3,) }}",
     "a1NoneTrue2.0 abcd ababab [1, 2, 3] [0, 0] (1, 2, 3)"},
    {"{{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 1 == 1.0 }} {{ 'a' < 'b' }} {{ true == 1 }} {{ 'a' in 'c"
     "at' }} {{ 'x' not in 'cat' }} {{ 3 in nums }} {{ 'z' in d }} {{ not 1 in [2] }} {{ none == "
     "none }} {{ [1, 2] == [1, 2] }} {{ {'a': 1} == {'a': 1.0} }}",
     "True False True True True True True True True True True True True"},
    {"{{ 0 or 'x' }} {{ 1 and 'y' }} {{ '' or none }} {{ 0 and 1 }} {{ not '' }} {{ [] or 'e' }}",
     "x y None 0 True e"},
    {"{{ 'yes' if yes else 'no' }}{{ 'only' if not yes }}{{ 1 if false else 2 if false else 3 }}",
     "yes3"},
    {"{{ nums[0] }}{{ nums[-1] }}{{ nums[1:] }}{{ nums[::-1] }}{{ nums[:-1] }}{{ nums[5:] }}{{ nu"
     "ms[3:0:-2] }}{{ s[0:4] }}{{ s[::-1] }}{{ s[4] }}{{ s[-1] }}{{ s[:-3:2] }}{{ messages[0].rol"
     "e[1:] }}{{ nums[9] is defined }}",
     "33[1, 2, 3][3, 2, 1, 3][3, 1, 2][][3, 1]Straevïan dnu eßartSßeSrß n aystemFalse"},
    {"{{ missing }}|{{ missing is defined }}|{{ d.nope is defined }}|{{ d['a'].k[2] }}|{{ d.a['k'"
     "][1] }}|{{ d.nope }}|{{ missing | default('dflt') }}|{{ '' | default('e', true) }}|{{ none "
     "| default('n') }}|{{ missing == missing2 }}|{{ none_value }}",
     "|False|False|x|2.0||dflt|e|None|True|None"},
    {"{{ 'x' is string }} {{ 1 is number }} {{ true is number }} {{ true is boolean }} {{ 1 is in"
     "teger }} {{ true is integer }} {{ 1.0 is float }} {{ d is mapping }} {{ nums is sequence }}"
     " {{ nums is iterable }} {{ 'x' is iterable }} {{ 5 is iterable }} {{ none is none }} {{ mis"
     "sing is none }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ d is sequence }}"
     " {{ missing is iterable }}",
     "True True True True True False True True True True True False True False True False True Tr"
     "ue True"},
    {"{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby(3) }} {{ 9 is divisibleby 2 }} {{ 2 is i"
     "n nums }} {{ 9 is not in(nums) }} {{ 1 is eq 1 }} {{ 2 is gt 1 }} {{ 'a' is equalto 'a' }} "
     "{{ missing is undefined }} {{ 1 is lessthan 2 }} {{"
     " namespace is callable }} {{ n is sameas n }}",
     "True True True False True True True True True True True True True"},
    {"{{ messages[1].content.strip() }}|{{ '  x '.lstrip() }}|{{ '  x '.rstrip() }}|{{ 'xxaxx'.st"
     "rip('x') }}|{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a b c'.split(' ', 1) }}|{{"
     " 'a.b.c'.rsplit('.', 1) }}|{{ 'a</think>b</think>c'.split('</think>')[-1] }}|{{ ' a b c '.s"
     "plit(none, 1) }}|{{ ' a b c '.rsplit(none, 1) }}",
     "Hi <b>\"x\"</b>|x |  x|a|['a', 'b', '', 'c']|['a', 'b']|['a', 'b c']|['a.b', 'c']|c|['a', '"
     "b c ']|[' a b', 'c']"},
    {"{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'bc')) }}{{ 'abc'.upper() }}{{ 'ABC'.lo"
     "wer() }}{{ 'they are bill''s'.title() }}{{ 'aBC dE'.capitalize() }}{{ 'aXbX'.replace('X', '"
     "-') }}{{ 'aXbX'.replace('X', '-', 1) }}{{ 'ab'.replace('', '.') }}{{ ','.join(['a', 'b']) }"
     "}{{ '{} and {} {x}'.format(1, 'b', x=n) }}{{ 'abcabc'.find('c') }}{{ 'abcabc'.rfind('c') }}"
     "{{ 'abc'.find('z') }}{{ 'aaa'.count('a') }}{{ 'prefix-x'.removeprefix('prefix-') }}{{ 'x.tx"
     "t'.removesuffix('.txt') }}",
     "TrueTrueABCabcThey Are BillsAbc dea-b-a-bX.a.b.a,b1 and b 725-13xx"},
    {"{{ d.items() | list }}{{ d.keys() | list }}{{ d.values() | list }}{{ d.get('z') }}{{ d.get("
     "'q') }}{{ d.get('q', 'dd') }}",
     "[('z', 1), ('a', {'k': [1, 2.0, 'x']})]['z', 'a'][1, {'k': [1, 2.0, 'x']}]1Nonedd"},
    {"{% set l = [] %}{% set _ = l.append(1) %}{% set _ = l.append({'a': 2}) %}{{ l }}{{ l | leng"
     "th }}{{ l.index(1) }}{{ l.count(1) }}",
     "[1, {'a': 2}]201"},
    {"{{ ' a '|trim }}|{{ 'xax'|trim('x') }}|{{ s|length }}|{{ nums|length }}|{{ d|count }}|{{ nu"
     "ms|join(', ') }}|{{ messages|join('/', attribute='role') }}|{{ 'abc'|join('-') }}|{{ 'abc'|"
     "upper }}|{{ 'ABC'|lower }}|{{ 'hello wORLD-x (yz)'|title }}|{{ 'hELLO'|capitalize }}|{{ num"
     "s|first }}|{{ nums|last }}|{{ 'abc'|first }}|{{ 'ab'|list }}|{{ 5|string + '!' }}|{{ 'a'|sa"
     "fe }}",
     "a|a|16|4|2|3, 1, 2, 3|system/user/assistant|a-b-c|ABC|abc|Hello World-X (Yz)|Hello|3|3|a|['"
     "a', 'b']|5!|a"},
    {"{{ messages|map(attribute='role')|list }}{{ words|map('upper')|join }}{{ messages|selectatt"
     "r('role', 'equalto', 'user')|map(attribute='content')|first|trim }}{{ messages|rejectattr('"
     "role', 'in', ['user', 'system'])|list|length }}{{ nums|select('odd')|list }}{{ nums|reject("
     "'equalto', 3)|list }}{{ [0, '', 'a', none]|select|list }}{{ messages|selectattr('name', 'de"
     "fined')|list }}{{ messages|map(attribute='name', default='?')|list }}{{ tools|map(attribute"
     "='function.name')|list }}",
     "['system', 'user', 'assistant']BACAHi <b>\"x\"</b>1[3, 1, 3][1, 2]['a'][]['?', '?', '?']['a"
     "dd']"},
    {"{{ 'a-b-c'|replace('-', '+') }}{{ '12'|int + 1 }}{{ 'x'|int }}{{ 'x'|int(5) }}{{ '2.9'|int "
     "}}{{ 3.7|int }}{{ '1.5'|float }}{{ 'z'|float }}{{ 3|float }}{{ true|int }}{{ -5|abs }}{{ 2."
     "567|round(2) }}{{ 2.5|round }}{{ 2.1|round(0, 'ceil') }}",
     "a+b+c1305231.50.03.0152.572.03.0"},
    {"{% for k, v in d|items %}{{ k }}{{ v }}{% endfor %}{% for k, v in d|dictsort %}{{ k }}{% en"
     "dfor %}{{ {'b': 1, 'A': 2}|dictsort }}{{ {'b': 1, 'A': 2}|dictsort(by='value', reverse=true"
     ") }}",
     "z1a{'k': [1, 2.0, 'x']}az[('A', 2), ('b', 1)][('A', 2), ('b', 1)]"},
    {"{{ words|sort }}{{ words|sort(reverse=true) }}{{ words|sort(case_sensitive=true) }}{{ nums|"
     "sort|unique|list }}{{ ['a', 'A', 'b']|unique|list }}{{ nums|sum }}{{ nums|max }}{{ nums|min"
     " }}{{ nums|reverse|list }}{{ 'abc'|reverse }}{{ messages|sort(attribute='role')|map(attribu"
     "te='role')|list }}{{ [{'v': 1}, {'v': 2}]|sum(attribute='v') }}",
     "['A', 'a', 'b', 'c']['c', 'b', 'A', 'a']['A', 'a', 'b', 'c'][1, 2, 3]['a', 'b']931[3, 2, 1,"
     " 3]cba['assistant', 'system', 'user']3"},
    {"{{ multi|indent }}|{{ multi|indent(2, true) }}|{{ multi|indent(2, blank=true) }}|{{ 'a\\nb'"
     "|indent('> ') }}",
     "one\n"
     "    two\n"
     "\n"
     "    four\n"
     "|  one\n"
     "  two\n"
     "\n"
     "  four\n"
     "|one\n"
     "  two\n"
     "  \n"
     "  four\n"
     "  |a\n"
     "> b"},
    {"{{ d|tojson }}|{{ tools[0]|tojson(indent=4) }}|{{ {'a': [], 'b': {}, 'c': 'é\"\\n\\\\/'}|to"
     "json }}|{{ [1, 2]|tojson(separators=(',', ':')) }}|{{ {'b': 1, 'a': none}|tojson(sort_keys="
     "true) }}|{{ 'é'|tojson(ensure_ascii=true) }}|{{ [1.0, 1e20, 0.1, 1e-7, true]|tojson }}|{{ ["
     "[], [1]]|tojson(indent=2) }}",
     "{\"z\": 1, \"a\": {\"k\": [1, 2.0, \"x\"]}}|{\n"
     "    \"type\": \"function\",\n"
     "    \"function\": {\n"
     "        \"name\": \"add\",\n"
     "        \"parameters\": {\n"
     "            \"type\": \"object\",\n"
     "            \"properties\": {\n"
     "                \"a\": {\n"
     "                    \"type\": \"integer\"\n"
     "                },\n"
     "                \"b\": {\n"
     "                    \"type\": [\n"
     "                        \"number\",\n"
     "                        \"null\"\n"
     "                    ]\n"
     "                }\n"
     "            },\n"
     "            \"required\": [\n"
     "                \"a\",\n"
     "                \"b\"\n"
     "            ]\n"
     "        }\n"
     "    }\n"
     "}|{\"a\": [], \"b\": {}, \"c\": \"é\\\"\\n\\\\/\"}|[1,2]|{\"a\": null, \"b\": 1}|\"\\u00e9"
     "\"|[1.0, 1e+20, 0.1, 1e-07, true]|[\n"
     "  [],\n"
     "  [\n"
     "    1\n"
     "  ]\n"
     "]"},
    {"{{ [1, 'a', none, true, 2.5, {'k': 'v'}, (1,)] }} {{ 'it\\'s' ~ ['it\\'s', 'say \"x\"', 'a"
     "\\nb\\\\'] }} {{ {} }} {{ [] }} {{ () }} {{ 1e16 }} {{ 123456789.125 }} {{ 1e-5 }} {{ 100.0"
     " }}",
     "[1, 'a', None, True, 2.5, {'k': 'v'}, (1,)] it's[\"it's\", 'say \"x\"', 'a\\nb\\\\'] {} [] "
     "() 1e+16 123456789.125 1e-05 100.0"},
    {"{{ range(3)|list }}{{ range(1, 7, 2)|list }}{{ range(3, 0, -1)|list }}{{ dict(a=1, b='x') }"
     "}{% for i in range(2) %}{{ i }}{% endfor %}",
     "[0, 1, 2][1, 3, 5][3, 2, 1]{'a': 1, 'b': 'x'}01"},
    {"{{ strftime_now('%Y-%m-%d') }} {{ strftime_now(\"%d %b %Y\") }}", "2026-06-15 15 Jun 2026"},
    {"{{ 5 }}{{ 5.0 }}{{ 'a'|upper ~ 'b' }}{{ (1 + 2)|string }}{{ -1|abs }}{{ not true or true }}"
     "{{ 2 * 3 ~ 'x' }}{{ n is odd and n > 3 }}{{ [1,2,][1] }}{{ {'a': 1,}['a'] }}{{ nums.0 }}",
     "55.0Ab31True6xTrue213"},
    {"{{ messages[0]['role'] == 'system' and messages[0]['content'] is not none }}{{ (messages[0]"
     ".role == 'user') != (0 % 2 == 0) }}",
     "TrueTrue"},
    {"{%- for message in messages -%}\n"
     "    {%- if message['role'] == 'user' -%}\n"
     "        {{ 'U: ' + message['content'] | trim }}\n"
     "    {%- elif message['role'] == 'assistant' %}\n"
     "        {{ 'A: ' + message['content'] }}\n"
     "    {%- endif -%}\n"
     "{%- endfor -%}",
     "U: Hi <b>\"x\"</b>        A: Hé — ok"},
    {"{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] if mes"
     "sages[0]['role'] == 'system' else false %}{% for message in loop_messages %}{% if loop.inde"
     "x0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n"
     "<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% e"
     "ndif %}{{ content.strip() }}|{% endfor %}",
     "<<SYS>>\n"
     "Be brief.\n"
     "<</SYS>>\n"
     "\n"
     "  Hi <b>\"x\"</b>|Hé — ok|"},
    {"{{ d.a.k is iterable and d.a.k is not mapping }}{{ d.items is defined }}{{ d['items'] is de"
     "fined }}{{ messages[0].get is callable }}{{ {'items': 5}['items'] }}",
     "TrueTrueTrueTrue5"},
    {"{{ '' if none_value else 'x' }}{{ \"%%\" }}{{ \"}}\" }}{{ '{{' }}{{ {'a': {'b': 1}} }}{{ {'"
     "a': {'b': 1}}['a']['b'] }}",
     "x%%}}{{{'a': {'b': 1}}1"},
    {"{% if missing %}a{% endif %}{% if missing is defined and missing %}b{% endif %}{% if not mi"
     "ssing %}c{% endif %}{{ missing | length }}{{ missing | list }}{{ missing | join }}{{ 'a' in"
     " missing }}{{ missing | upper }}",
     "c0[]False"},
    {"{{ '  a b  '.strip().split(' ')|last }}{{ ('x' ~ n).upper() }}{{ 'a' 'b'.upper() }}{{ [mess"
     "ages[0], messages[1]]|map(attribute='role')|join(' ') }}",
     "bX7ABsystem user"},
};

}  // namespace baton::chat
