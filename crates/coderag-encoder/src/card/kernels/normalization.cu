// Layer normalisation (Ba et al., 2016), a row a warp. A lane holds CHUNKS vectors of the row.

#define CHUNKS ((HIDDEN + WARP * VECTOR - 1) / (WARP * VECTOR))
// Warps of a block.
#define ROWS 4

struct row {
    float numbers[CHUNKS][VECTOR];
};

__device__ inline int column_of(int chunk) {
    return (chunk * WARP + int(threadIdx.x) % WARP) * VECTOR;
}

// Columns behind the last are zeros.
__device__ inline void load_row(const value *from, row &to) {
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        int column = column_of(chunk);
        if (column < HIDDEN) {
            load_vector(from + column, to.numbers[chunk]);
        } else {
#pragma unroll
            for (int index = 0; index < VECTOR; index++) to.numbers[chunk][index] = 0.0f;
        }
    }
}

__device__ inline void store_row(const row &from, value *to) {
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        int column = column_of(chunk);
        if (column < HIDDEN) store_vector(from.numbers[chunk], to + column);
    }
}

__device__ inline void add_row(row &sums, const row &added) {
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++)
#pragma unroll
        for (int index = 0; index < VECTOR; index++) sums.numbers[chunk][index] += added.numbers[chunk][index];
}

// The sum as the backward pass will read it.
__device__ inline void add_stored_row(row &sums, const row &added) {
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++)
#pragma unroll
        for (int index = 0; index < VECTOR; index++)
            sums.numbers[chunk][index] = load(store(sums.numbers[chunk][index] + added.numbers[chunk][index]));
}

// Adds a warp's row to shared memory, or sets it where the warp is the first.
__device__ inline void share_row(const row &from, float *shared, bool first) {
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        int column = column_of(chunk);
        if (column >= HIDDEN) continue;
#pragma unroll
        for (int index = 0; index < VECTOR; index++) {
            float *place = shared + column + index;
            *place = (first ? 0.0f : *place) + from.numbers[chunk][index];
        }
    }
}

// Writes the normalised row; `statistics` takes the mean and one over the deviation.
__device__ inline void normalize(const row &sums, const float *weight, const float *bias, float epsilon,
                                 value *output, float *statistics) {
    float total = 0.0f;
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++)
#pragma unroll
        for (int index = 0; index < VECTOR; index++) total += sums.numbers[chunk][index];
    float mean = warp_sum(total) / HIDDEN, squares = 0.0f;
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        if (column_of(chunk) >= HIDDEN) continue;
#pragma unroll
        for (int index = 0; index < VECTOR; index++) {
            float distance = sums.numbers[chunk][index] - mean;
            squares += distance * distance;
        }
    }
    float scale = rsqrtf(warp_sum(squares) / HIDDEN + epsilon);
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        int column = column_of(chunk);
        if (column >= HIDDEN) continue;
        float normalized[VECTOR];
#pragma unroll
        for (int index = 0; index < VECTOR; index++)
            normalized[index] =
                (sums.numbers[chunk][index] - mean) * scale * weight[column + index] + bias[column + index];
        store_vector(normalized, output + column);
    }
    if (threadIdx.x % WARP == 0) {
        statistics[0] = mean;
        statistics[1] = scale;
    }
}

// sums = added + residual, output = norm(sums). `sums` may be `added`.
extern "C" __global__ void __launch_bounds__(ROWS *WARP)
    add_and_normalize(const value *added, const value *residual, const float *weight, const float *bias,
                      float epsilon, int rows, value *sums, value *output, float *statistics) {
    int number = blockIdx.x * ROWS + threadIdx.x / WARP;
    if (number >= rows) return;
    long long first = (long long)number * HIDDEN;
    row one, other;
    load_row(added + first, one);
    load_row(residual + first, other);
    add_stored_row(one, other);
    store_row(one, sums + first);
    normalize(one, weight, bias, epsilon, output + first, statistics + 2 * number);
}

// The sum of a token's word, position and segment embeddings, normalised.
extern "C" __global__ void __launch_bounds__(ROWS *WARP)
    embed(const int *words, const int *positions, const value *word_table, const value *position_table,
          const value *segment, const float *weight, const float *bias, float epsilon, int rows, value *sums,
          value *output, float *statistics) {
    int number = blockIdx.x * ROWS + threadIdx.x / WARP;
    if (number >= rows) return;
    long long first = (long long)number * HIDDEN;
    row sum, other, word;
    load_row(position_table + (long long)positions[number] * HIDDEN, sum);
    load_row(segment, other);
    load_row(word_table + (long long)words[number] * HIDDEN, word);
    add_row(sum, other);
    add_stored_row(sum, word);
    store_row(sum, sums + first);
    normalize(sum, weight, bias, epsilon, output + first, statistics + 2 * number);
}

