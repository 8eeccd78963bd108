// Attention with tensor cores, for values in bfloat16 (FlashAttention-2: Dao, 2023, arXiv:2307.08691). A block has 64
// queries or keys, a warp 16 of them, and goes through the others a tile at a time. Heads are a multiple of 16 wide.
//
// A warp's product is mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16"). With group = lane / 4 and
// pair = lane % 4 * 2, a lane has of
//   the left factor     rows group and group + 8, columns pair, pair + 1, pair + 8, pair + 9;
//   the right factor    column group, rows pair, pair + 1, pair + 8, pair + 9;
//   the result          rows group and group + 8, columns pair and pair + 1.
// Two results side by side are so the left factor of the next product.

#if BFLOAT16 && HEAD % 16 == 0

// Rows of a block.
#define TILE 64
// Between rows in shared memory, so that a warp's lanes find theirs in different banks.
#define PADDING 8
#define STEPS (HEAD / 16)
#define COLUMNS (HEAD / 8)

#ifdef __CUDA_ARCH__
// sums += left * right
__device__ inline void multiply(float (&sums)[4], const unsigned (&left)[4], const unsigned (&right)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}
#endif

__device__ inline unsigned pack(float low, float high) {
#ifdef __CUDA_ARCH__
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
#else
    return unsigned(store(low).bits) | unsigned(store(high).bits) << 16;
#endif
}

__device__ inline unsigned pair_at(const value *place) {
    return *reinterpret_cast<const unsigned *>(place);
}

// The exponential, by the unit for powers of 2.
__device__ inline float power(float exponent) {
    return exp2f(exponent * 1.44269504f);
}

struct left_rows {
    unsigned steps[STEPS][4];
};

// A head's columns of two rows, those of a lane; `count` rows are there.
__device__ inline void load_left(const value *rows, long long stride, int row, int count, left_rows &to) {
    int pair = threadIdx.x % 4 * 2;
#pragma unroll
    for (int step = 0; step < STEPS; step++)
#pragma unroll
        for (int part = 0; part < 4; part++) {
            int at = row + part % 2 * 8, column = step * 16 + part / 2 * 8 + pair;
            to.steps[step][part] = at < count ? pair_at(rows + at * stride + column) : 0u;
        }
}

// A tile of rows of a head in shared memory, and, where there is room for it, its columns as rows.
template <int COUNT> struct alignas(16) tile_rows {
    value rows[COUNT][HEAD + PADDING];
};
template <int COUNT> struct alignas(16) tile_columns {
    value columns[HEAD][COUNT + PADDING];
};

template <int COUNT>
__device__ inline void load_tile(const value *from, long long stride, int first, int count, tile_rows<COUNT> *rows,
                                 tile_columns<COUNT> *columns) {
    for (int at = threadIdx.x; at < COUNT * HEAD / VECTOR; at += WARPS * WARP) {
        int row = at / (HEAD / VECTOR), column = at % (HEAD / VECTOR) * VECTOR;
        vector moved = {};
        if (first + row < count)
            moved = *reinterpret_cast<const vector *>(from + (first + row) * stride + column);
        if (rows) *reinterpret_cast<vector *>(&rows->rows[row][column]) = moved;
        if (columns)
#pragma unroll
            for (int index = 0; index < VECTOR; index++) columns->columns[column + index][row] = moved.values[index];
    }
}

// sums += left * the tile's rows as columns, COUNT of them.
template <int COUNT>
__device__ inline void multiply_rows(const left_rows &left, const tile_rows<COUNT> &tile,
                                     float (&sums)[COUNT / 8][4]) {
    int group = threadIdx.x % WARP / 4, pair = threadIdx.x % 4 * 2;
#pragma unroll
    for (int block = 0; block < COUNT / 8; block++)
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            const value *place = &tile.rows[block * 8 + group][step * 16 + pair];
            unsigned right[2] = {pair_at(place), pair_at(place + 8)};
            multiply(sums[block], left.steps[step], right);
        }
}

