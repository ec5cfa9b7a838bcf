// y_i = a_i · b_i
KERNEL(dots)(float *y, const float *a, const float *b, uint64_t rows, uint32_t columns) {
    uint64_t r = row();
    if (r >= rows) return;
    float sum = dot(a + r * columns, b + r * columns, columns);
    if (LANE == 0) y[r] = sum;
}

// da_i += dy_i b_i
KERNEL(dots_back)(float *da, const float *dy, const float *b, uint64_t count, uint32_t columns) {
    uint64_t i = element();
    if (i < count) da[i] += dy[i / columns] * b[i];
}
