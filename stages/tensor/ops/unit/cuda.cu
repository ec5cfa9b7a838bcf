// y = x / max(|x|, ε) of each run; stores |x|
KERNEL(unit)(float *y, float *lengths, const float *x, uint64_t runs, uint32_t width, float epsilon) {
    uint64_t r = row();
    if (r >= runs) return;
    x += r * width;
    y += r * width;
    float length = sqrtf(dot(x, x, width)), factor = 1.f / larger(length, epsilon);
    if (LANE == 0) lengths[r] = length;
    for (uint32_t j = LANE; j < width; j += WARP) y[j] = x[j] * factor;
}

// dx += (dy - y (y · dy)) / |x|; below ε the divisor is constant
KERNEL(unit_back)(float *dx, const float *dy, const float *y, const float *lengths, uint64_t runs, uint32_t width,
                  float epsilon) {
    uint64_t r = row();
    if (r >= runs) return;
    dx += r * width;
    dy += r * width;
    y += r * width;
    float along = dot(y, dy, width), factor = 1.f / larger(lengths[r], epsilon);
    if (!(lengths[r] > epsilon)) along = 0.f;
    for (uint32_t j = LANE; j < width; j += WARP) dx[j] += factor * (dy[j] - y[j] * along);
}
