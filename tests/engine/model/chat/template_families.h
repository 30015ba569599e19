#pragma once

#include <string_view>

// Templates in the manner of published families, and what Jinja 3.1, set up as transformers sets it
// up, renders of them for three conversations on 2026-06-15.
namespace baton {

enum class Conversation { kPlain, kSystem, kTools };

inline constexpr const char* kWeatherTools =
    "[{\"type\": \"function\", \"function\": {\"name\": \"get_weather\", \"description\": \"Weath"
    "er of a city.\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\""
    ": \"string\"}, \"days\": {\"type\": \"integer\"}}, \"required\": [\"city\"]}}}]";
inline constexpr const char* kWeatherCalls =
    "[{\"id\": \"call00001\", \"type\": \"function\", \"function\": {\"name\": \"get_weather\", "
    "\"arguments\": {\"city\": \"Zürich\", \"days\": 2}}}]";

struct FamilyRendering {
  Conversation conversation;
  std::string_view arguments;
  bool add_generation_prompt;
  std::string_view rendered;
};

struct TemplateFamily {
  std::string_view name;
  std::string_view bos;
  std::string_view eos;
  std::string_view source;
  FamilyRendering renderings[6];
};

inline constexpr TemplateFamily kTemplateFamilies[] = {
    {"llama-3",
     "<|begin_of_text|>",
     "<|eot_id|>",
     "{% for turn in messages %}{% set piece = '<|start_header_id|>' + turn['role'] + '<|end_head"
     "er_id|>\\n\\n' + turn['content'] | trim + '<|eot_id|>' %}{% if loop.first %}{% set piece = "
     "bos_token + piece %}{% endif %}{{ piece }}{% endfor %}{% if add_generation_prompt %}{{ '<|s"
     "tart_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
     {{Conversation::kPlain, "", true,
       "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n"
       "\n"
       "Hello there<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
       "\n"},
      {Conversation::kPlain, "", false,
       "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n"
       "\n"
       "Hello there<|eot_id|>"},
      {Conversation::kSystem, "", true,
       "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n"
       "\n"
       "Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n"
       "\n"
       "Hi!<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
       "\n"
       "<think>\n"
       "hm\n"
       "</think>\n"
       "\n"
       "Hello.<|eot_id|><|start_header_id|>user<|end_header_id|>\n"
       "\n"
       "Bye \"now\"<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
       "\n"}}},
    {"llama-3.1",
     "<|begin_of_text|>",
     "<|eot_id|>",
     "{{- bos_token }}\n"
     "{%- if custom_tools is defined %}\n"
     "    {%- set tools = custom_tools %}\n"
     "{%- endif %}\n"
     "{%- if not tools_in_user_message is defined %}\n"
     "    {%- set tools_in_user_message = true %}\n"
     "{%- endif %}\n"
     "{%- if not date_string is defined %}\n"
     "    {%- if strftime_now is defined %}\n"
     "        {%- set date_string = strftime_now(\"%d %b %Y\") %}\n"
     "    {%- else %}\n"
     "        {%- set date_string = \"26 Jul 2024\" %}\n"
     "    {%- endif %}\n"
     "{%- endif %}\n"
     "{%- if not tools is defined %}\n"
     "    {%- set tools = none %}\n"
     "{%- endif %}\n"
     "{#- The system's turn stands first. -#}\n"
     "{%- if messages[0]['role'] == 'system' %}\n"
     "    {%- set system_text = messages[0]['content']|trim %}\n"
     "    {%- set messages = messages[1:] %}\n"
     "{%- else %}\n"
     "    {%- set system_text = \"\" %}\n"
     "{%- endif %}\n"
     "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n"
     "{%- if builtin_tools is defined or tools is not none %}\n"
     "    {{- \"Environment: ipython\\n\" }}\n"
     "{%- endif %}\n"
     "{%- if builtin_tools is defined %}\n"
     "    {{- \"Tools: \" + builtin_tools | reject('equalto', 'code_interpreter') | join(\", \") "
     "+ \"\\n\\n\"}}\n"
     "{%- endif %}\n"
     "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n"
     "{{- system_text }}\n"
     "{{- \"<|eot_id|>\" }}\n"
     "{%- if tools_in_user_message and not tools is none %}\n"
     "    {%- if messages | length != 0 %}\n"
     "        {%- set first_text = messages[0]['content']|trim %}\n"
     "        {%- set messages = messages[1:] %}\n"
     "    {%- else %}\n"
     "        {{- raise_exception(\"There is no first user message to put tools into!\") }}\n"
     "    {%- endif %}\n"
     "    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}\n"
     "    {{- \"Answer with a call of one of these functions, as JSON.\\n\\n\" }}\n"
     "    {%- for t in tools %}\n"
     "        {{- t | tojson(indent=4) }}\n"
     "        {{- \"\\n\\n\" }}\n"
     "    {%- endfor %}\n"
     "    {{- first_text + \"<|eot_id|>\"}}\n"
     "{%- endif %}\n"
     "{%- for message in messages %}\n"
     "    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in mess"
     "age) %}\n"
     "        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['c"
     "ontent'] | trim + '<|eot_id|>' }}\n"
     "    {%- elif 'tool_calls' in message %}\n"
     "        {%- if not message.tool_calls|length == 1 %}\n"
     "            {{- raise_exception(\"Only one call at a time!\") }}\n"
     "        {%- endif %}\n"
     "        {%- set call = message.tool_calls[0].function %}\n"
     "        {%- if builtin_tools is defined and call.name in builtin_tools %}\n"
     "            {{- '<|python_tag|>' + call.name + \".call(\" }}\n"
     "            {%- for key, value in call.arguments | items %}\n"
     "                {{- key + '=\"' + value + '\"' }}\n"
     "                {%- if not loop.last %}\n"
     "                    {{- \", \" }}\n"
     "                {%- endif %}\n"
     "            {%- endfor %}\n"
     "            {{- \")<|eom_id|>\" }}\n"
     "        {%- else %}\n"
     "            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}\n"
     "            {{- '{\"name\": \"' + call.name + '\", ' }}\n"
     "            {{- '\"parameters\": ' }}\n"
     "            {{- call.arguments | tojson }}\n"
     "            {{- \"}\" }}\n"
     "            {{- \"<|eot_id|>\" }}\n"
     "        {%- endif %}\n"
     "    {%- elif message.role == \"tool\" or message.role == \"ipython\" %}\n"
     "        {{- \"<|start_header_id|>ipython<|end_header_id|>\\n\\n\" }}\n"
     "        {%- if message.content is mapping or message.content is iterable %}\n"
     "            {{- message.content | tojson }}\n"
     "        {%- else %}\n"
     "            {{- message.content }}\n"
     "        {%- endif %}\n"
     "        {{- \"<|eot_id|>\" }}\n"
     "    {%- endif %}\n"
     "{%- endfor %}\n"
     "{%- if add_generation_prompt %}\n"
     "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n"
     "{%- endif %}\n",
     {{Conversation::kPlain, "", true,
       "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n"
       "\n"
       "Today Date: 15 Jun 2026\n"
       "\n"
       "<|eot_id|><|start_header_id|>user<|end_header_id|>\n"
       "\n"
       "Hello there<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
       "\n"},
      {Conversation::kPlain, "", false,
       "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n"
       "\n"
       "Today Date: 15 Jun 2026\n"
       "\n"
       "<|eot_id|><|start_header_id|>user<|end_header_id|>\n"
       "\n"
       "Hello there<|eot_id|>"},
      {Conversation::kSystem, "", true,
       "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n"
       "\n"
       "Today Date: 15 Jun 2026\n"
       "\n"
       "Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n"
       "\n"
       "Hi!<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
       "\n"
       "<think>\n"
       "hm\n"
       "</think>\n"
       "\n"
       "Hello.<|eot_id|><|start_header_id|>user<|end_header_id|>\n"
       "\n"
       "Bye \"now\"<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
       "\n"},
      {Conversation::kTools, "", true,
       "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n"
       "\n"
       "Environment: ipython\n"
       "Today Date: 15 Jun 2026\n"
       "\n"
       "<|eot_id|><|start_header_id|>user<|end_header_id|>\n"
       "\n"
       "Answer with a call of one of these functions, as JSON.\n"
       "\n"
       "{\n"
       "    \"type\": \"function\",\n"
       "    \"function\": {\n"
       "        \"name\": \"get_weather\",\n"
       "        \"description\": \"Weather of a city.\",\n"
       "        \"parameters\": {\n"
       "            \"type\": \"object\",\n"
       "            \"properties\": {\n"
       "                \"city\": {\n"
       "                    \"type\": \"string\"\n"
       "                },\n"
       "                \"days\": {\n"
       "                    \"type\": \"integer\"\n"
       "                }\n"
       "            },\n"
       "            \"required\": [\n"
       "                \"city\"\n"
       "            ]\n"
       "        }\n"
       "    }\n"
       "}\n"
       "\n"
       "Weather?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
       "\n"
       "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Zürich\", \"days\": 2}}<|eot_id"
       "|><|start_header_id|>ipython<|end_header_id|>\n"
       "\n"
       "\"{\\\"sky\\\": \\\"grey\\\"}\"<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
       "\n"
       "Grey.<|eot_id|><|start_header_id|>user<|end_header_id|>\n"
       "\n"
       "Thanks<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
       "\n"}}},
    {"mistral-nemo",
     "<s>",
     "</s>",
     "{%- if messages[0][\"role\"] == \"system\" %}\n"
     "    {%- set system_text = messages[0][\"content\"] %}\n"
     "    {%- set turns = messages[1:] %}\n"
     "{%- else %}\n"
     "    {%- set turns = messages %}\n"
     "{%- endif %}\n"
     "{%- if not tools is defined %}\n"
     "    {%- set tools = none %}\n"
     "{%- endif %}\n"
     "{%- set user_turns = turns | selectattr(\"role\", \"equalto\", \"user\") | list %}\n"
     "\n"
     "{%- set ns = namespace() %}\n"
     "{%- set ns.index = 0 %}\n"
     "{%- for turn in turns %}\n"
     "    {%- if not (turn.role == \"tool\" or turn.role == \"tool_results\" or (turn.tool_calls "
     "is defined and turn.tool_calls is not none)) %}\n"
     "        {%- if (turn[\"role\"] == \"user\") != (ns.index % 2 == 0) %}\n"
     "            {{- raise_exception(\"User and assistant must take turns!\") }}\n"
     "        {%- endif %}\n"
     "        {%- set ns.index = ns.index + 1 %}\n"
     "    {%- endif %}\n"
     "{%- endfor %}\n"
     "\n"
     "{{- bos_token }}\n"
     "{%- for turn in turns %}\n"
     "    {%- if turn[\"role\"] == \"user\" %}\n"
     "        {%- if tools is not none and (turn == user_turns[-1]) %}\n"
     "            {{- \"[AVAILABLE_TOOLS][\" }}\n"
     "            {%- for tool in tools %}\n"
     "                {%- set tool = tool.function %}\n"
     "                {{- '{\"type\": \"function\", \"function\": {' }}\n"
     "                {%- for key, value in tool.items() if key != \"return\" %}\n"
     "                    {%- if value is string %}\n"
     "                        {{- '\"' + key + '\": \"' + value + '\"' }}\n"
     "                    {%- else %}\n"
     "                        {{- '\"' + key + '\": ' + value|tojson }}\n"
     "                    {%- endif %}\n"
     "                    {%- if not loop.last %}\n"
     "                        {{- \", \" }}\n"
     "                    {%- endif %}\n"
     "                {%- endfor %}\n"
     "                {{- \"}}\" }}\n"
     "                {%- if not loop.last %}\n"
     "                    {{- \", \" }}\n"
     "                {%- else %}\n"
     "                    {{- \"]\" }}\n"
     "                {%- endif %}\n"
     "            {%- endfor %}\n"
     "            {{- \"[/AVAILABLE_TOOLS]\" }}\n"
     "            {%- endif %}\n"
     "        {%- if loop.last and system_text is defined %}\n"
     "            {{- \"[INST]\" + system_text + \"\\n\\n\" + turn[\"content\"] + \"[/INST]\" }}"
     "\n"
     "        {%- else %}\n"
     "            {{- \"[INST]\" + turn[\"content\"] + \"[/INST]\" }}\n"
     "        {%- endif %}\n"
     "    {%- elif (turn.tool_calls is defined and turn.tool_calls is not none) %}\n"
     "        {{- \"[TOOL_CALLS][\" }}\n"
     "        {%- for call in turn.tool_calls %}\n"
     "            {%- set out = call.function|tojson %}\n"
     "            {{- out[:-1] }}\n"
     "            {%- if not call.id is defined or call.id|length != 9 %}\n"
     "                {{- raise_exception(\"Ids of tool calls have 9 characters!\") }}\n"
     "            {%- endif %}\n"
     "            {{- ', \"id\": \"' + call.id + '\"}' }}\n"
     "            {%- if not loop.last %}\n"
     "                {{- \", \" }}\n"
     "            {%- else %}\n"
     "                {{- \"]\" + eos_token }}\n"
     "            {%- endif %}\n"
     "        {%- endfor %}\n"
     "    {%- elif turn[\"role\"] == \"assistant\" %}\n"
     "        {{- turn[\"content\"] + eos_token}}\n"
     "    {%- elif turn[\"role\"] == \"tool_results\" or turn[\"role\"] == \"tool\" %}\n"
     "        {%- if turn.content is defined and turn.content.content is defined %}\n"
     "            {%- set content = turn.content.content %}\n"
     "        {%- else %}\n"
     "            {%- set content = turn.content %}\n"
     "        {%- endif %}\n"
     "        {{- '[TOOL_RESULTS]{\"content\": ' + content|string + \", \" }}\n"
     "        {{- '\"call_id\": \"' + turn.tool_call_id + '\"}[/TOOL_RESULTS]' }}\n"
     "    {%- else %}\n"
     "        {{- raise_exception(\"Only user and assistant roles, but for a first system message"
     "!\") }}\n"
     "    {%- endif %}\n"
     "{%- endfor %}\n",
     {{Conversation::kPlain, "", true, "<s>[INST]Hello there [/INST]"},
      {Conversation::kPlain, "", false, "<s>[INST]Hello there [/INST]"},
      {Conversation::kSystem, "", true,
       "<s>[INST]Hi!\n"
       "[/INST]<think>\n"
       "hm\n"
       "</think>\n"
       "\n"
       "Hello.</s>[INST]Be brief.\n"
       "\n"
       "  Bye \"now\"[/INST]"},
      {Conversation::kTools, "", true,
       "<s>[INST]Weather?[/INST][TOOL_CALLS][{\"name\": \"get_weather\", \"arguments\": {\"city"
       "\": \"Zürich\", \"days\": 2}, \"id\": \"call00001\"}]</s>[TOOL_RESULTS]{\"content\": {\""
       "sky\": \"grey\"}, \"call_id\": \"call00001\"}[/TOOL_RESULTS]Grey.</s>[AVAILABLE_TOOLS][{"
       "\"type\": \"function\", \"function\": {\"name\": \"get_weather\", \"description\": \"Wea"
       "ther of a city.\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\""
       "type\": \"string\"}, \"days\": {\"type\": \"integer\"}}, \"required\": [\"city\"]}}}][/A"
       "VAILABLE_TOOLS][INST]Thanks[/INST]"}}},
    {"qwen3",
     "<|endoftext|>",
     "<|im_end|>",
     "{%- if messages[0].role == 'system' %}\n"
     "    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}\n"
     "{%- endif %}\n"
     "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}\n"
     "{%- for message in messages[::-1] %}\n"
     "    {%- set index = (messages|length - 1) - loop.index0 %}\n"
     "    {%- if ns.multi_step_tool and message.role == \"user\" and message.content is string an"
     "d not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_re"
     "sponse>')) %}\n"
     "        {%- set ns.multi_step_tool = false %}\n"
     "        {%- set ns.last_query_index = index %}\n"
     "    {%- endif %}\n"
     "{%- endfor %}\n"
     "{%- for message in messages %}\n"
     "    {%- if message.content is string %}\n"
     "        {%- set content = message.content %}\n"
     "    {%- else %}\n"
     "        {%- set content = '' %}\n"
     "    {%- endif %}\n"
     "    {%- if (message.role == \"user\") or (message.role == \"system\" and not loop.first) %}"
     "\n"
     "        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}\n"
     "    {%- elif message.role == \"assistant\" %}\n"
     "        {%- set reasoning_content = '' %}\n"
     "        {%- if message.reasoning_content is string %}\n"
     "            {%- set reasoning_content = message.reasoning_content %}\n"
     "        {%- else %}\n"
     "            {%- if '</think>' in content %}\n"
     "                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').spli"
     "t('<think>')[-1].lstrip('\\n') %}\n"
     "                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}\n"
     "            {%- endif %}\n"
     "        {%- endif %}\n"
     "        {%- if loop.index0 > ns.last_query_index %}\n"
     "            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('"
     "\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}\n"
     "        {%- else %}\n"
     "            {{- '<|im_start|>' + message.role + '\\n' + content }}\n"
     "        {%- endif %}\n"
     "        {%- if message.tool_calls %}\n"
     "            {%- for tool_call in message.tool_calls %}\n"
     "                {%- if (loop.first and content) or (not loop.first) %}\n"
     "                    {{- '\\n' }}\n"
     "                {%- endif %}\n"
     "                {%- set tool_call = tool_call.function or tool_call %}\n"
     "                {{- '<tool_call>\\n{\"name\": \"' ~ tool_call.name ~ '\", \"arguments\": ' "
     "}}\n"
     "                {%- if tool_call.arguments is string %}\n"
     "                    {{- tool_call.arguments }}\n"
     "                {%- else %}\n"
     "                    {{- tool_call.arguments | tojson }}\n"
     "                {%- endif %}\n"
     "                {{- '}\\n</tool_call>' }}\n"
     "            {%- endfor %}\n"
     "        {%- endif %}\n"
     "        {{- '<|im_end|>\\n' }}\n"
     "    {%- elif message.role == \"tool\" %}\n"
     "        {%- if loop.first or (loop.previtem and loop.previtem.role != \"tool\") %}\n"
     "            {{- '<|im_start|>user' }}\n"
     "        {%- endif %}\n"
     "        {{- '\\n<tool_response>\\n' ~ content ~ '\\n</tool_response>' }}\n"
     "        {%- if loop.last or loop.nextitem.role != \"tool\" %}\n"
     "            {{- '<|im_end|>\\n' }}\n"
     "        {%- endif %}\n"
     "    {%- endif %}\n"
     "{%- endfor %}\n"
     "{%- if add_generation_prompt %}\n"
     "    {{- '<|im_start|>assistant\\n' }}\n"
     "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
     "        {{- '<think>\\n\\n</think>\\n\\n' }}\n"
     "    {%- endif %}\n"
     "{%- endif %}",
     {{Conversation::kPlain, "", true,
       "<|im_start|>user\n"
       "Hello there <|im_end|>\n"
       "<|im_start|>assistant\n"},
      {Conversation::kPlain, "", false,
       "<|im_start|>user\n"
       "Hello there <|im_end|>\n"},
      {Conversation::kPlain, "{\"enable_thinking\": false}", true,
       "<|im_start|>user\n"
       "Hello there <|im_end|>\n"
       "<|im_start|>assistant\n"
       "<think>\n"
       "\n"
       "</think>\n"
       "\n"},
      {Conversation::kSystem, "", true,
       "<|im_start|>system\n"
       "Be brief.<|im_end|>\n"
       "<|im_start|>user\n"
       "Hi!\n"
       "<|im_end|>\n"
       "<|im_start|>assistant\n"
       "Hello.<|im_end|>\n"
       "<|im_start|>user\n"
       "  Bye \"now\"<|im_end|>\n"
       "<|im_start|>assistant\n"},
      {Conversation::kTools, "", true,
       "<|im_start|>user\n"
       "Weather?<|im_end|>\n"
       "<|im_start|>assistant\n"
       "<tool_call>\n"
       "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Zürich\", \"days\": 2}}\n"
       "</tool_call><|im_end|>\n"
       "<|im_start|>user\n"
       "<tool_response>\n"
       "{\"sky\": \"grey\"}\n"
       "</tool_response><|im_end|>\n"
       "<|im_start|>assistant\n"
       "Grey.<|im_end|>\n"
       "<|im_start|>user\n"
       "Thanks<|im_end|>\n"
       "<|im_start|>assistant\n"}}},
    {"gemma-2",
     "<bos>",
     "<eos>",
     "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('There is no syst"
     "em role') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (l"
     "oop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if (messa"
     "ge['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'"
     "] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_t"
     "urn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif "
     "%}",
     {{Conversation::kPlain, "", true,
       "<bos><start_of_turn>user\n"
       "Hello there<end_of_turn>\n"
       "<start_of_turn>model\n"},
      {Conversation::kPlain, "", false,
       "<bos><start_of_turn>user\n"
       "Hello there<end_of_turn>\n"}}},
    {"gemma-3",
     "<bos>",
     "<eos>",
     "{{ bos_token }}\n"
     "{%- if messages[0]['role'] == 'system' -%}\n"
     "    {%- if messages[0]['content'] is string -%}\n"
     "        {%- set prefix = messages[0]['content'] + '\n"
     "\n"
     "' -%}\n"
     "    {%- else -%}\n"
     "        {%- set prefix = messages[0]['content'][0]['text'] + '\n"
     "\n"
     "' -%}\n"
     "    {%- endif -%}\n"
     "    {%- set turns = messages[1:] -%}\n"
     "{%- else -%}\n"
     "    {%- set prefix = \"\" -%}\n"
     "    {%- set turns = messages -%}\n"
     "{%- endif -%}\n"
     "{%- for turn in turns -%}\n"
     "    {%- if (turn['role'] == 'assistant') -%}\n"
     "        {%- set role = \"model\" -%}\n"
     "    {%- else -%}\n"
     "        {%- set role = turn['role'] -%}\n"
     "    {%- endif -%}\n"
     "    {{ '<start_of_turn>' + role + '\n"
     "' + (prefix if loop.first else \"\") }}\n"
     "    {%- if turn['content'] is string -%}\n"
     "        {{ turn['content'] | trim }}\n"
     "    {%- elif turn['content'] is iterable -%}\n"
     "        {%- for item in turn['content'] -%}\n"
     "            {%- if item['type'] == 'image' -%}\n"
     "                {{ '<start_of_image>' }}\n"
     "            {%- elif item['type'] == 'text' -%}\n"
     "                {{ item['text'] | trim }}\n"
     "            {%- endif -%}\n"
     "        {%- endfor -%}\n"
     "    {%- else -%}\n"
     "        {{ raise_exception(\"What content is this?\") }}\n"
     "    {%- endif -%}\n"
     "    {{ '<end_of_turn>\n"
     "' }}\n"
     "{%- endfor -%}\n"
     "{%- if add_generation_prompt -%}\n"
     "    {{'<start_of_turn>model\n"
     "'}}\n"
     "{%- endif -%}\n",
     {{Conversation::kPlain, "", true,
       "<bos><start_of_turn>user\n"
       "Hello there<end_of_turn>\n"
       "<start_of_turn>model\n"},
      {Conversation::kPlain, "", false,
       "<bos><start_of_turn>user\n"
       "Hello there<end_of_turn>\n"},
      {Conversation::kSystem, "", true,
       "<bos><start_of_turn>user\n"
       "Be brief.\n"
       "\n"
       "Hi!<end_of_turn>\n"
       "<start_of_turn>model\n"
       "<think>\n"
       "hm\n"
       "</think>\n"
       "\n"
       "Hello.<end_of_turn>\n"
       "<start_of_turn>user\n"
       "Bye \"now\"<end_of_turn>\n"
       "<start_of_turn>model\n"}}},
    {"phi-3",
     "<s>",
     "<|endoftext|>",
     "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n"
     "' + message['content'] + '<|end|>\n"
     "'}}{% elif message['role'] == 'user' %}{{'<|user|>\n"
     "' + message['content'] + '<|end|>\n"
     "'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n"
     "' + message['content'] + '<|end|>\n"
     "'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n"
     "' }}{% else %}{{ eos_token }}{% endif %}",
     {{Conversation::kPlain, "", true,
       "<|user|>\n"
       "Hello there <|end|>\n"
       "<|assistant|>\n"},
      {Conversation::kPlain, "", false,
       "<|user|>\n"
       "Hello there <|end|>\n"
       "<|endoftext|>"},
      {Conversation::kSystem, "", true,
       "<|system|>\n"
       "Be brief.<|end|>\n"
       "<|user|>\n"
       "Hi!\n"
       "<|end|>\n"
       "<|assistant|>\n"
       "<think>\n"
       "hm\n"
       "</think>\n"
       "\n"
       "Hello.<|end|>\n"
       "<|user|>\n"
       "  Bye \"now\"<|end|>\n"
       "<|assistant|>\n"}}},
    {"phi-4-mini",
     "<|endoftext|>",
     "<|endoftext|>",
     "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and m"
     "essage['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|to"
     "ol|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}{% else %}{{ '<|' + message['role'] + "
     "'|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt "
     "%}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}",
     {{Conversation::kPlain, "", true, "<|user|>Hello there <|end|><|assistant|>"},
      {Conversation::kPlain, "", false, "<|user|>Hello there <|end|><|endoftext|>"},
      {Conversation::kSystem, "", true,
       "<|system|>Be brief.<|end|><|user|>Hi!\n"
       "<|end|><|assistant|><think>\n"
       "hm\n"
       "</think>\n"
       "\n"
       "Hello.<|end|><|user|>  Bye \"now\"<|end|><|assistant|>"}}},
    {"zephyr",
     "<s>",
     "</s>",
     "{% for message in messages %}\n"
     "{% if message['role'] == 'user' %}\n"
     "{{ '<|user|>\n"
     "' + message['content'] + eos_token }}\n"
     "{% elif message['role'] == 'system' %}\n"
     "{{ '<|system|>\n"
     "' + message['content'] + eos_token }}\n"
     "{% elif message['role'] == 'assistant' %}\n"
     "{{ '<|assistant|>\n"
     "'  + message['content'] + eos_token }}\n"
     "{% endif %}\n"
     "{% if loop.last and add_generation_prompt %}\n"
     "{{ '<|assistant|>' }}\n"
     "{% endif %}\n"
     "{% endfor %}",
     {{Conversation::kPlain, "", true,
       "<|user|>\n"
       "Hello there </s>\n"
       "<|assistant|>\n"},
      {Conversation::kPlain, "", false,
       "<|user|>\n"
       "Hello there </s>\n"},
      {Conversation::kSystem, "", true,
       "<|system|>\n"
       "Be brief.</s>\n"
       "<|user|>\n"
       "Hi!\n"
       "</s>\n"
       "<|assistant|>\n"
       "<think>\n"
       "hm\n"
       "</think>\n"
       "\n"
       "Hello.</s>\n"
       "<|user|>\n"
       "  Bye \"now\"</s>\n"
       "<|assistant|>\n"}}},
    {"chatml",
     "<s>",
     "<|im_end|>",
     "{%- for message in messages %}\n"
     "    {{- '<|im_start|>' + message['role'] }}\n"
     "    {{- '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\n"
     "{%- endfor %}\n"
     "{%- if add_generation_prompt %}\n"
     "    {{- '<|im_start|>assistant' + '\\n' }}\n"
     "{%- endif %}",
     {{Conversation::kPlain, "", true,
       "<|im_start|>user\n"
       "Hello there <|im_end|>\n"
       "<|im_start|>assistant\n"},
      {Conversation::kPlain, "", false,
       "<|im_start|>user\n"
       "Hello there <|im_end|>\n"},
      {Conversation::kSystem, "", true,
       "<|im_start|>system\n"
       "Be brief.<|im_end|>\n"
       "<|im_start|>user\n"
       "Hi!\n"
       "<|im_end|>\n"
       "<|im_start|>assistant\n"
       "<think>\n"
       "hm\n"
       "</think>\n"
       "\n"
       "Hello.<|im_end|>\n"
       "<|im_start|>user\n"
       "  Bye \"now\"<|im_end|>\n"
       "<|im_start|>assistant\n"}}},
    {"deepseek-r1-distill",
     "<｜begin▁of▁sentence｜>",
     "<｜end▁of▁sentence｜>",
     "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endi"
     "f %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_promp"
     "t='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system"
     "_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%"
     "- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -"
     "%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and "
     "message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_ca"
     "lls']%}{%- if not ns.is_first "
     "%}{{'<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + "
     "tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool"
     "['function']['arguments']|tojson + '\\n' + '```' + '<｜tool▁call▁end｜>'}}{%- set ns.is_first"
     " = true -%}{%- else %}{{'\\n' + '<｜tool▁call▁begin｜>' + tool['type'] + "
     "'<｜tool▁call▁end｜>'}"
     "}{%- endif %}{%- endfor %}{{'<｜tool▁calls▁end｜><｜end▁of▁sentence｜>'}}{%- endif %}{%- if "
     "mes"
     "sage['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}{{'<｜t"
     "ool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- set ns.is_tool = "
     "false"
     " -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set c"
     "ontent = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + "
     "'<｜end▁of"
     "▁sentence｜>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool"
     " = true -%}{%- if ns.is_output_first %}{{'<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>' + "
     "me"
     "ssage['content'] + '<｜tool▁output▁end｜>'}}{%- set ns.is_output_first = false %}{%- else %}{"
     "{'\\n<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>'}}{%- endif "
     "%}{%- e"
     "ndif %}{%- endfor -%}{% if ns.is_tool %}{{'<｜tool▁outputs▁end｜>'}}{% endif %}{% if add_gene"
     "ration_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}",
     {{Conversation::kPlain, "", true,
       "<｜begin▁of▁sentence｜><｜User｜>Hello there <｜Assistant｜><think>\n"},
      {Conversation::kPlain, "", false, "<｜begin▁of▁sentence｜><｜User｜>Hello there "},
      {Conversation::kSystem, "", true,
       "<｜begin▁of▁sentence｜>Be brief.<｜User｜>Hi!\n"
       "<｜Assistant｜>\n"
       "\n"
       "Hello.<｜end▁of▁sentence｜><｜User｜>  Bye \"now\"<｜Assistant｜><think>\n"},
      {Conversation::kTools, "", true,
       "<｜begin▁of▁sentence｜><｜User｜>Weather?<｜Assistant｜><｜tool▁calls▁begin｜><"
       "｜tool▁call▁begin｜"
       ">function<｜tool▁sep｜>get_weather\n"
       "```json\n"
       "{\"city\": \"Zürich\", \"days\": 2}\n"
       "```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜><｜tool▁outputs▁begin｜><"
       "｜tool▁ou"
       "tput▁begin｜>{\"sky\": "
       "\"grey\"}<｜tool▁output▁end｜><｜tool▁outputs▁end｜>Grey.<｜end▁of▁sent"
       "ence｜><｜User｜>Thanks<｜Assistant｜><think>\n"}}},
};

}  // namespace baton
