/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uABI cases about the values in the argument.  Included by uabi_cases.h alone.
 */

/* Sets bit @bit of the @len reserved bytes at @offset and expects EINVAL. */
static bool u_reserved_bits(struct uabi *u, const struct uabi_op *op,
			    size_t offset, size_t len)
{
	unsigned char arg[128];
	unsigned int bit;

	for (bit = 0; bit < len * 8; bit++) {
		op->fill(u, arg);
		arg[offset + bit / 8] |= 1 << bit % 8;
		U_ERRNO(u, EINVAL, u_call(u, op, op->size, arg),
			"%s with reserved bit %u", op->name, bit);
		if (op == U_MOVE)
			U_WANT(u, u_unwritten((void *)arg) && u_still(u),
			       "MOVE with reserved bit %u did something", bit);
	}
	return true;
}

/* Each reserved bit is refused, and nothing is done or written. */
static bool u_reserved(struct uabi *u)
{
	return u_reserved_bits(u, U_INFO, offsetof(struct uremap_info, reserved),
			       4) &&
	       u_reserved_bits(u, U_REG, offsetof(struct uremap_range, reserved),
			       8) &&
	       u_reserved_bits(u, U_UNREG,
			       offsetof(struct uremap_range, reserved), 8) &&
	       u_reserved_bits(u, U_MOVE, offsetof(struct uremap_move, reserved),
			       16);
}

/* A mode bit is accepted exactly if INFO lists it. */
static bool u_mode_bits(struct uabi *u)
{
	struct uremap_info info = { 0 };
	struct uremap_move m;
	unsigned int bit;
	bool refused;

	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_INFO, &info), "INFO");
	for (bit = 0; bit < 64; bit++) {
		u_fill_move(u, &m);
		m.mode = 1ULL << bit;
		if (!(info.modes & m.mode)) {
			U_ERRNO(u, EINVAL, ioctl(u->fd, UREMAP_IOC_MOVE, &m),
				"mode bit %u", bit);
			U_WANT(u, u_still(u) && m.move == -EINVAL &&
			       m.error == EINVAL &&
			       m.reason == UREMAP_REASON_ARGUMENT,
			       "mode bit %u: move %lld reason %u", bit,
			       (long long)m.move, m.reason);
			continue;
		}
		refused = ioctl(u->fd, UREMAP_IOC_MOVE, &m) < 0;
		if (m.mode == UREMAP_MOVE_WP)
			U_WANT(u, refused && errno == EINVAL &&
			       m.reason == UREMAP_REASON_WP_UNREGISTERED,
			       "mode WP: errno %d reason %u", errno, m.reason);
		else
			U_WANT(u, !refused && u->dst[0] == 0x77,
			       "mode bit %u: errno %d reason %u", bit, errno,
			       m.reason);
	}
	return true;
}

/* Rights are SRC, DST or both; anything else is refused. */
static bool u_rights_bits(struct uabi *u)
{
	const struct uabi_op *ops[] = { U_REG, U_UNREG };
	struct uremap_range range;
	unsigned int i, bit;

	for (i = 0; i < U_COUNT(ops); i++) {
		for (bit = 0; bit < 64; bit++) {
			ops[i]->fill(u, &range);
			range.rights = 1ULL << bit;
			U_ERRNO(u, bit < 2 ? 0 : EINVAL,
				u_call(u, ops[i], sizeof(range), &range),
				"%s with right %u", ops[i]->name, bit);
			range.rights |= UREMAP_RANGE_SRC;
			U_ERRNO(u, bit < 2 ? 0 : EINVAL,
				u_call(u, ops[i], sizeof(range), &range),
				"%s with rights 0 and %u", ops[i]->name, bit);
		}
		ops[i]->fill(u, &range);
		range.rights = 0;
		U_ERRNO(u, EINVAL, u_call(u, ops[i], sizeof(range), &range),
			"%s without rights", ops[i]->name);
	}
	return true;
}