// sums += weights * the tile's rows, where the weights are results of products.
template <int COUNT>
__device__ inline void multiply_columns(const float (&weights)[COUNT / 8][4], const tile_columns<COUNT> &tile,
                                        float (&sums)[COLUMNS][4]) {
    int group = threadIdx.x % WARP / 4, pair = threadIdx.x % 4 * 2;
#pragma unroll
    for (int step = 0; step < COUNT / 16; step++) {
        const float *one = weights[2 * step], *other = weights[2 * step + 1];
        unsigned left[4] = {pack(one[0], one[1]), pack(one[2], one[3]), pack(other[0], other[1]),
                            pack(other[2], other[3])};
#pragma unroll
        for (int block = 0; block < COLUMNS; block++) {
            const value *place = &tile.columns[block * 8 + group][step * 16 + pair];
            unsigned right[2] = {pair_at(place), pair_at(place + 8)};
            multiply(sums[block], left, right);
        }
    }
}

// Writes a lane's part of two rows of a head; `count` rows are there.
__device__ inline void store_sums(const float (&sums)[COLUMNS][4], float upper, float lower, value *rows,
                                  long long stride, int row, int count) {
    int pair = threadIdx.x % 4 * 2;
#pragma unroll
    for (int block = 0; block < COLUMNS; block++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int at = row + 8 * half;
            float factor = half ? lower : upper;
            if (at < count)
                *reinterpret_cast<unsigned *>(rows + at * stride + block * 8 + pair) =
                    pack(factor * sums[block][2 * half], factor * sums[block][2 * half + 1]);
        }
}

// Over the four lanes that share rows of a result.
__device__ inline float quad_sum(float number) {
    number += __shfl_xor_sync(EVERY_LANE, number, 1);
    return number + __shfl_xor_sync(EVERY_LANE, number, 2);
}

__device__ inline float quad_maximum(float number) {
    number = fmaxf(number, __shfl_xor_sync(EVERY_LANE, number, 1));
    return fmaxf(number, __shfl_xor_sync(EVERY_LANE, number, 2));
}

// As `attention`. Grid: tiles of TILE queries, heads, sequences.
extern "C" __global__ void __launch_bounds__(WARPS *WARP)
    attention_tensor(const value *projected, const int *starts, float scale, value *context, float *log_sums) {
    __shared__ tile_rows<TILE> key_tile;
    __shared__ tile_columns<TILE> value_tile;
    int head = blockIdx.y, lane = threadIdx.x % WARP, pair = lane % 4 * 2;
    long long first = starts[blockIdx.z];
    int count = starts[blockIdx.z + 1] - int(first), start = blockIdx.x * TILE;
    if (start >= count) return;
    int row = start + threadIdx.x / WARP * 16 + lane / 4;
    const value *queries = projected + first * ROW + head * HEAD;
    const value *keys = projected + first * ROW + QUERIES_WIDTH + head / GROUP * HEAD;
    left_rows left;
    load_left(queries, ROW, row, count, left);
    float gathered[COLUMNS][4] = {}, most[2] = {LEAST, LEAST}, totals[2] = {};
    int last = CAUSAL ? min(count, start + TILE) : count;
    for (int tile = 0; tile < last; tile += TILE) {
        __syncthreads();
        load_tile<TILE>(keys, ROW, tile, count, &key_tile, nullptr);
        load_tile<TILE>(keys + KEYS_WIDTH, ROW, tile, count, nullptr, &value_tile);
        __syncthreads();
        float scores[TILE / 8][4] = {};
        multiply_rows<TILE>(left, key_tile, scores);
        float greatest[2] = {most[0], most[1]};
#pragma unroll
        for (int block = 0; block < TILE / 8; block++)
#pragma unroll
            for (int index = 0; index < 4; index++) {
                int key = tile + block * 8 + pair + index % 2, query = row + index / 2 * 8;
                bool seen = key < count && (!CAUSAL || key <= query);
                scores[block][index] = seen ? scale * scores[block][index] : LEAST;
                greatest[index / 2] = fmaxf(greatest[index / 2], scores[block][index]);
            }
        float factors[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            greatest[half] = quad_maximum(greatest[half]);
            factors[half] = power(most[half] - greatest[half]);
            totals[half] *= factors[half];
            most[half] = greatest[half];
        }
#pragma unroll
        for (int block = 0; block < TILE / 8; block++)
#pragma unroll
            for (int index = 0; index < 4; index++) {
                scores[block][index] = power(scores[block][index] - most[index / 2]);
                totals[index / 2] += scores[block][index];
            }
#pragma unroll
        for (int block = 0; block < COLUMNS; block++)
#pragma unroll
            for (int index = 0; index < 4; index++) gathered[block][index] *= factors[index / 2];
        multiply_columns<TILE>(scores, value_tile, gathered);
    }
    totals[0] = quad_sum(totals[0]);
    totals[1] = quad_sum(totals[1]);
    value *to = context + first * QUERIES_WIDTH + head * HEAD;
    store_sums(gathered, 1.0f / totals[0], 1.0f / totals[1], to, QUERIES_WIDTH, row, count);
    if (pair == 0)
#pragma unroll
        for (int half = 0; half < 2; half++)
            if (row + 8 * half < count)
                log_sums[(first + row + 8 * half) * HEADS + head] = most[half] + logf(totals[half]);
}

