#!/usr/bin/python3
"""What the training recipe promises, without PyTorch: no held-out name in training, questions whose
answers their passages hold, a generator that its seed decides, the daemon's own prompt."""

import os
import re
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "deploy", "demo", "train"))

import documents  # noqa: E402
import generate  # noqa: E402
import lexicon  # noqa: E402
import scoring  # noqa: E402
import synonyms  # noqa: E402

CONTEXTS = 300


def contexts(seed, held_out):
    rng = lexicon.rng_for("test", seed)
    return [
        generate.make_context(rng, 1 + i % 4, 4, 2, 8, held_out=held_out) for i in range(CONTEXTS)
    ]


def words(context):
    text = " ".join(context.passages + [q.text + " " + q.answer for q in context.questions])
    return {word.lower() for word in re.findall(r"[A-Za-z]+", text)}


class Recipe(unittest.TestCase):

    def test_no_held_out_name_occurs_in_training(self):
        made = {False: set(), True: set()}
        real = lexicon.name

        def recorded(rng, held_out=False):
            name = real(rng, held_out)
            made[held_out].add(name.lower())
            return name

        lexicon.name = recorded
        try:
            training = set().union(*(words(c) for c in contexts(1, False)))
            contexts(1, True)
        finally:
            lexicon.name = real
        self.assertGreater(len(made[False]), 500)
        self.assertGreater(len(made[True]), 500)
        self.assertEqual(made[False] & made[True], set())
        self.assertEqual(training & made[True], set())

    def test_an_answer_stands_in_its_passage_and_a_refusal_in_none(self):
        refusals = 0
        for context in contexts(2, False) + contexts(2, True):
            for question in context.questions:
                if question.passage:
                    passage = context.passages[question.passage - 1].lower()
                    self.assertIn(question.answer.lower(), passage, question)
                else:
                    self.assertEqual(question.answer, generate.REFUSAL)
                    refusals += 1
        self.assertTrue(0.2 < refusals / (2 * CONTEXTS * 8) < 0.3, refusals)

    def test_documents_are_well_written(self):
        for document in documents.of(False) + documents.of(True):
            documents.check(document)
            self.assertTrue(any(s.questions for s in document.sentences), document.where)

    def test_what_is_wrong_in_a_document_is_named(self):

        def wrong(text):
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                file.write(text)
                file.flush()
                for document in documents.read(file.name):
                    documents.check(document)

        for text, message in (
            ("no title\n", "no title before it"),
            ("# T\n? q = a\n", "under a sentence"),
            ("# T\nA {b} is.\n", "defined nowhere"),
            ("# T\nA {b:colour} is {b:month}.\n", "both colour and month"),
            ("# T\nA {b:planet} is.\n", "no such type"),
            ("# T\nA ball is red.\n? What colour = blue\n", "\"blue\" is not in"),
            ("# T\nA {b:ball|hat} is red.\n? What is red = hat\n", "\"hat\" is not in"),
            ("# T\nA ball is red.\n? What is {x} = ball\n", "no slot 'x'"),
        ):
            with self.assertRaisesRegex(ValueError, re.escape(message)):
                wrong(text)
        wrong("# T\n// a remark\nA {b:ball|hat} is {n:3-9} years old.\n"
              "? How old is the {b} = {n} years | {n}\n")

    def test_other_words_take_the_form_of_the_word_and_its_article(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("n boat vessel  # and so on\nn owner man/men\nv steal/stole/stolen rob\n"
                       "v name call\nn name title\na oval egg-shaped\nv give hand~over\n"
                       "k tool: axe hammer\n")
            file.flush()
            same, kinds = synonyms.read(file.name)
        self.assertEqual(same["boats"], [["vessels"]])
        self.assertEqual(same["owners"], [["men"]])
        self.assertEqual(same["stole"], [["robbed"]])
        self.assertEqual(same["robbed"], [["stole"], ["stolen"]])
        self.assertEqual(same["given"], [["handed over"]])
        self.assertNotIn("name", same)  # a noun or a verb: not known here
        self.assertEqual(kinds, {"axe": "tool", "axes": "tools", "hammer": "tool",
                                 "hammers": "tools"})

        def swap(text, **others):
            return synonyms.replaced(text, lambda word, before: others.get(word))

        self.assertEqual(swap("A round hat, an axe.", round="oval", axe="tool"),
                         "An oval hat, a tool.")
        self.assertEqual(swap("The Round boat's boat-house", boat="hut", round="oval"),
                         "The Round boat's boat-house")
        for text in ("x a b\n", "n boat\n", "n tool: axe\n", "k tool axe\n"):
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                file.write(text)
                file.flush()
                with self.assertRaisesRegex(ValueError, ":1: not a set of words"):
                    synonyms.read(file.name)

    def test_the_evaluation_reads_documents_as_they_were_written(self):
        made = []
        real = synonyms.known
        synonyms.known = lambda: made.append(1) or real()
        try:
            contexts(6, True)
            self.assertEqual(made, [])
            contexts(6, False)
            self.assertNotEqual(made, [])
        finally:
            synonyms.known = real

    def test_held_out_documents_are_not_trained_on(self):
        told = {d.title for d in documents.of(False)}
        kept = {d.title for d in documents.of(True)}
        self.assertGreater(len(kept), 20)
        self.assertEqual(told & kept, set())

    def test_one_seed_gives_one_text(self):
        self.assertEqual([c.passages for c in contexts(3, False)],
                         [c.passages for c in contexts(3, False)])
        self.assertNotEqual([c.passages for c in contexts(3, False)],
                            [c.passages for c in contexts(4, False)])

    def test_some_wordings_are_kept_from_training(self):
        self.assertTrue(all(q.known_wording for c in contexts(5, False) for q in c.questions))
        self.assertFalse(all(q.known_wording for c in contexts(5, True) for q in c.questions))

    def test_the_prompt_is_the_daemons(self):
        with open(os.path.join(ROOT, "engine/rag/prompt.cc"), encoding="utf-8") as file:
            source = file.read()
        literals = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', source)).replace("\\n", "\n")
        self.assertIn(generate.HEAD, literals)
        self.assertIn("Question: ", literals)
        self.assertIn("\nAnswer:", literals)

    def test_scores(self):
        self.assertTrue(scoring.exact_match(" The 3,400 litres. [2]", "3,400 litres"))
        self.assertFalse(scoring.exact_match("340 litres", "3,400 litres"))
        self.assertFalse(scoring.exact_match("3.5 metres", "35 metres"))
        self.assertAlmostEqual(scoring.f1("soft soap", "soft soap and spirit"), 2 / 3)
        self.assertEqual(scoring.f1("", "x"), 0)
        self.assertIn("15", scoring.accepted("Within how many minutes?", "15 minutes"))
        self.assertIn("45 degrees", scoring.accepted("How hot?", "at most 45 degrees"))
        self.assertEqual(set(scoring.accepted("What colour?", "pale blue")), {"pale blue"})


if __name__ == "__main__":
    unittest.main()
