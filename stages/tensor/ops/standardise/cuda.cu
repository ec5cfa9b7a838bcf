// y_i = (x_{r_i} - m) s, and (0 - m) s where there is no such row. For each column, `moments` has m as the sum of two
// numbers, then s
KERNEL(standardise)(float *y, const float *x, const uint32_t *rows, const float *moments, uint64_t count, uint32_t columns,
                    uint32_t height) {
    uint64_t i = element();
    if (i >= count) return;
    uint32_t row = rows[i / columns], column = i % columns;
    float value = row < height ? x[row * (uint64_t)columns + column] : 0.f;
    const float *of = moments + 3 * (uint64_t)column;
    y[i] = (value - of[0] - of[1]) * of[2];
}

// dx_{r_i} += dy_i s; each row occurs at most once
KERNEL(standardise_back)(float *dx, const float *dy, const uint32_t *rows, const float *moments, uint64_t count,
                         uint32_t columns, uint32_t height) {
    uint64_t i = element();
    if (i >= count) return;
    uint32_t row = rows[i / columns], column = i % columns;
    if (row < height) dx[row * (uint64_t)columns + column] += dy[i] * moments[3 * (uint64_t)column + 2];
}
