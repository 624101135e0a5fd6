/*
 * syscall(2): libuv closes descriptors with it. All else is passed on by a jump, so that the stack is as it would be without this
 * function.
 */
#include "real.h"
#include "shim.h"

#include <sys/syscall.h>
#include <unistd.h>

typedef long fixed_syscall(long, long, long, long, long, long, long);

/* A call before this library was initialised. */
__attribute__((noinline)) static long early_call(long number, long first, long second, long third, long fourth, long fifth, long sixth)
{
	return ((fixed_syscall *)(uintptr_t)real()->syscall)(number, first, second, third, fourth, fifth, sixth);
}

/* Declared as it is called: the seventh argument is where a variadic function would look for it. */
INTERPOSED long shim_syscall(long number, long first, long second, long third, long fourth, long fifth,
			     long sixth) __asm__("syscall");
INTERPOSED long shim_syscall(long number, long first, long second, long third, long fourth, long fifth, long sixth)
{
	if (number == SYS_close)
		return close((int)first);
	if (!atomic_load_explicit(&real_functions_are_found, memory_order_acquire))
		return early_call(number, first, second, third, fourth, fifth, sixth);
	return ((fixed_syscall *)(uintptr_t)real_functions.syscall)(number, first, second, third, fourth, fifth, sixth);
}
