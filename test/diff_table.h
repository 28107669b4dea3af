/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where uremap means to differ from UFFDIO_MOVE, and why:
 *
 *	INTENDED(case, kernels, lines that differ, UFFDIO_MOVE, uremap, why)
 *
 * The two before the last are patterns for the first of those lines.  The tests
 * fail for a difference that is not here, and for one here that they do not see.
 * test/matrix/differences writes the table to docs/differences.md.
 */

/* ---- arguments and mappings: diff_map.c --------------------------------- */
INTENDED("misaligned_source", BOTH, "move", "untouched", "the error",
	 "all that the call has to say is written whatever the outcome")
INTENDED("misaligned_destination", BOTH, "move", "untouched", "the error",
	 "likewise")
INTENDED("misaligned_length", BOTH, "move", "untouched", "the error",
	 "likewise")
INTENDED("no_length", BOTH, "move", "untouched", "the error", "likewise")
INTENDED("unknown_mode", BOTH, "move", "untouched", "the error", "likewise")
INTENDED("wrapping", BOTH, "move", "untouched", "the error", "likewise")
INTENDED("in_place", BOTH, "result", "EEXIST", "EINVAL",
	 "ranges that overlap are refused as such, in both directions")
INTENDED("source_ends", BOTH, "result, move, source, destination",
	 "EINVAL", "EAGAIN",
	 "ranges are walked mapping by mapping: what is there moves, and the "
	 "rest has its own error, ENOENT")
INTENDED("destination_ends", BOTH, "result, move, source, destination",
	 "EINVAL", "EAGAIN", "likewise")
INTENDED("source_cut", BOTH, "result, move, source, destination",
	 "EINVAL", "done", "likewise: a range may cross mappings")
INTENDED("destination_cut", BOTH, "result, move, source, destination",
	 "EINVAL", "done", "likewise")
INTENDED("unregistered", BOTH, "result, move, source, destination",
	 "EINVAL", "done",
	 "consent is given by registering with the device; a userfaultfd is "
	 "not needed")
INTENDED("droppable_source", BOTH, "result, move, source, destination",
	 "done", "EINVAL",
	 "memory that may vanish must not get into a mapping that keeps its "
	 "contents")
INTENDED("keys_deny", BOTH, "result, move, source, destination",
	 "done", "EINVAL",
	 "what a protection key denies the caller, the kernel does not do for it")

/* ---- small pages: diff.c -------------------------------------------------- */
INTENDED("all_holes", BOTH, "page tables", "+*", "+0 KiB",
	 "holes are passed over at the level where they are seen, and get no "
	 "page tables")
INTENDED("swapped_shared", K612, "result, move, source, destination",
	 "EBUSY", "done",
	 "what is swapped out is brought back before it is judged, and nobody "
	 "shares it any more")
INTENDED("swapped_shared", K72, "source", "0-15: an entry*", "0: a new page*",
	 "likewise, but this kernel keeps it shared: it is refused, and is back")
INTENDED("read_twice", BOTH, "accounting", "*referenced 64*",
	 "*referenced 0,*",
	 "what was not used since it was last looked at does not look used")
INTENDED("swapped_and_back", K612, "accounting", "*dirty 0,*", "*dirty 64,*",
	 "a clean page that the swap cache no longer has is kept from vanishing")
INTENDED("huge_lazyfree", K612, "accounting", "*referenced 2048*",
	 "*referenced 0,*",
	 "what was not used since it was last looked at does not look used")
INTENDED("lazyfree", BOTH, "accounting", "*lazily freed 64*",
	 "*lazily freed 0*", "what was moved is kept: it cannot vanish any more")
INTENDED("zero_soft_dirty", BOTH, "destination", "*zero page, zeros*",
	 "*zero page, soft-dirty, zeros*",
	 "who tracks changes sees zero pages come, too")
INTENDED("wp_swapped", BOTH, "destination", "*write-protected*",
	 "0-15: an entry, soft-dirty*",
	 "a protection that the destination's owner cannot lift is not carried")
INTENDED("wp_hole", BOTH, "result, move, source, destination",
	 "EAGAIN", "done",
	 "a write-protected hole is a hole; its protection stays behind")
INTENDED("wp_hole_destination", BOTH, "result, move, source, destination",
	 "EAGAIN", "done",
	 "a write-protected hole is filled and the page protected, as "
	 "UFFDIO_COPY fills it")

/* ---- huge pages, large folios: diff_thp.c ------------------------------- */
INTENDED("huge_onto_table", BOTH, "destination", "*source's page, soft-dirty*",
	 "*of a large folio, soft-dirty*",
	 "the folio stays whole and is mapped by small entries")
INTENDED("huge_populated", BOTH,
	 "result, move, huge pages, source, destination", "EAGAIN", "EEXIST",
	 "a huge page is not split for a part of it that would fit")
INTENDED("huge_pinned_onto_table", BOTH, "result", "never ends", "EBUSY",
	 "a folio that cannot be split is said to be so")
INTENDED("huge_pinned_part", BOTH, "result", "never ends", "EBUSY", "likewise")
INTENDED("huge_referenced_part", BOTH, "result", "never ends", "EBUSY",
	 "likewise")
INTENDED("huge_small_entries", BOTH, "destination",
	 "*source's page, soft-dirty*", "*of a large folio, soft-dirty*",
	 "a folio that is asked for completely is not split")
INTENDED("huge_first_shared", BOTH, "result, move, source, destination",
	 "EBUSY", "done",
	 "a page is judged by its own flag, not by that of its folio's first "
	 "page")
INTENDED("huge_zero_soft_dirty", K612, "destination", "*large folio, zeros*",
	 "*soft-dirty*", "who tracks changes sees zero pages come, too")
INTENDED("folio_64k", BOTH, "destination", "*source's page, soft-dirty*",
	 "*of a large folio, soft-dirty*",
	 "a folio that is asked for completely is not split")
INTENDED("folio_64k_part", BOTH, "destination",
	 "0-19: the source's page, soft-dirty*",
	 "0-15: the source's page, of a large folio*; 16-19: *",
	 "only a folio that is cut by the request is split")
INTENDED("folio_64k_populated", BOTH, "move, source, destination", "20 pages",
	 "16 pages", "a folio is not split for a part of it that would fit")
INTENDED("folio_64k_pinned", BOTH, "result", "never ends", "EAGAIN",
	 "a folio that is pinned is said to be so, after what came before it")
