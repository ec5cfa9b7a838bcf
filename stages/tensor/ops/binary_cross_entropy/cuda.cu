// Fills in the loss of each pair and replaces its logit by w (σ(z) - y) / n
KERNEL(binary_cross_entropy)(float *logits, float *losses, const uint32_t *labels, uint64_t count, float positive) {
    uint64_t i = element();
    if (i >= count) return;
    float z = logits[i], y = labels[i] ? 1.f : 0.f, weight = labels[i] ? positive : 1.f;
    float small = expf(-fabsf(z));
    losses[i] = weight * (fmaxf(z, 0.f) - y * z + log1pf(small));
    logits[i] = weight * ((z > 0.f ? 1.f : small) / (1.f + small) - y) / count;
}
