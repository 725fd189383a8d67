/* SPDX-License-Identifier: MIT */
/*
 * The processes of a side, and how they are told what to do: a step goes there through a socket, a
 * text comes back. The last process of each side is the observer, who stays who we are.
 */
#include "differ.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_A_STEP 60 /* a call that takes longer is interrupted, and says EINTR */

struct message {
	enum order order;
	struct step step;
};

static bool send_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

static bool receive_all(int fd, void *data, size_t size)
{
	char *at = data;

	while (size) {
		ssize_t n = recv(fd, at, size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

/* ---- in the process ---- */

/* Root twice, so that two processes share all rights, and two ordinary users with one group in
 * common. */
static void become_user(unsigned number)
{
	const gid_t user = FIRST_USER + number;
	const gid_t groups[2] = { user, COMMON_GROUP };

	if (number == 0 || number >= 3)
		return;
	if (setgroups(2, groups) || setresgid(user, user, user) || setresuid(user, user, user))
		_exit(3);
}

static void on_alarm(int signal)
{
}

static void enter(const char *directory, unsigned number, const struct rules *rules)
{
	struct sigaction action = { .sa_handler = on_alarm }; /* without SA_RESTART */

	sigaction(SIGALRM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	umask(022);
	if (chdir(directory) || (rules->root && chroot(".")))
		_exit(3);
	if (rules->root)
		become_user(number);
}

static bool is_slot_used(const struct step *step, unsigned i)
{
	const char *arguments = calls[step->call].arguments;
	unsigned n = 0;

	for (; *arguments; arguments++) {
		if (*arguments == 'p' || *arguments == 'P')
			continue;
		if (n++ == i)
			return *arguments == 'f' || *arguments == 'g';
	}
	return false;
}

static int stat_slot(const struct actor *actor, const struct step *step, unsigned i,
		     struct statx *ret_stx)
{
	return statx(actor->slot[step->n[i]], "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME,
		     ret_stx);
}

static void look_at_slots(const struct actor *actor, const struct step *step, struct text *text)
{
	for (unsigned i = 0; i < 2; i++) {
		struct statx stx;

		if (!is_slot_used(step, i) || actor->slot[step->n[i]] < 0 ||
		    stat_slot(actor, step, i, &stx))
			continue;
		text_add(text, "  fd %ld:", step->n[i]);
		look_at_stat(actor->rules, &stx, text);
		if (S_ISREG(stx.stx_mode))
			text_add(text, " at %lld",
				 (long long)lseek(actor->slot[step->n[i]], 0, SEEK_CUR));
		text_add(text, "\n");
	}
}

static void make_step(struct actor *actor, const struct step *step, struct text *text)
{
	const bool timed = step->timed && is_slot_used(step, 0) && actor->slot[step->n[0]] >= 0;
	struct statx before, after;
	long result;
	int error;

	if (timed)
		look_settle(actor->slot[step->n[0]]);
	if (timed && stat_slot(actor, step, 0, &before))
		memset(&before, 0, sizeof(before));
	alarm(SECONDS_A_STEP);
	errno = 0;
	result = calls[step->call].make(actor, step, text);
	error = errno;
	alarm(0);
	if (result < 0)
		text_add(text, " = -1 %s\n", strerrorname_np(error));
	else
		text_add(text, " = %ld\n", result);
	if (timed && actor->slot[step->n[0]] >= 0 && !stat_slot(actor, step, 0, &after)) {
		text_add(text, "  fd %ld:", step->n[0]);
		look_at_moves(actor->rules, &before, &after, text);
		text_add(text, "\n");
	}
	if (step->look)
		look_at_slots(actor, step, text);
}

static void obey(struct actor *actor, const struct message *message, struct text *text)
{
	int fd;

	switch (message->order) {
	case ORDER_STEP:
		make_step(actor, &message->step, text);
		return;
	case ORDER_BEFORE:
		look_before(actor, &message->step);
		return;
	case ORDER_LOOK:
		look_after(actor, &message->step, text);
		return;
	case ORDER_SYNC:
	case ORDER_TREE:
		fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (message->order == ORDER_SYNC)
			syncfs(fd);
		else
			look_at_tree(actor->rules, fd, text);
		close(fd);
		return;
	}
}

static _Noreturn void serve(int fd, const char *directory, unsigned number,
			    const struct rules *rules)
{
	static struct message message;
	static struct text text;
	static struct actor actor;

	actor.rules = rules;
	for (unsigned i = 0; i < SLOTS; i++)
		actor.slot[i] = -1;
	actor.buffer = aligned_alloc(4096, BUFFER_SIZE);
	enter(directory, number, rules);
	while (receive_all(fd, &message, sizeof(message))) {
		text_clear(&text);
		obey(&actor, &message, &text);
		if (!send_all(fd, &text.size, sizeof(text.size)) ||
		    !send_all(fd, text.data, text.size))
			break;
	}
	_exit(0);
}

/* ---- in differ itself ---- */

int actor_start(struct link *link, const char *directory, unsigned number,
		const struct rules *rules)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -errno;
	fflush(stdout);
	link->fd = fds[0];
	link->pid = fork();
	if (link->pid == 0) {
		/* The ends of the others' sockets must not live on here. */
		if (dup2(fds[1], 3) != 3 || close_range(4, ~0U, 0))
			_exit(3);
		serve(3, directory, number, rules);
	}
	close(fds[1]);
	return link->pid < 0 ? -errno : 0;
}

bool actor_order(const struct link *link, enum order order, const struct step *step,
		 struct text *text)
{
	struct message message = { .order = order };
	size_t size;

	if (step)
		message.step = *step;
	if (!send_all(link->fd, &message, sizeof(message)) ||
	    !receive_all(link->fd, &size, sizeof(size)) || size >= TEXT_SIZE - text->size ||
	    !receive_all(link->fd, text->data + text->size, size))
		return false;
	text->size += size;
	text->data[text->size] = '\0';
	return true;
}

void actor_end(struct link *link)
{
	close(link->fd);
	waitpid(link->pid, NULL, 0);
}
