// Element-wise kernels and row sums shared by many operations.

// y = value
KERNEL(fill)(float *y, float value, uint64_t count) {
    uint64_t i = element();
    if (i < count) y[i] = value;
}

// y += factor x
KERNEL(add_scaled)(float *y, float factor, const float *x, uint64_t count) {
    uint64_t i = element();
    if (i < count) y[i] += factor * x[i];
}

// y *= factor
KERNEL(scale)(float *y, float factor, uint64_t count) {
    uint64_t i = element();
    if (i < count) y[i] *= factor;
}

// y_ij += b_j
KERNEL(add_to_rows)(float *y, const float *b, uint64_t count, uint32_t columns) {
    uint64_t i = element();
    if (i < count) y[i] += b[i % columns];
}

// sums_p = the sum of the squares of the p-th piece of x
KERNEL(sum_squares)(float *sums, const float *x, uint64_t count, uint64_t pieces, uint32_t piece) {
    uint64_t p = row();
    if (p >= pieces) return;
    uint64_t first = p * piece, after = first + piece < count ? first + piece : count;
    float sum = 0.f;
    for (uint64_t i = first + LANE; i < after; i += WARP) sum += x[i] * x[i];
    sum = warp_sum(sum);
    if (LANE == 0) sums[p] = sum;
}

// sums_pj = x_ij summed over the rows i of the p-th piece; with one piece, added to what is there
KERNEL(sum_columns)(float *sums, const float *x, uint64_t rows, uint32_t columns, uint64_t pieces, uint32_t piece,
                    uint32_t adding) {
    uint64_t i = element();
    if (i >= pieces * columns) return;
    uint64_t first = i / columns * piece, after = first + piece < rows ? first + piece : rows;
    float sum = adding ? sums[i] : 0.f;
    for (uint64_t r = first; r < after; r++) sum += x[r * columns + i % columns];
    sums[i] = sum;
}

// sums_p = the sum of the p-th piece of x
KERNEL(sum_pieces)(float *sums, const float *x, uint64_t count, uint64_t pieces, uint32_t piece) {
    uint64_t p = row();
    if (p >= pieces) return;
    uint64_t first = p * piece, after = first + piece < count ? first + piece : count;
    float sum = 0.f;
    for (uint64_t i = first + LANE; i < after; i += WARP) sum += x[i];
    sum = warp_sum(sum);
    if (LANE == 0) sums[p] = sum;
}

// y_l += the rows of x that the l-th list names, summed in list order. With heads (runs of columns), every list entry
// has one weight per head
KERNEL(sum_lists)(float *y, const float *x, const uint32_t *named, const uint32_t *starts, const float *weights,
                  uint64_t lists, uint32_t columns, uint32_t heads) {
    uint64_t i = element();
    if (i >= lists * columns) return;
    uint64_t list = i / columns;
    uint32_t column = i % columns, after = starts[list + 1];
    float sum = 0.f;
    if (heads == 0) {
        for (uint32_t at = starts[list]; at < after; at++) sum += x[named[at] * (uint64_t)columns + column];
    } else {
        weights += column / (columns / heads);
        for (uint32_t at = starts[list]; at < after; at++)
            sum += weights[at * (uint64_t)heads] * x[named[at] * (uint64_t)columns + column];
    }
    y[i] += sum;
}
