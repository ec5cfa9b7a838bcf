// y = s a + (1 - s) b; `share` holds z on entry and s on return
KERNEL(gate)(float *y, float *share, const float *a, const float *b, uint64_t count) {
    uint64_t i = element();
    if (i >= count) return;
    float s = 1.f / (1.f + expf(-share[i]));
    share[i] = s;
    y[i] = s * a[i] + (1.f - s) * b[i];
}

// Adds to dz, da and db
KERNEL(gate_back)(float *dz, float *da, float *db, const float *dy, const float *share, const float *a, const float *b,
                  uint64_t count) {
    uint64_t i = element();
    if (i >= count) return;
    float s = share[i], slope = dy[i];
    dz[i] += s * (1.f - s) * (a[i] - b[i]) * slope;
    da[i] += s * slope;
    db[i] += (1.f - s) * slope;
}
