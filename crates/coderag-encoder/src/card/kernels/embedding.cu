// Adds rows of a gradient to those of a table. Segment s of `order` names the rows that belong to the table's row
// `targets[s]`: a block each, so that no row of the table is added to twice at a time.
extern "C" __global__ void add_rows(const value *gradient, const int *order, const int *starts, const int *targets,
                                    float *table) {
    int segment = blockIdx.x;
    int first = starts[segment], last = starts[segment + 1];
    float *sums = table + (long long)targets[segment] * HIDDEN;
    for (int column = threadIdx.x; column < HIDDEN; column += blockDim.x) {
        float sum = 0.0f;
#pragma unroll 8
        for (int place = first; place < last; place++)
            sum += load(gradient[(long long)order[place] * HIDDEN + column]);
        sums[column] += sum;
    }
}

// Rows of a table, one for each token.
extern "C" __global__ void take_rows(const value *table, const int *words, int tokens, value *rows) {
    long long vectors = (long long)tokens * (HIDDEN / VECTOR), stride = (long long)gridDim.x * blockDim.x;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < vectors; at += stride) {
        long long token = at / (HIDDEN / VECTOR), column = at % (HIDDEN / VECTOR) * VECTOR;
        *reinterpret_cast<vector *>(rows + at * VECTOR) =
            *reinterpret_cast<const vector *>(table + (long long)words[token] * HIDDEN + column);
    }
}
