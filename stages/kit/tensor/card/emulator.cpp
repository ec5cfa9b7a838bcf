// Runs kernels on the processor. The build script writes `kernels.inc`, which includes their sources, and `table.inc`,
// which lists their names.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

uint64_t emulated_element;
#include "kernels.inc"

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

template <class... A>
static int run(void (*kernel)(A...), uint64_t elements, const char *kinds, void *const *pointers) {
    const char own[] = {Kind<A>::letter..., 0};
    if (strcmp(own, kinds) != 0) return 2;
    for (emulated_element = 0; emulated_element < elements; emulated_element++)
        call(kernel, pointers, typename Count<sizeof...(A)>::numbers());
    return 0;
}

static int find(const char *name, uint64_t elements, const char *kinds, void *const *pointers) {
#define ENTRY(kernel) if (strcmp(name, #kernel) == 0) return run(kernel, elements, kinds, pointers);
#include "table.inc"
    return 1;
}

// One kernel at a time: which element it is lies in a variable of the program.
static volatile char busy;

extern "C" int emulate(const char *name, uint64_t elements, const char *kinds, void *const *pointers) {
    while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE)) {}
    int result = find(name, elements, kinds, pointers);
    __atomic_clear(&busy, __ATOMIC_RELEASE);
    return result;
}

// Memory of a card holds anything at first; here it holds what shows.
extern "C" uint64_t emulated_allocate(uint64_t bytes) {
    void *memory = malloc(bytes);
    if (memory) memset(memory, 0xff, bytes);
    return (uint64_t)memory;
}

extern "C" void emulated_free(uint64_t address) { free((void *)address); }
