// SPDX-License-Identifier: GPL-2.0-only
/* What UFFDIO_API and UFFDIO_REGISTER answer, and when nothing may be written. */
#include "prog.h"

static void try_api(int fd, __u64 version, __u64 features)
{
	struct uffdio_api api = { .api = version, .features = features };
	int ret;

	errno = 0;
	ret = ioctl(fd, UFFDIO_API, &api);
	say("api %#llx features %#llx: %d %s", (unsigned long long)version,
	    (unsigned long long)features, ret, ret ? strerrorname_np(errno) : "-");
	if (!ret && errno)
		say("errno changed to %d by a success", errno);
	if (ret)
		say("left api %llu features %llu ioctls %llu",
		    (unsigned long long)api.api,
		    (unsigned long long)api.features,
		    (unsigned long long)api.ioctls);
	else
		say("offers MOVE %d, ioctls %#llx",
		    !!(api.features & UFFD_FEATURE_MOVE),
		    (unsigned long long)api.ioctls);
}

static void api(void)
{
	int fd = uffd_new();

	try_api(fd, UFFD_API + 1, 0);
	try_api(fd, UFFD_API, (__u64)1 << 62);
	try_api(fd, UFFD_API, (__u64)1 << 62 | UFFD_FEATURE_MOVE);
	try_api(fd, UFFD_API + 1, UFFD_FEATURE_MOVE);
	try_api(fd, UFFD_API, UFFD_FEATURE_MOVE);
	try_api(fd, UFFD_API, UFFD_FEATURE_MOVE);
	try_api(fd, UFFD_API, 0);

	fd = uffd_new();
	try_api(fd, UFFD_API, 0);
	fd = uffd_new();
	try_api(fd, UFFD_API, UFFD_FEATURE_MOVE | UFFD_FEATURE_THREAD_ID);
}

/* Unprivileged: the answer differs by more than the bit. */
static void api_unprivileged(void)
{
	int fd = uffd_new();

	uffd_open(0);
	need(!setresuid(65534, 65534, 65534));
	try_api(fd, UFFD_API, UFFD_FEATURE_MOVE | UFFD_FEATURE_EVENT_FORK);
}

static void api_pointer(void)
{
	struct uffdio_api *ro = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = uffd_new(), ret;
	char *edge = map_filled(1);

	ret = ioctl(fd, UFFDIO_API, NULL);
	say("api at 0: %d %s", ret, strerrorname_np(errno));
	ret = ioctl(fd, UFFDIO_API, edge + PAGE - 16);
	say("api half there: %d %s", ret, strerrorname_np(errno));
	ret = ioctl(fd, UFFDIO_REGISTER, NULL);
	say("register before api: %d %s", ret, strerrorname_np(errno));
	ro->api = UFFD_API;
	ro->features = UFFD_FEATURE_MOVE;
	need(!mprotect(ro, PAGE, PROT_READ));
	ret = ioctl(fd, UFFDIO_API, ro);
	say("api read-only: %d %s", ret, strerrorname_np(errno));
	try_api(fd, UFFD_API, UFFD_FEATURE_MOVE);
	ret = ioctl(fd, UFFDIO_REGISTER, NULL);
	say("register at 0: %d %s", ret, strerrorname_np(errno));
}

/* Without asking for the feature: it is a hint, not a switch. */
static void no_feature(void)
{
	char *src = map_filled(1), *dst = map(1);
	struct uffdio_api none = { .api = UFFD_API };
	int fd = uffd_new();

	need(!ioctl(fd, UFFDIO_API, &none));
	uffd_register(fd, dst, 1);
	move(fd, dst, src, 1, 0);
	look("dst", dst, 1);
}

static void before_api(void)
{
	char *src = map_filled(1), *dst = map(1);
	int fd = uffd_new();

	move(fd, dst, src, 1, 0);
	move_raw(fd, 1, 1, 1, ~0ULL);
	try_api(fd, UFFD_API, UFFD_FEATURE_MOVE);
	uffd_register(fd, dst, 1);
	move(fd, dst, src, 1, 0);
}

static void try_register(int fd, const char *what, void *start, __u64 mode)
{
	struct uffdio_register reg = {
		.range = { ADDR(start), PAGE },
		.mode = mode,
		.ioctls = 0x5a5a,
	};
	int ret = ioctl(fd, UFFDIO_REGISTER, &reg);

	say("register %s: %d %s, MOVE %d ZEROPAGE %d WRITEPROTECT %d", what,
	    ret, ret ? strerrorname_np(errno) : "-",
	    !!(reg.ioctls & 1 << _UFFDIO_MOVE),
	    !!(reg.ioctls & 1 << _UFFDIO_ZEROPAGE),
	    !!(reg.ioctls & 1 << _UFFDIO_WRITEPROTECT));
}

static void registering(void)
{
	int fd = uffd_open(0);
	char *shmem, *huge;

	try_register(fd, "anon", map(1), UFFDIO_REGISTER_MODE_MISSING);
	try_register(fd, "anon wp", map(1), UFFDIO_REGISTER_MODE_MISSING |
		     UFFDIO_REGISTER_MODE_WP);
	shmem = map_with(1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
	try_register(fd, "shmem", shmem, UFFDIO_REGISTER_MODE_MISSING);
	try_register(fd, "nothing", (void *)PAGE, UFFDIO_REGISTER_MODE_MISSING);
	try_register(fd, "mode 0", map(1), 0);

	/* no page of it is needed */
	huge = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	if (huge != MAP_FAILED) {
		struct uffdio_register reg = {
			.range = { ADDR(huge), HUGE },
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		need(!ioctl(fd, UFFDIO_REGISTER, &reg));
		say("register hugetlb: MOVE %d",
		    !!(reg.ioctls & 1 << _UFFDIO_MOVE));
	} else {
		say("register hugetlb: MOVE 0");
	}
}

/* On what is no userfaultfd the request is nobody's. */
static void other_files(void)
{
	struct uffdio_move m = { 0 };
	int fds[2], ret;

	ret = ioctl(-1, UFFDIO_MOVE, &m);
	say("no descriptor: %d %s", ret, strerrorname_np(errno));
	need(!pipe(fds));
	ret = ioctl(fds[0], UFFDIO_MOVE, &m);
	say("pipe: %d %s", ret, strerrorname_np(errno));
	ret = ioctl(fds[0], UFFDIO_API, &m);
	say("pipe api: %d %s", ret, strerrorname_np(errno));
	ret = ioctl(open("/dev/null", O_RDONLY), UFFDIO_MOVE, &m);
	say("/dev/null: %d %s", ret, strerrorname_np(errno));
	ret = ioctl(open("/", O_PATH), UFFDIO_MOVE, &m);
	say("O_PATH: %d %s", ret, strerrorname_np(errno));
}

const struct scene scenes_api[] = {
	{ "api", api },
	{ "api_unprivileged", api_unprivileged },
	{ "api_pointer", api_pointer },
	{ "no_feature", no_feature },
	{ "before_api", before_api },
	{ "registering", registering },
	{ "other_files", other_files },
	{ NULL, NULL }
};
