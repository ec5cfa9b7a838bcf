// Runs kernels on the processor. The build script writes `kernels.inc`, which includes their sources, and `table.inc`,
// which lists their names.
//
// Elements follow each other. The lanes of a warp take turns: each runs until it wants to know of another, then the next
// one does, so that when the first goes on all have come as far.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

uint64_t emulated_element;
uint32_t emulated_warp = 1, emulated_lane;
#include "kernels.inc"

static const uint32_t LANES = 32;
static const size_t STACK = 1 << 16;

// A function whose callers take nothing for granted: when it goes on, other lanes have used the registers.
#ifdef __clang__
#define APART __attribute__((noinline))
#else
#define APART __attribute__((noipa))
#endif

struct Lane {
    // Where it begins, and where it goes on: a change of context by the system is a hundred times slower.
    ucontext_t context;
    void *place[5];
    bool begun;
    char *stack;
    // How often it has waited, and whether it is over.
    uint32_t waits;
    bool over;
    uint32_t given;
};
static Lane lanes[LANES];
static void *scheduler[5];

static APART void to_scheduler() { __builtin_longjmp(scheduler, 1); }

static APART void to_lane(Lane *lane) {
    if (lane->begun) __builtin_longjmp(lane->place, 1);
    lane->begun = true;
    setcontext(&lane->context);
}

static APART void wait_for_others() {
    Lane *own = &lanes[emulated_lane];
    own->waits++;
    if (!__builtin_setjmp(own->place)) to_scheduler();
    __asm__ volatile("" ::: "memory");
}

static APART void run_until_it_waits(Lane *lane) {
    if (!__builtin_setjmp(scheduler)) to_lane(lane);
    __asm__ volatile("" ::: "memory");
}

uint32_t emulated_exchange(uint32_t value, uint32_t distance) {
    lanes[emulated_lane].given = value;
    wait_for_others();
    uint32_t found = lanes[emulated_lane ^ distance].given;
    wait_for_others();
    return found;
}

static void (*lane_work)(void *);
static void *lane_argument;

static void run_lane() {
    lane_work(lane_argument);
    lanes[emulated_lane].over = true;
    to_scheduler();
}

static void run_warp(uint64_t first) {
    for (Lane &lane : lanes) {
        if (!lane.stack) lane.stack = (char *)malloc(STACK);
        getcontext(&lane.context);
        lane.context.uc_stack.ss_sp = lane.stack;
        lane.context.uc_stack.ss_size = STACK;
        lane.context.uc_link = nullptr;
        lane.begun = false;
        lane.waits = 0;
        lane.over = false;
        makecontext(&lane.context, run_lane, 0);
    }
    do {
        for (emulated_lane = 0; emulated_lane < LANES; emulated_lane++) {
            emulated_element = first + emulated_lane;
            run_until_it_waits(&lanes[emulated_lane]);
            if (lanes[emulated_lane].waits != lanes[0].waits || lanes[emulated_lane].over != lanes[0].over) {
                fputs("the lanes of a warp have parted ways\n", stderr);
                abort();
            }
        }
    } while (!lanes[0].over);
    emulated_lane = 0;
}

template <class T> struct Kind;
template <class T> struct Kind<T *> { static const char letter = 'a'; };
template <> struct Kind<uint64_t> { static const char letter = 'c'; };
template <> struct Kind<uint32_t> { static const char letter = 'w'; };
template <> struct Kind<float> { static const char letter = 'r'; };

template <int... N> struct Numbers {};
template <int N, int... Rest> struct Count : Count<N - 1, N - 1, Rest...> {};
template <int... Rest> struct Count<0, Rest...> { typedef Numbers<Rest...> numbers; };

template <class... A, int... N>
static void call(void (*kernel)(A...), void *const *pointers, Numbers<N...>) {
    kernel(*(A *)pointers[N]...);
}

template <class... A> struct Call {
    void (*kernel)(A...);
    void *const *pointers;
    static void make(void *self) {
        Call *own = (Call *)self;
        call(own->kernel, own->pointers, typename Count<sizeof...(A)>::numbers());
    }
};

template <class... A>
static int run(void (*kernel)(A...), uint64_t elements, const char *kinds, void *const *pointers) {
    const char own[] = {Kind<A>::letter..., 0};
    if (strcmp(own, kinds) != 0) return 2;
    Call<A...> made = {kernel, pointers};
    lane_work = Call<A...>::make;
    lane_argument = &made;
    uint64_t step = emulated_warp;
    for (uint64_t first = 0; first < elements; first += step) {
        emulated_element = first;
        if (step > 1) run_warp(first);
        else lane_work(lane_argument);
    }
    return 0;
}

static int find(const char *name, uint64_t elements, const char *kinds, void *const *pointers) {
#define ENTRY(kernel) if (strcmp(name, #kernel) == 0) return run(kernel, elements, kinds, pointers);
#include "table.inc"
    return 1;
}

// One kernel at a time: which element it is lies in a variable of the program.
static volatile char busy;

extern "C" int emulate(const char *name, uint64_t elements, uint32_t warp, const char *kinds, void *const *pointers) {
    while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE)) {}
    emulated_warp = warp;
    int result = find(name, elements, kinds, pointers);
    __atomic_clear(&busy, __ATOMIC_RELEASE);
    return result;
}

// The lanes of a warp: one where the sanitizer cannot follow them.
extern "C" uint32_t emulated_lanes() {
#ifdef __SANITIZE_ADDRESS__
    return 1;
#else
    return LANES;
#endif
}

// Memory of a card holds anything at first; here it holds what shows.
extern "C" uint64_t emulated_allocate(uint64_t bytes) {
    void *memory = malloc(bytes);
    if (memory) memset(memory, 0xff, bytes);
    return (uint64_t)memory;
}

extern "C" void emulated_free(uint64_t address) { free((void *)address); }
