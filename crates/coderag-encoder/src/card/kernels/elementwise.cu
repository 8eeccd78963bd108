// The Gaussian error linear unit (Hendrycks and Gimpel, 2016), exact, and its derivative: the normal
// distribution's function of x, plus x times its density.

extern "C" __global__ void gelu(const value *inputs, value *outputs, long long vectors) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < vectors; at += stride) {
        float numbers[VECTOR];
        load_vector(inputs + at * VECTOR, numbers);
#pragma unroll
        for (int index = 0; index < VECTOR; index++)
            numbers[index] *= 0.5f * (1.0f + erff(numbers[index] * 0.70710678f));
        store_vector(numbers, outputs + at * VECTOR);
    }
}

// Turns the gradient of the outputs into that of the inputs, in place, and computes the outputs again.
extern "C" __global__ void gelu_backward(const value *inputs, value *gradient, value *outputs, long long vectors) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < vectors; at += stride) {
        float numbers[VECTOR], gradients[VECTOR];
        load_vector(inputs + at * VECTOR, numbers);
        load_vector(gradient + at * VECTOR, gradients);
#pragma unroll
        for (int index = 0; index < VECTOR; index++) {
            float x = numbers[index];
            float probability = 0.5f * (1.0f + erff(x * 0.70710678f));
            float density = 0.39894228f * expf(-0.5f * x * x);
            gradients[index] *= probability + x * density;
            numbers[index] = x * probability;
        }
        store_vector(gradients, gradient + at * VECTOR);
        store_vector(numbers, outputs + at * VECTOR);
    }
}

// The gated network's activation, SwiGLU (Shazeer, 2020): silu(gate) * up, where a row of `inputs` has the gate and
// then the rest, each `width` wide.
extern "C" __global__ void gate(const value *inputs, value *outputs, int rows, int width) {
    long long vectors = (long long)rows * width / VECTOR, stride = (long long)gridDim.x * blockDim.x;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < vectors; at += stride) {
        long long number = at * VECTOR / width, column = at * VECTOR % width;
        const value *from = inputs + number * 2 * width + column;
        float gates[VECTOR], numbers[VECTOR];
        load_vector(from, gates);
        load_vector(from + width, numbers);
#pragma unroll
        for (int index = 0; index < VECTOR; index++) numbers[index] *= gates[index] / (1.0f + expf(-gates[index]));
        store_vector(numbers, outputs + at * VECTOR);
    }
}

// The gradient of the inputs from that of the outputs, and the outputs again. `outputs` may be where the gradient is.
extern "C" __global__ void gate_backward(const value *inputs, const value *gradient, value *result, value *outputs,
                                         int rows, int width) {
    long long vectors = (long long)rows * width / VECTOR, stride = (long long)gridDim.x * blockDim.x;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < vectors; at += stride) {
        long long number = at * VECTOR / width, column = at * VECTOR % width;
        long long place = number * 2 * width + column;
        float gates[VECTOR], numbers[VECTOR], gradients[VECTOR];
        load_vector(inputs + place, gates);
        load_vector(inputs + place + width, numbers);
        load_vector(gradient + at * VECTOR, gradients);
#pragma unroll
        for (int index = 0; index < VECTOR; index++) {
            float sigmoid = 1.0f / (1.0f + expf(-gates[index])), activated = gates[index] * sigmoid;
            float of_gate = gradients[index] * numbers[index] * (sigmoid + activated * (1.0f - sigmoid));
            float of_number = gradients[index] * activated;
            gradients[index] = activated * numbers[index];
            gates[index] = of_gate;
            numbers[index] = of_number;
        }
        store_vector(gates, result + place);
        store_vector(numbers, result + place + width);
        store_vector(gradients, outputs + at * VECTOR);
    }
}

extern "C" __global__ void add(const value *one, const value *other, value *sums, long long vectors) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < vectors; at += stride) {
        float numbers[VECTOR], others[VECTOR];
        load_vector(one + at * VECTOR, numbers);
        load_vector(other + at * VECTOR, others);
#pragma unroll
        for (int index = 0; index < VECTOR; index++) numbers[index] += others[index];
        store_vector(numbers, sums + at * VECTOR);
    }
}
