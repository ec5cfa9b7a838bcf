// Layouts, for one cell: `e` has the m projections, later features, of each query or key, head by head and gene by
// gene.
// Queries, keys and values lie gene by gene, the heads of a gene side by side with d columns each. A row is one gene of
// one head.

#define FAVOR_EPSILON 1e-4f

// The first column of a row's head.
BODY uint64_t favor_columns(uint64_t r, uint64_t genes, uint32_t heads, uint32_t d) {
    return r % genes * heads * d + r / genes * d;
}

// The largest projection of each piece of a head, and its position within the head
KERNEL(favor_most)(float *most, uint32_t *places, const float *e, uint64_t of_head, uint32_t heads, uint32_t pieces,
                   uint32_t piece) {
    uint64_t r = row();
    if (r >= (uint64_t)heads * pieces) return;
    uint64_t head = r / pieces, first = r % pieces * piece;
    uint64_t after = first + piece < of_head ? first + piece : of_head;
    Most found = {-INFINITY, 0xffffffffu};
    for (uint64_t i = first + LANE; i < after; i += WARP) {
        Most here = {e[head * of_head + i], (uint32_t)i};
        found = first_of(found, here);
    }
    found = warp_first(found);
    if (LANE == 0) {
        most[r] = found.value;
        places[r] = found.place;
    }
}

// The largest of all pieces of each row, and the number of that piece, counted from `first`
KERNEL(favor_most_of_pieces)(float *most, uint32_t *sources, const float *of_pieces, uint64_t rows, uint64_t pieces,
                             uint32_t first) {
    uint64_t r = row();
    if (r >= rows) return;
    Most found = {-INFINITY, 0xffffffffu};
    for (uint64_t p = LANE; p < pieces; p += WARP) {
        Most here = {of_pieces[r * pieces + p], (uint32_t)(r * pieces + p)};
        found = first_of(found, here);
    }
    found = warp_first(found);
    if (LANE == 0) {
        most[r] = found.value;
        sources[r] = first + found.place;
    }
}

// Replaces projections of keys by φ; the M of consecutive heads are `step` numbers apart
KERNEL(favor_keys)(float *e, const float *k, const float *most, uint64_t genes, uint32_t heads, uint32_t d, uint32_t m,
                   float scale, uint32_t step) {
    uint64_t r = row();
    if (r >= genes * heads) return;
    const float *key = k + favor_columns(r, genes, heads, d);
    float shift = 0.5f * scale * dot(key, key, d) + most[r / genes * step];
    for (uint32_t j = LANE; j < m; j += WARP) e[r * m + j] = expf(e[r * m + j] - shift) + FAVOR_EPSILON;
}

// Replaces projections of queries by φ; stores 1 / φ·s, and the feature that M was taken from. In the forward pass φ is
// also divided by φ·s
KERNEL(favor_queries)(float *e, float *parts, uint32_t *sources, const float *q, const float *s, uint64_t genes,
                      uint32_t heads, uint32_t d, uint32_t m, float scale, uint32_t divided) {
    uint64_t r = row();
    if (r >= genes * heads) return;
    const float *query = q + favor_columns(r, genes, heads, d);
    Most found = {-INFINITY, 0xffffffffu};
    for (uint32_t j = LANE; j < m; j += WARP) {
        Most here = {e[r * m + j], j};
        found = first_of(found, here);
    }
    found = warp_first(found);
    float shift = 0.5f * scale * dot(query, query, d) + found.value;
    float total = 0.f;
    for (uint32_t j = LANE; j < m; j += WARP) {
        float phi = expf(e[r * m + j] - shift) + FAVOR_EPSILON;
        e[r * m + j] = phi;
        total += phi * s[r / genes * m + j];
    }
    float part = 1.f / warp_sum(total);
    if (divided)
        for (uint32_t j = LANE; j < m; j += WARP) e[r * m + j] *= part;
    if (LANE == 0) {
        parts[r] = part;
        sources[r] = found.place;
    }
}

// dn = dout / D, head by head, and dD = -dout·out / D
KERNEL(favor_divide)(float *dn, float *dd, const float *parts, const float *out, const float *dout, uint64_t genes,
                     uint32_t heads, uint32_t d) {
    uint64_t r = row();
    if (r >= genes * heads) return;
    uint64_t at = favor_columns(r, genes, heads, d);
    float part = parts[r], along = dot(dout + at, out + at, d);
    for (uint32_t j = LANE; j < d; j += WARP) dn[r * d + j] = dout[at + j] * part;
    if (LANE == 0) dd[r] = -along * part;
}

// t = (dφ + dD s) ∘ (φ - ε); adds the gradient of M to its feature, and the gradient of the length term to dq
KERNEL(favor_queries_back)(float *t, float *dq, const float *e, const float *q, const float *s, const float *dd,
                           const uint32_t *sources, uint64_t genes, uint32_t heads, uint32_t d, uint32_t m, float scale) {
    uint64_t r = row();
    if (r >= genes * heads) return;
    uint64_t at = favor_columns(r, genes, heads, d);
    float total = 0.f;
    for (uint32_t j = LANE; j < m; j += WARP) {
        float value = (t[r * m + j] + dd[r] * s[r / genes * m + j]) * (e[r * m + j] - FAVOR_EPSILON);
        t[r * m + j] = value;
        total += value;
    }
    total = warp_sum(total);
    if (sources[r] % WARP == LANE && sources[r] < m) t[r * m + sources[r]] -= total;
    for (uint32_t j = LANE; j < d; j += WARP) dq[at + j] -= scale * total * q[at + j];
}

// t = (dφ + ds) ∘ (φ - ε), and its sum; adds the gradient of the length term to dk
KERNEL(favor_keys_back)(float *t, float *flown, float *dk, const float *e, const float *k, const float *ds,
                        uint64_t genes, uint32_t heads, uint32_t d, uint32_t m, float scale) {
    uint64_t r = row();
    if (r >= genes * heads) return;
    uint64_t at = favor_columns(r, genes, heads, d);
    float total = 0.f;
    for (uint32_t j = LANE; j < m; j += WARP) {
        float value = (t[r * m + j] + ds[r / genes * m + j]) * (e[r * m + j] - FAVOR_EPSILON);
        t[r * m + j] = value;
        total += value;
    }
    total = warp_sum(total);
    for (uint32_t j = LANE; j < d; j += WARP) dk[at + j] -= scale * total * k[at + j];
    if (LANE == 0) flown[r] = total;
}

// Adds the gradient of M to the key and the feature that M was taken from. A row is one M; `sources` has the number of
// its piece among those of all cells, `places` the position within the head for each piece
KERNEL(favor_to_most)(float *dk, const float *projection, const float *flown, const uint32_t *sources,
                      const uint32_t *places, uint64_t rows, uint64_t of_row, uint64_t genes, uint32_t heads, uint32_t d,
                      uint32_t m, uint32_t pieces, float factor) {
    uint64_t r = row();
    if (r >= rows) return;
    float total = 0.f;
    for (uint64_t i = LANE; i < of_row; i += WARP) total += flown[r * of_row + i];
    total = warp_sum(total);
    uint32_t task = sources[r] / pieces, place = places[sources[r]];
    uint64_t gene = task / heads * genes + place / m;
    for (uint32_t j = LANE; j < d; j += WARP)
        dk[gene * heads * d + task % heads * d + j] -= total * (factor * projection[place % m * d + j]);
}
