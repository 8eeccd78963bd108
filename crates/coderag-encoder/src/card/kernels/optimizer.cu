// AdamW (Loshchilov and Hutter, 2019) over all parameters at once, as torch.optim.AdamW has it.

// Each block's part of the sum of squares.
extern "C" __global__ void __launch_bounds__(256)
    square_sums(const float *gradients, long long count, double *partials) {
    __shared__ double shared[256];
    long long stride = (long long)gridDim.x * blockDim.x;
    double sum = 0.0;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < count; at += stride)
        sum += double(gradients[at]) * gradients[at];
    shared[threadIdx.x] = sum;
    for (int step = 128; step > 0; step /= 2) {
        __syncthreads();
        if (int(threadIdx.x) < step) shared[threadIdx.x] += shared[threadIdx.x + step];
    }
    if (threadIdx.x == 0) partials[blockIdx.x] = shared[0];
}

// The length of all gradients, from the parts.
extern "C" __global__ void gradient_norm(const double *partials, int count, double *norm) {
    double sum = 0.0;
    for (int at = 0; at < count; at++) sum += partials[at];
    *norm = sqrt(sum);
}

struct settings {
    float learning_rate, epsilon, weight_decay;
    // One minus each is not taken here, where it would be rounded again.
    float beta1, rest1, beta2, rest2;
    // One minus beta to the power of the step's number.
    float correction1, correction2;
    float largest_norm;
};

// Clips the gradients to the largest norm, steps, and writes down the values for products; where the norm is not
// finite, nothing changes. Parameters from `undecayed` on have no weight decay. `stored` may be null.
extern "C" __global__ void adamw(float *values, const float *gradients, float *first_moments, float *second_moments,
                                 value *stored, long long count, long long undecayed, const double *norm,
                                 settings step) {
    double length = *norm;
    if (!isfinite(length)) return;
    // As torch's clip_grad_norm_.
    float factor = fminf(1.0f, float(step.largest_norm / (length + 1e-6)));
    float root = sqrtf(step.correction2), rate = step.learning_rate / step.correction1;
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < count; at += stride) {
        float gradient = factor * gradients[at], parameter = values[at];
        if (at < undecayed) parameter -= step.learning_rate * step.weight_decay * parameter;
        float first = step.beta1 * first_moments[at] + step.rest1 * gradient;
        float second = step.beta2 * second_moments[at] + step.rest2 * gradient * gradient;
        parameter -= rate * first / (sqrtf(second) / root + step.epsilon);
        first_moments[at] = first;
        second_moments[at] = second;
        values[at] = parameter;
        if (stored) stored[at] = store(parameter);
    }
}
