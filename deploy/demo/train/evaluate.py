"""How well a checkpoint reads held-out names, facts and documents: exact match by the number of
passages.

Greedy decoding and teacher forcing agree on whether a whole answer is right, so one forward pass
tells. `./dev bench rag-demo` measures the exported file through the daemon.

    python evaluate.py --out DIR [--contexts 100] [--seed 1]
"""

import argparse
import os

import torch

import batches
import generate
import lexicon
import train
from model import Llama, Shape
from tokenizer import Tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", required=True, help="the folder that train.py wrote")
    parser.add_argument("--contexts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    saved = torch.load(os.path.join(args.out, "checkpoint.pt"), map_location="cpu",
                       weights_only=True)
    model = Llama(Shape(**saved["shape"]))
    model.load_state_dict(saved["model"])
    tokenizer = Tokenizer(os.path.join(args.out, "tokenizer.model"))
    print(f"step {saved['step']}, stage {saved['stage']}, {saved['questions']} questions, "
          f"evaluation seed {args.seed}")
    for kind, written in (("made-up facts", 0), ("written documents", 1)):
        for passages in (1, 2, 3, 4):
            rng = lexicon.rng_for("evaluate", args.seed, kind, passages)
            print(f"{kind}, {passages} passages: " +
                  score(rng, model, tokenizer, args.contexts, passages, written))


def score(rng, model, tokenizer, contexts, passages, written):
    right = refused = answerable = unanswerable = 0
    for _ in range(contexts):
        context = generate.make_context(rng, passages, 3, 2, 8, held_out=True, written=written)
        batch = batches.collate([context], tokenizer)
        with torch.no_grad():
            _, r, f, _ = train.losses(model, batch, torch.Generator(), torch.float32)
        n = int(batch.answerable.sum())
        answerable += n
        unanswerable += len(batch.answerable) - n
        right += round(r * n) if n else 0
        refused += round(f * (len(batch.answerable) - n)) if n < len(batch.answerable) else 0
    return (f"exact match {right / answerable:.3f} of {answerable}, "
            f"refused {refused / unanswerable:.3f} of {unanswerable}")


if __name__ == "__main__":
    main()
