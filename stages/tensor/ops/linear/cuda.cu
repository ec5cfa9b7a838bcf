BODY float below(float z) { return 0.5f + 0.5f * erff(z * 0.70710678f); }

// z += b, then y = GELU(z); y and z may be the same buffer
KERNEL(gelu)(float *y, float *z, const float *b, uint64_t count, uint32_t columns, uint32_t biased) {
    uint64_t i = element();
    if (i >= count) return;
    float value = biased ? z[i] + b[i % columns] : z[i];
    z[i] = value;
    y[i] = value * below(value);
}

// z = dy GELU'(z), in place
KERNEL(gelu_back)(float *z, const float *dy, uint64_t count) {
    uint64_t i = element();
    if (i < count) z[i] = dy[i] * (below(z[i]) + z[i] * 0.3989423f * expf(-0.5f * z[i] * z[i]));
}
