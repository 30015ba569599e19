/* What batond and its executor plug-ins (libbaton_gpu.so, libbaton_fpga.so) say to each other. C
 * only, so that either side may be built with another compiler, standard library or sanitizer.
 *
 * A plug-in exports one symbol, baton_executor_plugin_v1. Ownership never crosses: memory belongs
 * to the side that allocated it, and whoever is handed a pointer only uses it. No exception
 * crosses. A loaded plug-in is never unloaded.
 *
 * How it grows: functions and fields are only ever appended, and whoever provides a struct says its
 * size in it. A reader uses a field only where that size covers it; so an older plug-in simply
 * lacks the newer functions, and the daemon offers less on its devices. Anything else is a new
 * BATON_EXECUTOR_ABI_VERSION, which the daemon refuses by name.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_EXECUTOR_ABI_VERSION 1u

enum baton_platform { BATON_PLATFORM_GPU = 1, BATON_PLATFORM_FPGA = 2 };

enum baton_log_level { BATON_LOG_INFO = 1, BATON_LOG_WARN = 2, BATON_LOG_ERROR = 3 };

/* What the daemon offers to a plug-in. Valid until the process ends; thread safe. */
struct baton_host {
  uint32_t struct_size;
  /* level: a baton_log_level. message: one line that says by itself what it is about. */
  void (*log)(int32_t level, const char* message);
  /* A row of `cols` weights as f32. type: GGUF's number of the tensor's type; row: as in the file.
   */
  void (*dequantise_row)(uint32_t type, const void* row, int64_t cols, float* out);
};

/* One device. Texts are UTF-8 and end with a NUL. */
struct baton_device {
  char name[256];              /* "NVIDIA H200" */
  char detail[256];            /* driver, capability: what an operator wants to know */
  uint64_t memory_bytes_total; /* 0: unknown */
  uint32_t emulated;           /* 1: an emulation of a device */
  uint32_t reserved;           /* 0 */
  char pci_address[32];        /* "0000:3b:00.0"; empty: it is on no PCI bus */
};

/* Whether the daemon that asks knows a field of baton_device: whoever writes one that was not in
 * the first release asks first. */
#define BATON_DEVICE_HAS(probe, field) \
  ((probe)->device_struct_size >=      \
   offsetof(struct baton_device, field) + sizeof(((struct baton_device*)0)->field))

/* Question and answer of a probe; the daemon's memory, zeroed but for the first four fields. */
struct baton_probe {
  uint32_t struct_size;
  uint32_t device_struct_size;  /* bytes from one device to the next in `devices` */
  struct baton_device* devices; /* [device_capacity] */
  uint32_t device_capacity;
  uint32_t device_count; /* out: devices there are; the first device_capacity are described */
  char reason[512];      /* out: where there are none or the probe failed: why, and what to do */
};

/* For plug-ins: where to describe device `index`, below device_capacity. */
static inline struct baton_device* baton_probe_device(const struct baton_probe* probe,
                                                      uint32_t index) {
  char* const devices = (char*)probe->devices;
  return (struct baton_device*)(devices + (uint64_t)index * probe->device_struct_size);
}

/* ---- Devices at work ------------------------------------------------------------------------ */

/* How a call ended: gRPC's canonical codes. UNAVAILABLE: the device is lost to this process, and
 * nothing on it works any more. */
enum baton_code {
  BATON_OK = 0,
  BATON_CANCELLED = 1,
  BATON_INVALID_ARGUMENT = 3,
  BATON_NOT_FOUND = 5,
  BATON_RESOURCE_EXHAUSTED = 8,
  BATON_UNIMPLEMENTED = 12,
  BATON_INTERNAL = 13,
  BATON_UNAVAILABLE = 14
};

/* The caller's memory; message is filled in where a call returns something else than BATON_OK. */
struct baton_error {
  uint32_t struct_size;
  char message[1020]; /* ends with a NUL: what, the limit and the value */
};

/* Opened devices and loaded models are the plug-in's. Calls for one device come from several
 * threads: llm_run from one at a time, the copy functions from one at a time, models come and go
 * from a third beside these; the functions for vectors and walks from any, of one set of rows from
 * one at a time. What is called with a model, memory or rows comes before it is given back, and all
 * of it before close. */
struct baton_open_device;
struct baton_loaded_model;

enum baton_activations { BATON_ACTIVATIONS_BF16 = 0, BATON_ACTIVATIONS_F32 = 1 };

struct baton_device_options {
  uint32_t struct_size;
  uint32_t index;          /* of the probe's devices */
  int32_t activations;     /* baton_activations: what is computed in */
  int32_t step_tokens_max; /* of a batch */
  /* Of an FPGA. */
  const char* device_image; /* path of its xclbin, valid during the call */
  uint64_t bank_bytes_max;  /* of each bank of its memory that is used; 0: all */
  int32_t run_timeout_ms;   /* a run that takes longer has failed, and the card is reset */
  /* Of a GPU: steps of decodes of a model that are kept as CUDA graphs; 0: none. */
  int32_t decode_graphs_max;
  uint64_t walk_bytes_max; /* of its memory, for graphs that are walked, copies included */
  /* Of a GPU. 1: kernels of a step's graph may begin while those before them end. */
  int32_t programmatic_launches;
  uint32_t reserved; /* 0 */
};

