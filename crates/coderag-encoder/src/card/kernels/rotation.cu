// Rotary position embedding (Su et al., 2021) in the half-split order: dimension i of a head turns together with
// dimension i + HEAD / 2, as in transformers' `rotate_half`.

// Turns the queries and keys of each token by its position, in place; `direction` is -1 in the backward pass.
// `frequencies` has the radians that a position further is, [HEAD / 2].
extern "C" __global__ void rotate(value *projected, const int *positions, const float *frequencies, float direction,
                                  int tokens) {
    const int half = HEAD / 2;
    long long count = (long long)tokens * (HEADS + KEY_HEADS) * half, stride = (long long)gridDim.x * blockDim.x;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < count; at += stride) {
        int pair = at % half, head = at / half % (HEADS + KEY_HEADS);
        long long token = at / half / (HEADS + KEY_HEADS);
        // In float, as transformers has it.
        float angle = positions[token] * frequencies[pair], sine, cosine;
        sincosf(angle, &sine, &cosine);
        sine *= direction;
        value *place = projected + token * ROW + head * HEAD + pair;
        float first = load(place[0]), second = load(place[half]);
        place[0] = store(first * cosine - second * sine);
        place[half] = store(second * cosine + first * sine);
    }
}
