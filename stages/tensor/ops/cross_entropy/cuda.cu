// Fills in the loss of each row and replaces its logits by (softmax - [target]) weight; zeros if the row has no target
KERNEL(cross_entropy)(float *logits, float *losses, const uint32_t *targets, uint64_t rows, uint32_t columns,
                      float weight) {
    uint64_t r = row();
    if (r >= rows) return;
    float *z = logits + r * columns;
    uint32_t target = targets[r];
    if (target >= columns) {
        for (uint32_t c = LANE; c < columns; c += WARP) z[c] = 0.f;
        if (LANE == 0) losses[r] = 0.f;
        return;
    }
    float aimed_at = z[target], most = -INFINITY, total = 0.f;
    for (uint32_t c = LANE; c < columns; c += WARP) most = larger(most, z[c]);
    most = warp_most(most);
    for (uint32_t c = LANE; c < columns; c += WARP) total += expf(z[c] - most);
    total = warp_sum(total);
    for (uint32_t c = LANE; c < columns; c += WARP)
        z[c] = expf(z[c] - most) * (weight / total) - (c == target ? weight : 0.f);
    if (LANE == 0) losses[r] = most - aimed_at + logf(total);
}
