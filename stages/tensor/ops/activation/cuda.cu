// y = f(x). `which`: 0 leaky ReLU with this slope, 1 ELU, 2 tanh
KERNEL(activate)(float *y, const float *x, uint64_t count, uint32_t which, float slope) {
    uint64_t i = element();
    if (i >= count) return;
    float value = x[i];
    if (which == 2) y[i] = tanhf(value);
    else if (value > 0.f) y[i] = value;
    else y[i] = which == 0 ? slope * value : expm1f(value);
}

// dx += dy f'(x), given y = f(x)
KERNEL(activate_back)(float *dx, const float *dy, const float *y, uint64_t count, uint32_t which, float slope) {
    uint64_t i = element();
    if (i >= count) return;
    float value = y[i], factor = which == 2 ? 1.f - value * value : 1.f;
    if (which != 2 && !(value > 0.f)) factor = which == 0 ? slope : value + 1.f;
    dx[i] += factor * dy[i];
}
