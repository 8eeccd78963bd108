// Root-mean-square normalisation (Zhang and Sennrich, 2019), a row a warp, as layer normalisation is.

__device__ inline void scale_row(const row &sums, float scale, const float *weight, value *output) {
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        int column = column_of(chunk);
        if (column >= HIDDEN) continue;
        float scaled[VECTOR];
#pragma unroll
        for (int index = 0; index < VECTOR; index++)
            scaled[index] = sums.numbers[chunk][index] * scale * weight[column + index];
        store_vector(scaled, output + column);
    }
}

// sums = added + residual, output = norm(sums), scales[row] is one over the root of the mean square. `added` may be
// null; then `sums` is not written. `sums` may be `residual`.
extern "C" __global__ void __launch_bounds__(ROWS *WARP)
    add_and_rms_normalize(const value *added, const value *residual, const float *weight, float epsilon, int rows,
                          value *sums, value *output, float *scales) {
    int number = blockIdx.x * ROWS + threadIdx.x / WARP;
    if (number >= rows) return;
    long long first = (long long)number * HIDDEN;
    row sum;
    load_row(residual + first, sum);
    if (added) {
        row other;
        load_row(added + first, other);
        add_stored_row(sum, other);
        store_row(sum, sums + first);
    }
    float squares = 0.0f;
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++)
#pragma unroll
        for (int index = 0; index < VECTOR; index++)
            squares += sum.numbers[chunk][index] * sum.numbers[chunk][index];
    float scale = rsqrtf(warp_sum(squares) / HIDDEN + epsilon);
    if (threadIdx.x % WARP == 0) scales[number] = scale;
    scale_row(sum, scale, weight, output + first);
}

// The outputs again, from what the forward pass has left.
extern "C" __global__ void __launch_bounds__(ROWS *WARP)
    rms_normalize_again(const value *sums, const float *scales, const float *weight, int rows, value *output) {
    int number = blockIdx.x * ROWS + threadIdx.x / WARP;
    if (number >= rows) return;
    row sum;
    load_row(sums + (long long)number * HIDDEN, sum);
    scale_row(sum, scales[number], weight, output + (long long)number * HIDDEN);
}

// The gradient of the sums from that of the outputs, and what reached them past the normalisation, `residual`, which
// may be null or be where the result is:
//
//   residual + scale * (g - n * mean(g * n)), with n the sums times the scale and g the gradient times the weight.
//
// `partials` may be null; [blocks, HIDDEN] takes each block's part of the gradient of the weight.
extern "C" __global__ void __launch_bounds__(ROWS *WARP)
    rms_normalize_backward(const value *gradient, const value *residual, const value *sums, const float *scales,
                           const float *weight, int rows, value *result, float *partials) {
    row weight_sums = {};
    for (int number = blockIdx.x * ROWS + threadIdx.x / WARP; number < rows; number += gridDim.x * ROWS) {
        long long first = (long long)number * HIDDEN;
        float scale = scales[number], slope = 0.0f;
        row gradients, normalized;
        load_row(gradient + first, gradients);
        load_row(sums + first, normalized);
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            int column = column_of(chunk);
            if (column >= HIDDEN) continue;
#pragma unroll
            for (int index = 0; index < VECTOR; index++) {
                float &found = gradients.numbers[chunk][index];
                float &at = normalized.numbers[chunk][index];
                at *= scale;
                weight_sums.numbers[chunk][index] += found * at;
                found *= weight[column + index];
                slope += found * at;
            }
        }
        slope = warp_sum(slope) / HIDDEN;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++)
#pragma unroll
            for (int index = 0; index < VECTOR; index++)
                gradients.numbers[chunk][index] =
                    scale * (gradients.numbers[chunk][index] - normalized.numbers[chunk][index] * slope);
        if (residual) {
            row past;
            load_row(residual + first, past);
            add_row(gradients, past);
        }
        store_row(gradients, result + first);
    }
    if (!partials) return;
    __shared__ float shared[HIDDEN];
    for (int warp = 0; warp < ROWS; warp++) {
        if (int(threadIdx.x) / WARP == warp) share_row(weight_sums, shared, warp == 0);
        __syncthreads();
    }
    for (int column = threadIdx.x; column < HIDDEN; column += ROWS * WARP)
        partials[(long long)blockIdx.x * HIDDEN + column] = shared[column];
}
