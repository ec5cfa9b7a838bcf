// One step for all parameters. `tensors` has the addresses of parameter, gradient, m and v and the length of each;
// `pieces` has the tensor and the offset at which each warp begins. Gradients are set to zero.
KERNEL(adam)(const uint64_t *tensors, const uint32_t *pieces, uint64_t count, uint32_t piece, float beta_1, float beta_2,
             float epsilon, float rate, float spread, float decay, float keep) {
    uint64_t p = row();
    if (p >= count) return;
    const uint64_t *tensor = tensors + 5 * (uint64_t)pieces[2 * p];
    float *parameter = (float *)tensor[0], *gradient = (float *)tensor[1], *m = (float *)tensor[2], *v = (float *)tensor[3];
    uint64_t first = pieces[2 * p + 1], after = first + piece < tensor[4] ? first + piece : tensor[4];
    for (uint64_t i = first + LANE; i < after; i += WARP) {
        float g = gradient[i] + decay * parameter[i];
        m[i] = beta_1 * m[i] + (1.f - beta_1) * g;
        v[i] = beta_2 * v[i] + (1.f - beta_2) * g * g;
        parameter[i] = keep * parameter[i] - rate * m[i] / (sqrtf(v[i]) * spread + epsilon);
        gradient[i] = 0.f;
    }
}
