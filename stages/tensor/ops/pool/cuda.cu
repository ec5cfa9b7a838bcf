// Replaces the scores of each group by their softmax
KERNEL(pool_shares)(float *scores, const uint32_t *starts, uint64_t groups) {
    uint64_t g = row();
    if (g < groups) softmax_list(scores + starts[g], starts[g + 1] - starts[g], 1);
}

// y_g = Σ a_c h_c
KERNEL(pool)(float *y, const float *shares, const float *vectors, const uint32_t *starts, uint64_t groups,
             uint32_t columns) {
    uint64_t i = element();
    if (i >= groups * columns) return;
    uint64_t g = i / columns;
    float sum = 0.f;
    for (uint32_t c = starts[g]; c < starts[g + 1]; c++) sum += shares[c] * vectors[c * (uint64_t)columns + i % columns];
    y[i] = sum;
}

// dy · h_c of each member
KERNEL(pool_products)(float *products, const float *vectors, const float *dy, const uint32_t *starts, uint64_t groups,
                      uint64_t members, uint32_t columns) {
    uint64_t c = row();
    if (c >= members) return;
    float product = dot(dy + list_of(starts, groups, c) * columns, vectors + c * columns, columns);
    if (LANE == 0) products[c] = product;
}

// ds_c += a_c (dy · h_c - Σ_k a_k dy · h_k)
KERNEL(pool_to_scores)(float *ds, const float *products, const float *shares, const uint32_t *starts, uint64_t groups) {
    uint64_t g = row();
    if (g >= groups) return;
    float mean = dot(products + starts[g], shares + starts[g], starts[g + 1] - starts[g]);
    for (uint32_t c = starts[g] + LANE; c < starts[g + 1]; c += WARP) ds[c] += shares[c] * (products[c] - mean);
}

// dh_c += a_c dy
KERNEL(pool_to_vectors)(float *dh, const float *shares, const float *dy, const uint32_t *starts, uint64_t groups,
                        uint64_t members, uint32_t columns) {
    uint64_t c = row();
    if (c >= members) return;
    dh += c * columns;
    dy += list_of(starts, groups, c) * columns;
    for (uint32_t j = LANE; j < columns; j += WARP) dh[j] += shares[c] * dy[j];
}
