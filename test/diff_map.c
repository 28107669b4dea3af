// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves, for arguments and mappings (section A1), that uremap does what
 * UFFDIO_MOVE of the same kernel does, but for the differences that
 * diff_table.h means.
 */
#include "diff.h"

#define RW		(PROT_READ | PROT_WRITE)

static void misaligned_source(struct diff *d)
{
	d->src += 8;
}

static void misaligned_destination(struct diff *d)
{
	d->dst += 8;
}

static void misaligned_length(struct diff *d)
{
	d->len -= 8;
}

static void no_length(struct diff *d)
{
	d->len = 0;
}

static void unknown_mode(struct diff *d)
{
	d->mode = 1ULL << 63;
}

static void wrapping(struct diff *d)
{
	d->unregistered = true;
	d->len = -PAGE;
}

static void in_place(struct diff *d)
{
	d->dst = d->src;
}

static void overlap_forward(struct diff *d)
{
	d->len = 8 * PAGE;
	d->dst = d->src + PAGE;
}

static void overlap_backward(struct diff *d)
{
	expect_ok(madvise(d->src, PAGE, MADV_DONTNEED));
	d->dst = d->src;
	d->src += PAGE;
	d->pages = 14;
	d->len = 8 * PAGE;
}

static void nothing_at_source(struct diff *d)
{
	expect_ok(munmap(d->src, d->len));
}

static void nothing_at_destination(struct diff *d)
{
	expect_ok(munmap(d->dst, d->len));
}

static void source_ends(struct diff *d)
{
	expect_ok(munmap(d->src + 10 * PAGE, 6 * PAGE));
}

static void destination_ends(struct diff *d)
{
	expect_ok(munmap(d->dst + 10 * PAGE, 6 * PAGE));
	d->unregistered = true;
	uffd_register(d->e.uffd, d->dst, 10 * PAGE,
		      UFFDIO_REGISTER_MODE_MISSING);
}

static void source_cut(struct diff *d)
{
	expect_ok(madvise(d->src + 10 * PAGE, 6 * PAGE, MADV_DONTDUMP));
}

static void destination_cut(struct diff *d)
{
	expect_ok(madvise(d->dst + 10 * PAGE, 6 * PAGE, MADV_DONTDUMP));
}

static void unregistered(struct diff *d)
{
	d->unregistered = true;
}

static void both_read_only(struct diff *d)
{
	expect_ok(mprotect(d->src, d->len, PROT_READ));
	expect_ok(mprotect(d->dst, d->len, PROT_READ));
}

static void source_read_only(struct diff *d)
{
	expect_ok(mprotect(d->src, d->len, PROT_READ));
}

static void destination_executable(struct diff *d)
{
	expect_ok(mprotect(d->dst, d->len, RW | PROT_EXEC));
}

static void both_executable(struct diff *d)
{
	expect_ok(mprotect(d->src, d->len, RW | PROT_EXEC));
	expect_ok(mprotect(d->dst, d->len, RW | PROT_EXEC));
}

static void source_inaccessible(struct diff *d)
{
	expect_ok(mprotect(d->src, d->len, PROT_NONE));
}

static char *remap(char *p, size_t len, int prot, int flags, int fd)
{
	p = mmap(p, len, prot, flags | MAP_FIXED, fd, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

static void shared_source(struct diff *d)
{
	remap(d->src, d->len, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	range_fill(d->src, 16, SRC_ID, 1);
}

static void shared_destination(struct diff *d)
{
	remap(d->dst, d->len, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
}

static int file_of(size_t len)
{
	int fd = expect_ok(memfd_create("uremap-test", MFD_CLOEXEC));

	expect_ok(ftruncate(fd, len));
	return fd;
}

static void file_source(struct diff *d)
{
	remap(d->src, d->len, RW, MAP_PRIVATE, file_of(d->len));
	range_fill(d->src, 16, SRC_ID, 1);
}

static void file_destination(struct diff *d)
{
	remap(d->dst, d->len, RW, MAP_PRIVATE, file_of(d->len));
}

static void droppable_source(struct diff *d)
{
	char *p = mmap(d->src, d->len, RW,
		       MAP_DROPPABLE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	skip_if(p == MAP_FAILED, "no droppable mappings");
	range_fill(d->src, 16, SRC_ID, 1);
}

static void growing_source(struct diff *d)
{
	remap(d->src, d->len, RW,
	      MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1);
	range_fill(d->src, 16, SRC_ID, 1);
}

static void locked_source(struct diff *d)
{
	expect_ok(mlock(d->src, d->len));
}

static void locked_destination(struct diff *d)
{
	expect_ok(mlock2(d->dst, d->len, MLOCK_ONFAULT));
}

static void key_of_source(struct diff *d)
{
	int key = pkey_alloc(0, 0);

	skip_if(key < 0, "no protection keys");
	expect_ok(pkey_mprotect(d->src, d->len, RW, key));
}

static void keys_deny(struct diff *d)
{
	int key = pkey_alloc(0, 0);

	skip_if(key < 0, "no protection keys");
	expect_ok(pkey_mprotect(d->src, d->len, RW, key));
	expect_ok(pkey_mprotect(d->dst, d->len, RW, key));
	expect_ok(pkey_set(key, PKEY_DISABLE_WRITE));
}

#define CASE(f)		{ .name = #f, .set_up = f }

static const struct diff_case cases[] = {
	CASE(misaligned_source), CASE(misaligned_destination),
	CASE(misaligned_length), CASE(no_length), CASE(unknown_mode),
	CASE(wrapping), CASE(in_place), CASE(overlap_forward),
	CASE(overlap_backward), CASE(nothing_at_source),
	CASE(nothing_at_destination), CASE(source_ends),
	CASE(destination_ends), CASE(source_cut), CASE(destination_cut),
	CASE(unregistered), CASE(both_read_only), CASE(source_read_only),
	CASE(destination_executable), CASE(both_executable),
	CASE(source_inaccessible), CASE(shared_source),
	CASE(shared_destination), CASE(file_source), CASE(file_destination),
	CASE(droppable_source), CASE(growing_source), CASE(locked_source),
	CASE(locked_destination), CASE(key_of_source), CASE(keys_deny),
};

START_TEST(mapping)
{
	diff_case_run(&cases[_i]);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(mapping, ARRAY_SIZE(cases)),
};
DIFF_MAIN("diff_map", tests)