/* Whether the daemon that opens a device knows a field of its options that was not in the first
 * release; the bytes that every daemon gives. */
#define BATON_OPTIONS_HAS(options, field)                                   \
  ((options)->struct_size >= offsetof(struct baton_device_options, field) + \
                                 sizeof(((struct baton_device_options*)0)->field))
#define BATON_OPTIONS_FIRST_BYTES offsetof(struct baton_device_options, walk_bytes_max)

struct baton_device_sample {
  uint32_t struct_size;
  uint32_t lost; /* 1: the device works no more before the process is started again */
  uint64_t memory_bytes_used;
  uint64_t memory_bytes_total;
  char reason[512]; /* where lost: what happened, and what to do */
  /* By the device's own account, lately; below 0, which they are before the call: not told. */
  double temperature_c;
  double power_w;
  double utilisation;    /* 0 to 1 */
  int64_t memory_errors; /* that could not be corrected, since the driver was loaded */
  int64_t walk_bytes;    /* of memory_bytes_used, graphs that are walked, copies included */
};

/* Whether the daemon knows a field of a sample that was not in the first release. */
#define BATON_SAMPLE_HAS(sample, field) \
  ((sample)->struct_size >=             \
   offsetof(struct baton_device_sample, field) + sizeof(((struct baton_device_sample*)0)->field))

/* A matrix of weights as the file holds it: rows of row_bytes each, [rows, cols]. */
struct baton_matrix {
  const void* data; /* the host's memory, valid while the model is loaded */
  int64_t rows;
  int64_t cols;
  int64_t row_bytes;
  uint32_t type;     /* GGUF's number */
  uint32_t reserved; /* 0 */
};

/* Vectors are f32; null: there is none. */
struct baton_llm_layer {
  const float* attention_norm;      /* [dim] */
  const float* ffn_norm;            /* [dim] */
  struct baton_matrix query;        /* [heads * head_dim, dim] */
  struct baton_matrix key;          /* [kv_heads * head_dim, dim] */
  struct baton_matrix value;        /* [kv_heads * head_dim, dim] */
  const float* query_bias;          /* [heads * head_dim] */
  const float* key_bias;            /* [kv_heads * head_dim] */
  const float* value_bias;          /* [kv_heads * head_dim] */
  const float* query_norm;          /* [head_dim] */
  const float* key_norm;            /* [head_dim] */
  struct baton_matrix output;       /* [dim, heads * head_dim] */
  const float* output_bias;         /* [dim] */
  const float* attention_post_norm; /* [dim] */
  struct baton_matrix gate;         /* [ffn_dim, dim] */
  struct baton_matrix up;           /* [ffn_dim, dim] */
  struct baton_matrix down;         /* [dim, ffn_dim] */
  const float* ffn_post_norm;       /* [dim] */
  int32_t window;                   /* positions attended to, its own included; 0: all */
  int32_t reserved;                 /* 0 */
};

struct baton_rope {
  const double* frequency; /* [rope_dims / 2], radians per position; null: none */
  float magnitude;         /* what has rotated is multiplied by it */
  int32_t reserved;        /* 0 */
};

enum baton_gate { BATON_GATE_SILU = 0, BATON_GATE_GELU = 1 };

/* A decoder, as engine/model/language_model.h describes it. */
struct baton_llm_model {
  uint32_t struct_size;
  uint32_t layer_struct_size; /* bytes from one layer to the next in `layers` */
  const char* name;
  int32_t dim;
  int32_t ffn_dim;
  int32_t layer_count;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t vocabulary;
  int32_t context_tokens;
  int32_t rope_dims;
  int32_t rope_halves; /* 1: dimensions (i, i + rope_dims / 2) turn together; 0: (2i, 2i + 1) */
  int32_t gate;        /* baton_gate */
  float rms_epsilon;
  float embedding_scale;
  float attention_scale;
  float score_cap;
  float logit_cap;
  struct baton_rope rope;
  struct baton_rope window_rope;       /* of the layers with a window, where they have their own */
  struct baton_matrix token_embedding; /* [vocabulary, dim] */
  const struct baton_llm_layer* layers;
  const float* output_norm;   /* [dim] */
  struct baton_matrix output; /* [vocabulary, dim]; the embedding itself where they are one */
};

/* For plug-ins: layer `index`. */
static inline const struct baton_llm_layer* baton_layer_at(const struct baton_llm_model* model,
                                                           int32_t index) {
  const char* const layers = (const char*)model->layers;
  return (const struct baton_llm_layer*)(layers + (uint64_t)index * model->layer_struct_size);
}

enum baton_kv_type { BATON_KV_F32 = 0, BATON_KV_F16 = 1, BATON_KV_BF16 = 2, BATON_KV_INT8 = 3 };

/* Of KV blocks, as engine/kv/kv_layout.h says it. */
struct baton_kv_layout {
  int32_t layers;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t block_tokens;
  int32_t type;     /* baton_kv_type */
  int32_t reserved; /* 0 */
};

