/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uABI cases about the argument as a piece of memory, and about ioctl numbers.
 * Included by uabi_cases.h alone.
 */

/* INFO tells the truth about the machine and contradicts itself nowhere. */
static bool u_info(struct uabi *u)
{
	struct uremap_info info;
	const __u64 base = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4;

	memset(&info, U_UNWRITTEN, sizeof(info));
	info.reserved = 0;
	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_INFO, &info), "INFO");
	U_WANT(u, info.abi == UREMAP_ABI_VERSION, "abi %u", info.abi);
	U_WANT(u, !info.reserved, "reserved %u", info.reserved);
	U_WANT(u, (info.ioctls & base) == base, "ioctls %#llx",
	       (unsigned long long)info.ioctls);
	U_WANT(u, info.modes & UREMAP_MOVE_ALLOW_SRC_HOLES, "modes %#llx",
	       (unsigned long long)info.modes);
	U_WANT(u, !!(info.modes & UREMAP_MOVE_UNSHARE) ==
	       !!(info.features & UREMAP_FEATURE_UNSHARE),
	       "UNSHARE is a mode or a feature, not both");
	U_WANT(u, !!(info.modes & UREMAP_MOVE_WP) ==
	       !!(info.features & UREMAP_FEATURE_UFFD_WP),
	       "WP is a mode or a feature, not both");
	U_WANT(u, !!(info.modes & UREMAP_MOVE_KEEP_WP) ==
	       !!(info.features & UREMAP_FEATURE_UFFD_WP),
	       "KEEP_WP is a mode or a feature, not both");
	U_WANT(u, !!info.max_segments ==
	       !!(info.features & UREMAP_FEATURE_MOVEV),
	       "MOVEV has segments or a feature, not both");
	U_WANT(u, info.page_size == U_PAGE, "page_size %u", info.page_size);
	U_WANT(u, info.huge_size == 512 * U_PAGE, "huge_size %u",
	       info.huge_size);
	U_WANT(u, info.max_ranges > 0, "no ranges");
	U_WANT(u, !(info.va_end & (U_PAGE - 1)), "va_end %#llx",
	       (unsigned long long)info.va_end);
	U_WANT(u, info.va_end > U_ADDR(&info), "va_end %#llx below the stack",
	       (unsigned long long)info.va_end);
	if (sizeof(long) == 4)
		U_WANT(u, info.va_end <= 1ULL << 32, "va_end %#llx in 32 bits",
		       (unsigned long long)info.va_end);
	return true;
}

/* A structure shorter than the first release's is EINVAL, at every length. */
static bool u_short_struct(struct uabi *u)
{
	const struct uabi_op *op;
	__u64 arg[16];
	unsigned int size;

	U_EACH_OP(op) {
		for (size = 0; size < op->size; size++) {
			op->fill(u, arg);
			U_ERRNO(u, EINVAL, u_call(u, op, size, arg),
				"%s of %u bytes", op->name, size);
			if (op == U_MOVE)
				U_WANT(u, u_unwritten((void *)arg) && u_still(u),
				       "MOVE of %u bytes did something", size);
		}
	}
	return true;
}

/* A longer structure with nothing in its tail works, and the tail stays so. */
static bool u_long_zero_tail(struct uabi *u)
{
	static unsigned char arg[U_MAX_SIZE + 1];
	const struct uabi_op *op;
	unsigned int size, i;

	U_EACH_OP(op) {
		for (size = op->size; size <= U_MAX_SIZE;
		     size += size < op->size + 64 ? 1 : 509) {
			memset(arg, 0, sizeof(arg));
			op->fill(u, arg);
			U_ERRNO(u, 0, u_call(u, op, size, arg), "%s of %u bytes",
				op->name, size);
			for (i = op->size; i < sizeof(arg); i++)
				U_WANT(u, !arg[i], "%s of %u bytes wrote byte %u",
				       op->name, size, i);
		}
		memset(arg, 0, sizeof(arg));
		op->fill(u, arg);
		U_ERRNO(u, 0, u_call(u, op, U_MAX_SIZE, arg), "%s of %u bytes",
			op->name, U_MAX_SIZE);
	}
	return true;
}

/* A longer structure with anything in its tail, wherever, is E2BIG. */
static bool u_long_tail_not_zero(struct uabi *u)
{
	static const unsigned int extra[] = { 1, 2, 7, 8, 9, 64, 1000, 4096 };
	static unsigned char arg[U_MAX_SIZE + 1];
	const struct uabi_op *op;
	unsigned int i, at, size;

	U_EACH_OP(op) {
		for (i = 0; i < U_COUNT(extra); i++) {
			size = op->size + extra[i];
			for (at = op->size; at < size;
			     at += extra[i] > 64 ? 251 : 1) {
				memset(arg, 0, sizeof(arg));
				op->fill(u, arg);
				arg[at] = 1;
				U_ERRNO(u, E2BIG, u_call(u, op, size, arg),
					"%s of %u bytes, byte %u set", op->name,
					size, at);
				if (op == U_MOVE)
					U_WANT(u, u_unwritten((void *)arg) &&
					       u_still(u),
					       "MOVE of %u bytes did something",
					       size);
			}
		}
		memset(arg, 0, sizeof(arg));
		op->fill(u, arg);
		arg[U_MAX_SIZE - 1] = 0x80;
		U_ERRNO(u, E2BIG, u_call(u, op, U_MAX_SIZE, arg),
			"%s of %u bytes, the last set", op->name, U_MAX_SIZE);
	}
	return true;
}