// Rows of the tiles of the backward pass, which keeps more of them.
#define BACKWARD_TILE 32

// As `attention_queries_backward`. Grid: tiles of TILE queries, heads, sequences.
extern "C" __global__ void __launch_bounds__(WARPS *WARP)
    attention_tensor_queries_backward(const value *projected, const value *gradient, const float *log_sums,
                                      const float *products, const int *starts, float scale, value *result) {
    __shared__ tile_rows<BACKWARD_TILE> key_rows, value_rows;
    __shared__ tile_columns<BACKWARD_TILE> key_columns;
    int head = blockIdx.y, lane = threadIdx.x % WARP, pair = lane % 4 * 2;
    long long first = starts[blockIdx.z];
    int count = starts[blockIdx.z + 1] - int(first), start = blockIdx.x * TILE;
    if (start >= count) return;
    int row = start + threadIdx.x / WARP * 16 + lane / 4;
    const value *keys = projected + first * ROW + QUERIES_WIDTH + head / GROUP * HEAD;
    left_rows queries, gradients;
    load_left(projected + first * ROW + head * HEAD, ROW, row, count, queries);
    load_left(gradient + first * QUERIES_WIDTH + head * HEAD, QUERIES_WIDTH, row, count, gradients);
    float log_sum[2] = {}, product[2] = {};
#pragma unroll
    for (int half = 0; half < 2; half++)
        if (row + 8 * half < count) {
            log_sum[half] = log_sums[(first + row + 8 * half) * HEADS + head];
            product[half] = products[(first + row + 8 * half) * HEADS + head];
        }
    float gathered[COLUMNS][4] = {};
    int last = CAUSAL ? min(count, start + TILE) : count;
    for (int tile = 0; tile < last; tile += BACKWARD_TILE) {
        __syncthreads();
        load_tile<BACKWARD_TILE>(keys, ROW, tile, count, &key_rows, &key_columns);
        load_tile<BACKWARD_TILE>(keys + KEYS_WIDTH, ROW, tile, count, &value_rows, nullptr);
        __syncthreads();
        float scores[BACKWARD_TILE / 8][4] = {}, slopes[BACKWARD_TILE / 8][4] = {};
        multiply_rows<BACKWARD_TILE>(queries, key_rows, scores);
        multiply_rows<BACKWARD_TILE>(gradients, value_rows, slopes);
#pragma unroll
        for (int block = 0; block < BACKWARD_TILE / 8; block++)
#pragma unroll
            for (int index = 0; index < 4; index++) {
                int key = tile + block * 8 + pair + index % 2, query = row + index / 2 * 8;
                bool seen = query < count && key < count && (!CAUSAL || key <= query);
                float probability = seen ? power(scale * scores[block][index] - log_sum[index / 2]) : 0.0f;
                slopes[block][index] = probability * (slopes[block][index] - product[index / 2]);
            }
        multiply_columns<BACKWARD_TILE>(slopes, key_columns, gathered);
    }
    store_sums(gathered, scale, scale, result + first * ROW + head * HEAD, ROW, row, count);
}

