/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A channel as the event loop's thread sees it: made, started, woken, stopped, gone. What is asked
 * of the worker is a flag and a wake-up, so that asking twice does no harm.
 */
#include "storvsp/channel.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "storvsp/channel_internal.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"

#define CHANNEL_OF(member, pointer)                                                                \
	((struct storvsp_channel *)((uint8_t *)(pointer)-offsetof(struct storvsp_channel, member)))

static void on_wake(struct io_post *post)
{
	struct storvsp_channel *channel = CHANNEL_OF(wake, post);

	/* Before the wishes are looked at: one that comes later wakes again. */
	atomic_store_explicit(&channel->woken, false, memory_order_seq_cst);
	channel_release_held(channel);
}

static void on_end(struct io_post *post)
{
	CHANNEL_OF(end, post)->ended = true;
}

static void on_opened(struct controller_mail *mail)
{
	struct storvsp_channel *channel = CHANNEL_OF(opened_mail, mail);

	controller_channel_opened(channel, channel->open_status);
}

static void on_drained(struct controller_mail *mail)
{
	controller_channel_drained(CHANNEL_OF(drained_mail, mail));
}

static void on_first_srb(struct controller_mail *mail)
{
	controller_first_srb(CHANNEL_OF(first_srb_mail, mail)->controller);
}

/* ---- making ---- */

/* A ring that the guest had broken before it was moved stays so until the guest opens the channel
 * again: that must not keep the VM from moving. */
static void ring_init_broken(struct ring *ring, struct gpadl_view *view)
{
	*ring = (struct ring){
		.view = view, .control = (_Atomic uint32_t *)view->pages[0], .broken = true};
}

static int rings_make(struct storvsp_channel *channel, const struct vmbus_open_request *request)
{
	struct guest_memory *memory = channel->controller->bus.memory;
	const size_t pages = request->gpadl->ranges[0].page_count;
	const size_t split = request->downstream_page_offset;
	int rc;

	if (split >= pages)
		return -EINVAL;
	rc = gpadl_view_create(memory, request->gpadl, 0, split, &channel->from_guest_view);
	if (rc == 0)
		rc = gpadl_view_create(memory, request->gpadl, split, pages - split,
				       &channel->to_guest_view);
	if (rc == 0)
		rc = ring_init_reader(&channel->from_guest, channel->from_guest_view);
	if (rc == 0)
		rc = ring_init_writer(&channel->to_guest, channel->to_guest_view);
	if (rc != -EPROTO || !request->restored)
		return rc;
	ring_init_broken(&channel->from_guest, channel->from_guest_view);
	ring_init_broken(&channel->to_guest, channel->to_guest_view);
	channel_break(channel, "the guest had broken its ring");
	return 0;
}

static int thread_start(struct storvsp_channel *channel)
{
	sigset_t all, before;
	char name[16];
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
	rc = -pthread_create(&channel->thread, NULL, channel_run, channel);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "storvsp%u", channel->sub_index);
	pthread_setname_np(channel->thread, name);
	return 0;
}

/* All but the thread; takes what is not there. */
static void channel_free(struct storvsp_channel *channel)
{
	const struct device_bus *bus = &channel->controller->bus;

	if (channel->connection_id)
		bus->ops->disconnect_event(bus->ctx, channel->connection_id);
	if (channel->kick >= 0)
		close(channel->kick);
	gpadl_view_free(channel->from_guest_view);
	gpadl_view_free(channel->to_guest_view);
	pthread_mutex_destroy(&channel->signal_lock);
	free(channel->requests);
	free(channel);
}

static struct storvsp_channel *channel_new(struct storvsp_controller *controller,
					   const struct vmbus_open_request *request)
{
	struct storvsp_channel *made = calloc(1, sizeof(*made));

	if (!made)
		return NULL;
	made->requests = calloc(CHANNEL_MAX_REQUESTS, sizeof(*made->requests));
	if (!made->requests) {
		free(made);
		return NULL;
	}
	made->controller = controller;
	made->sub_index = request->sub_index;
	made->kick = -1;
	made->awake = true;
	made->held_end = &made->held;
	TAILQ_INIT(&made->flushes);
	TAILQ_INIT(&made->finished);
	made->wake.fn = on_wake;
	made->end.fn = on_end;
	made->opened_mail.fn = on_opened;
	made->drained_mail.fn = on_drained;
	made->first_srb_mail.fn = on_first_srb;
	made->signal.memory = controller->bus.memory;
	made->signal.table = controller->bus.signals;
	made->signal.flag = request->relid;
	pthread_mutex_init(&made->signal_lock, NULL);
	return made;
}

