// SPDX-License-Identifier: MIT
/*
 * compact: a compacting heap that moves pages instead of copying them.
 *
 * A collector that wants memory back from a fragmented heap copies the live
 * objects together.  Where a page is nearly full of them that is pure loss: the
 * same bytes end up in the same order, only elsewhere.  uremap moves such a page
 * by changing two page-table entries.  One compaction goes like this:
 *
 *  1. plan   Mutators run in from-space.  A page there is dead, dense (to be
 *            moved whole) or mixed (its survivors are copied together with
 *            others); this gives every live object its address in to-space.
 *  2. flip   Mutators stop for a moment, their roots are forwarded, they run on.
 *            From now on nobody touches from-space: a load barrier forwards
 *            every reference before it is used.
 *  3. place  To-space is empty and registered with userfaultfd.  A mutator that
 *            comes to a page too early sleeps in a fault; the monitor thread
 *            places that page at once, while the compactor thread places all of
 *            them in order, in runs.  Nothing keeps both from placing the same
 *            page: the page table is the lock, and the one that comes second is
 *            told EEXIST or ENOENT.
 *  4. heal   References nobody loaded still lead to from-space: forward them,
 *            then give from-space back.
 *
 * Mutators read and write all the time.  At the end every object must be there
 * with its checksum and its last version, every reference must lead to the
 * object it led to, and each page must have been placed exactly once.
 *
 * The compaction runs by MOVEV, which takes many runs in a call, and by MOVE; then
 * by UFFDIO_MOVE, if the kernel has it, and by UFFDIO_COPY and MADV_DONTNEED.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/uremap.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef UFFDIO_MOVE		/* Linux 6.8; the headers of this machine may be older */
struct uffdio_move {
	__u64 dst, src, len, mode;
	__s64 move;
};

#define UFFD_FEATURE_MOVE	(1 << 16)
#define UFFDIO_MOVE		_IOWR(UFFDIO, 0x05, struct uffdio_move)
#endif
#ifndef UFFD_USER_MODE_ONLY	/* Linux 5.11 */
#define UFFD_USER_MODE_ONLY	1
#endif

#define NREFS		4	/* references in an object; the first never changes */
#define NROOTS		16	/* roots of a mutator */
#define MIN_SIZE	128	/* of an object, in bytes */
#define MAX_SIZE	1024
#define NOWHERE		UINT32_MAX
#define VECTOR		64	/* runs in a call of MOVEV */
#define PATIENCE	60	/* seconds without progress that mean a thread hangs */

struct ref {
	struct object *to;
	uint64_t id;		/* of the object it must lead to */
};

/* Objects do not cross pages. */
struct object {
	uint32_t size;		/* of all of it; 0 ends a page early */
	uint32_t id;
	bool live;
	atomic_bool locked;
	uint64_t version;	/* counts the writes */
	uint64_t checksum;	/* of id, size, version, what refs lead to, and data */
	struct object *forward;	/* its address in to-space, if its page is mixed */
	struct ref ref[NREFS];
	uint64_t data[];
};

struct mutator {
	pthread_t thread;
	uint64_t random;
	struct ref root[NROOTS];
	uint64_t longest;	/* ns: the longest operation of the compaction */
	atomic_ulong ops;	/* operations during the compaction */
};

/* A way of placing pages, and what came out of it. */
struct backend {
	const char *name;
	/* Places a run of pages.  Returns the bytes done from its start, or -errno. */
	long (*place)(char *dst, char *src, size_t len);
	bool moves;		/* does not copy */
	bool vector;		/* takes many runs in a call */
	bool off;		/* not wanted, or this kernel has not got it */
	unsigned long moved, copied, faults, calls, ops;
	uint64_t time, pause, stall, fault_time;	/* ns */
};

static struct gc {
	struct backend *be;
	int dev, uffd, quit_event;

	char *from, *to;
	uint32_t nfrom, nto;	/* pages */
	uint32_t *to_of;	/* from-space page -> to-space page, if it is dense */
	uint32_t *from_of;	/* to-space page -> the dense page that goes there */
	uint32_t *first;	/* to-space page -> first of its survivors in evac[] */
	struct object **evac;	/* live objects of mixed pages, in order */
	uint32_t ndense, nmixed, nevac;
	atomic_uchar *placed;	/* per to-space page */

