/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that the workers of a controller leave for the event loop's thread. The letters are
 * embedded in what they are about, so that posting never fails, and are delivered in order.
 */
#ifndef LUNAR_STORVSP_CONTROLLER_MAIL_H
#define LUNAR_STORVSP_CONTROLLER_MAIL_H

#include <pthread.h>
#include <sys/queue.h>

struct event_loop;
struct event_watch;

/* Untouched by its sender until fn is called. */
struct controller_mail {
	STAILQ_ENTRY(controller_mail) link;
	void (*fn)(struct controller_mail *mail);
};

struct controller_mailbox {
	pthread_mutex_t lock; /* guards mails */
	STAILQ_HEAD(, controller_mail) mails;
	int fd; /* eventfd: there are mails */
	struct event_watch *watch;
};

/* Returns 0 or -errno. */
int controller_mailbox_init(struct controller_mailbox *mailbox, struct event_loop *loop);
/* No mail comes any more; those that were not delivered are dropped. */
void controller_mailbox_fini(struct controller_mailbox *mailbox);
/* Any thread. */
void controller_mail_post(struct controller_mailbox *mailbox, struct controller_mail *mail);
/* For the loop's thread where the loop itself does not run: waits at most timeout_ms for a mail and
 * delivers what is there. */
void controller_mailbox_run(struct controller_mailbox *mailbox, int timeout_ms);

#endif
