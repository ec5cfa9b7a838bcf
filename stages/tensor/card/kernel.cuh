// Definitions for all kernels, in a C that both nvcc (for GPUs) and any C++ compiler (for the emulator) accept.
//
// A kernel computes one element with one thread (`element`) or one row with one warp (`row`, `LANE`).
#pragma once
#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(256) name
#define BODY static __device__ __forceinline__
#define WARP 32
#define LANE (threadIdx.x % WARP)

BODY uint64_t element() { return blockIdx.x * (uint64_t)blockDim.x + threadIdx.x; }
BODY float other_lane(float value, int distance) { return __shfl_xor_sync(0xffffffffu, value, distance); }
BODY uint32_t other_lane(uint32_t value, int distance) { return __shfl_xor_sync(0xffffffffu, value, distance); }
#else
#define KERNEL(name) void name
#define BODY static inline
#define WARP emulated_warp
#define LANE emulated_lane
extern uint64_t emulated_element;
extern uint32_t emulated_warp, emulated_lane;
// The value of the lane at this distance. A lane waits until all others have reached the same call.
uint32_t emulated_exchange(uint32_t value, uint32_t distance);

BODY uint64_t element() { return emulated_element; }
BODY uint32_t other_lane(uint32_t value, int distance) { return emulated_exchange(value, (uint32_t)distance); }
BODY float other_lane(float value, int distance) {
    union { float real; uint32_t word; } bits = {value};
    bits.word = emulated_exchange(bits.word, (uint32_t)distance);
    return bits.real;
}
#endif

BODY uint64_t row() { return element() / WARP; }

// A butterfly reduction, so that every lane ends with the same bits.
BODY float warp_sum(float value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) value += other_lane(value, distance);
    return value;
}

// NaN if either is NaN; fmaxf would hide it.
BODY float larger(float a, float b) { return a >= b || isnan(a) ? a : b; }

BODY float warp_most(float value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) value = larger(value, other_lane(value, distance));
    return value;
}

// The largest value and the first index at which it occurs.
struct Most {
    float value;
    uint32_t place;
};

BODY Most first_of(Most a, Most b) {
    if (isnan(a.value)) return isnan(b.value) && b.place < a.place ? b : a;
    if (isnan(b.value) || b.value > a.value) return b;
    return b.value == a.value && b.place < a.place ? b : a;
}

BODY Most warp_first(Most most) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        Most other = {other_lane(most.value, distance), other_lane(most.place, distance)};
        most = first_of(most, other);
    }
    return most;
}

// Replaces the numbers of a list, `step` apart, by their softmax, using one warp. Each lane reads only what it wrote
// itself:
// lane i % WARP owns the i-th number, and the code that filled the list must have followed the same rule.
BODY void softmax_list(float *x, uint32_t count, uint32_t step) {
    float most = -INFINITY, total = 0.f;
    for (uint32_t i = LANE; i < count; i += WARP) most = larger(most, x[i * (uint64_t)step]);
    most = warp_most(most);
    for (uint32_t i = LANE; i < count; i += WARP) {
        float value = expf(x[i * (uint64_t)step] - most);
        x[i * (uint64_t)step] = value;
        total += value;
    }
    total = warp_sum(total);
    for (uint32_t i = LANE; i < count; i += WARP) x[i * (uint64_t)step] /= total;
}

// The list that contains an entry: the last one that begins at or before it. `starts` also has the end of the last
// list.
BODY uint64_t list_of(const uint32_t *starts, uint64_t lists, uint64_t entry) {
    uint64_t low = 0, high = lists;
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        if (starts[middle] <= entry) low = middle;
        else high = middle;
    }
    return low;
}

// a · b, each of `count` numbers, by one warp.
BODY float dot(const float *a, const float *b, uint32_t count) {
    float sum = 0.f;
    for (uint32_t i = LANE; i < count; i += WARP) sum += a[i] * b[i];
    return warp_sum(sum);
}