	uint32_t nobjects, nlive;
	struct ref root;
	uint64_t *version;	/* of each object, protected by the object's lock */
	uintptr_t bad;		/* references to [bad, bad + bad_len) need forwarding ... */
	size_t bad_len;		/* ... both protected by safepoint */

	pthread_rwlock_t safepoint;	/* mutators hold it for reading, but between operations */
	atomic_bool quit, measure, all_placed;
	atomic_ulong moved, copied, faults, calls;
	struct mutator *mutator;
} gc;

static struct {
	unsigned int heap, mutators, chunk, seed;
	bool thp;
} opt = { .heap = 256, .mutators = 3, .chunk = 512, .seed = 1 };

static size_t page;
static bool tty;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	fprintf(stderr, "\ncompact: ");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	_exit(1);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static uint64_t rnd(uint64_t *state)		/* splitmix64 */
{
	uint64_t x = *state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static void *xalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("out of memory");
	return p;
}

static char *map_space(uint32_t pages)
{
	char *p = mmap(NULL, pages * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap of %zu MiB: %m", pages * page >> 20);
	madvise(p, pages * page, opt.thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return p;
}

/* ---- objects ---- */

static uint64_t checksum(const struct object *o)
{
	uint64_t h = o->id ^ (uint64_t)o->size << 32 ^ o->version * 0x9e3779b97f4a7c15;
	const uint64_t *end = (const uint64_t *)((const char *)o + o->size);

	for (int i = 0; i < NREFS; i++)
		h = (h ^ o->ref[i].id) * 0x100000001b3;
	for (const uint64_t *p = o->data; p < end; p++)
		h = (h ^ *p ^ h >> 32) * 0x100000001b3;
	return h;
}

static void object_write(struct object *o, uint64_t version)
{
	uint64_t *end = (uint64_t *)((char *)o + o->size);
	uint64_t x = o->id * 0x9e3779b97f4a7c15 + version;

	o->version = version;
	for (uint64_t *p = o->data; p < end; p++)
		*p = x += 0xbf58476d1ce4e5b9;
	o->checksum = checksum(o);
}

static void object_check(const struct object *o, uint64_t id)
{
	if (o->id != id || !o->live)
		die("%p should be object %lu, is %u", o, id, o->id);
	if (o->version != gc.version[id])
		die("object %lu at %p: version %lu, but %lu was written: a write is lost",
		    id, o, o->version, gc.version[id]);
	if (o->checksum != checksum(o))
		die("object %lu at %p: wrong checksum", id, o);
}

static void object_lock(struct object *o)
{
	while (atomic_exchange_explicit(&o->locked, true, memory_order_acquire))
		sched_yield();
}

static void object_unlock(struct object *o)
{
	atomic_store_explicit(&o->locked, false, memory_order_release);
}

static struct object *object_first(char *space, uint32_t n)
{
	return (struct object *)(space + n * page);
}

/* The next one in its page, live or not. */
static struct object *object_next(struct object *o)
{
	struct object *next = (struct object *)((char *)o + o->size);

	return (uintptr_t)next % page && next->size ? next : NULL;
}

/* ---- references: forwarding and the load barrier ---- */

static struct object *forward(struct object *o)
{
	size_t offset = (char *)o - gc.from;
	uint32_t to = gc.to_of[offset / page];

	/* Mixed pages are not touched until all is healed: they tell themselves. */
	return to == NOWHERE ? o->forward : (void *)(gc.to + to * page + offset % page);
}

/* Every load of a reference from the heap goes through here. */
static struct object *ref_load(struct ref *ref)
{
	struct object *old = __atomic_load_n(&ref->to, __ATOMIC_ACQUIRE), *new;

	if ((uintptr_t)old - gc.bad >= gc.bad_len)
		return old;
	new = forward(old);
	/* If it changed meanwhile it was healed, or holds a newer reference: keep that. */
	__atomic_compare_exchange_n(&ref->to, &old, new, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_ACQUIRE);
	return new;
}

static void ref_store(struct ref *ref, const struct ref *value)
{
	ref->id = value->id;
	__atomic_store_n(&ref->to, value->to, __ATOMIC_RELEASE);
}

/* ---- placing pages ---- */

/*
 * Whoever placed a page wakes who waits for it.  UFFDIO_COPY and UFFDIO_MOVE do
 * that themselves, though not for pages they could not place.
 */
static void wake(char *dst, size_t len)
{
	struct uffdio_range range = { .start = (uintptr_t)dst, .len = len };

	if (ioctl(gc.uffd, UFFDIO_WAKE, &range))
		die("UFFDIO_WAKE: %m");
}

static long place_uremap(char *dst, char *src, size_t len)
{
	struct uremap_move mv = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len };

	/* EAGAIN with bytes moved: the next call, from there on, says why. */
	if (ioctl(gc.dev, UREMAP_IOC_MOVE, &mv) && mv.move <= 0) {
		if (errno == EINVAL)
			fprintf(stderr, "\ncompact: reason %u at %#llx\n", mv.reason, mv.stop);
		return -errno;
	}
	wake(dst, mv.move);
	return mv.move;
}

static long place_native(char *dst, char *src, size_t len)
{
	struct uffdio_move mv = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len };

	return ioctl(gc.uffd, UFFDIO_MOVE, &mv) && mv.move <= 0 ? -errno : mv.move;
}

