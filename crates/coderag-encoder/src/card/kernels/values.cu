// What all kernels share. Constants of the model come from the compiler's command line:
//
//   BFLOAT16   1 where values are stored in bfloat16, 0 where in float
//   HIDDEN     the width of a token's state
//   HEADS, KEY_HEADS, HEAD   how many heads queries and keys have, and how wide each is
//   CAUSAL     1 where a token sees only those before it
//
// Whatever is summed is summed in float, in an order that does not depend on timing: two runs give the same bits.

#if BFLOAT16
// The upper half of a float.
struct value {
    unsigned short bits;
};
#else
typedef float value;
#endif

// Values are moved 16 bytes at a time.
#define VECTOR (16 / int(sizeof(value)))
#define WARP 32
#define EVERY_LANE 0xffffffffu
// Minus infinity, which the compiler's own headers do not name.
#define LEAST __uint_as_float(0xff800000u)

struct alignas(16) vector {
    value values[VECTOR];
};

__device__ inline float load(value stored) {
#if BFLOAT16
    return __uint_as_float(unsigned(stored.bits) << 16);
#else
    return stored;
#endif
}

// Rounds to nearest, ties to even.
__device__ inline value store(float number) {
#if BFLOAT16 && defined(__CUDA_ARCH__)
    value rounded;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded.bits) : "f"(number));
    return rounded;
#elif BFLOAT16
    unsigned bits = __float_as_uint(number);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return value{(unsigned short)((bits >> 16) | 0x40u)};
    return value{(unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
#else
    return number;
#endif
}

__device__ inline void load_vector(const value *from, float *to) {
    vector moved = *reinterpret_cast<const vector *>(from);
#pragma unroll
    for (int index = 0; index < VECTOR; index++) to[index] = load(moved.values[index]);
}

__device__ inline void store_vector(const float *from, value *to) {
    vector moved;
#pragma unroll
    for (int index = 0; index < VECTOR; index++) moved.values[index] = store(from[index]);
    *reinterpret_cast<vector *>(to) = moved;
}

// The sum over a warp's lanes, in each of them.
__device__ inline float warp_sum(float number) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) number += __shfl_xor_sync(EVERY_LANE, number, step);
    return number;
}

__device__ inline float warp_maximum(float number) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2)
        number = fmaxf(number, __shfl_xor_sync(EVERY_LANE, number, step));
    return number;
}

extern "C" __global__ void to_values(const float *numbers, value *values, long long count) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x; index < count; index += stride)
        values[index] = store(numbers[index]);
}