/* How a token is chosen, as engine/model/sampler.h says it. */
struct baton_sampling {
  float temperature; /* 0: greedy */
  int32_t top_k;
  float top_p;
  float min_p;
  uint64_t random_state;
};

struct baton_token_value {
  int32_t token;
  float value;
};

/* What is done to a row of logits before its token is chosen, in this order. Tokens are below the
 * vocabulary, and none is twice in one list but `excluded`. */
struct baton_logit_changes {
  uint32_t struct_size;
  float repetition; /* above 0: what is above 0 is divided by it, all else multiplied with it */
  int64_t bias_count;
  int64_t repeated_count;
  int64_t penalty_count;
  int64_t excluded_count;
  const struct baton_token_value* biases;    /* added */
  const int32_t* repeated;                   /* by `repetition` */
  const struct baton_token_value* penalties; /* taken off */
  const int32_t* excluded;                   /* become -inf */
};

/* Consecutive positions of one sequence. */
struct baton_llm_item {
  const int32_t* tokens;
  int32_t token_count;
  int32_t position;    /* of the first token */
  void* const* blocks; /* of positions [0, position + token_count), in order */
  int32_t block_count;
  int32_t logits;                        /* wanted after so many of the last tokens */
  const struct baton_sampling* sampling; /* not null: of one row of logits only a token is wanted */
  /* Of plug-ins with BATON_PLUGIN_CHANGES_LOGITS, else 0. */
  const struct baton_logit_changes* changes; /* before it is chosen; null: none */
  int32_t logprobs_wanted;                   /* 1: on_logprobs, before on_token */
  int32_t logprobs_top;                      /* alternatives, 0 or more */
};

/* Whether whoever gave the batch knows of an item's field that was not in the first release. */
#define BATON_ITEM_HAS(batch, field) \
  ((batch)->item_struct_size >=      \
   offsetof(struct baton_llm_item, field) + sizeof(((struct baton_llm_item*)0)->field))

/* Natural logarithms of the probabilities that the softmax of a row gives, before any change: to
 * the token that was chosen, and to the most likely ones, ties to the lower token. */
struct baton_token_logprobs {
  uint32_t struct_size;
  float chosen;
  int32_t top_count; /* as many as were asked for, or the vocabulary has */
  int32_t reserved;  /* 0 */
  const int32_t* top_tokens;
  const float* top_logprobs;
};

/* What of a batch is asked for by flags. */
#define BATON_BATCH_DETERMINISTIC 1u /* no item's results depend on the other items */

struct baton_llm_batch {
  uint32_t struct_size;
  uint32_t item_struct_size; /* bytes from one item to the next in `items` */
  const struct baton_llm_item* items;
  int64_t item_count;
  struct baton_kv_layout layout;
  /* Called by llm_run, for each item in the order of its tokens; logits: [vocabulary] f32, valid
   * during the call. A plug-in that cannot choose as asked gives logits instead. */
  void* context;
  void (*on_logits)(void* context, int64_t item, const float* logits);
  void (*on_token)(void* context, int64_t item, int32_t token, uint64_t random_state);
  uint32_t flags;    /* BATON_BATCH_... */
  uint32_t reserved; /* 0 */
  /* Null: nobody asks. Else called while llm_run runs, from any thread but from one at a time, with
   * growing `layers`: the keys and values of so many first layers are in the blocks, of all items,
   * and may be copied from there. Must not block. */
  void (*on_layers)(void* context, int32_t layers);
  void (*on_logprobs)(void* context, int64_t item, const struct baton_token_logprobs* logprobs);
};

/* Whether whoever gave the batch knows of a field that was not in the first release. */
#define BATON_BATCH_HAS(batch, field) \
  ((batch)->struct_size >=            \
   offsetof(struct baton_llm_batch, field) + sizeof(((struct baton_llm_batch*)0)->field))

/* For plug-ins: item `index`. */
static inline const struct baton_llm_item* baton_item_at(const struct baton_llm_batch* batch,
                                                         int64_t index) {
  const char* const items = (const char*)batch->items;
  return (const struct baton_llm_item*)(items + (uint64_t)index * batch->item_struct_size);
}

/* Of plug-ins. TELLS_LAYERS: llm_run calls on_layers. CHANGES_LOGITS: it heeds items' changes, and
 * tells log probabilities, where it chooses tokens. */
enum baton_plugin_flags { BATON_PLUGIN_TELLS_LAYERS = 1, BATON_PLUGIN_CHANGES_LOGITS = 2 };

/* ---- Encoders of texts ---- */

struct baton_linear {
  struct baton_matrix w; /* y = x . w^T + bias */
  const float* bias;     /* [w.rows]; null: none */
};
struct baton_layer_norm {
  const float* weight; /* [dim], as bias */
  const float* bias;
};
struct baton_encoder_layer {
  struct baton_linear query; /* [dim, dim], as the next three; with biases, as are all of these */
  struct baton_linear key;
  struct baton_linear value;
  struct baton_linear output;
  struct baton_layer_norm attention_norm; /* of the sum behind the attention */
  struct baton_linear up;                 /* [ffn_dim, dim] */
  struct baton_linear down;               /* [dim, ffn_dim] */
  struct baton_layer_norm ffn_norm;       /* of the sum behind the feed-forward network */
};

