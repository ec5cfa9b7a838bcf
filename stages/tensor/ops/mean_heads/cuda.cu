// y_ij = 1/H Σ_h x_i,(h w + j)
KERNEL(mean_heads)(float *y, const float *x, uint64_t count, uint32_t width, uint32_t heads) {
    uint64_t i = element();
    if (i >= count) return;
    x += i / width * heads * width + i % width;
    float sum = 0.f;
    for (uint32_t h = 0; h < heads; h++) sum += x[h * (uint64_t)width];
    y[i] = sum / heads;
}

// dx_i,(h w + j) += dy_ij / H
KERNEL(mean_heads_back)(float *dx, const float *dy, uint64_t count, uint32_t width, uint32_t heads) {
    uint64_t i = element();
    if (i < count) dx[i] += dy[i / (heads * (uint64_t)width) * width + i % width] / heads;
}
