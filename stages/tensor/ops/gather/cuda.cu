// y_i = table_{r_i}
KERNEL(gather)(float *y, const float *table, const uint32_t *rows, uint64_t count, uint32_t columns) {
    uint64_t i = element();
    if (i < count) y[i] = table[rows[i / columns] * (uint64_t)columns + i % columns];
}