enum baton_pooling { BATON_POOLING_MEAN = 1, BATON_POOLING_CLS = 2, BATON_POOLING_RANK = 4 };

/* As engine/model/text_encoder.h describes it. */
struct baton_encoder_model {
  uint32_t struct_size;
  uint32_t layer_struct_size; /* bytes from one layer to the next in `layers` */
  const char* name;
  int32_t dim;
  int32_t ffn_dim;
  int32_t layer_count;
  int32_t heads; /* divides dim */
  int32_t vocabulary;
  int32_t context_tokens;
  int32_t pooling; /* baton_pooling */
  float norm_epsilon;
  struct baton_matrix token_embedding;    /* [vocabulary, dim] */
  struct baton_matrix position_embedding; /* [context_tokens, dim] */
  struct baton_matrix type_embedding;     /* [types, dim]; data null: none */
  struct baton_layer_norm embedding_norm;
  const struct baton_encoder_layer* layers;
  /* Of BATON_POOLING_RANK: score = score . tanh(dense . first row + bias) + bias. */
  struct baton_linear dense; /* [dim, dim]; w.data null: the score is of the row itself */
  struct baton_linear score; /* [1, dim] */
};

/* For plug-ins: layer `index`. */
static inline const struct baton_encoder_layer* baton_encoder_layer_at(
    const struct baton_encoder_model* model, int32_t index) {
  const char* const layers = (const char*)model->layers;
  return (const struct baton_encoder_layer*)(layers + (uint64_t)index * model->layer_struct_size);
}

/* A text, or a pair of them. */
struct baton_encoder_text {
  const int32_t* tokens;
  int32_t token_count;
  int32_t second; /* where a pair's second text begins; 0: no pair */
};

struct baton_encoder_batch {
  uint32_t struct_size;
  uint32_t text_struct_size; /* bytes from one text to the next in `texts` */
  const struct baton_encoder_text* texts;
  int64_t text_count;
  float* embeddings; /* filled in: [text_count, dim], of length one; of rank scores, [text_count] */
  uint32_t flags;    /* BATON_BATCH_DETERMINISTIC: of texts, too */
  uint32_t reserved; /* 0 */
};

static inline const struct baton_encoder_text* baton_encoder_text_at(
    const struct baton_encoder_batch* batch, int64_t index) {
  const char* const texts = (const char*)batch->texts;
  return (const struct baton_encoder_text*)(texts + (uint64_t)index * batch->text_struct_size);
}

struct baton_loaded_encoder;

enum baton_copy_direction { BATON_COPY_TO_DEVICE = 1, BATON_COPY_FROM_DEVICE = 2 };

/* Blocks of equal size, or equal parts of some, between the host's memory and the device's. */
struct baton_copy {
  uint32_t struct_size;
  int32_t direction;          /* baton_copy_direction */
  const void* const* sources; /* [count], as are the destinations; read by copy_post alone */
  void* const* destinations;
  int64_t count;
  int64_t block_bytes;
};

/* Of a packing: the dimension of a head at most, and the bytes that one layer of the host's blocks
 * takes which hold as many positions as the larger of both blocks, at most. */
#define BATON_PACKED_HEAD_DIM_MAX 512
#define BATON_PACKED_LAYER_BYTES_MAX (2 << 20)

/* Positions of blocks on the device to blocks of another layout in the host's memory, converted on
 * the device, so that what the link carries is of the host's layout. */
struct baton_kv_packing {
  uint32_t struct_size;
  uint32_t reserved; /* 0 */
  /* Which differ in type and block_tokens alone. */
  struct baton_kv_layout source;
  struct baton_kv_layout destination;
  int64_t tokens; /* positions, from the first */
  int32_t layer_begin;
  int32_t layer_end;
  const void* const* sources; /* [blocks of so many positions], as the destinations; where the */
  void* const* destinations;  /* blocks begin; read by copy_packed alone */
};

/* ---- Vectors ---- */

enum baton_metric {
  BATON_METRIC_L2 = 0,            /* squared Euclidean distance */
  BATON_METRIC_INNER_PRODUCT = 1, /* negated */
  BATON_METRIC_COSINE = 2         /* negated, of vectors of any length */
};

/* Rows of a device, which may grow in number: what is compared with queries there. The plug-in's.
 * It keeps them rounded to bf16, so distances are of the rounded rows and of queries that are
 * rounded as well: to the nearest, ties to even. */
struct baton_vector_rows;

struct baton_rows_shape {
  uint32_t struct_size;
  int32_t metric;    /* baton_metric */
  int32_t dimension; /* 1 or more */
  uint32_t reserved; /* 0 */
  int64_t capacity;  /* rows at most, 1 to 2^32 - 2 */
};

/* Where rows come from: called by the function it is handed to, for consecutive rows.
 * vectors: [count, dimension] f32, row-major. */
struct baton_rows_source {
  void* context;
  void (*read)(void* context, int64_t first, int64_t count, float* vectors);
};