/* Addresses and lengths that no range can have, relative to @end = va_end. */
#define U_BAD_RANGES(end) {						\
	{ 1, U_PAGE }, { U_PAGE - 1, U_PAGE }, { U_PAGE + 8, U_PAGE },	\
	{ U_PAGE, 0 }, { U_PAGE, 1 }, { U_PAGE, U_PAGE - 1 },		\
	{ U_PAGE, U_PAGE + 1 }, { U_PAGE + 1, U_PAGE - 1 },		\
	{ 0, 0 }, { 1, 0 }, { 0, ~0ULL }, { ~0ULL, 1 }, { ~0ULL, ~0ULL },\
	{ 0, -(__u64)U_PAGE }, { U_PAGE, -(__u64)U_PAGE },		\
	{ U_PAGE, -2 * (__u64)U_PAGE }, { 2 * U_PAGE, -(__u64)U_PAGE },	\
	{ -(__u64)U_PAGE, U_PAGE }, { -(__u64)U_PAGE, 2 * U_PAGE },	\
	{ 1ULL << 63, U_PAGE }, { 1ULL << 63, 1ULL << 63 },		\
	{ (end), U_PAGE }, { (end) - U_PAGE, 2 * U_PAGE },		\
	{ 0, (end) + U_PAGE }, { U_PAGE, (end) }, { (end), 0 },		\
	{ (end) + U_PAGE, U_PAGE },					\
	{ 0xffff888000000000ULL, U_PAGE },				\
	{ 0xffffffff80000000ULL, 1ULL << 20 },				\
	{ 1ULL << 57, U_PAGE },						\
}

/* Addresses outside the address space and odd ones are EINVAL. */
static bool u_register_addresses(struct uabi *u)
{
	const struct uabi_op *ops[] = { U_REG, U_UNREG };
	struct uremap_info info = { 0 };
	struct uremap_range range;
	unsigned int i, n;

	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_INFO, &info), "INFO");
	const __u64 bad[][2] = U_BAD_RANGES(info.va_end);
	const __u64 good[][2] = {
		{ 0, U_PAGE }, { info.va_end - U_PAGE, U_PAGE },
		{ 0, info.va_end }, { U_PAGE, info.va_end - U_PAGE },
	};

	for (i = 0; i < U_COUNT(ops); i++) {
		memset(&range, 0, sizeof(range));
		range.rights = UREMAP_RANGE_SRC | UREMAP_RANGE_DST;
		for (n = 0; n < U_COUNT(bad); n++) {
			range.start = bad[n][0];
			range.len = bad[n][1];
			U_ERRNO(u, EINVAL,
				u_call(u, ops[i], sizeof(range), &range),
				"%s %#llx+%#llx", ops[i]->name,
				(unsigned long long)range.start,
				(unsigned long long)range.len);
		}
		for (n = 0; n < U_COUNT(good); n++) {
			range.start = good[n][0];
			range.len = good[n][1];
			U_ERRNO(u, 0, u_call(u, ops[i], sizeof(range), &range),
				"%s %#llx+%#llx", ops[i]->name,
				(unsigned long long)range.start,
				(unsigned long long)range.len);
		}
	}
	return true;
}

/* A move that is refused for what @err and @reason say, with all written. */
static bool u_refused(struct uabi *u, struct uremap_move m, int err,
		      unsigned int reason, __u64 stop)
{
	struct uremap_move was = m;

	U_ERRNO(u, err, ioctl(u->fd, UREMAP_IOC_MOVE, &m),
		"MOVE %#llx <- %#llx+%#llx mode %#llx",
		(unsigned long long)m.dst, (unsigned long long)m.src,
		(unsigned long long)m.len, (unsigned long long)m.mode);
	U_WANT(u, m.reason == reason && m.error == (unsigned int)err &&
	       m.move == -err && !m.moved && !m.holes && !m.healed,
	       "MOVE %#llx <- %#llx+%#llx: reason %u, expected %u; error %u move %lld moved %llu holes %llu healed %llu",
	       (unsigned long long)m.dst, (unsigned long long)m.src,
	       (unsigned long long)m.len, m.reason, reason, m.error,
	       (long long)m.move, (unsigned long long)m.moved,
	       (unsigned long long)m.holes, (unsigned long long)m.healed);
	U_WANT(u, m.dst == was.dst && m.src == was.src && m.len == was.len &&
	       m.mode == was.mode && !m.reserved[0] && !m.reserved[1],
	       "MOVE changed its own arguments");
	U_WANT(u, stop == ~0ULL || m.stop == stop,
	       "MOVE %#llx <- %#llx+%#llx: stop %#llx, expected %#llx",
	       (unsigned long long)m.dst, (unsigned long long)m.src,
	       (unsigned long long)m.len, (unsigned long long)m.stop,
	       (unsigned long long)stop);
	return u_still(u);
}

