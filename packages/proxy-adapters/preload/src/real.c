#include "real.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * glibc 2.34 moved dlsym from libdl into libc and gave it a new version. The old version is in every glibc, so that the object, built with
 * a newer one, runs with all of them.
 */
#if defined(__x86_64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.17");
#endif

struct real_functions real_functions;
atomic_bool real_functions_are_found;

void find_real_functions(void)
{
#define FIND_REAL(result, name, arguments) real_functions.name = (name##_function *)(uintptr_t)dlsym(RTLD_NEXT, #name);
	REAL_FUNCTIONS(FIND_REAL)
	atomic_store_explicit(&real_functions_are_found, true, memory_order_release);
}