/* What of some rows is searched: the first row_count. */
struct baton_search_part {
  struct baton_vector_rows* rows;
  int64_t row_count;
  /* [(row_count + 31) / 32]: rows whose bit (row % 32 of word row / 32) is not set are not found;
   * null: as rows_mark has said last. */
  const uint32_t* live;
};

#define BATON_SEARCH_K_MAX 1024
#define BATON_SEARCH_PARTS_MAX 4096

/* The nearest rows of several parts together to each of several queries. */
struct baton_vector_search {
  uint32_t struct_size;
  uint32_t part_struct_size;             /* bytes from one part to the next in `parts` */
  const struct baton_search_part* parts; /* all of the same metric and dimension */
  int64_t part_count;                    /* up to BATON_SEARCH_PARTS_MAX */
  const float* queries;                  /* [query_count, dimension], row-major */
  int64_t query_count;
  int32_t k;         /* 1 to BATON_SEARCH_K_MAX */
  uint32_t reserved; /* 0 */
  /* Filled in: nearest first, ties to the lower number. Rows are numbered through all parts, one
   * part's first row_count after another's, up to 2^32 - 2 in all. */
  float* distances;  /* [query_count, k]; infinity where there are fewer */
  uint32_t* nearest; /* [query_count, k]; UINT32_MAX where there are fewer */
};

/* For plug-ins: part `index`. */
static inline const struct baton_search_part* baton_part_at(
    const struct baton_vector_search* search, int64_t index) {
  const char* const parts = (const char*)search->parts;
  return (const struct baton_search_part*)(parts + (uint64_t)index * search->part_struct_size);
}

/* Links between near vectors, as engine/vector/graph_linker.h makes them: of each one's nearest
 * candidates those that are nearer to it than to any taken before, and the reverse of these. */
struct baton_graph_job {
  uint32_t struct_size;
  int32_t metric;     /* baton_metric, but not BATON_METRIC_COSINE */
  int32_t dimension;  /* 1 or more */
  int32_t wanted;     /* links that each begins with, 1 or more */
  int32_t room;       /* links that each has in the end, at least `wanted` */
  int32_t candidates; /* nearest ones that are looked at, up to BATON_SEARCH_K_MAX; candidates and
                         wanted + room are limited as well */
  int64_t nodes;      /* 1 to 2^31 - 1 */
  struct baton_rows_source source; /* its rows are the nodes */
  uint32_t* links; /* filled in: [nodes, room], nearest first; UINT32_MAX behind the last */
  /* Asked between pieces of work, each of which is some milliseconds: not 0 ends the job with
   * BATON_CANCELLED. */
  void* stop_context;
  int32_t (*stop)(void* context);
};

/* ---- Walks of graphs ---- */

/* A graph that a device walks: integer codes of its vectors, and its links. The plug-in's; never
 * changes. */
struct baton_walk_graph;

/* What one is made of, valid during the call: as engine/vector/sealed_graph.h numbers nodes, those
 * of a level are the first so many of the level below, and walks begin at node 0. */
struct baton_walk_graph_job {
  uint32_t struct_size;
  int32_t metric;              /* baton_metric; of unit length under BATON_METRIC_COSINE */
  int32_t dimension;           /* 1 or more */
  uint32_t nodes;              /* 1 or more */
  uint32_t degree;             /* links of a node on level 0 */
  uint32_t upper_degree;       /* on the levels above */
  uint32_t level_count;        /* above level 0 */
  uint32_t reserved;           /* 0 */
  const uint32_t* level_nodes; /* [level_count]: of level 1, 2, ... */
  const uint32_t* links;       /* [nodes, degree], padded with UINT32_MAX */
  const uint32_t* upper_links; /* of level 1, then 2, ...: [nodes of it, upper_degree], padded */
  struct baton_rows_source source; /* its rows are the nodes; read more than once */
  /* Asked between pieces of work, each of which is some milliseconds: not 0 ends the job with
   * BATON_CANCELLED. */
  void* stop_context;
  int32_t (*stop)(void* context);
};

#define BATON_WALK_EF_MAX 256

/* A graph to be walked, strictly best-first: of the ef nearest nodes met, by their codes and then
 * their numbers, always to the nearest whose links were not followed. */
struct baton_walk_part {
  struct baton_walk_graph* graph;
  /* [(nodes + 31) / 32]: a node whose bit (node % 32 of word node / 32) is not set is walked past,
   * but not given; null: all are. */
  const uint32_t* live;
  int32_t ef;     /* 1 to BATON_WALK_EF_MAX */
  int32_t wanted; /* of the ef nearest, the first so many that are live; at most ef */
  /* Filled in. */
  uint32_t* nodes; /* [query_count, wanted], nearest first; UINT32_MAX behind the last */
  uint8_t* walked; /* [query_count]; 0: the graph's codes do not reach as far as this query */
};

struct baton_walk {
  uint32_t struct_size;
  uint32_t part_struct_size;           /* bytes from one part to the next in `parts` */
  const struct baton_walk_part* parts; /* all of one dimension */
  int64_t part_count;
  const float* queries; /* [query_count, dimension], row-major */
  int64_t query_count;
};

