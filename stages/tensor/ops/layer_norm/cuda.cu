// y = (x - mean) / √(variance + ε) g + b of each row; stores mean and reciprocal deviation
KERNEL(layer_norm)(float *y, float *moments, const float *x, const float *gain, const float *bias, uint64_t rows,
                   uint32_t columns, float epsilon) {
    uint64_t r = row();
    if (r >= rows) return;
    x += r * columns;
    y += r * columns;
    float sum = 0.f, squares = 0.f;
    for (uint32_t j = LANE; j < columns; j += WARP) sum += x[j];
    float mean = warp_sum(sum) / columns;
    for (uint32_t j = LANE; j < columns; j += WARP) squares += (x[j] - mean) * (x[j] - mean);
    float part = 1.f / sqrtf(warp_sum(squares) / columns + epsilon);
    if (LANE == 0) {
        moments[2 * r] = mean;
        moments[2 * r + 1] = part;
    }
    for (uint32_t j = LANE; j < columns; j += WARP) y[j] = (x[j] - mean) * part * gain[j] + bias[j];
}

// dx += (h - mean(h) - x̂ mean(h x̂)) / √(variance + ε), h = g dy
KERNEL(layer_norm_back)(float *dx, const float *x, const float *moments, const float *gain, const float *dy,
                        uint64_t rows, uint32_t columns) {
    uint64_t r = row();
    if (r >= rows) return;
    x += r * columns;
    dx += r * columns;
    dy += r * columns;
    float mean = moments[2 * r], part = moments[2 * r + 1];
    float of_h = 0.f, of_both = 0.f;
    for (uint32_t j = LANE; j < columns; j += WARP) {
        float h = gain[j] * dy[j];
        of_h += h;
        of_both += h * ((x[j] - mean) * part);
    }
    of_h = warp_sum(of_h) / columns;
    of_both = warp_sum(of_both) / columns;
    for (uint32_t j = LANE; j < columns; j += WARP)
        dx[j] += part * (gain[j] * dy[j] - of_h - (x[j] - mean) * part * of_both);
}

// Σ dy x̂ and Σ dy over the rows of each piece, side by side
KERNEL(layer_norm_pieces)(float *sums, const float *x, const float *moments, const float *dy, uint64_t rows,
                          uint32_t columns, uint64_t pieces, uint32_t piece) {
    uint64_t i = element();
    if (i >= pieces * columns) return;
    uint64_t p = i / columns, j = i % columns;
    uint64_t first = p * piece, after = first + piece < rows ? first + piece : rows;
    float of_gain = 0.f, of_bias = 0.f;
    for (uint64_t r = first; r < after; r++) {
        float slope = dy[r * columns + j];
        of_gain += slope * ((x[r * columns + j] - moments[2 * r]) * moments[2 * r + 1]);
        of_bias += slope;
    }
    sums[p * 2 * columns + j] = of_gain;
    sums[p * 2 * columns + columns + j] = of_bias;
}