static long copy(char *dst, char *src, size_t len)
{
	struct uffdio_copy cp = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len };

	return ioctl(gc.uffd, UFFDIO_COPY, &cp) && cp.copy <= 0 ? -errno : cp.copy;
}

/*
 * The source is given back when its copy is visible.  Who comes second reads
 * zeros there, if anything, is told EEXIST, and has mapped the zero page at the
 * source by reading: hence madvise() in that case, too.
 */
static long place_copy(char *dst, char *src, size_t len)
{
	long done = copy(dst, src, len);

	if (done > 0 || done == -EEXIST)
		if (madvise(src, done > 0 ? (size_t)done : page, MADV_DONTNEED))
			die("madvise: %m");
	return done;
}

static struct backend backends[] = {
	{ .name = "MOVEV", .place = place_uremap, .moves = true, .vector = true },
	{ .name = "MOVE", .place = place_uremap, .moves = true },
	{ .name = "UFFDIO_MOVE", .place = place_native, .moves = true },
	{ .name = "COPY+DONTNEED", .place = place_copy },
	{ .name = NULL }
};

static void count_placed(uint32_t to, uint32_t n, bool moved)
{
	atomic_fetch_add(moved ? &gc.moved : &gc.copied, n);
	for (; n; n--, to++)
		if (atomic_fetch_add(&gc.placed[to], 1))
			die("page %u of to-space was placed twice", to);
}

/* n dense pages, neighbours in both spaces. */
static void place_dense(uint32_t to, uint32_t n)
{
	while (n) {
		char *dst = gc.to + to * page, *src = gc.from + gc.from_of[to] * page;
		long done = gc.be->place(dst, src, n * page);
		bool moved = gc.be->moves && done > 0;

		gc.calls++;
		/* Shared, pinned, too many races lost: a collector cannot wait. */
		while (done == -EBUSY || done == -EAGAIN)
			done = place_copy(dst, src, page);
		if (done > 0)
			count_placed(to, done / page, moved);
		else if (done == -EEXIST || done == -ENOENT)
			done = page;	/* the other thread was faster, and wakes */
		else
			die("%s: page %u: %s", gc.be->name, to, strerror(-done));
		to += done / page;
		n -= done / page;
	}
}

/* Runs that one call of MOVEV is to place. */
struct vector {
	struct uremap_segment seg[VECTOR];
	uint32_t to[VECTOR];
	unsigned int nr;
};

/* Where a run could not be placed in full, the rest goes the way of single runs. */
static void place_vector(struct vector *v)
{
	struct uremap_movev mv = {
		.segs = (uintptr_t)v->seg, .nr = v->nr, .seg_size = sizeof(v->seg[0]),
		.flags = UREMAP_MOVEV_CONTINUE
	};

	if (!v->nr)
		return;
	gc.calls++;
	if (ioctl(gc.dev, UREMAP_IOC_MOVEV, &mv) && mv.done < v->nr)
		die("UREMAP_IOC_MOVEV: %m");
	for (unsigned int i = 0; i < v->nr; i++) {
		struct uremap_segment *seg = &v->seg[i];
		uint32_t n = seg->move > 0 ? seg->move / page : 0;

		if (n) {
			wake((char *)seg->dst, n * page);
			count_placed(v->to[i], n, true);
		}
		place_dense(v->to[i] + n, seg->len / page - n);
	}
	v->nr = 0;
}