/* For plug-ins: part `index`. */
static inline const struct baton_walk_part* baton_walk_part_at(const struct baton_walk* walk,
                                                               int64_t index) {
  const char* const parts = (const char*)walk->parts;
  return (const struct baton_walk_part*)(parts + (uint64_t)index * walk->part_struct_size);
}

/* k-means by Lloyd's algorithm: each row belongs to the nearest centroid, the lowest of several;
 * then each centroid becomes the mean of its rows, one without rows half of the one that has most.
 */
struct baton_kmeans_job {
  uint32_t struct_size;
  int32_t dimension;      /* 1 or more */
  int64_t rows;           /* up to 2^31 - 1 */
  const float* vectors;   /* [rows, dimension], row-major */
  int32_t centroid_count; /* 1 or more */
  int32_t iterations;     /* 0: the centroids stay as they are */
  /* 1: centroids get unit length, and the largest inner product is what is nearest. */
  int32_t spherical;
  uint32_t reserved; /* 0 */
  float* centroids;  /* [centroid_count, dimension]: in, and out where there are iterations */
  uint32_t* nearest; /* [rows], filled in: by the centroids in the end; null: not wanted */
  /* Asked before each iteration: not 0 ends the job with BATON_CANCELLED. */
  void* stop_context;
  int32_t (*stop)(void* context);
};

/* Product codes of 4 bits, as engine/vector/pq_code.h has them: what is left of a row when its
 * list's centroid is taken off is cut into parts, and a part's code is the nearest of its 16
 * centroids, the first of several. */
struct baton_pq_job {
  uint32_t struct_size;
  int32_t dimension;    /* 1 or more */
  int64_t rows;         /* up to 2^31 - 1 */
  const float* vectors; /* [rows, dimension], row-major */
  int64_t lists;
  const float* centroids;   /* [lists, dimension], row-major */
  const uint32_t* list_of;  /* [rows], below `lists` */
  const uint32_t* place_of; /* [rows], below `places`, each place once */
  int64_t places;           /* a multiple of 32, `rows` or more, up to 2^31 - 1 */
  int32_t part;             /* values of a part; sub_quantizers * part is the dimension or more */
  int32_t sub_quantizers;   /* parts, a multiple of 4 */
  const float* book;        /* [sub_quantizers, part, 16] */
  const float* origin;      /* [dimension]; null: there are no terms */
  /* Filled in; zeros where no row is. */
  uint8_t* codes; /* [places / 32, sub_quantizers / 4, 64] (engine/vector/pq_scan.h) */
  float* terms;   /* [places]: |r|^2 + 2 (centroid - origin) r of the code's r; null: not wanted */
  /* Asked between pieces of work, each of which is some milliseconds: not 0 ends the job with
   * BATON_CANCELLED. */
  void* stop_context;
  int32_t (*stop)(void* context);
};

/* An inverted file's lists on a device: codes of rows, and whose they are. The plug-in's; never
 * changes. */
struct baton_ivf_lists;

enum baton_ivf_codes {
  BATON_IVF_PRODUCT_CODES = 0, /* of 4 bits, in blocks of 32 places (engine/vector/pq_scan.h) */
  BATON_IVF_BYTES = 1          /* one byte a value (engine/vector/code_book.h) */
};

/* What one is made of, valid during the call; as engine/vector/ivf_index.h numbers places, those of
 * a list follow one another. */
struct baton_ivf_job {
  uint32_t struct_size;
  int32_t codes_of;           /* baton_ivf_codes */
  int64_t row_bytes;          /* of codes: product codes: even; bytes: a multiple of 16 */
  int64_t lists;              /* 1 to 2^31 - 1 */
  int64_t places;             /* up to 2^31 - 1; of product codes a multiple of 32 */
  int64_t rows;               /* up to 2^31 - 1 */
  const uint32_t* list_begin; /* [lists]: first places; of product codes multiples of 32 */
  const uint32_t* list_rows;  /* [lists] */
  const uint32_t* place_rows; /* [places]: rows; those of no list's are not looked at */
  const uint8_t* codes;       /* [places, row_bytes], or [places / 32, row_bytes / 2, 64] */
  const float* terms;         /* [places], added to keys; null: zeros */
};

/* Of each query's lists the k live rows with the smallest keys, then the lower rows.
 *   of product codes  key = (base of the list + term) + scale * (sum of the tables' entries)
 *   of bytes          key = scale * (query . code) [+ square_factor * (code . code)] [+ term] */
struct baton_ivf_scan {
  uint32_t struct_size;
  int32_t k; /* 1 to BATON_SEARCH_K_MAX */
  struct baton_ivf_lists* lists;
  int64_t query_count;
  int64_t probe_count;    /* 1 to the number of lists */
  const uint32_t* probes; /* [query_count, probe_count]: lists, each once to a query; UINT32_MAX:
                             none */
  const uint32_t* live;   /* [(rows + 31) / 32]: as baton_search_part has it; null: all */
  const float* scales;    /* [query_count] */
  /* Of product codes. */
  const uint8_t* tables; /* [query_count, 2 * row_bytes, 16]: an entry for each part's centroid */
  const float* bases;    /* [query_count, probe_count] */
  /* Of bytes. */
  const int8_t* high; /* [query_count, row_bytes]: query = 128 * high + low */
  const int8_t* low;
  float square_factor; /* 0: squares do not count */
  uint32_t reserved;   /* 0 */
  uint32_t* nearest;   /* filled in: [query_count, k]; UINT32_MAX where there are fewer */
};