// As `attention_keys_backward`. Grid: tiles of TILE keys, heads of keys, sequences.
extern "C" __global__ void __launch_bounds__(WARPS *WARP)
    attention_tensor_keys_backward(const value *projected, const value *gradient, const float *log_sums,
                                   const float *products, const int *starts, float scale, value *result) {
    __shared__ tile_rows<BACKWARD_TILE> query_rows, gradient_rows;
    __shared__ tile_columns<BACKWARD_TILE> query_columns, gradient_columns;
    __shared__ float tile_log_sums[BACKWARD_TILE], tile_products[BACKWARD_TILE];
    int lane = threadIdx.x % WARP, pair = lane % 4 * 2;
    long long first = starts[blockIdx.z];
    int count = starts[blockIdx.z + 1] - int(first), start = blockIdx.x * TILE;
    if (start >= count) return;
    int row = start + threadIdx.x / WARP * 16 + lane / 4, column = QUERIES_WIDTH + blockIdx.y * HEAD;
    left_rows keys, values;
    load_left(projected + first * ROW + column, ROW, row, count, keys);
    load_left(projected + first * ROW + column + KEYS_WIDTH, ROW, row, count, values);
    float of_keys[COLUMNS][4] = {}, of_values[COLUMNS][4] = {};
    for (int member = 0; member < GROUP; member++) {
        int head = blockIdx.y * GROUP + member;
        const value *queries = projected + first * ROW + head * HEAD;
        const value *gradients = gradient + first * QUERIES_WIDTH + head * HEAD;
        for (int tile = CAUSAL ? start : 0; tile < count; tile += BACKWARD_TILE) {
            __syncthreads();
            load_tile<BACKWARD_TILE>(queries, ROW, tile, count, &query_rows, &query_columns);
            load_tile<BACKWARD_TILE>(gradients, QUERIES_WIDTH, tile, count, &gradient_rows, &gradient_columns);
            for (int at = threadIdx.x; at < BACKWARD_TILE; at += WARPS * WARP) {
                bool there = tile + at < count;
                long long place = (first + tile + at) * HEADS + head;
                tile_log_sums[at] = there ? log_sums[place] : 0.0f;
                tile_products[at] = there ? products[place] : 0.0f;
            }
            __syncthreads();
            float weights[BACKWARD_TILE / 8][4] = {}, slopes[BACKWARD_TILE / 8][4] = {};
            multiply_rows<BACKWARD_TILE>(keys, query_rows, weights);
            multiply_rows<BACKWARD_TILE>(values, gradient_rows, slopes);
#pragma unroll
            for (int block = 0; block < BACKWARD_TILE / 8; block++)
#pragma unroll
                for (int index = 0; index < 4; index++) {
                    int at = block * 8 + pair + index % 2, query = tile + at, key = row + index / 2 * 8;
                    bool seen = query < count && key < count && (!CAUSAL || key <= query);
                    float probability = seen ? power(scale * weights[block][index] - tile_log_sums[at]) : 0.0f;
                    weights[block][index] = probability;
                    slopes[block][index] = probability * (slopes[block][index] - tile_products[at]);
                }
            multiply_columns<BACKWARD_TILE>(weights, gradient_columns, of_values);
            multiply_columns<BACKWARD_TILE>(slopes, query_columns, of_keys);
        }
    }
    value *to = result + first * ROW + column;
    store_sums(of_keys, scale, scale, to, ROW, row, count);
    store_sums(of_values, 1.0f, 1.0f, to + KEYS_WIDTH, ROW, row, count);
}

#endif