static void vector_add(struct vector *v, uint32_t to, uint32_t n)
{
	v->to[v->nr] = to;
	v->seg[v->nr++] = (struct uremap_segment){
		.dst = (uintptr_t)(gc.to + to * page),
		.src = (uintptr_t)(gc.from + gc.from_of[to] * page),
		.len = n * page
	};
	if (v->nr == VECTOR)
		place_vector(v);
}

/* Survivors of mixed pages: put them together in buf, let the kernel copy that. */
static void place_survivors(uint32_t to, char *buf)
{
	size_t offset = 0;
	long done;

	memset(buf, 0, page);
	for (uint32_t i = gc.first[to]; i < gc.nevac; i++) {
		struct object *o = gc.evac[i];

		if ((char *)o->forward - gc.to >= (long)((to + 1) * page))
			break;		/* it goes to another page */
		memcpy(buf + offset, o, o->size);
		offset += o->size;
	}
	do {
		done = copy(gc.to + to * page, buf, page);
	} while (done == -EAGAIN);
	if (done > 0)
		count_placed(to, 1, false);
	else if (done != -EEXIST)
		die("UFFDIO_COPY: page %u: %s", to, strerror(-done));
}

/*
 * Place a page, and up to max - 1 after it if one call can; or with a vector, leave
 * it for that.  Returns how many.
 */
static uint32_t place(uint32_t to, uint32_t max, char *buf, struct vector *v)
{
	uint32_t from = gc.from_of[to], n = 1;

	if (from == NOWHERE) {
		place_survivors(to, buf);
		return 1;
	}
	while (n < max && to + n < gc.nto && gc.from_of[to + n] == from + n && !gc.placed[to + n])
		n++;
	if (v)
		vector_add(v, to, n);
	else
		place_dense(to, n);
	return n;
}

static void *compactor(void *unused)
{
	struct vector *v = gc.be->vector ? xalloc(1, sizeof(*v)) : NULL;
	char *buf = xalloc(1, page);

	/* placed[] saves calls, no more.  The kernel decides. */
	for (uint32_t to = 0; to < gc.nto; )
		to += gc.placed[to] ? 1 : place(to, opt.chunk, buf, v);
	if (v)
		place_vector(v);
	free(v);
	while (gc.moved + gc.copied < gc.nto)
		sched_yield();		/* the monitor has yet to count its last page */
	gc.be->time = now() - gc.be->time;
	gc.all_placed = true;

	for (uint32_t to = 0; to < gc.nto; to++)	/* heal */
		for (struct object *o = object_first(gc.to, to); o; o = object_next(o))
			for (int i = 0; o->live && i < NREFS; i++)
				ref_load(&o->ref[i]);
	free(buf);
	return NULL;
}

static void *monitor(void *unused)
{
	struct pollfd fds[] = {
		{ .fd = gc.uffd, .events = POLLIN }, { .fd = gc.quit_event, .events = POLLIN }
	};
	char *buf = xalloc(1, page);
	struct uffd_msg msg;
	uint64_t t;

	while (poll(fds, 2, -1) >= 0 && !fds[1].revents) {
		while (read(gc.uffd, &msg, sizeof(msg)) == sizeof(msg)) {
			uint32_t to = (msg.arg.pagefault.address - (uintptr_t)gc.to) / page;

			t = now();
			place(to, 1, buf, NULL);
			/* One wake-up too many does no harm, one too few hangs a thread. */
			wake(gc.to + to * page, page);
			gc.be->fault_time += now() - t;
			gc.faults++;
		}
	}
	free(buf);
	return NULL;
}

/* ---- mutators and the flip ---- */

/* Look at an object, perhaps write to it, go on to one that it refers to. */
static void mutate(struct mutator *m)
{
	uint64_t r = rnd(&m->random);
	struct ref *root = &m->root[r % NROOTS], next;
	struct object *o = root->to;
	int i = (r >> 8) % NREFS;

	object_lock(o);
	object_check(o, root->id);
	next.to = ref_load(&o->ref[i]);
	next.id = o->ref[i].id;
	if (r >> 16 & 1) {
		if (i)
			ref_store(&o->ref[i], &m->root[(r >> 32) % NROOTS]);
		object_write(o, o->version + 1);
		gc.version[o->id]++;
	}
	object_unlock(o);
	if (next.to->id != next.id)
		die("a reference of object %lu should lead to object %lu, leads to %u",
		    root->id, next.id, next.to->id);
	*root = next;
}