/* The plug-in's static table. */
struct baton_executor_plugin {
  uint32_t struct_size;
  uint32_t abi_version; /* BATON_EXECUTOR_ABI_VERSION */
  int32_t platform;     /* baton_platform */
  uint32_t reserved;    /* 0 */
  const char* version;  /* of the plug-in and of what it is built on, for the operator */
  /* Looks for devices; leaves nothing open. Returns 0, or anything else with probe->reason
   * filled in. Must not write to standard output. */
  int32_t (*probe)(const struct baton_host* host, struct baton_probe* probe);

  /* All of the following or none of them. Those that return int32_t return a baton_code. */

  /* Takes a device into use. */
  int32_t (*open)(const struct baton_host* host, const struct baton_device_options* options,
                  struct baton_open_device** device, struct baton_error* error);
  void (*close)(struct baton_open_device* device);
  /* How it is now. From any thread; does not wait for what runs. */
  void (*sample)(struct baton_open_device* device, struct baton_device_sample* sample);

  /* Memory of the device for KV blocks, aligned to 256 bytes. */
  int32_t (*kv_allocate)(struct baton_open_device* device, uint64_t bytes, void** memory,
                         struct baton_error* error);
  void (*kv_free)(struct baton_open_device* device, void* memory);

  /* Takes what the model needs on the device; blocks. UNIMPLEMENTED: it cannot run such a model,
   * and why. RESOURCE_EXHAUSTED: the bytes it needs, and those there are. */
  int32_t (*model_load)(struct baton_open_device* device, const struct baton_llm_model* model,
                        struct baton_loaded_model** loaded, struct baton_error* error);
  void (*model_unload)(struct baton_open_device* device, struct baton_loaded_model* model);

  /* Runs a batch; blocks until its keys and values are written and its answers given. On an error
   * it has given answers or not; what it has written to the blocks is undefined. */
  int32_t (*llm_run)(struct baton_open_device* device, struct baton_loaded_model* model,
                     const struct baton_llm_batch* batch, struct baton_error* error);

  /* Begins a copy; does not wait for it. RESOURCE_EXHAUSTED: too many are under way. */
  int32_t (*copy_post)(struct baton_open_device* device, const struct baton_copy* copy,
                       uint64_t* ticket, struct baton_error* error);
  /* done: 1 where it is complete, and then how long it took; 0 not yet. That it is complete, or an
   * error, is said once, then the ticket is gone. */
  int32_t (*copy_poll)(struct baton_open_device* device, uint64_t ticket, uint32_t* done,
                       uint64_t* copy_us, struct baton_error* error);
  /* Ends a copy: when it returns neither side's memory is touched any more. */
  void (*copy_cancel)(struct baton_open_device* device, uint64_t ticket);

  /* All of the following or none of them; without them the device does not search. */

  /* What rows_create takes of the device's memory; 0: of a shape that is none. */
  uint64_t (*rows_bytes)(const struct baton_rows_shape* shape);
  /* Takes memory for `capacity` rows and has none of them. RESOURCE_EXHAUSTED: as model_load. */
  int32_t (*rows_create)(struct baton_open_device* device, const struct baton_rows_shape* shape,
                         struct baton_vector_rows** rows, struct baton_error* error);
  void (*rows_free)(struct baton_open_device* device, struct baton_vector_rows* rows);
  /* Adds `count` rows behind those there are, which are live; blocks. source->read counts from 0
   * with the first of these. */
  int32_t (*rows_append)(struct baton_open_device* device, struct baton_vector_rows* rows,
                         const struct baton_rows_source* source, int64_t count,
                         struct baton_error* error);
  /* Which of the first `count` rows are live; those behind them stay as they are.
   * live: [(count + 31) / 32], of bits. */
  int32_t (*rows_mark)(struct baton_open_device* device, struct baton_vector_rows* rows,
                       const uint32_t* live, int64_t count, struct baton_error* error);
  /* Blocks. RESOURCE_EXHAUSTED: no memory for its workspace, which is kept from then on. */
  int32_t (*search)(struct baton_open_device* device, const struct baton_vector_search* search,
                    struct baton_error* error);
  /* Blocks. RESOURCE_EXHAUSTED: the bytes it needs and those there are. */
  int32_t (*graph_links)(struct baton_open_device* device, const struct baton_graph_job* job,
                         struct baton_error* error);

  /* Null, or tells what of an open device the probe could not know: sets memory_bytes_total and
   * emulated, leaves all else. */
  void (*describe)(struct baton_open_device* device, struct baton_device* described);
  /* Null, or asked in the place of kv_allocate: memory for blocks of one size, side by side, that a
   * device may spread over its banks. */
  int32_t (*kv_allocate_blocks)(struct baton_open_device* device, uint64_t count,
                                uint64_t block_bytes, void** memory, struct baton_error* error);

  uint32_t flags;     /* baton_plugin_flags */
  uint32_t reserved2; /* 0 */