/* Not a byte past the structure is touched: it may end at an unmapped page. */
static bool u_exact_fit(struct uabi *u)
{
	const struct uabi_op *op;
	char *page = u_map(2 * U_PAGE, PROT_READ | PROT_WRITE);
	char *arg;

	U_WANT(u, page, "mmap: %s", strerror(errno));
	munmap(page + U_PAGE, U_PAGE);
	U_EACH_OP(op) {
		arg = page + U_PAGE - op->size;
		op->fill(u, arg);
		U_ERRNO(u, 0, u_call(u, op, op->size, arg), "%s", op->name);
	}
	return true;
}

/* The structure may lie at any address. */
static bool u_unaligned_struct(struct uabi *u)
{
	const struct uabi_op *op;
	char arg[200];
	int offset;

	U_EACH_OP(op) {
		for (offset = 0; offset < 16; offset++) {
			op->fill(u, arg + offset);
			U_ERRNO(u, 0, u_call(u, op, op->size, arg + offset),
				"%s at offset %d", op->name, offset);
		}
	}
	return true;
}

static bool u_null(struct uabi *u)
{
	const struct uabi_op *op;

	U_EACH_OP(op)
		U_ERRNO(u, EFAULT, u_call(u, op, op->size, NULL), "%s",
			op->name);
	return true;
}

static bool u_unmapped_struct(struct uabi *u)
{
	const struct uabi_op *op;
	char *page = u_map(U_PAGE, PROT_READ | PROT_WRITE);

	U_WANT(u, page, "mmap: %s", strerror(errno));
	munmap(page, U_PAGE);
	U_EACH_OP(op)
		U_ERRNO(u, EFAULT, u_call(u, op, op->size, page), "%s",
			op->name);
	return true;
}

/* A structure that runs into an unmapped page, at each of its words. */
static bool u_partly_unmapped_struct(struct uabi *u)
{
	const struct uabi_op *op;
	char *page = u_map(2 * U_PAGE, PROT_READ | PROT_WRITE);
	unsigned int in;
	char full[128];

	U_WANT(u, page, "mmap: %s", strerror(errno));
	munmap(page + U_PAGE, U_PAGE);
	U_EACH_OP(op) {
		for (in = 4; in < op->size; in += 4) {
			op->fill(u, full);
			memcpy(page + U_PAGE - in, full, in);
			U_ERRNO(u, EFAULT,
				u_call(u, op, op->size, page + U_PAGE - in),
				"%s with %u bytes mapped", op->name, in);
			if (op == U_MOVE)
				U_WANT(u, u_still(u),
				       "MOVE with %u bytes mapped moved", in);
		}
	}
	return true;
}

static bool u_unreadable_struct(struct uabi *u)
{
	const struct uabi_op *op;
	char *page = u_map(U_PAGE, PROT_NONE);

	U_WANT(u, page, "mmap: %s", strerror(errno));
	U_EACH_OP(op)
		U_ERRNO(u, EFAULT, u_call(u, op, op->size, page), "%s",
			op->name);
	return true;
}

/*
 * An argument that is only read may be read-only; one with results is EFAULT,
 * and the page is at exactly one of both places all the same.
 */
static bool u_readonly_struct(struct uabi *u)
{
	const struct uabi_op *op;
	char *page = u_map(U_PAGE, PROT_READ | PROT_WRITE);

	U_WANT(u, page, "mmap: %s", strerror(errno));
	U_EACH_OP(op) {
		mprotect(page, U_PAGE, PROT_READ | PROT_WRITE);
		op->fill(u, page);
		mprotect(page, U_PAGE, PROT_READ);
		U_ERRNO(u, op->dir & _IOC_READ ? EFAULT : 0,
			u_call(u, op, op->size, page), "%s", op->name);
	}
	U_WANT(u, (u->src[0] == 0x77) != (u->dst[0] == 0x77),
	       "the page is at src %d, at dst %d", u->src[0], u->dst[0]);
	return true;
}