static void *mutator(void *arg)
{
	struct mutator *m = arg;
	uint64_t last = now(), t;

	while (!gc.quit) {
		bool measure = gc.measure;

		pthread_rwlock_rdlock(&gc.safepoint);
		mutate(m);
		pthread_rwlock_unlock(&gc.safepoint);
		t = now();
		if (measure) {
			if (t - last > m->longest)
				m->longest = t - last;
			m->ops++;
		}
		last = t;
	}
	return NULL;
}

/* The only pause; it is as long as there are roots, whatever the size of the heap. */
static void flip(void)
{
	uint64_t start = now();

	gc.measure = true;
	pthread_rwlock_wrlock(&gc.safepoint);
	gc.bad = (uintptr_t)gc.from;
	gc.bad_len = gc.nfrom * page;
	gc.root.to = forward(gc.root.to);
	for (unsigned int i = 0; i < opt.mutators; i++)
		for (int k = 0; k < NROOTS; k++)
			gc.mutator[i].root[k].to = forward(gc.mutator[i].root[k].to);
	pthread_rwlock_unlock(&gc.safepoint);
	gc.be->time = now();
	gc.be->pause = gc.be->time - start;
}

/* ---- a fragmented heap, and the plan for it ---- */

/* Fill a page with objects, some of which survive.  live[] is in random order. */
static void fill_page(uint32_t n, unsigned int percent, struct object **live, uint64_t *random)
{
	for (size_t size, offset = 0; page - offset >= MIN_SIZE; offset += size) {
		struct object *o = (struct object *)(gc.from + n * page + offset);
		uint64_t r = rnd(random);
		uint32_t k;

		size = MIN_SIZE + r % (MAX_SIZE - MIN_SIZE + 1) / 8 * 8;
		if (size > page - offset)
			size = page - offset;
		o->size = size;
		o->id = gc.nobjects++;
		o->live = (r >> 32) % 100 < percent;
		object_write(o, 1);
		if (o->live) {
			k = rnd(random) % (gc.nlive + 1);
			live[gc.nlive++] = live[k];
			live[k] = o;
		}
	}
}

/* The survivors form a ring, so that each can be reached, and refer to any other. */
static void link_objects(struct object **live, uint64_t *random)
{
	gc.version = xalloc(gc.nobjects, sizeof(*gc.version));
	for (uint32_t i = 0; i < gc.nlive; i++) {
		struct object *to = live[(i + 1) % gc.nlive];

		for (int k = 0; k < NREFS; k++) {
			live[i]->ref[k] = (struct ref){ to, to->id };
			to = live[rnd(random) % gc.nlive];
		}
		live[i]->checksum = checksum(live[i]);
		gc.version[live[i]->id] = 1;
	}
	gc.root = live[0]->ref[0];
	for (unsigned int i = 0; i < opt.mutators; i++) {
		gc.mutator[i].random = rnd(random);
		for (int k = 0; k < NROOTS; k++)
			gc.mutator[i].root[k] = live[rnd(random) % gc.nlive]->ref[0];
	}
}

/* Dead, dense and mixed pages in runs, many short ones and a few long ones. */
static void build(void)
{
	static const unsigned char survivors[] = { 0, 0, 0, 0, 0, 0, 96, 96, 96, 25 };
	uint64_t random = opt.seed;
	struct object **live;
	uint32_t n = 0, run;

	gc.nfrom = ((uint64_t)opt.heap << 20) / page;
	gc.from = map_space(gc.nfrom);
	live = xalloc(gc.nfrom * (page / MIN_SIZE), sizeof(*live));
	while (n < gc.nfrom) {
		unsigned int percent = survivors[rnd(&random) % sizeof(survivors)];

		for (run = 1 << rnd(&random) % 8; run && n < gc.nfrom; run--)
			fill_page(n++, percent, live, &random);
	}
	link_objects(live, &random);
	free(live);
}

static size_t live_bytes(uint32_t n)
{
	size_t bytes = 0;

	for (struct object *o = object_first(gc.from, n); o; o = object_next(o))
		bytes += o->live ? o->size : 0;
	return bytes;
}

/*
 * Everything keeps its order.  Dense pages that are neighbours stay neighbours,
 * which makes runs; survivors of mixed pages fill one page of to-space after the
 * other, each begun where the first of them was met.
 */