/* The same addresses, as destination and as source of a move. */
static bool u_move_addresses(struct uabi *u)
{
	struct uremap_info info = { 0 };
	struct uremap_range all;
	struct uremap_move m;
	unsigned int i;

	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_INFO, &info), "INFO");
	const __u64 bad[][2] = U_BAD_RANGES(info.va_end);

	/* so that the address itself is the only thing wrong */
	memset(&all, 0, sizeof(all));
	all.len = info.va_end;
	all.rights = UREMAP_RANGE_SRC | UREMAP_RANGE_DST;
	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_REGISTER, &all), "REGISTER");
	for (i = 0; i < U_COUNT(bad); i++) {
		u_fill_move(u, &m);
		m.dst = bad[i][0];
		m.len = bad[i][1];
		if (!u_refused(u, m, EINVAL, UREMAP_REASON_ARGUMENT, ~0ULL))
			return false;
		u_fill_move(u, &m);
		m.src = bad[i][0];
		m.len = bad[i][1];
		if (!u_refused(u, m, EINVAL, UREMAP_REASON_ARGUMENT, ~0ULL))
			return false;
	}
	return true;
}

/* Of several things wrong the first in the documented order is told. */
static bool u_move_order(struct uabi *u)
{
	__u64 nowhere = U_ADDR(u_map(4 * U_PAGE, PROT_NONE));
	struct uremap_range range = { .len = U_PAGE };
	struct uremap_move m;

	munmap((void *)(uintptr_t)nowhere, 4 * U_PAGE);

	/* a bad address before an overlap */
	u_fill_move(u, &m);
	m.dst = m.src + 1;
	if (!u_refused(u, m, EINVAL, UREMAP_REASON_ARGUMENT, ~0ULL))
		return false;
	/* an overlap before a missing registration */
	u_fill_move(u, &m);
	m.dst = nowhere;
	m.src = nowhere;
	if (!u_refused(u, m, EINVAL, UREMAP_REASON_OVERLAP, ~0ULL))
		return false;
	/* dst's registration before src's, both before the mappings */
	m.src = nowhere + 2 * U_PAGE;
	if (!u_refused(u, m, EINVAL, UREMAP_REASON_DST_UNREGISTERED, nowhere))
		return false;
	range.start = nowhere;
	range.rights = UREMAP_RANGE_DST;
	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_REGISTER, &range), "REGISTER");
	if (!u_refused(u, m, EINVAL, UREMAP_REASON_SRC_UNREGISTERED, m.src))
		return false;
	range.start = m.src;
	range.rights = UREMAP_RANGE_SRC;
	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_REGISTER, &range), "REGISTER");
	/* dst's mapping before src's */
	if (!u_refused(u, m, ENOENT, UREMAP_REASON_DST_NO_VMA, nowhere))
		return false;
	m.dst = U_ADDR(u->dst);
	if (!u_refused(u, m, ENOENT, UREMAP_REASON_SRC_NO_VMA, m.src))
		return false;
	return true;
}

/* A move that succeeds writes every result and nothing else. */
static bool u_move_results(struct uabi *u)
{
	struct uremap_move m, was;

	u_fill_move(u, &m);
	was = m;
	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_MOVE, &m), "MOVE");
	U_WANT(u, m.move == (__s64)U_PAGE && m.moved == U_PAGE && !m.holes &&
	       !m.healed && !m.stop && !m.reason && !m.error,
	       "move %lld moved %llu holes %llu healed %llu stop %#llx reason %u error %u",
	       (long long)m.move, (unsigned long long)m.moved,
	       (unsigned long long)m.holes, (unsigned long long)m.healed,
	       (unsigned long long)m.stop, m.reason, m.error);
	U_WANT(u, m.dst == was.dst && m.src == was.src && m.len == was.len &&
	       m.mode == was.mode && !m.reserved[0] && !m.reserved[1],
	       "MOVE changed its own arguments");
	U_WANT(u, u->dst[0] == 0x77 && u->dst[U_PAGE - 1] == 0x77 && !u->src[0],
	       "the page did not arrive");
	return true;
}

/* The device is for ioctl() alone. */
static bool u_file_operations(struct uabi *u)
{
	char buf[8] = "";

	U_ERRNO(u, EINVAL, read(u->fd, buf, sizeof(buf)) < 0, "read");
	U_ERRNO(u, EINVAL, write(u->fd, buf, sizeof(buf)) < 0, "write");
	U_ERRNO(u, ENODEV, mmap(NULL, U_PAGE, PROT_READ, MAP_SHARED, u->fd, 0) ==
		MAP_FAILED, "mmap");
	return true;
}
