// s_nh = a_h · h_nh, for both attention vectors
KERNEL(attention_scores)(float *from, float *to, const float *h, const float *a_from, const float *a_to, uint64_t rows,
                         uint32_t heads, uint32_t width) {
    uint64_t r = row();
    if (r >= rows) return;
    h += r * width;
    uint64_t start = r % heads * width;
    float of_from = dot(h, a_from + start, width), of_to = dot(h, a_to + start, width);
    if (LANE == 0) {
        from[r] = of_from;
        to[r] = of_to;
    }
}

// α over each node's incoming edges, per head: the softmax of leaky(e)
KERNEL(attention_shares)(float *alpha, const float *from, const float *to, const uint32_t *heard, const uint32_t *starts,
                         uint64_t rows, uint32_t heads, float slope) {
    uint64_t r = row();
    if (r >= rows) return;
    uint64_t node = r / heads, head = r % heads, first = starts[node];
    uint32_t count = starts[node + 1] - starts[node];
    alpha += first * heads + head;
    for (uint32_t i = LANE; i < count; i += WARP) {
        float e = from[heard[first + i] * (uint64_t)heads + head] + to[r];
        alpha[i * (uint64_t)heads] = e > 0.f ? e : slope * e;
    }
    softmax_list(alpha, count, heads);
}

// g = dy_i · h_j of every edge, per head
KERNEL(attention_products)(float *products, const float *h, const float *dy, const uint32_t *heard, const uint32_t *starts,
                           uint64_t nodes, uint64_t rows, uint32_t heads, uint32_t width) {
    uint64_t r = row();
    if (r >= rows) return;
    uint64_t edge = r / heads, head = r % heads;
    const float *of_hearer = dy + (list_of(starts, nodes, edge) * heads + head) * width;
    float product = dot(of_hearer, h + (heard[edge] * (uint64_t)heads + head) * width, width);
    if (LANE == 0) products[r] = product;
}

// Turns g of each node's incoming edges into de = α (g - Σ α g) leaky', and sums de per node
KERNEL(attention_slopes)(float *slopes, float *sums, const float *alpha, const float *from, const float *to,
                         const uint32_t *heard, const uint32_t *starts, uint64_t rows, uint32_t heads, float slope) {
    uint64_t r = row();
    if (r >= rows) return;
    uint64_t node = r / heads, head = r % heads, first = starts[node];
    uint32_t count = starts[node + 1] - starts[node];
    alpha += first * heads + head;
    slopes += first * heads + head;
    float mean = 0.f, sum = 0.f;
    for (uint32_t i = LANE; i < count; i += WARP) mean += alpha[i * (uint64_t)heads] * slopes[i * (uint64_t)heads];
    mean = warp_sum(mean);
    for (uint32_t i = LANE; i < count; i += WARP) {
        float e = from[heard[first + i] * (uint64_t)heads + head] + to[r];
        float de = alpha[i * (uint64_t)heads] * (slopes[i * (uint64_t)heads] - mean) * (e > 0.f ? 1.f : slope);
        slopes[i * (uint64_t)heads] = de;
        sum += de;
    }
    sum = warp_sum(sum);
    if (LANE == 0) sums[r] = sum;
}

// dh_nh += the gradients of its scores times both attention vectors
KERNEL(attention_to_vectors)(float *dh, const float *from, const float *to, const float *a_from, const float *a_to,
                             uint64_t count, uint32_t columns, uint32_t width) {
    uint64_t i = element();
    if (i < count) dh[i] += from[i / width] * a_from[i % columns] + to[i / width] * a_to[i % columns];
}

// The gradients of scores times h, summed over the nodes of each piece; both vectors side by side
KERNEL(attention_pieces)(float *sums, const float *h, const float *from, const float *to, uint64_t nodes, uint32_t columns,
                         uint32_t width, uint64_t pieces, uint32_t piece) {
    uint64_t i = element();
    if (i >= pieces * columns) return;
    uint64_t p = i / columns, j = i % columns, heads = columns / width, head = j / width;
    uint64_t first = p * piece, after = first + piece < nodes ? first + piece : nodes;
    float of_from = 0.f, of_to = 0.f;
    for (uint64_t n = first; n < after; n++) {
        float value = h[n * columns + j];
        of_from += from[n * heads + head] * value;
        of_to += to[n * heads + head] * value;
    }
    sums[p * 2 * columns + j] = of_from;
    sums[p * 2 * columns + columns + j] = of_to;
}

// Sets nodes without neighbours to the mean over all nodes
KERNEL(hear_everyone)(float *y, const float *sums, const uint32_t *starts, uint64_t nodes, uint32_t columns) {
    uint64_t i = element();
    if (i >= nodes * columns) return;
    uint64_t node = i / columns;
    if (starts[node] == starts[node + 1]) y[i] = sums[i % columns] / nodes;
}

// The rows of nodes without neighbours, divided by the number of nodes; zeros elsewhere
KERNEL(of_everyone)(float *y, const float *dy, const uint32_t *starts, uint64_t nodes, uint32_t columns) {
    uint64_t i = element();
    if (i >= nodes * columns) return;
    uint64_t node = i / columns;
    y[i] = starts[node] == starts[node + 1] ? dy[i] / nodes : 0.f;
}
