"""Trains the demo's language model. Stops and goes on from its checkpoint; see README.md.

    python train.py --out DIR --minutes 200 [--small]

The curriculum moves on when answers are right, not when time has passed: without it a model of this
size learns nothing (one passage must be understood before three are told apart). The learning rate
is flat for the first 70 % of the time and falls to nothing in the rest.
"""

import argparse
import json
import os
import tempfile
import time

import torch
import torch.distributed
import torch.multiprocessing
import torch.nn.functional as F

import batches
import generate
import induction
import lexicon
from model import Llama, Shape
from tokenizer import Tokenizer, train as train_tokenizer

# passages; facts (or sentences of written documents) and other sentences per passage; questions,
# and the share of them that has no answer; the share of contexts that are written documents; the
# share of right answers to the others at which the next stage begins
STAGES = [
    dict(passages=(1, ),
         facts=1,
         fillers=0,
         questions=4,
         refusals=0.1,
         written=0.2,
         parts=False,
         enough=0.65),
    dict(passages=(1, ), facts=2, fillers=0, questions=7, refusals=0.1, written=0.4, enough=0.65),
    dict(passages=(1, ), facts=3, fillers=1, questions=9, refusals=0.12, written=0.6, enough=0.65),
    dict(passages=(1, 1, 1, 1, 2, 3),
         facts=3,
         fillers=1,
         questions=11,
         refusals=0.14,
         written=0.75,
         enough=2.0)
]
EARLIER_SHARE = 0.15  # of contexts that come from an earlier stage
TEXT_SHARE = 0.25  # of the context's positions that are predicted too
TEXT_LOSS = 0.2
WARM_UP_STEPS = 100
EMBEDDING_RATE = 0.8  # of the learning rate: for what is no matrix of a block, too
FLAT_SHARE = 0.7
REPORT_STEPS = 50
CHARACTERS_PER_TOKEN = 3  # about


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz (Jordan et al., 2024), scaled to Adam's step size
    (Liu et al., 2025)."""

    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.05):
        super().__init__(parameters, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                update = orthogonal(p.grad.add(m, alpha=group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape)**0.5)


def orthogonal(g):
    x = g / (g.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.775 * a + 2.0315 * (a @ a)) @ x
    return x.T if tall else x


def sample(rng, stage, tokens_per_step):
    if stage > 0 and rng.random() < EARLIER_SHARE:
        stage = rng.randrange(stage)
    s = STAGES[stage]
    contexts, tokens = [], 0
    passages = rng.choice(s["passages"])  # one number a batch: rows of like length waste no padding
    while tokens < tokens_per_step:
        context = generate.make_context(rng,
                                        passages,
                                        s["facts"],
                                        s["fillers"],
                                        s["questions"],
                                        refusals=s["refusals"],
                                        parts=s.get("parts", True),
                                        written=s["written"])
        contexts.append(context)
        tokens += context.characters() // CHARACTERS_PER_TOKEN
    return contexts, stage


def losses(model, batch, text_generator, dtype):
    hidden = model(batch.tokens, batch.positions, batch.mask, dtype)
    answers = batch.question >= 0
    text = batch.text & (torch.rand(batch.text.shape, generator=text_generator).to(
        batch.text.device) < TEXT_SHARE)
    chosen = answers | text
    logits = model.logits(hidden[chosen].float())
    each = F.cross_entropy(logits, batch.targets[chosen], reduction="none")
    is_answer = answers[chosen]
    loss = each[is_answer].mean() + TEXT_LOSS * each[~is_answer].mean()
    with torch.no_grad():
        wrong = (logits[is_answer].argmax(-1) != batch.targets[answers]).long()
        missed = torch.zeros(len(batch.answerable), dtype=torch.long, device=wrong.device)
        missed.index_add_(0, batch.question[answers], wrong)
        right = missed == 0
    return (loss, right[batch.answerable].float().mean().item(),
            right[~batch.answerable].float().mean().item(), each[is_answer].mean().item())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of checkpoint, tokenizer and log")
    parser.add_argument("--minutes",
                        type=float,
                        required=True,
                        help="training time in all, that of earlier runs included")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers",
                        type=int,
                        default=1 if torch.cuda.is_available() else os.cpu_count(),
                        help="processes of one thread that share each step's work")
    parser.add_argument("--tokens-per-step", type=int, default=2800, help="of all workers")
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--small",
                        action="store_true",
                        help="two layers: sees that the recipe runs")
    args = parser.parse_args()

    os.makedirs(args.out, exist_ok=True)
    vocabulary = os.path.join(args.out, "tokenizer")
    if not os.path.exists(vocabulary + ".model"):
        train_tokenizer(vocabulary, args.seed, contexts=2000 if args.small else 20000)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (args, os.path.join(folder, "meet")), args.workers)


class Shared:
    """Means of all workers: one exchange a step."""

    def __init__(self, rank, workers, meeting_file):
        self.workers = workers
        if workers > 1:
            torch.distributed.init_process_group("gloo",
                                                 init_method="file://" + meeting_file,
                                                 rank=rank,
                                                 world_size=workers)

    def mean(self, gradients, numbers):
        """Replaces `gradients` by their means; returns the means of `numbers`."""
        if self.workers == 1:
            return numbers
        flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor(numbers)])
        torch.distributed.all_reduce(flat)
        flat /= self.workers
        first = 0
        for g in gradients:
            g.copy_(flat[first:first + g.numel()].view_as(g))
            first += g.numel()
        return flat[first:].tolist()


def work(rank, args, meeting_file):
    shared = Shared(rank, args.workers, meeting_file)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    # A processor may be shared: minutes are those it has worked for us.
    clock = time.monotonic if device == "cuda" else time.thread_time
    # Where its matrix units take bfloat16, 1.6 times as many questions a second.
    mixed = torch.autocast("cpu",
                           torch.bfloat16,
                           enabled=device == "cpu" and torch.cpu._is_amx_tile_supported())
    if device == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer(os.path.join(args.out, "tokenizer.model"))
    shape = Shape(tokenizer.pieces.vocab_size(), args.layers, args.width, args.heads, args.hidden)
    if args.small:
        shape = Shape(tokenizer.pieces.vocab_size(), 2, 96, 3, 256)

    model = Llama(shape)
    induction.initialise(model, args.seed)
    model = model.to(device)
    matrices = [p for b in model.blocks for p in b.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    optimizers = [
        Muon(matrices, args.learning_rate),
        torch.optim.AdamW(others, args.learning_rate, betas=(0.9, 0.98), weight_decay=0)
    ]
    step, stage, trained, questions, accuracy = 0, 0, 0.0, 0, 0.0
    checkpoint = os.path.join(args.out, "checkpoint.pt")
    if os.path.exists(checkpoint):
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        if saved["shape"] != shape.as_dict():
            raise SystemExit(f"{checkpoint} holds a model of another shape: {saved['shape']}")
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        step, stage, trained, questions = (saved[k]
                                           for k in ("step", "stage", "trained", "questions"))

    def save():
        if rank > 0:
            return
        torch.save(
            dict(shape=shape.as_dict(),
                 model=model.state_dict(),
                 step=step,
                 stage=stage,
                 trained=trained,
                 questions=questions,
                 seed=args.seed,
                 optimizers=[o.state_dict() for o in optimizers]), checkpoint + ".new")
        os.replace(checkpoint + ".new", checkpoint)

    if rank == 0:
        print(
            f"{model.parameters_count() / 1e6:.2f} M parameters on {device}, "
            f"{args.workers} workers, seed {args.seed}, from step {step}",
            flush=True)
    sums, started = [], clock()
    while trained < args.minutes * 60:
        rng = lexicon.rng_for("train", args.seed, step, rank)
        chooser = torch.Generator().manual_seed((args.seed * 1000003 + step) * args.workers + rank)
        contexts, from_stage = sample(rng, stage, args.tokens_per_step // args.workers)
        batch = batches.collate(contexts, tokenizer, device)
        flat = args.minutes * 60 * FLAT_SHARE
        falling = max(0.02, min(1.0, (args.minutes * 60 - trained) / (args.minutes * 60 - flat)))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                share = EMBEDDING_RATE if optimizer is not optimizers[0] else 1.0
                group["lr"] = (args.learning_rate * share * falling *
                               min(1.0, (step + 1) / WARM_UP_STEPS))
        with mixed:
            loss, right, refused, answer_loss = losses(model, batch, chooser, dtype)
        loss.backward()
        now = clock()
        own = from_stage == stage and right == right and refused == refused  # NaN: none asked
        asked, seconds, counted, right, refused, answer_loss = shared.mean(
            [p.grad for p in model.parameters()],
            [float(len(batch.answerable)), now - started,
             float(own)] + ([right, refused, answer_loss] if own else [0.0] * 3))
        started = now
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        questions += round(asked * args.workers)
        trained += seconds
        if counted > 0:
            right, refused, answer_loss = (x / counted for x in (right, refused, answer_loss))
            accuracy += (right - accuracy) * (0.02 if step > 50 else 0.1)
            sums.append((right, refused, answer_loss))
        if step % REPORT_STEPS == 0:
            mean = [sum(column) / len(column) for column in zip(*sums)] or [0.0] * 3
            line = dict(step=step,
                        stage=stage,
                        minutes=round(trained / 60, 1),
                        questions=questions,
                        right=round(mean[0], 3),
                        refused=round(mean[1], 3),
                        loss=round(mean[2], 3))
            if rank == 0:
                print(json.dumps(line), flush=True)
            sums = []
            save()
        if accuracy > STAGES[stage]["enough"]:
            stage, accuracy, sums = stage + 1, 0.0, []
    save()


if __name__ == "__main__":
    main()
