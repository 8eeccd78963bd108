// CUDA's language as far as the project's kernels use it, for a processor. Included before a kernel's source.
//
// A block's threads are fibers of one thread: each runs until it waits for others of its warp or block. So a kernel
// that forgets a barrier reads what is not written yet here too, most of the time.

#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>

#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};
static uint3 gridDim, blockDim, blockIdx, threadIdx;

namespace software {

constexpr int LANES = 32;
constexpr int MOST_THREADS = 1024;
constexpr size_t STACK = 128 * 1024;

struct fiber {
    void *stack_pointer;
    bool over;
};

struct barrier {
    unsigned arrived, alive, passed;
};

static fiber fibers[MOST_THREADS];
static char *stacks;
static void *scheduler;
static int current;
static barrier block_barrier, warp_barriers[MOST_THREADS / LANES];
static uint32_t exchanged[MOST_THREADS][8];

struct launch {
    void (*call)(void *);
    void *parameters;
};
static launch launched;

extern "C" void software_switch(void **from, void *to);
asm(R"(
.text
.type software_switch, @function
software_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

static void set_thread(int number) {
    current = number;
    threadIdx.x = number % blockDim.x;
    threadIdx.y = number / blockDim.x % blockDim.y;
    threadIdx.z = number / blockDim.x / blockDim.y;
}

static void yield() {
    int number = current;
    software_switch(&fibers[number].stack_pointer, scheduler);
    set_thread(number);
}

static void release(barrier &waiting) {
    waiting.arrived = 0;
    waiting.passed++;
}

static void wait(barrier &waiting) {
    if (++waiting.arrived == waiting.alive) return release(waiting);
    for (unsigned passed = waiting.passed; waiting.passed == passed;) yield();
}

static void leave(barrier &waiting) {
    waiting.alive--;
    if (waiting.alive > 0 && waiting.arrived == waiting.alive) release(waiting);
}

static void run_fiber() {
    launched.call(launched.parameters);
    leave(block_barrier);
    leave(warp_barriers[current / LANES]);
    fibers[current].over = true;
    yield();
}

static void run_block(int threads) {
    block_barrier = {0, unsigned(threads), 0};
    for (int warp = 0; warp * LANES < threads; warp++) {
        int lanes = threads - warp * LANES < LANES ? threads - warp * LANES : LANES;
        warp_barriers[warp] = {0, unsigned(lanes), 0};
    }
    for (int number = 0; number < threads; number++) {
        // What `software_switch` takes off the stack: six registers, where to go, and a place so that the stack is
        // aligned as at a call.
        void **top = reinterpret_cast<void **>(stacks + (number + 1) * STACK) - 8;
        memset(top, 0, 8 * sizeof(void *));
        top[6] = reinterpret_cast<void *>(run_fiber);
        fibers[number] = {top, false};
    }
    for (int left = threads; left > 0;)
        for (int number = 0; number < threads; number++) {
            if (fibers[number].over) continue;
            set_thread(number);
            software_switch(&scheduler, fibers[number].stack_pointer);
            left -= fibers[number].over;
        }
}

template <class... Arguments> struct kernel {
    void (*function)(Arguments...);
    void **parameters;

    template <size_t... Index> void call(std::index_sequence<Index...>) {
        function(*static_cast<Arguments *>(parameters[Index])...);
    }
    static void start(void *self) {
        static_cast<kernel *>(self)->call(std::index_sequence_for<Arguments...>());
    }
};

template <class... Arguments>
static void launch_grid(void (*function)(Arguments...), uint3 grid, uint3 block, void **parameters) {
    if (!stacks) stacks = static_cast<char *>(aligned_alloc(4096, MOST_THREADS * STACK));
    kernel<Arguments...> called{function, parameters};
    launched = {kernel<Arguments...>::start, &called};
    gridDim = grid;
    blockDim = block;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = {x, y, z};
                run_block(block.x * block.y * block.z);
            }
}

static barrier &warp() {
    return warp_barriers[current / LANES];
}

template <class Number> static Number exchange(Number number, int lane) {
    static_assert(sizeof(Number) == 4, "lanes exchange 32 bits");
    memcpy(exchanged[current], &number, 4);
    wait(warp());
    Number found;
    memcpy(&found, exchanged[current / LANES * LANES + lane], 4);
    wait(warp());
    return found;
}

static float upper_half(uint32_t bits) {
    float number;
    memcpy(&number, &bits, 4);
    return number;
}

} // namespace software

#define SOFTWARE_LAUNCHER(name)                                                                                        \
    extern "C" void software_launch_##name(uint3 grid, uint3 block, void **parameters) {                               \
        software::launch_grid(name, grid, block, parameters);                                                          \
    }

static inline void __syncthreads() {
    software::wait(software::block_barrier);
}
static inline void __syncwarp() {
    software::wait(software::warp());
}
template <class Number> static Number __shfl_sync(unsigned, Number number, int lane) {
    return software::exchange(number, lane % software::LANES);
}
template <class Number> static Number __shfl_xor_sync(unsigned, Number number, int mask) {
    return software::exchange(number, software::current % software::LANES ^ mask);
}
static inline unsigned __float_as_uint(float number) {
    unsigned bits;
    memcpy(&bits, &number, 4);
    return bits;
}
static inline float __uint_as_float(unsigned bits) {
    return software::upper_half(bits);
}
static inline float rsqrtf(float number) {
    return 1.0f / sqrtf(number);
}
static inline int min(int one, int other) {
    return one < other ? one : other;
}
static inline int max(int one, int other) {
    return one > other ? one : other;
}
using std::isfinite;

// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32: sums += left * right. Where a lane's numbers stand is in the PTX
// ISA, "Matrix Fragments for mma.m16n8k16".
static inline void multiply(float (&sums)[4], const unsigned (&left)[4], const unsigned (&right)[2]) {
    using namespace software;
    memcpy(exchanged[current], left, 16);
    memcpy(exchanged[current] + 4, right, 8);
    wait(warp());
    int base = current / LANES * LANES, lane = current - base;
    auto half = [](unsigned pair, int index) { return upper_half(index ? pair & 0xffff0000u : pair << 16); };
    for (int at = 0; at < 4; at++) {
        int row = lane / 4 + at / 2 * 8, column = lane % 4 * 2 + at % 2;
        float sum = 0.0f;
        for (int inner = 0; inner < 16; inner++) {
            int holder = inner % 8 / 2, upper = inner / 8;
            unsigned one = exchanged[base + row % 8 * 4 + holder][upper * 2 + row / 8];
            unsigned other = exchanged[base + column * 4 + holder][4 + upper];
            sum += half(one, inner % 2) * half(other, inner % 2);
        }
        sums[at] += sum;
    }
    wait(warp());
}
