"""Weights that begin with an induction circuit (Olsson et al., 2022), so that training need not
discover copying before it can learn where to copy from.

Two heads of the first layer look at the previous token and the one before it. The second layer's
heads look for a token that follows what the current token is or follows, and add what they find to
the output. All other blocks begin as the identity: their output matrices are zero.
"""

import math

import torch

EMBEDDING_STD = 0.1
SHARED = 2.5  # embedding component 0, the same for all tokens, in units of EMBEDDING_STD
# Gains that copied best of a few tried: 60 % of random tokens seen 100 positions before.
OFFSET_GAIN = 5.0
MATCH_GAIN = 1.6
PREVIOUS_GAIN = 2.0
COPY_GAIN = 6.0
TURNING_PAIRS = 6  # pairs of a head that turn fast enough to tell one position from the next


def orthonormal(rows, columns, random):
    """[rows, columns] with orthonormal rows."""
    q, _ = torch.linalg.qr(torch.randn(columns, rows, generator=random))
    return q.T


@torch.no_grad()
def initialise(model, seed):
    random = torch.Generator().manual_seed(seed)
    shape = model.shape
    width, size = shape.width, shape.width // shape.heads
    slow = size // 2  # the pairs that turn slowly: they compare contents, wherever they stand
    model.embedding.weight.normal_(std=EMBEDDING_STD, generator=random)
    model.embedding.weight[:, 0] = SHARED * EMBEDDING_STD
    for block in model.blocks:
        block.attention_out.weight.zero_()
        block.down.weight.zero_()
    read = orthonormal(slow, width, random)  # of a token: what matching compares
    free = orthonormal(width, width, random)
    written = [free[:slow], free[slow:2 * slow]]  # where the tokens before are noted

    first = model.blocks[0]
    q, k, v = first.qkv.weight.chunk(3)
    turns = shape.rope_base**(-torch.arange(0, size, 2) / size)
    for head, offset in enumerate((1, 2)):
        rows = slice(head * size, (head + 1) * size)
        q[rows] *= 0.3
        k[rows] *= 0.3
        gain = OFFSET_GAIN / SHARED
        for pair in range(min(TURNING_PAIRS, size // 2)):
            row = head * size + 2 * pair
            q[row, 0] = gain
            k[row, 0] = gain * math.cos(offset * turns[pair])
            k[row + 1, 0] = gain * math.sin(offset * turns[pair])
        v[rows] = 0
        v[head * size:head * size + slow] = read
        first.attention_out.weight[:, head * size:head * size + slow] = (
            PREVIOUS_GAIN * EMBEDDING_STD * written[head].T)

    second = model.blocks[1]
    q, k, v = second.qkv.weight.chunk(3)
    copied = orthonormal(width, width, random)
    for head in range(shape.heads):
        rows = slice(head * size, (head + 1) * size)
        slow_rows = slice((head + 1) * size - slow, (head + 1) * size)
        if head % 3 < 2:  # this token with the one before that one
            q[slow_rows] += MATCH_GAIN * read
            k[slow_rows] += MATCH_GAIN * written[0]
        else:  # the token before this one with the second before that one
            q[slow_rows] += MATCH_GAIN * written[0]
            k[slow_rows] += MATCH_GAIN * written[1]
        v[rows] = copied[rows]
        second.attention_out.weight[:, rows] = COPY_GAIN * EMBEDDING_STD * copied[rows].T
