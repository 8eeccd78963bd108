// From the states of a sequence's tokens to one vector. A block a sequence.

#define FIRST_TOKEN 0
#define LAST_TOKEN 1
#define MEAN 2

extern "C" __global__ void pool(const value *states, const int *starts, int kind, float *vectors) {
    int sequence = blockIdx.x, first = starts[sequence], last = starts[sequence + 1];
    for (int column = threadIdx.x; column < HIDDEN; column += blockDim.x) {
        float found;
        if (kind == MEAN) {
            float sum = 0.0f;
#pragma unroll 4
            for (int token = first; token < last; token++) sum += load(states[(long long)token * HIDDEN + column]);
            found = sum / (last - first);
        } else {
            int token = kind == FIRST_TOKEN ? first : last - 1;
            found = load(states[(long long)token * HIDDEN + column]);
        }
        vectors[(long long)sequence * HIDDEN + column] = found;
    }
}

// The gradient of the states from that of the vectors.
extern "C" __global__ void pool_backward(const float *vectors, const int *starts, int kind, value *states) {
    int sequence = blockIdx.x, first = starts[sequence], last = starts[sequence + 1];
    for (int column = threadIdx.x; column < HIDDEN; column += blockDim.x) {
        float gradient = vectors[(long long)sequence * HIDDEN + column];
        for (int token = first; token < last; token++) {
            bool chosen = token == (kind == FIRST_TOKEN ? first : last - 1);
            float share = kind == MEAN ? gradient / (last - first) : chosen ? gradient : 0.0f;
            states[(long long)token * HIDDEN + column] = store(share);
        }
    }
}
