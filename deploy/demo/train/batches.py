"""Contexts to tensors. Questions of one context share its tokens: each sees the context and itself,
and stands at the positions it would have if it were asked alone."""

from dataclasses import dataclass

import torch

import generate

ROW_TOKENS = 384  # contexts share a row up to here: few are as long, and padding costs like text


@dataclass
class Batch:
    tokens: torch.Tensor  # [rows, length]
    positions: torch.Tensor  # [rows, length]
    mask: torch.Tensor  # [rows, 1, length, length], true: may be seen
    targets: torch.Tensor  # [rows, length], the next token
    question: (torch.Tensor
               )  # [rows, length], number of the answer that this position predicts, or -1
    text: torch.Tensor  # [rows, length], true: predicts a token of the context
    answerable: torch.Tensor  # [questions]


def encode(context, tokenizer):
    """ids, positions, segment (0: context), target or -1, per token."""
    head = tokenizer.encode_start(context.prompt_head().removesuffix("\n"))
    ids, positions, segments = list(head), list(range(len(head))), [0] * len(head)
    targets = head[1:] + [-1]
    newline = tokenizer.encode_line("\n")
    for number, question in enumerate(context.questions, 1):
        asked = newline + tokenizer.encode_line(generate.prompt_tail(question.text))
        answer = tokenizer.encode_word(generate.answer_text(question)) + [tokenizer.eos]
        ids += asked + answer[:-1]
        positions += range(len(head), len(head) + len(asked) + len(answer) - 1)
        segments += [number] * (len(asked) + len(answer) - 1)
        targets += [-1] * (len(asked) - 1) + answer
    return ids, positions, segments, targets


def pack(encoded, length):
    """Contexts by their numbers, side by side in rows of at most `length` tokens, longest first."""
    rows, room = [], []
    for number in sorted(range(len(encoded)), key=lambda i: -len(encoded[i][0])):
        size = len(encoded[number][0])
        row = next((r for r in range(len(rows)) if room[r] >= size), None)
        if row is None:
            row = len(rows)
            rows.append([])
            room.append(max(length, size))
        rows[row].append(number)
        room[row] -= size
    return rows


def collate(contexts, tokenizer, device="cpu"):
    encoded = [encode(c, tokenizer) for c in contexts]
    rows = pack(encoded, ROW_TOKENS)
    longest = max(sum(len(encoded[i][0]) for i in row) for row in rows)
    length = -(-longest // 32) * 32
    shape = (len(rows), length)
    tokens = torch.zeros(shape, dtype=torch.long)
    positions, segments = torch.zeros(shape, dtype=torch.long), torch.full(shape, -1)
    targets, question = torch.full(shape, -1), torch.full(shape, -1)
    owner = torch.full(shape, -1)
    answerable, first = [], 0
    for r, row in enumerate(rows):
        begin = 0
        for number in row:
            ids, where, parts, wanted = encoded[number]
            at = slice(begin, begin + len(ids))
            begin += len(ids)
            tokens[r, at], positions[r, at] = torch.tensor(ids), torch.tensor(where)
            segments[r, at], targets[r, at] = torch.tensor(parts), torch.tensor(wanted)
            question[r, at] = segments[r, at] - 1 + first
            owner[r, at] = number
            first += len(contexts[number].questions)
            answerable += [q.passage > 0 for q in contexts[number].questions]
    question[(segments <= 0) | (targets < 0)] = -1
    text = (segments == 0) & (targets >= 0)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    same = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])
    mask = (causal & same & (owner[:, None, :] == owner[:, :, None]))[:, None]
    moved = [x.to(device) for x in (tokens, positions, mask, targets, question, text)]
    return Batch(*moved, torch.tensor(answerable, device=device))
