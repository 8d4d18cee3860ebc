/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The threads of VPs: running, pausing, stopping and slowing them down.
 *
 * A thread is kicked out of the guest by a signal whose handler sets immediate_exit. The thread
 * clears that, then looks at what is asked of it, then enters the guest; who asks writes the
 * request first, then kicks. So a kick at any time is either seen as a request or makes KVM_RUN
 * return at once.
 *
 * A throttled VP runs for a slice of its thread's own processor time, measured by a timer of that
 * clock, and then sleeps its share: an idle VP is not kicked at all.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/log.h"
#include "hypervisor/engine_kvm_internal.h"

#define LOG_COMPONENT "engine"

#define KICK_SIGNAL	   (SIGRTMIN + 1)
#define KERNEL_SIGSET_SIZE 8

#define KVM_REQUEST_PAUSE UINT32_C(1)
#define KVM_REQUEST_STOP  UINT32_C(2)

#define PAUSE_DEADLINE_MS 2000
#define SLICE_NS	  (10 * NS_PER_MS)
#define SLEEP_MAX_NS	  (2 * NS_PER_SEC)
#define THROTTLE_MAX	  99u

/* glibc 2.36 has no name of its own for it; the kernel's ABI. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static _Thread_local struct kvm_run *current_run;

static void immediate_exit_set(struct kvm_run *run, uint8_t value)
{
	__atomic_store_n(&run->immediate_exit, value, __ATOMIC_RELAXED);
	atomic_signal_fence(memory_order_seq_cst); /* partner: the handler below */
}

static void kick_handler(int signal_number)
{
	(void)signal_number;
	if (current_run)
		immediate_exit_set(current_run, 1);
}

static int kick_handler_install(void)
{
	struct sigaction action = {.sa_handler = kick_handler};

	return sigaction(KICK_SIGNAL, &action, NULL) ? -errno : 0;
}

static sigset_t kick_set(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	return set;
}

/* acquire: partner of the release in request_change(); what came before the request is seen */
static uint32_t requests_get(const struct kvm_vp *vp)
{
	return atomic_load_explicit(&vp->partition->control.requests, memory_order_acquire);
}

/* ---- one run ---- */

/* Enters the guest once and serves the exit. *interrupted: a signal or immediate_exit ended it. */
static enum kvm_vp_next vp_run(struct kvm_vp *vp, bool *interrupted)
{
	int result = kvm_ioctl_value(vp->fd, KVM_RUN, 0);

	*interrupted = result == -EINTR || result == -EAGAIN;
	if (*interrupted)
		return KVM_VP_CONTINUE;
	if (result)
		return kvm_vp_failed(vp, "KVM_RUN failed", (uint64_t)-result);
	return kvm_vp_serve(vp);
}

/* The signals that KVM_RUN blocks; NULL: the thread's own. */
static void run_mask_set(const struct kvm_vp *vp, const uint64_t *blocked)
{
	_Alignas(struct kvm_signal_mask)
		uint8_t bytes[sizeof(struct kvm_signal_mask) + KERNEL_SIGSET_SIZE] = {0};
	struct kvm_signal_mask *mask = (struct kvm_signal_mask *)bytes;

	mask->len = KERNEL_SIGSET_SIZE;
	if (blocked)
		memcpy(mask->sigset, blocked, KERNEL_SIGSET_SIZE);
	(void)kvm_ioctl(vp->fd, KVM_SET_SIGNAL_MASK, blocked ? mask : NULL);
}

/*
 * Lets KVM work off what it put off until the VP's next entry (an exit to tell of a SynIC register,
 * a reset, a timer's message), without entering: a signal is pending from the start, which KVM_RUN
 * looks at after that work. The caller blocks the signal otherwise.
 */
static enum kvm_vp_next vp_flush(struct kvm_vp *vp, bool *interrupted)
{
	const uint64_t all_but_kick = ~(UINT64_C(1) << (KICK_SIGNAL - 1));
	const struct timespec now = {0};
	const sigset_t kick = kick_set();
	enum kvm_vp_next next;

	immediate_exit_set(vp->run, 0);
	pthread_kill(pthread_self(), KICK_SIGNAL);
	run_mask_set(vp, &all_but_kick);
	next = vp_run(vp, interrupted);
	run_mask_set(vp, NULL);
	while (sigtimedwait(&kick, NULL, &now) > 0)
		;
	return next;
}

