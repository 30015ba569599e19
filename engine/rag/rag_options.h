#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct RagOptions {
  int32_t passage_chars_max = 600;
  int32_t passage_overlap_chars = 100;
  std::string retrieval = "dense";
  int32_t rerank_candidates = 32;
  std::string rerank_model;
  int32_t context_passages_max = 5;
  int32_t context_sentences_max = 0;
  double answer_score_min = 0;
  int32_t answer_tokens_max = 128;
  std::string answers = "free";
  std::string chat_template = "auto";

  template <class Visitor>
  void Describe(Visitor& v) {
    v("passage_chars_max", passage_chars_max, Range{64, 8192},
      "longest passage of an ingested document, characters");
    v("passage_overlap_chars", passage_overlap_chars, Range{0, 4095},
      "characters that consecutive passages may share, less than half of passage_chars_max");
    v("retrieval", retrieval, OneOf{"dense", "text", "hybrid"},
      "how an Ask that does not say finds passages: dense: by their embeddings; text: by their "
      "words; hybrid: by both. With the latter two, Ingest has the text of passages indexed");
    v("rerank_candidates", rerank_candidates, Range{1, 1000},
      "passages that an Ask searches for, to keep the best by the question's words, or by "
      "rerank_model");
    v("rerank_model", rerank_model, AnyValue{},
      "name of the model that orders the passages of an Ask: a cross-encoder or an embedding "
      "model; "
      "empty: the question's words do");
    v("context_passages_max", context_passages_max, Range{1, 100},
      "retrieved passages that are put before the language model at most");
    v("context_sentences_max", context_sentences_max, Range{0, 1000},
      "sentences of each of them that are put before the language model, those nearest to the "
      "question; 0: all");
    v("answer_score_min", answer_score_min, Range{0, 1},
      "score that a passage needs for an answer to rest on it; where none has it, an Ask finds "
      "nothing");
    v("answer_tokens_max", answer_tokens_max, Range{1, 1048576},
      "longest answer where the request does not say, tokens");
    v("answers", answers, OneOf{"free", "verbatim"},
      "how an Ask that does not say is answered: free: in the model's words; verbatim: by one of "
      "the sentences that were put before it, word for word, or by a refusal: the model chooses, "
      "and cannot garble");
    v("chat_template", chat_template, OneOf{"auto", "off"},
      "auto: a model that brings a chat template is asked through it, in the user's message; off: "
      "every model continues the plain prompt");
  }
};

}  // namespace baton
