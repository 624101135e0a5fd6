// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "init.h"

void mount_or_die(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
	mkdir(target, 0755); // Exists in most cases, which mount() finds out.
	if (mount(source, target, type, flags, data) != 0)
		die("cannot mount %s at %s", type, target);
}

static void make_directories(const char *path)
{
	char partial[4096];

	for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		snprintf(partial, sizeof(partial), "%.*s", (int)(slash - path), path);
		mkdir(partial, 0755);
	}
	mkdir(path, 0755);
}

// The host's root, read-only, under a layer in memory that takes the changes; and the directory that is shared for writing.
void mount_root(const char *share, const char *modules)
{
	const char *options = "trans=virtio,version=9p2000.L,msize=512000,cache=loose";

	mount_or_die("host", "/host", "9p", MS_RDONLY, options);
	mount_or_die("layer", "/layer", "tmpfs", 0, "size=75%,mode=755");
	mkdir("/layer/upper", 0755);
	mkdir("/layer/work", 0755);
	mount_or_die("root", "/root", "overlay", 0, "lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work,xino=off");
	if (chdir("/root") != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0 || chdir("/") != 0)
		die("cannot enter the root");

	mount_or_die("proc", "/proc", "proc", 0, NULL);
	mount_or_die("sys", "/sys", "sysfs", 0, NULL);
	mount_or_die("dev", "/dev", "devtmpfs", 0, NULL);
	mount_or_die("pts", "/dev/pts", "devpts", 0, "ptmxmode=666");
	mount_or_die("shm", "/dev/shm", "tmpfs", 0, "mode=1777");
	mount_or_die("run", "/run", "tmpfs", 0, "mode=755");
	mount_or_die("bpf", "/sys/fs/bpf", "bpf", 0, NULL);
	mount_or_die("debug", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount_or_die("trace", "/sys/kernel/tracing", "tracefs", 0, NULL);
	mount_or_die("cgroup", "/sys/fs/cgroup", "cgroup2", 0, NULL);
	symlink("/proc/self/fd", "/dev/fd");
	// `ip netns add` wants to propagate its mounts.
	if (mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) != 0)
		die("cannot share the mounts");
	make_directories("/lib/modules");
	if (mount(modules, "/lib/modules", NULL, MS_BIND, NULL) != 0)
		die("cannot mount %s", modules);
	make_directories(share);
	if (mount("share", share, "9p", 0, "trans=virtio,version=9p2000.L,msize=512000,cache=none") != 0)
		die("cannot mount the share at %s", share);
}