static bool u_kernel_pointer(struct uabi *u)
{
	static const __u64 addr[] = {
		sizeof(long) == 8 ? 0xffff888000000000ULL : 0xffffe000ULL,
		sizeof(long) == 8 ? 0xffffffff81000000ULL : 0xfffff000ULL,
		sizeof(long) == 8 ? 0x8000000000000000ULL : 0xffffff00ULL,
		sizeof(long) == 8 ? 0xfffffffffffff000ULL : 0xffffffb0ULL,
	};
	const struct uabi_op *op;
	unsigned int i;

	U_EACH_OP(op)
		for (i = 0; i < U_COUNT(addr); i++)
			U_ERRNO(u, EFAULT,
				u_call(u, op, op->size,
				       (void *)(uintptr_t)addr[i]),
				"%s at %#llx", op->name,
				(unsigned long long)addr[i]);
	return true;
}

/* Numbers that INFO does not list are ENOTTY, whatever they carry. */
static bool u_unknown_number(struct uabi *u)
{
	static const unsigned int sizes[] = { 0, 8, 32, 56, 96, U_MAX_SIZE };
	static char arg[U_MAX_SIZE + 1];
	struct uremap_info info = { 0 };
	unsigned int nr, dir, i;

	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_INFO, &info), "INFO");
	for (nr = 0; nr < 256; nr++) {
		if (nr < 64 && info.ioctls >> nr & 1)
			continue;
		for (dir = 0; dir < 4; dir++)
			for (i = 0; i < U_COUNT(sizes); i++)
				U_ERRNO(u, ENOTTY,
					ioctl(u->fd, _IOC(dir, UREMAP_IOC_TYPE,
							  nr, sizes[i]), arg),
					"number %u, direction %u, size %u", nr,
					dir, sizes[i]);
	}
	return true;
}

/* The direction is part of the number. */
static bool u_wrong_direction(struct uabi *u)
{
	const struct uabi_op *op;
	unsigned int dir;
	char arg[128];

	U_EACH_OP(op) {
		for (dir = 0; dir < 4; dir++) {
			if (dir == op->dir)
				continue;
			op->fill(u, arg);
			U_ERRNO(u, ENOTTY,
				ioctl(u->fd, _IOC(dir, UREMAP_IOC_TYPE, op->nr,
						  op->size), arg),
				"%s with direction %u", op->name, dir);
		}
	}
	return true;
}

/* Another type letter, userfaultfd's and a terminal's among them. */
static bool u_wrong_type(struct uabi *u)
{
	static const unsigned int types[] = { 0, 0xaa, 0xd6, 0xd8, 0xff };
	const struct uabi_op *op;
	unsigned int i;
	char arg[128];

	U_EACH_OP(op) {
		for (i = 0; i < U_COUNT(types); i++) {
			op->fill(u, arg);
			U_ERRNO(u, ENOTTY,
				ioctl(u->fd, _IOC(op->dir, types[i], op->nr,
						  op->size), arg),
				"%s of type %#x", op->name, types[i]);
		}
	}
	U_ERRNO(u, ENOTTY, ioctl(u->fd, 0x5401, arg), "TCGETS");
	return true;
}

/* Every number that INFO lists exists; zeros as argument are never ENOTTY. */
static bool u_ioctl_bits(struct uabi *u)
{
	static char arg[U_MAX_SIZE + 1];
	struct uremap_info info = { 0 };
	unsigned int nr, dir;
	bool found;

	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_INFO, &info), "INFO");
	for (nr = 0; nr < 64; nr++) {
		if (!(info.ioctls >> nr & 1))
			continue;
		found = false;
		for (dir = 0; dir < 4; dir++) {
			memset(arg, 0, sizeof(arg));
			if (!ioctl(u->fd, _IOC(dir, UREMAP_IOC_TYPE, nr,
					       U_MAX_SIZE), arg) ||
			    errno != ENOTTY)
				found = true;
		}
		U_WANT(u, found, "INFO lists number %u, which is ENOTTY", nr);
	}
	return true;
}

/* The numbers mean nothing on other files, and a closed one is EBADF. */
static bool u_wrong_file(struct uabi *u)
{
	const struct uabi_op *op;
	int null = open("/dev/null", O_RDWR), pipes[2], closed;
	int regular = open("/proc/self/exe", O_RDONLY);
	char arg[128];

	U_WANT(u, null >= 0 && regular >= 0 && !pipe(pipes), "files: %s",
	       strerror(errno));
	closed = dup(null);
	close(closed);
	U_EACH_OP(op) {
		unsigned long cmd = _IOC(op->dir, UREMAP_IOC_TYPE, op->nr,
					 op->size);

		op->fill(u, arg);
		U_ERRNO(u, ENOTTY, ioctl(null, cmd, arg), "%s on /dev/null",
			op->name);
		U_ERRNO(u, ENOTTY, ioctl(regular, cmd, arg), "%s on a file",
			op->name);
		U_ERRNO(u, ENOTTY, ioctl(pipes[0], cmd, arg), "%s on a pipe",
			op->name);
		U_ERRNO(u, EBADF, ioctl(closed, cmd, arg), "%s on nothing",
			op->name);
	}
	return true;
}