  /* Each may be null. From any thread. */

  /* Copies that come from these bytes of the host's memory or go there need no memory between,
   * until host_unmap. memory: aligned to 4096 bytes. */
  int32_t (*host_map)(struct baton_open_device* device, void* memory, uint64_t bytes,
                      struct baton_error* error);
  void (*host_unmap)(struct baton_open_device* device, void* memory);
  /* Makes what one side has written to some of these visible to the other: the device to
   * (BATON_COPY_TO_DEVICE) or the host. Null: it is visible. */
  int32_t (*host_sync)(struct baton_open_device* device, void* memory, uint64_t bytes,
                       int32_t direction, struct baton_error* error);

  /* All of the following or none of them; without them the device walks no graphs. From any thread;
   * whoever walks a graph does not free it. */

  /* What walk_graph_create takes at least of the device's memory, and whether it takes graphs of
   * such a shape: UNIMPLEMENTED. Does not read links and rows. */
  int32_t (*walk_graph_bytes)(struct baton_open_device* device,
                              const struct baton_walk_graph_job* job, uint64_t* bytes,
                              struct baton_error* error);
  /* Whether graphs of so many bytes each can be on the device at once, with no others there.
   * RESOURCE_EXHAUSTED: the bytes they need and those there are. bytes: [count] */
  int32_t (*walk_graphs_fit)(struct baton_open_device* device, const uint64_t* bytes, int64_t count,
                             struct baton_error* error);
  /* Blocks. RESOURCE_EXHAUSTED: as model_load. UNIMPLEMENTED: its codes would not tell its vectors
   * apart. */
  int32_t (*walk_graph_create)(struct baton_open_device* device,
                               const struct baton_walk_graph_job* job,
                               struct baton_walk_graph** graph, struct baton_error* error);
  void (*walk_graph_free)(struct baton_open_device* device, struct baton_walk_graph* graph);
  /* Blocks. NOT_FOUND: the device was reset since, and a graph is no longer there: it is to be
   * freed and created anew. */
  int32_t (*walk)(struct baton_open_device* device, const struct baton_walk* walk,
                  struct baton_error* error);

  /* Null, or steps of decodes that go quicker once two such ones have run: in number `index`, the
   * most useful first, so many sequences, of which the longest has so many positions. Returns 1, or
   * 0 where there are no more. Of a model with nothing running. */
  int32_t (*warm_up_step)(struct baton_open_device* device, struct baton_loaded_model* model,
                          uint32_t index, int32_t* sequences, int32_t* positions);

  /* Null: it has no k-means. Else blocks, from any thread. RESOURCE_EXHAUSTED: the bytes it needs
   * and those there are. INVALID_ARGUMENT: a value that is not finite, too. */
  int32_t (*kmeans)(struct baton_open_device* device, const struct baton_kmeans_job* job,
                    struct baton_error* error);
  /* Null: it makes no product codes. Else as kmeans. */
  int32_t (*pq_encode)(struct baton_open_device* device, const struct baton_pq_job* job,
                       struct baton_error* error);

  /* All of the following or none of them; without them the device scans no inverted files. From any
   * thread; whoever scans a file does not free it. */

  /* What ivf_create takes of the device's memory; 0: it takes no such file. Does not follow the
   * job's pointers. */
  uint64_t (*ivf_bytes)(const struct baton_ivf_job* job);
  /* Blocks. RESOURCE_EXHAUSTED: as model_load. */
  int32_t (*ivf_create)(struct baton_open_device* device, const struct baton_ivf_job* job,
                        struct baton_ivf_lists** lists, struct baton_error* error);
  void (*ivf_free)(struct baton_open_device* device, struct baton_ivf_lists* lists);
  /* Blocks. RESOURCE_EXHAUSTED: as search. */
  int32_t (*ivf_scan)(struct baton_open_device* device, const struct baton_ivf_scan* scan,
                      struct baton_error* error);

  /* Null: it converts nothing. Else as copy_post; its ticket is of copy_poll and copy_cancel, too.
   * What it writes behind the last position of a block is zero. */
  int32_t (*copy_packed)(struct baton_open_device* device, const struct baton_kv_packing* packing,
                         uint64_t* ticket, struct baton_error* error);

  /* All of the following or none of them; without them the device embeds no texts. encoder_run from
   * one thread at a time, beside llm_run; encoders come and go as models do. */

  /* As model_load. tokens_max: of a batch that the encoder takes, at least its context. */
  int32_t (*encoder_load)(struct baton_open_device* device, const struct baton_encoder_model* model,
                          struct baton_loaded_encoder** loaded, int32_t* tokens_max,
                          struct baton_error* error);
  void (*encoder_unload)(struct baton_open_device* device, struct baton_loaded_encoder* encoder);
  /* Blocks. INTERNAL: a value is not finite, too. */
  int32_t (*encoder_run)(struct baton_open_device* device, struct baton_loaded_encoder* encoder,
                         const struct baton_encoder_batch* batch, struct baton_error* error);
};

/* The one exported symbol. */
__attribute__((visibility("default"))) const struct baton_executor_plugin* baton_executor_plugin_v1(
    void);

#ifdef __cplusplus
}
#endif
