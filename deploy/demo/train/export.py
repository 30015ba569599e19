"""A checkpoint as a GGUF file that batond loads.

    python export.py --out DIR --gguf FILE [--type q8_0|f16|f32] [--random]
"""

import argparse
import os

import gguf
import torch

from model import Llama, Shape
from tokenizer import Tokenizer

CONTEXT = 1024
NAME = "Baton demo reader"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", required=True, help="the folder that train.py wrote")
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--type", choices=("q8_0", "f16", "f32"), default="q8_0")
    parser.add_argument("--random", action="store_true",
                        help="weights as before training, to see what an evaluation gives for them")
    args = parser.parse_args()

    saved = torch.load(os.path.join(args.out, "checkpoint.pt"), map_location="cpu",
                       weights_only=True)
    shape = Shape(**saved["shape"])
    torch.manual_seed(saved["seed"])
    model = Llama(shape)
    if not args.random:
        model.load_state_dict(saved["model"])
    pieces = Tokenizer(os.path.join(args.out, "tokenizer.model")).pieces

    writer = gguf.GGUFWriter(args.gguf, "llama")
    writer.add_name(NAME)
    writer.add_license("Apache-2.0")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)
    add_vocabulary(writer, pieces)
    add_tensors(writer, model, {
        "q8_0": gguf.GGMLQuantizationType.Q8_0,
        "f16": gguf.GGMLQuantizationType.F16,
        "f32": gguf.GGMLQuantizationType.F32
    }[args.type])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{args.gguf}: {os.path.getsize(args.gguf)} bytes, {model.parameters_count()} parameters")


def add_vocabulary(writer, pieces):
    tokens, scores, types = [], [], []
    for i in range(pieces.vocab_size()):
        tokens.append(pieces.id_to_piece(i).encode())
        scores.append(pieces.get_score(i))
        types.append(gguf.TokenType.UNKNOWN if pieces.is_unknown(i) else gguf.TokenType.CONTROL if
                     pieces.is_control(i) else gguf.TokenType.BYTE if pieces.is_byte(i) else gguf.
                     TokenType.NORMAL)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(pieces.bos_id())
    writer.add_eos_token_id(pieces.eos_id())
    writer.add_unk_token_id(pieces.unk_id())
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)


def add_tensors(writer, model, matrix_type):
    def add(name, tensor, kind=matrix_type):
        data = gguf.quants.quantize(tensor.detach().float().contiguous().numpy(), kind)
        writer.add_tensor(name, data, raw_dtype=kind)

    f32 = gguf.GGMLQuantizationType.F32
    add("token_embd.weight", model.embedding.weight)
    for i, block in enumerate(model.blocks):
        q, k, v = block.qkv.weight.chunk(3)
        gate, up = block.gate_up.weight.chunk(2)
        for name, tensor in (("attn_q", q), ("attn_k", k), ("attn_v", v),
                             ("attn_output", block.attention_out.weight), ("ffn_gate", gate),
                             ("ffn_up", up), ("ffn_down", block.down.weight)):
            add(f"blk.{i}.{name}.weight", tensor)
        add(f"blk.{i}.attn_norm.weight", block.attention_norm, f32)
        add(f"blk.{i}.ffn_norm.weight", block.ffn_norm, f32)
    add("output_norm.weight", model.norm, f32)


if __name__ == "__main__":
    main()