int channel_create(struct storvsp_controller *controller, const struct vmbus_open_request *request,
		   struct storvsp_channel **channel)
{
	const struct device_bus *bus = &controller->bus;
	struct storvsp_channel *made = channel_new(controller, request);
	int rc;

	if (!made)
		return -ENOMEM;
	rc = rings_make(made, request);
	if (rc == 0)
		rc = channel_aim(made, request->target_vp);
	if (rc == 0) {
		made->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		rc = made->kick < 0 ? -errno : 0;
	}
	if (rc == 0)
		rc = bus->ops->connect_event(bus->ctx, request->connection_id, made->kick);
	if (rc == 0) {
		made->connection_id = request->connection_id;
		rc = thread_start(made);
	}
	if (rc < 0) {
		channel_free(made);
		return rc;
	}
	*channel = made;
	return 0;
}

void channel_destroy(struct storvsp_channel *channel)
{
	/* A post, which overtakes no flush: each of them is answered before the thread ends. */
	if (channel->open_status == 0)
		io_loop_post(channel->loop, &channel->end);
	pthread_join(channel->thread, NULL); /* it has nothing left to wait for */
	io_loop_destroy(channel->loop);	     /* here: our last post may still have touched it */
	channel_free(channel);
}

/* ---- asking ---- */

void channel_wake(struct storvsp_channel *channel)
{
	if (!atomic_exchange_explicit(&channel->woken, true, memory_order_seq_cst))
		io_loop_post(channel->loop, &channel->wake);
}

void channel_start(struct storvsp_channel *channel)
{
	atomic_store_explicit(&channel->started, true, memory_order_release);
	channel_wake(channel);
}

void channel_stop(struct storvsp_channel *channel)
{
	atomic_store_explicit(&channel->stopping, true, memory_order_release);
	channel_wake(channel);
}

void channel_flush(struct storvsp_channel *channel, struct channel_flush *flush)
{
	flush->channel = channel;
	flush->post.fn = channel_on_flush;
	io_loop_post(channel->loop, &flush->post);
}

void channel_answer(struct storvsp_request *request)
{
	io_loop_post(request->channel->loop, &request->post);
}

void channel_enumerate(struct storvsp_channel *channel)
{
	atomic_store_explicit(&channel->enumerate, true, memory_order_release);
	channel_wake(channel);
}

bool channel_is_enumerating(const struct storvsp_channel *channel)
{
	return atomic_load_explicit(&channel->enumerate, memory_order_acquire);
}

void channel_nudge(struct storvsp_channel *channel)
{
	atomic_store_explicit(&channel->nudge, true, memory_order_release);
	channel_wake(channel);
}

int channel_aim(struct storvsp_channel *channel, uint32_t vp)
{
	const struct device_bus *bus = &channel->controller->bus;
	int irqfd = -1;

	if (vp != VMBUS_NO_INTERRUPTS) {
		irqfd = bus->ops->get_sint_fd(bus->ctx, vp);
		if (irqfd < 0)
			return irqfd;
	}
	pthread_mutex_lock(&channel->signal_lock);
	channel->signal.vp = vp;
	channel->signal.irqfd = irqfd;
	pthread_mutex_unlock(&channel->signal_lock);
	return 0;
}

struct storvsp_controller *channel_controller(const struct storvsp_channel *channel)
{
	return channel->controller;
}

uint32_t channel_sub_index(const struct storvsp_channel *channel)
{
	return channel->sub_index;
}

bool channel_is_started(const struct storvsp_channel *channel)
{
	return atomic_load_explicit(&channel->started, memory_order_acquire);
}

bool channel_is_open(const struct storvsp_channel *channel)
{
	return channel_is_started(channel) &&
	       !atomic_load_explicit(&channel->stopping, memory_order_acquire);
}
