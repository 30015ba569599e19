#include "engine/model/text_features.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "engine/model/utf8.h"

namespace baton {
namespace {

struct Character {
  uint32_t code = 0;  // kInvalid where the bytes are not UTF-8
  size_t bytes = 1;
};
constexpr uint32_t kInvalid = 0xffffffff;

Character Decode(std::string_view text, size_t at) {
  const size_t bytes = Utf8CharBytes(text.substr(at));
  if (bytes == 0) return {.code = kInvalid, .bytes = 1};
  return {.code = DecodeUtf8(text.substr(at, bytes)), .bytes = bytes};
}

bool IsDigit(uint32_t c) { return c >= '0' && c <= '9'; }
bool IsAsciiLetter(uint32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Beyond ASCII everything is a letter but spaces, punctuation and symbols.
bool IsWordCharacter(uint32_t c) {
  if (c < 0x80) return IsAsciiLetter(c) || IsDigit(c);
  if (c == kInvalid) return false;
  if (c < 0xc0) return c == 0xaa || c == 0xb5 || c == 0xba;  // ª µ º
  if (c == 0xd7 || c == 0xf7) return false;                  // × ÷
  return !((c >= 0x2000 && c <= 0x206f) || (c >= 0x20a0 && c <= 0x20cf) ||
           (c >= 0x2190 && c <= 0x2bff) || (c >= 0x3000 && c <= 0x3004) ||
           (c >= 0x3008 && c <= 0x3020) || (c >= 0xfe30 && c <= 0xfe6f) ||
           (c >= 0xff00 && c <= 0xff0f) || (c >= 0xff1a && c <= 0xff20) || c == 0xfeff ||
           c == 0xfffd || c >= 0xf0000);
}

// Scripts written without spaces: kana, ideographs.
bool StandsAlone(uint32_t c) {
  return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x9fff) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

bool IsApostrophe(uint32_t c) { return c == '\'' || c == 0x2019; }

// U+00C0 to U+017F without their accents; '-' keeps the character.
constexpr std::string_view kLatin =
    "aaaaaa-ceeeeiiiidnooooo-ouuuuy--aaaaaa-ceeeeiiiidnooooo-ouuuuy-y"
    "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiii--jjkk-lllllll"
    "lllnnnnnnn--oooooo--rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";
static_assert(kLatin.size() == 0x180 - 0xc0);

// Lower case without accents, as far as Latin, Greek and Cyrillic letters go.
void AppendFolded(std::string_view text, size_t at, Character c, std::string* out) {
  if (c.code < 0x80) {
    out->push_back(static_cast<char>(c.code >= 'A' && c.code <= 'Z' ? c.code + 32 : c.code));
  } else if (c.code >= 0xc0 && c.code < 0x180 && kLatin[c.code - 0xc0] != '-') {
    out->push_back(kLatin[c.code - 0xc0]);
  } else if (c.code == 0xdf) {  // ß
    out->append("ss");
  } else if (c.code == 0xc6 || c.code == 0xe6) {  // Æ æ
    out->append("ae");
  } else if (c.code == 0x152 || c.code == 0x153) {  // Œ œ
    out->append("oe");
  } else if ((c.code >= 0x391 && c.code <= 0x3a9) || (c.code >= 0x410 && c.code <= 0x42f)) {
    AppendUtf8(c.code + 32, *out);
  } else if (c.code >= 0x400 && c.code <= 0x40f) {
    AppendUtf8(c.code + 80, *out);
  } else {
    out->append(text.substr(at, c.bytes));
  }
}

// ---- English endings ----

bool IsVowel(char c) {
  return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y';
}
bool HasVowel(std::string_view word) { return std::any_of(word.begin(), word.end(), IsVowel); }

// Drops `ending` where enough of the word remains.
bool DropEnding(std::string_view ending, size_t rest_min, std::string* word) {
  if (!word->ends_with(ending) || word->size() < ending.size() + rest_min) return false;
  if (!HasVowel(std::string_view(*word).substr(0, word->size() - ending.size()))) return false;
  word->resize(word->size() - ending.size());
  return true;
}

// A light stemmer: plurals, verb forms, adverbs. It need not give real words, only the same one.
std::string StemEnglish(std::string word) {
  const bool letters =
      std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  if (!letters || word.size() < 4) return word;
  if (word.ends_with("ies") && word.size() > 4) {
    word.resize(word.size() - 2);
  } else if (word.ends_with("sses") || word.ends_with("xes") || word.ends_with("ches") ||
             word.ends_with("shes") || word.ends_with("zes")) {
    word.resize(word.size() - 2);
  } else if (!word.ends_with("ss") && !word.ends_with("us") && !word.ends_with("is")) {
    DropEnding("s", 3, &word);
  }
  DropEnding("ly", 4, &word);
  if (DropEnding("ing", 3, &word) || DropEnding("ed", 3, &word)) {
    const size_t n = word.size();
    // stopped -> stop, but not fall, miss, buzz
    if (word[n - 1] == word[n - 2] && !IsVowel(word[n - 1]) && word[n - 1] != 'l' &&
        word[n - 1] != 's' && word[n - 1] != 'z') {
      word.pop_back();
    }
  }
  if (word.size() > 3 && word.back() == 'e') word.pop_back();
  if (word.size() > 2 && word.back() == 'y' && !IsVowel(word[word.size() - 2])) word.back() = 'i';
  return word;
}

// ---- Weights ----
// There is no corpus to count words in, so English's most frequent words are listed.

// Words that hold a sentence together, sorted.
constexpr std::array<std::string_view, 161> kFillers = {
    "a",       "about",   "above",      "after",   "again",  "against",   "all",     "also",
    "am",      "among",   "an",         "and",     "any",    "are",       "arent",   "as",
    "at",      "be",      "because",    "been",    "before", "being",     "below",   "between",
    "both",    "but",     "by",         "can",     "cannot", "cant",      "could",   "couldnt",
    "did",     "didnt",   "do",         "does",    "doesnt", "doing",     "done",    "dont",
    "during",  "each",    "either",     "ever",    "every",  "few",       "for",     "from",
    "further", "had",     "has",        "have",    "having", "he",        "her",     "here",
    "hers",    "herself", "him",        "himself", "his",    "how",       "however", "i",
    "if",      "in",      "into",       "is",      "isnt",   "it",        "its",     "itself",
    "just",    "many",    "may",        "me",      "might",  "more",      "most",    "much",
    "must",    "my",      "myself",     "neither", "no",     "nor",       "not",     "of",
    "off",     "on",      "only",       "onto",    "or",     "other",     "our",     "ours",
    "out",     "over",    "own",        "per",     "rather", "same",      "shall",   "she",
    "should",  "so",      "some",       "such",    "than",   "that",      "the",     "their",
    "theirs",  "them",    "themselves", "then",    "there",  "therefore", "these",   "they",
    "this",    "those",   "though",     "through", "thus",   "to",        "too",     "toward",
    "towards", "under",   "until",      "up",      "upon",   "us",        "very",    "via",
    "was",     "wasnt",   "we",         "were",    "werent", "what",      "when",    "where",
    "which",   "while",   "who",        "whom",    "whose",  "why",       "will",    "with",
    "within",  "without", "wont",       "would",   "yet",    "you",       "your",    "yours",
    "yourself"};
static_assert(std::is_sorted(kFillers.begin(), kFillers.end()));
// Words that are common in any English text, sorted.
constexpr std::array<std::string_view, 425> kCommonWords = {
    "able",       "according",  "across",    "act",        "active",    "actual",     "add",
    "added",      "age",        "ago",       "allow",      "almost",    "alone",      "along",
    "already",    "although",   "always",    "amount",     "another",   "answer",     "anyone",
    "anything",   "appear",     "area",      "around",     "ask",       "available",  "away",
    "back",       "bad",        "based",     "became",     "become",    "becomes",    "began",
    "begin",      "behind",     "believe",   "best",       "better",    "big",        "bring",
    "brought",    "build",      "built",     "call",       "called",    "came",       "care",
    "carry",      "case",       "cause",     "century",    "certain",   "change",     "child",
    "children",   "city",       "close",     "come",       "comes",     "common",     "company",
    "compared",   "complete",   "consider",  "considered", "contain",   "continue",   "control",
    "cost",       "country",    "course",    "create",     "created",   "current",    "cut",
    "data",       "date",       "day",       "days",       "decide",    "define",     "degree",
    "describe",   "described",  "design",    "determine",  "develop",   "developed",  "development",
    "difference", "different",  "difficult", "direct",     "discover",  "down",       "early",
    "easy",       "effect",     "effort",    "eight",      "end",       "enough",     "especially",
    "establish",  "even",       "event",     "example",    "except",    "exist",      "expect",
    "explain",    "fact",       "fall",      "family",     "famous",    "far",        "feel",
    "felt",       "field",      "fifth",     "final",      "find",      "first",      "five",
    "follow",     "followed",   "following", "form",       "formed",    "former",     "found",
    "four",       "full",       "gave",      "general",    "get",       "give",       "given",
    "gives",      "go",         "goes",      "going",      "good",      "got",        "great",
    "greater",    "group",      "grow",      "half",       "hand",      "hard",       "head",
    "hear",       "help",       "hence",     "high",       "higher",    "hold",       "home",
    "hour",       "house",      "hundred",   "idea",       "important", "include",    "included",
    "includes",   "including",  "increase",  "individual", "instead",   "interest",   "issue",
    "january",    "keep",       "kept",      "kind",       "knew",      "know",       "known",
    "land",       "large",      "larger",    "largest",    "last",      "late",       "later",
    "law",        "lead",       "least",     "leave",      "led",       "left",       "less",
    "let",        "level",      "life",      "light",      "like",      "likely",     "line",
    "list",       "little",     "live",      "local",      "long",      "longer",     "look",
    "lost",       "low",        "lower",     "made",       "main",      "major",      "make",
    "makes",      "making",     "man",       "mean",       "means",     "member",     "men",
    "method",     "miles",      "million",   "mind",       "modern",    "month",      "months",
    "move",       "name",       "named",     "names",      "nation",    "national",   "natural",
    "near",       "nearly",     "need",      "never",      "new",       "next",       "night",
    "nine",       "non",        "normal",    "north",      "note",      "now",        "number",
    "obtain",     "occur",      "occurred",  "offer",      "often",     "old",        "older",
    "one",        "open",       "opposed",   "order",      "original",  "others",     "paper",
    "part",       "particular", "party",     "past",       "people",    "perform",    "period",
    "person",     "place",      "plan",      "play",       "point",     "points",     "position",
    "possible",   "present",    "problem",   "process",    "produce",   "produced",   "program",
    "property",   "provide",    "provided",  "public",     "put",       "quite",      "range",
    "rate",       "reach",      "read",      "real",       "reason",    "receive",    "received",
    "refer",      "referred",   "region",    "relate",     "related",   "relation",   "remain",
    "report",     "represent",  "require",   "required",   "result",    "results",    "return",
    "right",      "role",       "room",      "run",        "said",      "saw",        "say",
    "second",     "see",        "seem",      "seen",       "send",      "sent",       "separate",
    "serve",      "set",        "seven",     "several",    "show",      "shown",      "side",
    "similar",    "simple",     "since",     "single",     "six",       "size",       "small",
    "social",     "something",  "south",     "special",    "stand",     "start",      "started",
    "state",      "states",     "stay",      "still",      "stop",      "story",      "strong",
    "structure",  "study",      "subject",   "system",     "systems",   "take",       "taken",
    "ten",        "term",       "terms",     "test",       "theory",    "thing",      "things",
    "think",      "third",      "thought",   "thousand",   "three",     "throughout", "time",
    "times",      "today",      "together",  "told",       "took",      "top",        "total",
    "turn",       "twenty",     "two",       "type",       "types",     "unit",       "united",
    "use",        "used",       "uses",      "using",      "usual",     "usually",    "value",
    "various",    "view",       "want",      "war",        "water",     "way",        "week",
    "well",       "went",       "west",      "white",      "whole",     "wide",       "widely",
    "woman",      "women",      "word",      "words",      "work",      "worked",     "world",
    "write",      "written",    "year",      "years",      "young"};
static_assert(std::is_sorted(kCommonWords.begin(), kCommonWords.end()));

template <size_t kSize>
bool Contains(const std::array<std::string_view, kSize>& sorted, std::string_view word) {
  return std::binary_search(sorted.begin(), sorted.end(), word);
}

float WeightOf(std::string_view surface, std::string_view stem) {
  if (Contains(kFillers, surface)) return 0.05f;
  if (Contains(kCommonWords, surface) || Contains(kCommonWords, stem)) return 0.5f;
  if (IsDigit(static_cast<unsigned char>(surface[0]))) return 1;
  // Rare words of few letters are still commoner than long ones. In hundredths, to be exact.
  return static_cast<float>(std::min<size_t>(60 + 8 * stem.size(), 100)) / 100.0f;
}

}  // namespace

std::vector<TextWord> SplitWords(std::string_view text) {
  std::vector<TextWord> words;
  std::string surface;
  const auto flush = [&] {
    if (surface.empty()) return;
    std::string stem = StemEnglish(surface);
    const float weight = WeightOf(surface, stem);
    words.push_back({.surface = std::move(surface), .stem = std::move(stem), .weight = weight});
    surface.clear();
  };
  const auto code_at = [&](size_t at) { return at < text.size() ? Decode(text, at).code : ' '; };

  for (size_t at = 0; at < text.size();) {
    const Character c = Decode(text, at);
    const uint32_t next = code_at(at + c.bytes);
    if (StandsAlone(c.code)) {
      flush();
      surface = text.substr(at, c.bytes);
      flush();
    } else if (IsWordCharacter(c.code)) {
      AppendFolded(text, at, c, &surface);
    } else if (IsApostrophe(c.code) && !surface.empty()) {
      const bool possessive =
          (next == 's' || next == 'S') && !IsWordCharacter(code_at(at + c.bytes + 1));
      if (possessive) at += 1;
      if (possessive || !IsWordCharacter(next)) flush();
    } else if ((c.code == '.' || c.code == ',') && !surface.empty() &&
               IsDigit(static_cast<unsigned char>(surface.back())) && IsDigit(next)) {
      if (c.code == '.') surface.push_back('.');
    } else {
      flush();
    }
    at += c.bytes;
  }
  flush();
  return words;
}

}  // namespace baton