/*
 * Brings the VP to where its registers and KVM's other state of it are all there is: the access of
 * the last exit done (KVM_RUN with immediate_exit does no more), and nothing put off. Either may
 * bring another exit; as no guest code runs, they end.
 */
static enum kvm_vp_next vp_settle(struct kvm_vp *vp)
{
	const sigset_t kick = kick_set();
	enum kvm_vp_next next = KVM_VP_CONTINUE;
	bool done = false;

	pthread_sigmask(SIG_BLOCK, &kick, NULL);
	while (next == KVM_VP_CONTINUE && !done) {
		immediate_exit_set(vp->run, 1);
		next = vp_run(vp, &done);
		if (next == KVM_VP_CONTINUE && done)
			next = vp_flush(vp, &done);
	}
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	return next;
}

/* ---- pause ---- */

static enum kvm_vp_next vp_park(struct kvm_vp *vp)
{
	struct kvm_run_control *control = &vp->partition->control;

	if (vp_settle(vp) == KVM_VP_STOP)
		return KVM_VP_STOP;
	pthread_mutex_lock(&control->lock);
	control->running--;
	pthread_cond_broadcast(&control->changed);
	while (requests_get(vp) == KVM_REQUEST_PAUSE)
		pthread_cond_wait(&control->changed, &control->lock);
	control->running++;
	pthread_mutex_unlock(&control->lock);
	return KVM_VP_CONTINUE;
}

/* ---- throttle ---- */

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_SEC),
				 .tv_nsec = (long)(ns % NS_PER_SEC)};
}

static uint64_t thread_time_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

static void slice_begin(struct kvm_vp *vp)
{
	const struct itimerspec slice = {.it_value = timespec_of(SLICE_NS)};

	vp->slice_start_ns = thread_time_ns();
	timer_settime(vp->slice_timer, 0, &slice, NULL);
}

static void throttle_begin(struct kvm_vp *vp)
{
	struct sigevent kick = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KICK_SIGNAL};

	kick.sigev_notify_thread_id = gettid();
	if (timer_create(CLOCK_THREAD_CPUTIME_ID, &kick, &vp->slice_timer)) {
		log_warn_limited("VP %u cannot be slowed down: %s", vp->index, strerror(errno));
		return;
	}
	vp->throttled = true;
	slice_begin(vp);
}

static void throttle_end(struct kvm_vp *vp)
{
	if (vp->throttled)
		timer_delete(vp->slice_timer);
	vp->throttled = false;
}

/* Sleeps until the time is up or something else is asked for. */
static void throttle_sleep(struct kvm_vp *vp, uint64_t ns, uint32_t percent)
{
	struct kvm_run_control *control = &vp->partition->control;
	const struct timespec until =
		timespec_of(monotonic_ns() + (ns < SLEEP_MAX_NS ? ns : SLEEP_MAX_NS));
	int result = 0;

	pthread_mutex_lock(&control->lock);
	while (result == 0 && requests_get(vp) == 0 &&
	       atomic_load_explicit(&control->throttle_percent, memory_order_relaxed) == percent)
		result = pthread_cond_timedwait(&control->changed, &control->lock, &until);
	pthread_mutex_unlock(&control->lock);
}

/* Before each entry of the guest. */
static void vp_throttle(struct kvm_vp *vp)
{
	uint32_t percent = atomic_load_explicit(&vp->partition->control.throttle_percent,
						memory_order_relaxed);
	uint64_t used_ns;

	if (percent == 0) {
		throttle_end(vp);
		return;
	}
	if (!vp->throttled) {
		throttle_begin(vp);
		return;
	}
	used_ns = thread_time_ns() - vp->slice_start_ns;
	if (used_ns < SLICE_NS)
		return;
	throttle_sleep(vp, used_ns * percent / (100 - percent), percent);
	slice_begin(vp);
}

/* ---- the thread ---- */

static void *vp_thread(void *argument)
{
	struct kvm_vp *vp = argument;
	struct kvm_run_control *control = &vp->partition->control;
	enum kvm_vp_next next = KVM_VP_CONTINUE;
	const sigset_t kick = kick_set();
	bool interrupted;

	current_run = vp->run;
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	while (next == KVM_VP_CONTINUE) {
		uint32_t requests;

		immediate_exit_set(vp->run, 0); /* before the look: see above */
		requests = requests_get(vp);
		if (requests & KVM_REQUEST_STOP)
			break;
		if (requests & KVM_REQUEST_PAUSE) {
			next = vp_park(vp);
			continue;
		}
		vp_throttle(vp);
		if (requests_get(vp) == 0)
			next = vp_run(vp, &interrupted);
	}
	throttle_end(vp);
	current_run = NULL;
	pthread_mutex_lock(&control->lock);
	control->running--;
	pthread_cond_broadcast(&control->changed);
	pthread_mutex_unlock(&control->lock);
	return NULL;
}