static void plan(void)
{
	size_t offset = page;		/* in the page for survivors */
	uint32_t open = 0;

	gc.to = map_space(gc.nfrom);
	gc.to_of = xalloc(gc.nfrom, sizeof(*gc.to_of));
	gc.from_of = xalloc(gc.nfrom, sizeof(*gc.from_of));
	gc.first = xalloc(gc.nfrom, sizeof(*gc.first));
	gc.evac = xalloc(gc.nlive, sizeof(*gc.evac));
	gc.placed = xalloc(gc.nfrom, sizeof(*gc.placed));
	for (uint32_t n = 0; n < gc.nfrom; n++) {
		size_t live = live_bytes(n);

		gc.to_of[n] = NOWHERE;
		if (live >= page * 3 / 4) {
			gc.from_of[gc.nto] = n;
			gc.to_of[n] = gc.nto++;
			gc.ndense++;
			continue;
		}
		gc.nmixed += live > 0;
		for (struct object *o = object_first(gc.from, n); o; o = object_next(o)) {
			if (!o->live)
				continue;
			if (offset + o->size > page) {
				open = gc.nto++;
				gc.from_of[open] = NOWHERE;
				gc.first[open] = gc.nevac;
				offset = 0;
			}
			o->forward = (void *)(gc.to + open * page + offset);
			offset += o->size;
			gc.evac[gc.nevac++] = o;
		}
	}
}

/* ---- verification ---- */

/* Neither present nor swapped out: the source of every move must hold nothing. */
static void verify_sources(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	for (uint32_t n = 0; n < gc.nfrom; n++) {
		off_t where = ((uintptr_t)gc.from / page + n) * sizeof(entry);

		if (gc.to_of[n] == NOWHERE)
			continue;
		if (pread(fd, &entry, sizeof(entry), where) != sizeof(entry))
			die("/proc/self/pagemap: %m");
		if (entry >> 62)
			die("page %u of from-space is not empty after its move", n);
	}
	close(fd);
}

static void verify(void)
{
	const struct ref *at = &gc.root;
	uint32_t objects = 0;

	for (uint32_t to = 0; to < gc.nto; to++)
		if (gc.placed[to] != 1)
			die("page %u of to-space was not placed", to);
	do {
		object_check(at->to, at->id);
		for (int i = 0; i < NREFS; i++) {
			const struct ref *ref = &at->to->ref[i];

			if ((uintptr_t)ref->to - (uintptr_t)gc.to >= gc.nto * page)
				die("object %lu refers to %p, out of the heap", at->id, ref->to);
			if (ref->to->id != ref->id)
				die("object %lu refers to object %u instead of %lu",
				    at->id, ref->to->id, ref->id);
		}
		objects++;
		at = &at->to->ref[0];
	} while (at->id != gc.root.id && objects <= gc.nlive);
	if (objects != gc.nlive)
		die("%u objects live, %u are left", gc.nlive, objects);
	printf("  all %u objects verified, and %u references; %u sources are empty\n",
	       objects, objects * NREFS, gc.ndense);
}

/* ---- the devices ---- */

static int open_uffd(uint64_t features, uint64_t *supported)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int flags = O_CLOEXEC | O_NONBLOCK;
	int fd = syscall(SYS_userfaultfd, flags);

	/* Without privilege faults of user mode are all one gets, and all we need. */
	if (fd < 0)
		fd = syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		die("userfaultfd: %m\nBecome root, or: sysctl vm.unprivileged_userfaultfd=1");
	if (ioctl(fd, UFFDIO_API, &api))
		die("UFFDIO_API: %m");
	*supported = api.features;
	return fd;
}

static int open_uremap(void)
{
	struct uremap_info info = { 0 };
	int fd = open("/dev/uremap", O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == EACCES)
		die("/dev/uremap: %m\nBecome root, or let your group open it.");
	if (fd < 0)
		die("/dev/uremap: %m\nLoad the module (modprobe uremap, or insmod uremap.ko);\n"
		    "--no-uremap runs only what the kernel can do by itself.");
	if (ioctl(fd, UREMAP_IOC_INFO, &info))
		die("UREMAP_IOC_INFO: %m");
	if (info.abi != UREMAP_ABI_VERSION)
		die("/dev/uremap speaks ABI %u, this program %u", info.abi, UREMAP_ABI_VERSION);
	return fd;
}

