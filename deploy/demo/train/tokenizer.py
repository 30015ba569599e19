"""The vocabulary: SentencePiece BPE, single digits, byte fallback, trained on generated text."""

import sentencepiece

import generate
import lexicon

VOCABULARY = 4096
SEPARATOR = "\n"  # what stands before a question in the prompt


def train(path_prefix, seed, contexts=20000):
    rng = lexicon.rng_for("tokenizer", seed)

    def texts():
        for i in range(contexts):
            context = generate.make_context(rng, 1 + i % 3, 4, 3, 4, written=0.8)
            for passage in context.passages:
                yield from passage.split("\n")
            for question in context.questions:
                yield from generate.prompt_tail(question.text).split("\n")
                yield generate.answer_text(question).strip()
        yield from generate.HEAD.strip().split("\n")

    sentencepiece.SentencePieceTrainer.train(sentence_iterator=texts(),
                                             model_prefix=path_prefix,
                                             vocab_size=VOCABULARY,
                                             model_type="bpe",
                                             byte_fallback=True,
                                             split_digits=True,
                                             character_coverage=1.0,
                                             normalization_rule_name="identity",
                                             remove_extra_whitespaces=False,
                                             pad_id=-1,
                                             unk_id=0,
                                             bos_id=1,
                                             eos_id=2,
                                             num_threads=1,
                                             minloglevel=1)


class Tokenizer:

    def __init__(self, path):
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=path)
        self.bos, self.eos = self.pieces.bos_id(), self.pieces.eos_id()
        self._skip = len(self.pieces.encode(SEPARATOR))

    def encode_start(self, text):
        return [self.bos] + self.pieces.encode(text)

    def encode_line(self, text):
        """`text` as it is encoded where a line begins, not at the start of everything."""
        return self.pieces.encode(SEPARATOR + text)[self._skip:]

    def encode_word(self, text):
        """`text`, which begins with a space, as it is encoded after other text."""
        return self.pieces.encode(text[1:])
