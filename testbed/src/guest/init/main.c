// SPDX-License-Identifier: GPL-2.0
// The guest's first process. It loads modules and says that it is ready, which is where the machine's state is saved. It then
// learns from the host what to mount, and serves its commands.
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "init.h"

static void load_modules(void)
{
	char path[256];
	FILE *list = fopen("/modules/list", "r");

	if (list == NULL)
		die("cannot open the list of modules");
	while (fgets(path, sizeof(path), list) != NULL) {
		path[strcspn(path, "\n")] = 0;
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST))
			die("cannot load %s", path);
		close(fd);
	}
	fclose(list);
}

// A restored machine has the clock and the random numbers of its snapshot, as has every other one.
static void set_clock_and_entropy(const uint64_t *now, const char *entropy)
{
	struct timespec time = { .tv_sec = le64toh(now[0]), .tv_nsec = le64toh(now[1]) };
	struct {
		struct rand_pool_info info;
		char bytes[64];
	} pool = { .info = { .entropy_count = 64 * 8, .buf_size = 64 } };

	if (clock_settime(CLOCK_REALTIME, &time) != 0)
		die("cannot set the clock");
	memcpy(pool.bytes, entropy, sizeof(pool.bytes));
	int fd = open("/dev/random", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) != 0 || ioctl(fd, RNDRESEEDCRNG) != 0)
		die("cannot seed the random numbers");
	close(fd);
}

// The kernel opens no console for the first process when its file system has no such device.
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	for (int stream = 0; fd >= 0 && stream <= STDERR_FILENO; stream++)
		dup2(fd, stream);
	if (fd > STDERR_FILENO)
		close(fd);
}

static void bring_up_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0)
		die("cannot bring lo up");
	close(fd);
}

static void set_up(char *payload)
{
	struct frame_header header = receive_frame(payload);
	const char *share = payload + 16 + 64;

	if (header.type != SETUP || header.length < 16 + 64 + 2) {
		errno = EPROTO;
		die("the first frame is of type %u", header.type);
	}
	set_clock_and_entropy((const uint64_t *)payload, payload + 16);
	mount_root(share, share + strlen(share) + 1);
	bring_up_loopback();
	sethostname("guest", 5);
	send_frame(MOUNTED, 0, NULL, 0);
}

int main(void)
{
	static char payload[MAX_PAYLOAD + 1] __attribute__((aligned(8)));

	mount_or_die("dev", "/dev", "devtmpfs", 0, NULL);
	open_console();
	mount_or_die("proc", "/proc", "proc", 0, NULL);
	load_modules();
	open_port();
	send_frame(READY, 0, NULL, 0);
	set_up(payload);
	serve(payload);
}
