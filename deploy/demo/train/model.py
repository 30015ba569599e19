"""A llama: RMSNorm, rotary positions (interleaved pairs, as GGUF's llama has them), SwiGLU, tied
embeddings. Shapes are those of engine/exec/cpu/decoder_forward."""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    vocabulary: int
    layers: int = 4
    width: int = 192
    heads: int = 6
    hidden: int = 512
    context: int = 2048
    norm_epsilon: float = 1e-5
    rope_base: float = 100000.0

    def as_dict(self):
        return asdict(self)


class Block(nn.Module):

    def __init__(self, s):
        super().__init__()
        self.attention_norm = nn.Parameter(torch.ones(s.width))
        self.qkv = nn.Linear(s.width, 3 * s.width, bias=False)
        self.attention_out = nn.Linear(s.width, s.width, bias=False)
        self.ffn_norm = nn.Parameter(torch.ones(s.width))
        self.gate_up = nn.Linear(s.width, 2 * s.hidden, bias=False)
        self.down = nn.Linear(s.hidden, s.width, bias=False)

    def forward(self, x, rope, mask, s):
        batch, length, _ = x.shape
        h = F.rms_norm(x, (s.width, ), self.attention_norm, s.norm_epsilon)
        q, k, v = self.qkv(h).view(batch, length, 3, s.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(rotate(q, rope), rotate(k, rope), v, attn_mask=mask)
        x = x + self.attention_out(a.transpose(1, 2).reshape(batch, length, s.width))
        h = F.rms_norm(x, (s.width, ), self.ffn_norm, s.norm_epsilon)
        gate, up = self.gate_up(h).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, rope):
    cos, sin = rope
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Llama(nn.Module):

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.width))
        nn.init.normal_(self.embedding.weight, std=0.02)
        for block in self.blocks:
            for layer in (block.qkv, block.gate_up):
                nn.init.normal_(layer.weight, std=0.04)
            for layer in (block.attention_out, block.down):
                nn.init.normal_(layer.weight, std=0.04 / (2 * shape.layers)**0.5)

    def parameters_count(self):
        return sum(p.numel() for p in self.parameters())

    def rope(self, positions, dtype):
        size = self.shape.width // self.shape.heads
        frequency = self.shape.rope_base**(-torch.arange(0, size, 2, device=positions.device) /
                                           size)
        angle = positions[:, None, :, None] * frequency
        return angle.cos().to(dtype), angle.sin().to(dtype)

    def forward(self, tokens, positions, mask, dtype=torch.float32):
        """[batch, length] ids and positions -> [batch, length, width], normalised. mask: [batch, 1,
        length, length], true where a token may be seen."""
        x = self.embedding(tokens).to(dtype)
        rope = self.rope(positions, dtype)
        for block in self.blocks:
            x = block(x, rope, mask, self.shape)
        return F.rms_norm(x, (self.shape.width, ), self.norm, self.shape.norm_epsilon)

    def logits(self, hidden):
        return F.linear(hidden, self.embedding.weight)
