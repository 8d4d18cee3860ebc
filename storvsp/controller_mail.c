/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See controller_mail.h. The eventfd is written only where the box was empty.
 */
#include "storvsp/controller_mail.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/event_loop.h"

static void mails_deliver(struct controller_mailbox *mailbox)
{
	STAILQ_HEAD(, controller_mail) mails = STAILQ_HEAD_INITIALIZER(mails);
	uint64_t count;

	if (read(mailbox->fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&mailbox->lock);
	STAILQ_CONCAT(&mails, &mailbox->mails);
	pthread_mutex_unlock(&mailbox->lock);
	while (!STAILQ_EMPTY(&mails)) {
		struct controller_mail *mail = STAILQ_FIRST(&mails);

		STAILQ_REMOVE_HEAD(&mails, link);
		mail->fn(mail);
	}
}

static void on_mail(void *ctx, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	mails_deliver(ctx);
}

int controller_mailbox_init(struct controller_mailbox *mailbox, struct event_loop *loop)
{
	int rc;

	STAILQ_INIT(&mailbox->mails);
	mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mailbox->fd < 0)
		return -errno;
	rc = event_loop_watch(loop, mailbox->fd, EPOLLIN, on_mail, mailbox, &mailbox->watch);
	if (rc < 0) {
		close(mailbox->fd);
		return rc;
	}
	pthread_mutex_init(&mailbox->lock, NULL);
	return 0;
}

void controller_mailbox_fini(struct controller_mailbox *mailbox)
{
	event_watch_remove(mailbox->watch);
	close(mailbox->fd);
	pthread_mutex_destroy(&mailbox->lock);
}

void controller_mail_post(struct controller_mailbox *mailbox, struct controller_mail *mail)
{
	const uint64_t one = 1;
	bool was_empty;

	pthread_mutex_lock(&mailbox->lock);
	was_empty = STAILQ_EMPTY(&mailbox->mails);
	STAILQ_INSERT_TAIL(&mailbox->mails, mail, link);
	/* Under the lock: the box may be gone as soon as the mail can be delivered. An eventfd
	 * refuses only when its counter is full, and then it is readable. */
	while (was_empty && write(mailbox->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_mutex_unlock(&mailbox->lock);
}

void controller_mailbox_run(struct controller_mailbox *mailbox, int timeout_ms)
{
	struct pollfd wait = {.fd = mailbox->fd, .events = POLLIN};

	if (poll(&wait, 1, timeout_ms) > 0)
		mails_deliver(mailbox);
}
