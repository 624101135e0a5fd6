// SPDX-License-Identifier: GPL-2.0
// Commands of the host: started, heard, killed and waited for, several at once.
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "init.h"

#define MAX_COMMANDS 64
#define MAX_STRINGS 4096
#define CHUNK 32768

struct command {
	int used;
	uint32_t id;
	pid_t pid; // -1 once it was waited for
	int pipes[2]; // its stdout and stderr, -1 when closed
};

static struct command commands[MAX_COMMANDS];

// Zero-terminated strings from `*next` up to an empty one. `*next` is then behind that.
static void take_strings(char **next, char *end, char **strings)
{
	int count = 0;

	while (*next < end && **next != 0 && count < MAX_STRINGS - 1) {
		strings[count++] = *next;
		*next += strlen(*next) + 1;
	}
	(*next)++;
	strings[count] = NULL;
}

// In the child. The payload is the directory, the environment and the words, the last two each with an empty string behind them.
static void execute(char *payload, uint32_t length)
{
	static char *environment[MAX_STRINGS], *words[MAX_STRINGS];
	char *next = payload + strlen(payload) + 1, *end = payload + length;
	sigset_t none;

	take_strings(&next, end, environment);
	// A word may be empty, so each has a mark in front.
	take_strings(&next, end, words);
	for (char **word = words; *word != NULL; word++)
		(*word)++;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	environ = environment;
	if (chdir(payload) != 0)
		dprintf(STDERR_FILENO, "cannot enter %s: %s\n", payload, strerror(errno));
	else if (words[0] != NULL && (execvp(words[0], words), 1))
		dprintf(STDERR_FILENO, "cannot run %s: %s\n", words[0], strerror(errno));
	_exit(127);
}

static void run(uint32_t id, char *payload, uint32_t length)
{
	int streams[2][2];
	struct command *command = commands;

	while (command < commands + MAX_COMMANDS && command->used)
		command++;
	if (command == commands + MAX_COMMANDS) {
		int32_t status = htole32(126 << 8);

		send_frame(STDERR, id, "too many commands at once\n", 26);
		send_frame(EXIT, id, &status, sizeof(status));
		return;
	}
	if (pipe2(streams[0], O_CLOEXEC) != 0 || pipe2(streams[1], O_CLOEXEC) != 0)
		die("cannot make pipes");
	pid_t pid = fork();

	if (pid < 0)
		die("cannot fork");
	if (pid == 0) {
		int nothing = open("/dev/null", O_RDONLY);

		dup2(nothing, STDIN_FILENO);
		dup2(streams[0][1], STDOUT_FILENO);
		dup2(streams[1][1], STDERR_FILENO);
		execute(payload, length);
	}
	*command = (struct command){ .used = 1, .id = id, .pid = pid, .pipes = { streams[0][0], streams[1][0] } };
	for (int i = 0; i < 2; i++) {
		close(streams[i][1]);
		fcntl(streams[i][0], F_SETFL, O_NONBLOCK);
	}
}

// Passes on what a command wrote. With `all`, until there is no more.
static void pass_output(struct command *command, int stream, int all)
{
	static char chunk[CHUNK];

	while (command->pipes[stream] >= 0) {
		ssize_t count = read(command->pipes[stream], chunk, sizeof(chunk));

		if (count > 0) {
			send_frame(stream == 0 ? STDOUT : STDERR, command->id, chunk, count);
		} else if (count == 0) {
			close(command->pipes[stream]);
			command->pipes[stream] = -1;
		}
		if (count < 0 || !all)
			return;
	}
}

// A command's end is told when it has ended itself; processes that it left may keep its output open, and run on.
static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (struct command *command = commands; command < commands + MAX_COMMANDS; command++) {
			if (!command->used || command->pid != pid)
				continue;
			int32_t told = htole32(status);

			for (int stream = 0; stream < 2; stream++) {
				pass_output(command, stream, 1);
				if (command->pipes[stream] >= 0)
					close(command->pipes[stream]);
			}
			send_frame(EXIT, command->id, &told, sizeof(told));
			command->used = 0;
		}
	}
}

static void obey(char *payload)
{
	struct frame_header header = receive_frame(payload);

	if (header.type == RUN)
		run(header.id, payload, header.length);
	if (header.type != KILL)
		return;
	for (struct command *command = commands; command < commands + MAX_COMMANDS; command++)
		if (command->used && command->id == header.id)
			kill(-command->pid, SIGKILL);
}

void serve(char *payload)
{
	sigset_t children;

	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	int signals = signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);

	for (;;) {
		struct pollfd fds[2 + 2 * MAX_COMMANDS] = { { port, POLLIN, 0 }, { signals, POLLIN, 0 } };

		for (int i = 0; i < 2 * MAX_COMMANDS; i++) {
			const struct command *command = &commands[i / 2];

			fds[2 + i] = (struct pollfd){ command->used ? command->pipes[i % 2] : -1, POLLIN, 0 };
		}
		if (poll(fds, 2 + 2 * MAX_COMMANDS, -1) < 0 && errno != EINTR)
			die("cannot wait");
		for (int i = 0; i < 2 * MAX_COMMANDS; i++)
			if (fds[2 + i].revents != 0)
				pass_output(&commands[i / 2], i % 2, 0);
		if (fds[1].revents != 0) {
			struct signalfd_siginfo information;

			while (read(signals, &information, sizeof(information)) > 0)
				;
			reap();
		}
		if (fds[0].revents & POLLIN)
			obey(payload);
		else if (fds[0].revents & POLLHUP)
			die("the host has gone");
	}
}
