// Multi-head self-attention (Vaswani et al., 2017) of sequences that lie one after the other without padding. The
// scores are never in memory: the backward pass computes them again from the logarithms of the sums of their
// exponentials (FlashAttention: Dao et al., 2022, arXiv:2205.14135).
//
// A row of `projected` has a token's queries, keys and values, ROW wide; `starts` has the sequences' first tokens and
// the number of all. These kernels have a warp for a query or a key and compute in float; where values are bfloat16,
// those of attention_tensor.cu do the same with tensor cores.

#define QUERIES_WIDTH (HEADS * HEAD)
#define KEYS_WIDTH (KEY_HEADS * HEAD)
#define ROW (QUERIES_WIDTH + 2 * KEYS_WIDTH)
// Heads of queries that share one of keys and values.
#define GROUP (HEADS / KEY_HEADS)
// Numbers of a head that a lane has.
#define PARTS ((HEAD + WARP - 1) / WARP)
#define WARPS 4

__device__ inline float dot(const value *left, const value *right) {
    float sum = 0.0f;
#pragma unroll
    for (int at = 0; at < HEAD; at += VECTOR) {
        float one[VECTOR], other[VECTOR];
        load_vector(left + at, one);
        load_vector(right + at, other);
#pragma unroll
        for (int index = 0; index < VECTOR; index++) sum += one[index] * other[index];
    }
    return sum;
}

// gathered += the sum over a warp's lanes of weight * row, for the first `count` rows.
__device__ inline void gather(float weight, const value *rows, long long stride, int count, float *gathered) {
    int lane = threadIdx.x % WARP;
    for (int from = 0; from < count; from++) {
        float share = __shfl_sync(EVERY_LANE, weight, from);
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            int column = part * WARP + lane;
            if (column < HEAD) gathered[part] += share * load(rows[from * stride + column]);
        }
    }
}

__device__ inline void store_head(const float *numbers, float factor, value *to) {
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        int column = part * WARP + lane;
        if (column < HEAD) to[column] = store(factor * numbers[part]);
    }
}

// Grid: tiles of WARPS queries, heads, sequences.
extern "C" __global__ void __launch_bounds__(WARPS *WARP)
    attention(const value *projected, const int *starts, float scale, value *context, float *log_sums) {
    int head = blockIdx.y, lane = threadIdx.x % WARP;
    long long first = starts[blockIdx.z];
    int count = starts[blockIdx.z + 1] - int(first), query = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (query >= count) return;
    const value *queries = projected + (first + query) * ROW + head * HEAD;
    const value *keys = projected + first * ROW + QUERIES_WIDTH + head / GROUP * HEAD;
    const value *values = keys + KEYS_WIDTH;
    int visible = CAUSAL ? query + 1 : count;
    float most = LEAST, total = 0.0f, gathered[PARTS] = {};
    for (int tile = 0; tile < visible; tile += WARP) {
        int key = tile + lane;
        float score = key < visible ? scale * dot(queries, keys + (long long)key * ROW) : LEAST;
        float greatest = fmaxf(most, warp_maximum(score));
        float weight = expf(score - greatest), factor = expf(most - greatest);
        total = total * factor + warp_sum(weight);
#pragma unroll
        for (int part = 0; part < PARTS; part++) gathered[part] *= factor;
        gather(weight, values + (long long)tile * ROW, ROW, min(WARP, visible - tile), gathered);
        most = greatest;
    }
    store_head(gathered, 1.0f / total, context + (first + query) * QUERIES_WIDTH + head * HEAD);
    if (lane == 0) log_sums[(first + query) * HEADS + head] = most + logf(total);
}

// The products of what attention gathered with its gradient, [tokens, HEADS].
extern "C" __global__ void attention_products(const value *context, const value *gradient, int tokens,
                                              float *products) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= tokens * HEADS) return;
    products[at] = dot(context + (long long)at * HEAD, gradient + (long long)at * HEAD);
}

// The gradient of the queries. Grid: tiles of WARPS queries, heads, sequences.
extern "C" __global__ void __launch_bounds__(WARPS *WARP)
    attention_queries_backward(const value *projected, const value *gradient, const float *log_sums,
                               const float *products, const int *starts, float scale, value *result) {
    int head = blockIdx.y, lane = threadIdx.x % WARP;
    long long first = starts[blockIdx.z];
    int count = starts[blockIdx.z + 1] - int(first), query = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (query >= count) return;
    const value *queries = projected + (first + query) * ROW + head * HEAD;
    const value *keys = projected + first * ROW + QUERIES_WIDTH + head / GROUP * HEAD;
    const value *values = keys + KEYS_WIDTH;
    const value *gradients = gradient + (first + query) * QUERIES_WIDTH + head * HEAD;
    float log_sum = log_sums[(first + query) * HEADS + head], product = products[(first + query) * HEADS + head];
    int visible = CAUSAL ? query + 1 : count;
    float gathered[PARTS] = {};
    for (int tile = 0; tile < visible; tile += WARP) {
        int key = tile + lane;
        float slope = 0.0f;
        if (key < visible) {
            float probability = expf(scale * dot(queries, keys + (long long)key * ROW) - log_sum);
            slope = probability * (dot(gradients, values + (long long)key * ROW) - product);
        }
        gather(slope, keys + (long long)tile * ROW, ROW, min(WARP, visible - tile), gathered);
    }
    store_head(gathered, scale, result + (first + query) * ROW + head * HEAD);
}

// The gradients of keys and values. Grid: tiles of WARPS keys, heads of keys, sequences.
extern "C" __global__ void __launch_bounds__(WARPS *WARP)
    attention_keys_backward(const value *projected, const value *gradient, const float *log_sums,
                            const float *products, const int *starts, float scale, value *result) {
    int lane = threadIdx.x % WARP;
    long long first = starts[blockIdx.z];
    int count = starts[blockIdx.z + 1] - int(first), key = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (key >= count) return;
    int column = QUERIES_WIDTH + blockIdx.y * HEAD;
    const value *keys = projected + (first + key) * ROW + column, *values = keys + KEYS_WIDTH;
    float of_keys[PARTS] = {}, of_values[PARTS] = {};
    for (int member = 0; member < GROUP; member++) {
        int head = blockIdx.y * GROUP + member;
        const value *queries = projected + first * ROW + head * HEAD;
        const value *gradients = gradient + first * QUERIES_WIDTH + head * HEAD;
        for (int tile = CAUSAL ? key / WARP * WARP : 0; tile < count; tile += WARP) {
            int query = tile + lane;
            float probability = 0.0f, slope = 0.0f;
            if (query < count && (!CAUSAL || query >= key)) {
                long long place = (first + query) * HEADS + head;
                probability = expf(scale * dot(queries + (long long)query * ROW, keys) - log_sums[place]);
                slope = dot(gradients + (long long)query * QUERIES_WIDTH, values) - products[place];
                slope *= probability;
            }
            int rows = min(WARP, count - tile);
            gather(slope, queries + (long long)tile * ROW, ROW, rows, of_keys);
            gather(probability, gradients + (long long)tile * QUERIES_WIDTH, QUERIES_WIDTH, rows, of_values);
        }
    }
    value *to = result + (first + key) * ROW + column;
    store_head(of_keys, scale, to);
    store_head(of_values, 1.0f, to + KEYS_WIDTH);
}