int kvm_vp_thread_start(struct kvm_vp *vp)
{
	struct kvm_run_control *control = &vp->partition->control;
	char name[16];
	sigset_t all;
	sigset_t before;
	int result = kick_handler_install();

	if (result)
		return result;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
	pthread_mutex_lock(&control->lock);
	result = -pthread_create(&vp->thread, NULL, vp_thread, vp);
	if (!result) {
		vp->thread_started = true;
		control->running++;
	}
	pthread_mutex_unlock(&control->lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result)
		return result;
	snprintf(name, sizeof(name), "vp%u", vp->index);
	pthread_setname_np(vp->thread, name);
	return 0;
}

/* ---- asking ---- */

void kvm_run_control_init(struct kvm_run_control *control)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&control->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&control->changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

void kvm_run_control_fini(struct kvm_run_control *control)
{
	pthread_cond_destroy(&control->changed);
	pthread_mutex_destroy(&control->lock);
}

static void request_change(struct kvm_run_control *control, uint32_t set, uint32_t clear)
{
	uint32_t requests;

	pthread_mutex_lock(&control->lock);
	requests = atomic_load_explicit(&control->requests, memory_order_relaxed);
	/* release: partner of the acquire in requests_get() */
	atomic_store_explicit(&control->requests, (requests | set) & ~clear, memory_order_release);
	pthread_cond_broadcast(&control->changed);
	pthread_mutex_unlock(&control->lock);
}

/* Any thread: a thread that is started is not joined while the lock is held. */
static void vps_kick(struct engine_partition *partition)
{
	pthread_mutex_lock(&partition->control.lock);
	for (size_t i = 0; i < partition->vp_count; i++)
		if (partition->vps[i].thread_started)
			pthread_kill(partition->vps[i].thread, KICK_SIGNAL);
	pthread_mutex_unlock(&partition->control.lock);
}

int kvm_vps_pause(struct engine_partition *partition)
{
	struct kvm_run_control *control = &partition->control;
	const struct timespec until = timespec_of(monotonic_ns() + PAUSE_DEADLINE_MS * NS_PER_MS);
	int result = 0;

	request_change(control, KVM_REQUEST_PAUSE, 0);
	vps_kick(partition);
	pthread_mutex_lock(&control->lock);
	while (control->running && result == 0)
		result = pthread_cond_timedwait(&control->changed, &control->lock, &until);
	if (!control->running)
		result = 0;
	pthread_mutex_unlock(&control->lock);
	if (!result)
		return 0;
	kvm_vps_resume(partition);
	return -ETIMEDOUT;
}

void kvm_vps_resume(struct engine_partition *partition)
{
	request_change(&partition->control, 0, KVM_REQUEST_PAUSE);
}

bool kvm_vps_rest(struct engine_partition *partition)
{
	bool rest;

	pthread_mutex_lock(&partition->control.lock);
	rest = partition->control.running == 0;
	pthread_mutex_unlock(&partition->control.lock);
	return rest;
}

void kvm_vps_stop(struct engine_partition *partition)
{
	request_change(&partition->control, KVM_REQUEST_STOP, 0);
	vps_kick(partition);
	for (size_t i = 0; i < partition->vp_count; i++) {
		struct kvm_vp *vp = &partition->vps[i];
		bool started;

		pthread_mutex_lock(&partition->control.lock);
		started = vp->thread_started;
		vp->thread_started = false;
		pthread_mutex_unlock(&partition->control.lock);
		if (started)
			pthread_join(vp->thread, NULL);
	}
}

void kvm_vps_throttle(struct engine_partition *partition, uint32_t percent)
{
	struct kvm_run_control *control = &partition->control;

	pthread_mutex_lock(&control->lock);
	atomic_store_explicit(&control->throttle_percent,
			      percent < THROTTLE_MAX ? percent : THROTTLE_MAX,
			      memory_order_relaxed);
	pthread_cond_broadcast(&control->changed);
	pthread_mutex_unlock(&control->lock);
	if (percent)
		vps_kick(partition); /* each arms its timer */
}
