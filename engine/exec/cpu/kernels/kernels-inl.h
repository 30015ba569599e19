#pragma once

// Compiled once per instruction set, each time with BATON_SIMD_NAMESPACE naming it. Nothing in the
// *-inl.h files may call an inline function or template of a shared header: the linker keeps one
// copy of those for the whole program, and it could be the one with the newest instructions.

#include "engine/exec/cpu/kernels/add_bias-inl.h"
#include "engine/exec/cpu/kernels/attention-inl.h"
#include "engine/exec/cpu/kernels/encoder_attention-inl.h"
#include "engine/exec/cpu/kernels/gate-inl.h"
#include "engine/exec/cpu/kernels/gelu-inl.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/layer_norm-inl.h"
#include "engine/exec/cpu/kernels/matmul-inl.h"
#include "engine/exec/cpu/kernels/packed_avx2-inl.h"
#include "engine/exec/cpu/kernels/packed_matmul-inl.h"
#include "engine/exec/cpu/kernels/quantise-inl.h"
#include "engine/exec/cpu/kernels/rms_norm-inl.h"
#include "engine/exec/cpu/kernels/rope-inl.h"
#include "engine/exec/cpu/kernels/soft_cap-inl.h"
#include "engine/exec/cpu/kernels/store_kv-inl.h"
#include "engine/exec/cpu/kernels/tile_attention-inl.h"
#include "engine/exec/cpu/kernels/tile_matmul-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

constexpr CpuKernels kTable = {
    .matmul = &Matmul,
    .rms_norm = &RmsNorm,
    .rope = &Rope,
    .store_kv = &StoreKv,
    .attention = &Attention,
    .silu_gate = &Gate<Silu>,
    .gelu_gate = &Gate<GeluTanh>,
    .soft_cap = &SoftCap,
    .layer_norm = &LayerNorm,
    .add_bias = &AddBias,
    .gelu = &Gelu,
    .encoder_attention = &EncoderAttention,
#if defined(__AVX2__)
    .quantise = &Quantise,
    .packed_matmul = &PackedMatmul,
#if defined(__AMX_BF16__)
    .token_tiles = true,
    .round_to_tiles = &RoundToTiles,
    .tile_matmul = &TileMatmul,
    .tile_silu_gate = &TileGate<Silu>,
    .tile_gelu_gate = &TileGate<GeluTanh>,
    .tile_attention = &TileAttention,
#endif
#endif
};

}  // namespace baton::BATON_SIMD_NAMESPACE
