// cuBLASLt on the processor, as far as the project calls it: column-major products of float or bfloat16, summed in
// float, with a bias for each row of the result.

#include <cstdint>
#include <cstring>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

enum { SUCCESS = 0, INVALID_VALUE = 7 };
enum { TYPE_FLOAT = 0, TYPE_BFLOAT16 = 14 };
enum { TRANSPOSED_LEFT = 3, TRANSPOSED_RIGHT = 4, EPILOGUE = 7, BIAS_POINTER = 8 };
enum { EPILOGUE_DEFAULT = 1, EPILOGUE_BIAS = 4 };

struct layout {
    int type;
    uint64_t rows, columns;
    int64_t stride;
};
struct operation {
    int32_t transposed_left, transposed_right, epilogue;
    const void *bias;
};

API const char *cublasLtGetStatusString(int) {
    return "an error of the software card";
}
API int cublasLtCreate(void **handle) {
    *handle = reinterpret_cast<void *>(1);
    return SUCCESS;
}
API int cublasLtDestroy(void *) {
    return SUCCESS;
}
API int cublasLtMatrixLayoutCreate(layout **made, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    if (type != TYPE_FLOAT && type != TYPE_BFLOAT16) return INVALID_VALUE;
    *made = new layout{type, rows, columns, stride};
    return SUCCESS;
}
API int cublasLtMatrixLayoutDestroy(layout *made) {
    delete made;
    return SUCCESS;
}
API int cublasLtMatmulDescCreate(operation **made, int, int) {
    *made = new operation{0, 0, EPILOGUE_DEFAULT, nullptr};
    return SUCCESS;
}
API int cublasLtMatmulDescDestroy(operation *made) {
    delete made;
    return SUCCESS;
}
API int cublasLtMatmulDescSetAttribute(operation *made, int attribute, const void *value, size_t size) {
    void *to = attribute == TRANSPOSED_LEFT    ? static_cast<void *>(&made->transposed_left)
               : attribute == TRANSPOSED_RIGHT ? static_cast<void *>(&made->transposed_right)
               : attribute == EPILOGUE         ? static_cast<void *>(&made->epilogue)
               : attribute == BIAS_POINTER     ? static_cast<void *>(&made->bias)
                                               : nullptr;
    if (!to || size != (attribute == BIAS_POINTER ? sizeof(void *) : sizeof(int32_t))) return INVALID_VALUE;
    memcpy(to, value, size);
    return SUCCESS;
}
API int cublasLtMatmulPreferenceCreate(void **made) {
    *made = reinterpret_cast<void *>(1);
    return SUCCESS;
}
API int cublasLtMatmulPreferenceDestroy(void *) {
    return SUCCESS;
}
API int cublasLtMatmulPreferenceSetAttribute(void *, int, const void *, size_t) {
    return SUCCESS;
}

// cublasLtMatmulHeuristicResult_t
struct heuristic {
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};
API int cublasLtMatmulAlgoGetHeuristic(void *, operation *, layout *, layout *, layout *, layout *, void *, int,
                                       heuristic *results, int *found) {
    results[0] = {};
    *found = 1;
    return SUCCESS;
}

static float number_at(const void *matrix, int type, size_t place) {
    if (type == TYPE_FLOAT) return static_cast<const float *>(matrix)[place];
    uint32_t bits = uint32_t(static_cast<const uint16_t *>(matrix)[place]) << 16;
    float number;
    memcpy(&number, &bits, 4);
    return number;
}
static void store_at(void *matrix, int type, size_t place, float number) {
    if (type == TYPE_FLOAT) {
        static_cast<float *>(matrix)[place] = number;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &number, 4);
    bits = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
    static_cast<uint16_t *>(matrix)[place] = bits >> 16;
}

// A factor with the inner dimension as the fast one, [outer, inner].
static std::vector<float> factor(const void *matrix, const layout &at, bool inner_is_rows) {
    size_t outer = inner_is_rows ? at.columns : at.rows, inner = inner_is_rows ? at.rows : at.columns;
    std::vector<float> numbers(outer * inner);
    for (size_t one = 0; one < outer; one++)
        for (size_t other = 0; other < inner; other++) {
            size_t place = inner_is_rows ? one * at.stride + other : other * at.stride + one;
            numbers[one * inner + other] = number_at(matrix, at.type, place);
        }
    return numbers;
}

API int cublasLtMatmul(void *, operation *made, const float *alpha, const void *left, layout *left_at,
                       const void *right, layout *right_at, const float *beta, const void *added, layout *added_at,
                       void *result, layout *result_at, const void *, void *, size_t, void *) {
    uint64_t inner = made->transposed_left ? left_at->rows : left_at->columns;
    uint64_t rows = made->transposed_left ? left_at->columns : left_at->rows;
    uint64_t inner_right = made->transposed_right ? right_at->columns : right_at->rows;
    uint64_t columns = made->transposed_right ? right_at->rows : right_at->columns;
    bool fits = inner == inner_right && rows == result_at->rows && columns == result_at->columns &&
                rows == added_at->rows && columns == added_at->columns && left_at->stride >= int64_t(left_at->rows) &&
                right_at->stride >= int64_t(right_at->rows) && result_at->stride >= int64_t(rows) &&
                left_at->type == right_at->type && made->epilogue == (made->bias ? EPILOGUE_BIAS : EPILOGUE_DEFAULT);
    if (!fits) return INVALID_VALUE;
    std::vector<float> one = factor(left, *left_at, made->transposed_left);
    std::vector<float> other = factor(right, *right_at, !made->transposed_right);
    for (size_t column = 0; column < columns; column++)
        for (size_t row = 0; row < rows; row++) {
            const float *from = &one[row * inner], *with = &other[column * inner];
            float lanes[16] = {}, sum = 0.0f;
            size_t at = 0;
            for (; at + 16 <= inner; at += 16)
                for (int lane = 0; lane < 16; lane++) lanes[lane] += from[at + lane] * with[at + lane];
            for (; at < inner; at++) sum += from[at] * with[at];
            for (float lane : lanes) sum += lane;
            sum *= *alpha;
            if (*beta != 0.0f) sum += *beta * number_at(added, added_at->type, column * added_at->stride + row);
            if (made->bias) sum += number_at(made->bias, result_at->type, row);
            store_at(result, result_at->type, column * result_at->stride + row, sum);
        }
    return SUCCESS;
}
