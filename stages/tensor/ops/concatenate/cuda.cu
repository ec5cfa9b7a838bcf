// Copies x to the columns of y from `start` on
KERNEL(place_columns)(float *y, const float *x, uint64_t count, uint32_t width, uint32_t start, uint32_t columns) {
    uint64_t i = element();
    if (i < count) y[i / width * columns + start + i % width] = x[i];
}

// dx += the columns of dy from `start` on
KERNEL(add_columns)(float *dx, const float *dy, uint64_t count, uint32_t width, uint32_t start, uint32_t columns) {
    uint64_t i = element();
    if (i < count) dx[i] += dy[i / width * columns + start + i % width];
}
