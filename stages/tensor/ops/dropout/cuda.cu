// Philox 2x32-10: 32 random bits from a counter and a key, the same as in `cpu.rs`.
BODY uint32_t philox(uint64_t counter, uint64_t key) {
    uint32_t left = (uint32_t)counter, right = (uint32_t)(counter >> 32) ^ (uint32_t)(key >> 32);
    uint32_t round_key = (uint32_t)key;
    for (int round = 0; round < 10; round++) {
        uint64_t product = (uint64_t)left * 0xd256d193u;
        left = (uint32_t)(product >> 32) ^ round_key ^ right;
        right = (uint32_t)product;
        round_key += 0x9e3779b9u;
    }
    return left;
}

// y_i += factor x_i for each element i that is kept
KERNEL(add_kept)(float *y, const float *x, uint64_t count, float factor, uint32_t threshold, uint64_t key) {
    uint64_t i = element();
    if (i < count) y[i] += philox(i, key) >= threshold ? x[i] * factor : 0.f;
}