static void open_devices(void)
{
	struct uremap_range src = {
		.start = (uintptr_t)gc.from, .len = gc.nfrom * page, .rights = UREMAP_RANGE_SRC
	};
	struct uremap_range dst = {
		.start = (uintptr_t)gc.to, .len = gc.nto * page, .rights = UREMAP_RANGE_DST
	};
	struct uffdio_register reg = {
		.range = { .start = dst.start, .len = dst.len },
		.mode = UFFDIO_REGISTER_MODE_MISSING
	};
	uint64_t features = gc.be->place == place_native ? UFFD_FEATURE_MOVE : 0;

	gc.quit_event = eventfd(0, EFD_CLOEXEC);
	gc.uffd = open_uffd(features, &features);
	if (ioctl(gc.uffd, UFFDIO_REGISTER, &reg))
		die("UFFDIO_REGISTER: %m");
	if (gc.be->place != place_uremap)
		return;
	gc.dev = open_uremap();
	if (ioctl(gc.dev, UREMAP_IOC_REGISTER, &src) || ioctl(gc.dev, UREMAP_IOC_REGISTER, &dst))
		die("UREMAP_IOC_REGISTER: %m");
}

/* ---- one compaction ---- */

static unsigned long mutator_ops(void)
{
	unsigned long ops = 0;

	for (unsigned int i = 0; i < opt.mutators; i++)
		ops += gc.mutator[i].ops;
	return ops;
}

static void hung(int signal)
{
	die("no progress for %d seconds: a mutator sleeps in a fault", PATIENCE);
}

/* Show how it goes until all is placed, and keep the alarm from going off. */
static void watch(void)
{
	uint64_t interval = tty ? 100000000 : 1000000000, next = now() + interval;
	unsigned long work, before = 0;
	bool done;

	do {
		usleep(2000);
		done = gc.all_placed;
		work = gc.moved + gc.copied + mutator_ops();
		if (work != before)
			alarm(PATIENCE);
		before = work;
		if (!done && now() < next)
			continue;
		next = now() + interval;
		printf("%s  %3lu %%: %lu pages moved, %lu copied, %lu faults, %lu operations%s",
		       tty ? "\r" : "", (gc.moved + gc.copied) * 100 / gc.nto, gc.moved,
		       gc.copied, gc.faults, mutator_ops(), tty && !done ? "" : "\n");
		fflush(stdout);
	} while (!done);
}

static void start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	int err = pthread_create(thread, NULL, fn, arg);

	if (err)
		die("pthread_create: %s", strerror(err));
}

static void compact(void)
{
	struct backend *be = gc.be;
	pthread_t compacting, monitoring;
	struct mutator *m, *end = gc.mutator + opt.mutators;

	for (m = gc.mutator; m < end; m++)
		start(&m->thread, mutator, m);
	start(&monitoring, monitor, NULL);
	usleep(50000);			/* let mutators write in from-space */
	flip();
	start(&compacting, compactor, NULL);
	watch();
	gc.measure = false;
	pthread_join(compacting, NULL);	/* when it has healed */
	gc.quit = true;
	for (m = gc.mutator; m < end; m++) {
		pthread_join(m->thread, NULL);
		be->stall = m->longest > be->stall ? m->longest : be->stall;
	}
	eventfd_write(gc.quit_event, 1);
	pthread_join(monitoring, NULL);
	alarm(0);
	be->moved = gc.moved;
	be->copied = gc.copied;
	be->faults = gc.faults;
	be->calls = gc.calls;
	be->ops = mutator_ops();
}

static void run(struct backend *be)
{
	gc = (struct gc){
		.be = be, .dev = -1, .safepoint = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP,
		.mutator = xalloc(opt.mutators, sizeof(struct mutator))
	};
	printf("%s: a heap of %u MiB fills, and most of it dies\n", be->name, opt.heap);
	build();
	plan();
	printf("  %u of %u objects live, in %u dense and %u mixed of %u pages\n",
	       gc.nlive, gc.nobjects, gc.ndense, gc.nmixed, gc.nfrom);
	open_devices();
	compact();
	verify_sources();
	munmap(gc.from, gc.nfrom * page);	/* a reference to it would crash now */
	verify();

	munmap(gc.to, gc.nfrom * page);
	close(gc.uffd);
	close(gc.quit_event);
	if (gc.dev >= 0)
		close(gc.dev);
	free(gc.to_of);
	free(gc.from_of);
	free(gc.first);
	free(gc.evac);
	free(gc.placed);
	free(gc.version);
	free(gc.mutator);
}