// The gradient of the sums from that of what became of them:
//
//   scale * (g - mean(g) - n * mean(g * n)), with n the normalised sum and g the gradient times the weight.
//
// `other` may be null; it is a second gradient of the same outputs. Blocks go through the rows with strides.
// `partials` may be null; [blocks, 3, HIDDEN] takes each block's part of the gradients of weight and bias, and
// of the sum over the rows of the result, which is the gradient of a bias that entered the sums.
extern "C" __global__ void __launch_bounds__(ROWS *WARP)
    normalize_backward(const value *gradient, const value *other, const value *sums, const float *statistics,
                       const float *weight, int rows, value *result, float *partials) {
    row weight_sums = {}, bias_sums = {}, result_sums = {};
    for (int number = blockIdx.x * ROWS + threadIdx.x / WARP; number < rows; number += gridDim.x * ROWS) {
        long long first = (long long)number * HIDDEN;
        float mean = statistics[2 * number], scale = statistics[2 * number + 1];
        row gradients, normalized;
        load_row(gradient + first, gradients);
        if (other) {
            row added;
            load_row(other + first, added);
            add_row(gradients, added);
        }
        load_row(sums + first, normalized);
        float total = 0.0f, slope = 0.0f;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            int column = column_of(chunk);
            if (column >= HIDDEN) continue;
#pragma unroll
            for (int index = 0; index < VECTOR; index++) {
                float &value_gradient = gradients.numbers[chunk][index];
                float &at = normalized.numbers[chunk][index];
                at = (at - mean) * scale;
                weight_sums.numbers[chunk][index] += value_gradient * at;
                bias_sums.numbers[chunk][index] += value_gradient;
                value_gradient *= weight[column + index];
                total += value_gradient;
                slope += value_gradient * at;
            }
        }
        total = warp_sum(total) / HIDDEN;
        slope = warp_sum(slope) / HIDDEN;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            if (column_of(chunk) >= HIDDEN) continue;
#pragma unroll
            for (int index = 0; index < VECTOR; index++) {
                float &found = gradients.numbers[chunk][index];
                found = scale * (found - total - normalized.numbers[chunk][index] * slope);
                result_sums.numbers[chunk][index] += found;
            }
        }
        store_row(gradients, result + first);
    }
    if (!partials) return;
    __shared__ float shared[3 * HIDDEN];
    for (int warp = 0; warp < ROWS; warp++) {
        if (int(threadIdx.x) / WARP == warp) {
            share_row(weight_sums, shared, warp == 0);
            share_row(bias_sums, shared + HIDDEN, warp == 0);
            share_row(result_sums, shared + 2 * HIDDEN, warp == 0);
        }
        __syncthreads();
    }
    for (int column = threadIdx.x; column < 3 * HIDDEN; column += ROWS * WARP)
        partials[(long long)blockIdx.x * 3 * HIDDEN + column] = shared[column];
}

// Sums over rows: block (x, y) adds up the y-th stripe of rows of some columns into `partials`, [stripes, columns].
extern "C" __global__ void __launch_bounds__(WARP *ROWS)
    column_sums(const value *matrix, int rows, int columns, float *partials) {
    __shared__ float shared[ROWS][WARP * VECTOR];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int column = (blockIdx.x * WARP + lane) * VECTOR;
    float sums[VECTOR] = {};
    if (column < columns) {
        for (int number = blockIdx.y * ROWS + warp; number < rows; number += gridDim.y * ROWS) {
            float numbers[VECTOR];
            load_vector(matrix + (long long)number * columns + column, numbers);
#pragma unroll
            for (int index = 0; index < VECTOR; index++) sums[index] += numbers[index];
        }
    }
#pragma unroll
    for (int index = 0; index < VECTOR; index++) shared[warp][lane * VECTOR + index] = sums[index];
    __syncthreads();
    for (int index = threadIdx.x; index < WARP * VECTOR; index += ROWS * WARP) {
        int place = blockIdx.x * WARP * VECTOR + index;
        if (place >= columns) continue;
        float sum = 0.0f;
        for (int from = 0; from < ROWS; from++) sum += shared[from][index];
        partials[(long long)blockIdx.y * columns + place] = sum;
    }
}

// Adds the partial sums, [count, parts, width], to as many gradients; a null one is left out.
extern "C" __global__ void add_partials(const float *partials, int count, int width, int parts, float *first,
                                        float *second, float *third) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= parts * width) return;
    float *gradient = column < width ? first : column < 2 * width ? second : third;
    if (!gradient) return;
    float sum = 0.0f;
    // Several loads under way at a time.
#pragma unroll 8
    for (int number = 0; number < count; number++) sum += partials[(long long)number * parts * width + column];
    gradient[column % width] += sum;
}