/* ---- the program ---- */

#define ROW(title, fmt, value)							\
	do {									\
		printf("%-28s", title);						\
		for (struct backend *b = backends; b->name; b++)		\
			if (!b->off)						\
				printf(fmt, value);				\
		putchar('\n');							\
	} while (0)

static void print_table(void)
{
	putchar('\n');
	ROW("", "%16s", b->name);
	ROW("pages moved", "%16lu", b->moved);
	ROW("pages copied", "%16lu", b->copied);
	ROW("calls for dense pages", "%16lu", b->calls);
	ROW("faults resolved", "%16lu", b->faults);
	ROW("a fault resolved in, us", "%16.2f",
	    b->faults ? b->fault_time / 1e3 / b->faults : 0);
	ROW("compaction, ms", "%16.1f", b->time / 1e6);
	ROW("pause at the flip, ms", "%16.2f", b->pause / 1e6);
	ROW("longest mutator stall, ms", "%16.2f", b->stall / 1e6);
	ROW("mutator operations meanwhile", "%16lu", b->ops);
	printf("\nTimes measured under emulation (QEMU without KVM) say nothing about hardware.\n");
}

static const struct option options[] = {
	{ "no-uremap", 0, NULL, 0 }, { "no-native", 0, NULL, 1 }, { "no-copy", 0, NULL, 2 },
	{ "heap", 1, NULL, 'H' }, { "mutators", 1, NULL, 'm' }, { "chunk", 1, NULL, 'c' },
	{ "seed", 1, NULL, 's' }, { "thp", 0, NULL, 't' }, { "help", 0, NULL, 'h' }, { }
};

static void help(void)
{
	printf("Usage: compact [OPTION]...\n"
	       "Compact a fragmented heap by moving its pages through /dev/uremap while\n"
	       "mutators use it; then again by what the kernel has, and compare.\n\n"
	       "  --heap MIB      size of the heap (%u)\n"
	       "  --mutators N    threads that use it (%u)\n"
	       "  --chunk PAGES   longest run for one call (%u)\n"
	       "  --seed N        of the random numbers that make the heap (%u)\n"
	       "  --thp           let the heap have transparent huge pages\n"
	       "  --no-uremap     not by /dev/uremap\n"
	       "  --no-native     not by UFFDIO_MOVE (Linux 6.8)\n"
	       "  --no-copy       not by UFFDIO_COPY and MADV_DONTNEED\n\n"
	       "Exits with 0 if every object was found intact.\n",
	       opt.heap, opt.mutators, opt.chunk, opt.seed);
}

static unsigned int parse_number(const char *s, unsigned int min)
{
	char *end;
	unsigned long n = strtoul(s, &end, 0);

	if (end == s || *end || n < min || n > 1 << 20)
		die("%s: not a number from %u to %u", s, min, 1 << 20);
	return n;
}

static void parse(int argc, char **argv)
{
	/* of the first three options */
	static long (*const places[])(char *, char *, size_t) = {
		place_uremap, place_native, place_copy
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'H')
			opt.heap = parse_number(optarg, 1);
		else if (c == 'm')
			opt.mutators = parse_number(optarg, 1);
		else if (c == 'c')
			opt.chunk = parse_number(optarg, 1);
		else if (c == 's')
			opt.seed = parse_number(optarg, 0);
		else if (c == 't')
			opt.thp = true;
		else if (c < 3)
			for (struct backend *b = backends; b->name; b++)
				b->off |= b->place == places[c];
		else
			exit(c == 'h' ? (help(), 0) : 2);
	}
	if (optind < argc)
		die("%s: what is this? See --help.", argv[optind]);
}

int main(int argc, char **argv)
{
	uint64_t features;

	page = sysconf(_SC_PAGESIZE);
	tty = isatty(STDOUT_FILENO) && strcmp(getenv("TERM") ?: "dumb", "dumb");
	setlinebuf(stdout);
	signal(SIGALRM, hung);
	parse(argc, argv);
	close(open_uffd(0, &features));
	for (struct backend *be = backends; be->name; be++)
		if (be->place == place_native && !(features & UFFD_FEATURE_MOVE))
			be->off = true;
	if (!backends[0].off)
		close(open_uremap());
	for (struct backend *be = backends; be->name; be++)
		if (!be->off)
			run(be);
	print_table();
	return 0;
}
