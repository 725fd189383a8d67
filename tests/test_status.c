/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/status.h"
#include "fs/status_draw.h"

static const char some_stats[] = "# HELP zcfs_read_bytes_total Bytes served to READ.\n"
				 "# TYPE zcfs_read_bytes_total counter\n"
				 "zcfs_read_bytes_total{path=\"fixed\"} 1024\n"
				 "zcfs_read_bytes_total{path=\"plain\"} 0\n"
				 "zcfs_write_bytes_total{path=\"fixed\"} 18446744073709551615\n"
				 "zcfs_copy_bytes_total{path=\"clone\"} 1073741824\n"
				 "zcfs_copy_bytes_total{path=\"hole\"} 512\n"
				 "zcfs_copy_requests_total 7\n"
				 "zcfs_requests_total{op=\"lookup\"} 5\n"
				 "zcfs_requests_total{op=\"read\"} 50\n"
				 "zcfs_requests_total{op=\"write\"} 5\n"
				 "zcfs_requests_total{op=\"open\"} 0\n"
				 "zcfs_of_a_later_version{a=\"b\"} 3\n"
				 "zcfs_inodes 12\n";

static const char some_page[] = "backing            /srv/some data\n"
				"mount point        /mnt\n"
				"running            3723 s, on Linux 6.18\n"
				"transport          dev, FUSE protocol 7.45\n"
				"downgrades\n"
				"  without registered buffers: 8 MiB may be locked: see ulimit -l\n"
				"  without file handles: Operation not permitted\n"
				"kernel features\n"
				"  without a meaning: this is no downgrade\n";

static void parse_copies(struct status *status, const char *text)
{
	*status = (struct status){ .mount_point = "/mnt" };
	assert_int_equal(status_parse_copies(status, text), 0);
}

/* The text of status as drawn, to be freed. */
static char *drawn(const struct status *status, unsigned columns, unsigned rows)
{
	struct status_view view = { .columns = columns, .rows = rows };
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	status_draw(status, &view, out);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(strlen(text), size);
	return text;
}

static char *drawn_json(const struct status *status)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	status_draw_json(status, out);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(strlen(text), size);
	return text;
}

static void assert_name_drawn(const char *name, size_t columns, const char *expected)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	status_draw_name(name, columns, out);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, expected);
	free(text);
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in: %s", part, text);
}

/* ---- taking texts apart ---- */

static void stats_are_sorted_by_metric(void **state)
{
	struct status status = { 0 };

	assert_int_equal(status_parse_stats(&status, some_stats), 0);
	assert_int_equal(status.read_bytes.count, 2);
	assert_string_equal(status.read_bytes.items[0].name, "fixed");
	assert_int_equal(status.read_bytes.items[0].value, 1024);
	assert_string_equal(status.read_bytes.items[1].name, "plain");
	assert_true(status.write_bytes.items[0].value == UINT64_MAX);
	assert_int_equal(status.copy_bytes.count, 2);
	assert_int_equal(status_sum(&status.copy_bytes), 1073741824 + 512);
	assert_int_equal(status.copy_requests, 7);
	assert_int_equal(status.requests.count, 4);
	assert_int_equal(status_sum(&status.requests), 60);
	status_fini(&status);
}

static void stats_that_are_none_are_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"\n\n",
		"text",
		"node_cpu_seconds 3\n",
		"zcfs_inodes\n",
		"zcfs_inodes x\n",
		"zcfs_inodes 1x\n",
		"zcfs_inodes 18446744073709551616\n",
		"zcfs_inodes{path=} 1\n",
		"zcfs_inodes{path=\"} 1\n",
		"# zcfs_inodes 1\n",
		" ",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct status status = { 0 };

		assert_int_equal(status_parse_stats(&status, texts[i]), -EPROTO);
		status_fini(&status);
	}
}

static void a_label_that_is_too_long_is_passed_over(void **state)
{
	static const char text[] =
		"zcfs_read_bytes_total{path=\"0123456789012345678901234567890\"} 1\n"
		"zcfs_read_bytes_total{path=\"01234567890123456789012345678901\"} 2\n";
	struct status status = { 0 };

	assert_int_equal(status_parse_stats(&status, text), 0);
	assert_int_equal(status.read_bytes.count, 1);
	assert_int_equal(status.read_bytes.items[0].value, 1);
	status_fini(&status);
}

static void the_page_tells_what_is_missing(void **state)
{
	struct status status = { 0 };

	assert_int_equal(status_parse_page(&status, some_page), 0);
	assert_string_equal(status.backing, "/srv/some data");
	assert_string_equal(status.transport, "dev, FUSE protocol 7.45");
	assert_int_equal(status.running, 3723);
	assert_int_equal(status.downgrade_count, 2);
	assert_string_equal(status.downgrades[0].what, "registered buffers");
	assert_string_equal(status.downgrades[0].why, "8 MiB may be locked: see ulimit -l");
	assert_string_equal(status.downgrades[1].what, "file handles");
	status_fini(&status);
}

static void a_page_without_downgrades_has_none(void **state)
{
	struct status status = { 0 };

	assert_int_equal(status_parse_page(&status, "downgrades\n  none\n"), 0);
	assert_int_equal(status.downgrade_count, 0);
	status_fini(&status);
	assert_int_equal(status_parse_page(&status, "some other file\n"), -EPROTO);
	status_fini(&status);
}

static void copies_are_pairs_of_key_and_value(void **state)
{
	struct status status;

	parse_copies(&status,
		     "pid=1234 path=fixed done=123 total=456 seconds=1.25 src=\"a b\" "
		     "dst=\"c\"\n"
		     "pid=5 dst=\"x\" later=\"un known\" thing=1 done=18446744073709551615\n"
		     "waiting=3\n");
	assert_int_equal(status.copy_count, 2);
	assert_int_equal(status.copies[0].pid, 1234);
	assert_string_equal(status.copies[0].path, "fixed");
	assert_int_equal(status.copies[0].done, 123);
	assert_int_equal(status.copies[0].total, 456);
	assert_true(status.copies[0].seconds == 1.25);
	assert_string_equal(status.copies[0].src, "a b");
	assert_string_equal(status.copies[0].dst, "c");
	assert_null(status.copies[1].src);
	assert_string_equal(status.copies[1].dst, "x");
	assert_true(status.copies[1].done == UINT64_MAX);
	assert_int_equal(status.waiting, 3);
	status_fini(&status);
}

static void escapes_of_c_are_undone(void **state)
{
	struct status status;

	parse_copies(&status,
		     "pid=1 src=\"a\\n\\\"b\\\\\\033[31m\\377\\1x\" dst=\"\\t\\r\\q\\0123\"\n");
	assert_string_equal(status.copies[0].src, "a\n\"b\\\033[31m\377\001x");
	assert_string_equal(status.copies[0].dst, "\t\rq\n3");
	status_fini(&status);
}

/* A name cannot feign a pair or a line: its quotes and newlines are escaped. */
static void what_looks_like_a_pair_in_a_name_is_none(void **state)
{
	struct status status;

	parse_copies(&status,
		     "pid=1 src=\"x\\\" done=9 pid=7\\npid=8\" dst=\"waiting=4\"\nwaiting=0\n");
	assert_int_equal(status.copy_count, 1);
	assert_int_equal(status.copies[0].pid, 1);
	assert_int_equal(status.copies[0].done, 0);
	assert_string_equal(status.copies[0].src, "x\" done=9 pid=7\npid=8");
	assert_int_equal(status.waiting, 0);
	status_fini(&status);
}

/* None of these may read beyond its end; the sanitizers watch. */
static void broken_copies_are_taken_as_far_as_they_go(void **state)
{
	static const char *const lines[] = {
		"pid=",
		"pid=x",
		"pid=1 src=\"",
		"pid=1 src=\"abc",
		"pid=1 src=\"abc\\",
		"pid=1 src=\"abc\\\"",
		"pid=1 src=\"\\3",
		"pid=1 src=\"\\000rest\"",
		"pid=1 seconds=. done= total=-1",
		"pid=1 seconds=1. done=1.5",
		"pid=1 seconds=.5",
		"pid=1 path=012345678901234567890123456789012345678901234567890123456789",
		"pid=1   =   x",
		"=1",
		"\"",
		"waiting=\"",
		"waiting",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char *exact = strdup(lines[i]); /* with its end where a sanitizer sees it */
		struct status status;
		char *text;

		assert_non_null(exact);
		parse_copies(&status, exact);
		assert_true(status.copy_count <= 1);
		if (status.copy_count) {
			assert_int_equal(status.copies[0].done, 0);
			assert_int_equal(status.copies[0].total, 0);
			assert_string_equal(status.copies[0].path, "");
		}
		text = drawn(&status, 40, 0);
		free(text);
		status_fini(&status);
		free(exact);
	}
}

static void rate_and_time_left_are_of_the_whole_copy(void **state)
{
	struct status_copy copy = { .done = 100, .total = 400, .seconds = 2 };

	assert_true(status_copy_rate(&copy) == 50);
	assert_true(status_copy_seconds_left(&copy) == 6);
	copy.done = 0;
	assert_true(status_copy_seconds_left(&copy) < 0);
	copy.done = 400;
	assert_true(status_copy_seconds_left(&copy) == 0);
	copy.seconds = 0;
	assert_true(status_copy_rate(&copy) < 0);
	copy.done = 500; /* the source grew */
	assert_true(status_copy_seconds_left(&copy) == 0);
}

/* ---- drawing ---- */

static void totals_are_drawn_by_path_and_operation(void **state)
{
	struct status status = { .mount_point = "/mnt" };
	char *text;

	assert_int_equal(status_parse_page(&status, some_page), 0);
	assert_int_equal(status_parse_stats(&status, some_stats), 0);
	text = drawn(&status, 0, 0);
	assert_string_equal(
		text, "/mnt: /srv/some data, running 1:02:03, transport dev, FUSE protocol 7.45\n"
		      "read       1.0 KiB    fixed 1.0 KiB\n"
		      "written    16.0 EiB   fixed 16.0 EiB\n"
		      "copied     1.0 GiB    clone 1.0 GiB, hole 512 B\n"
		      "requests   60         read 50, lookup 5, write 5\n"
		      "without registered buffers: 8 MiB may be locked: see ulimit -l\n"
		      "without file handles: Operation not permitted\n"
		      "copies     0 in flight, 0 waiting\n");
	free(text);
	status_fini(&status);
}

static void a_copy_is_a_bar_on_a_terminal_and_a_line_elsewhere(void **state)
{
	struct status status;
	char *text;

	parse_copies(&status, "pid=7 path=direct done=1073741824 total=4294967296 seconds=2 "
			      "src=\"a\" dst=\"b/c\"\nwaiting=2\n");
	text = drawn(&status, 80, 0);
	assert_has(text,
		   "copies     1 in flight, 2 waiting\n"
		   "a -> b/c\n"
		   "[#####-----------------]  25 %  0:06 left  direct  1.0 GiB of 4.0 GiB  512 "
		   "MiB/s\n");
	free(text);
	text = drawn(&status, 40, 0);
	assert_has(text, "\na -> b/c\n[###----------]  25 %  0:06 left  direct\n");
	free(text);
	text = drawn(&status, 20, 0);
	assert_has(text, "\na -> b/c\n[###---------]  25 %\n");
	free(text);
	text = drawn(&status, 10, 0);
	assert_has(text, "\na -> b/c\n 25 %\n");
	free(text);
	text = drawn(&status, 0, 0);
	assert_has(text,
		   "\npid 7   25 %  0:06 left  direct  1.0 GiB of 4.0 GiB  512 MiB/s  a -> b/c\n");
	assert_null(strchr(text, '['));
	free(text);
	status_fini(&status);
}

static void a_bar_is_full_only_at_the_end(void **state)
{
	struct status status;
	char *text;

	parse_copies(&status, "pid=1 done=999999 total=1000000\n"
			      "pid=2 done=1000000 total=1000000\n"
			      "pid=3 done=0 total=0\n");
	text = drawn(&status, 18, 0);
	assert_has(text, "[#########-]  99 %\n");
	assert_has(text, "[##########] 100 %\n? -> ?\n[##########] 100 %\n");
	free(text);
	status_fini(&status);
}

static void names_are_cut_to_half_a_line_each(void **state)
{
	struct status status;
	char *text;

	parse_copies(&status, "pid=1 src=\"0123456789\" dst=\"0123456789\"\n"
			      "pid=2 src=\"01\" dst=\"0123456789\"\n"
			      "pid=3 src=\"0123456789\" dst=\"01\"\n");
	text = drawn(&status, 16, 0);
	assert_has(text, "\n..6789 -> ..6789\n");
	assert_has(text, "\n01 -> 0123456789\n");
	assert_has(text, "\n0123456789 -> 01\n");
	free(text);
	text = drawn(&status, 14, 0);
	assert_has(text, "\n01 -> ..456789\n");
	free(text);
	status_fini(&status);
}

/* Columns that a line takes, and rows, whatever the size of the terminal. */
static void assert_fits(const char *text, unsigned columns, unsigned rows)
{
	unsigned lines = 0;

	while (*text) {
		size_t length = strcspn(text, "\n");

		assert_true(length <= columns);
		assert_true(text[length] == '\n');
		text += length + 1;
		lines++;
	}
	assert_true(lines <= rows);
}

static void nothing_is_wider_or_higher_than_the_terminal(void **state)
{
	struct status status = { .mount_point = "/mnt/of/somebody\nelse\033[2J" };
	char *text;

	assert_int_equal(status_parse_page(&status, some_page), 0);
	assert_int_equal(status_parse_stats(&status, some_stats), 0);
	assert_int_equal(status_parse_copies(
				 &status, "pid=1 done=5 total=9 seconds=3 src=\"long\\nname of a "
					  "file\" dst=\"\\033[31m\"\n"
					  "pid=2 path=hole done=5 total=9 src=\"\" dst=\"b\"\n"
					  "pid=3\n"
					  "waiting=0\n"),
			 0);
	for (unsigned columns = 1; columns < 150; columns++) {
		for (unsigned rows = 1; rows < 20; rows++) {
			text = drawn(&status, columns, rows);
			assert_fits(text, columns, rows);
			free(text);
		}
	}
	text = drawn(&status, 80, 11);
	assert_has(text, "\nand 2 more\n");
	free(text);
	text = drawn(&status, 80, 14);
	assert_null(strstr(text, "more"));
	free(text);
	status_fini(&status);
}

static void control_characters_never_reach_the_terminal(void **state)
{
	struct status status = { .mount_point = "/a\033]0;title\007" };
	char name[256], *text;

	for (int i = 0; i < 255; i++)
		name[i] = (char)(i + 1);
	name[255] = '\0';
	assert_int_equal(status_parse_copies(&status, "pid=1 path=\033[1m\r src=\"\\r\\033c\" "
						      "dst=\"\302\233m\\302\\2330m\\177\"\n"),
			 0);
	status.copies[0].src = realloc(status.copies[0].src, sizeof(name));
	assert_non_null(status.copies[0].src);
	memcpy(status.copies[0].src, name, sizeof(name));
	for (unsigned columns = 0; columns < 300; columns += 79) {
		text = drawn(&status, columns, 0);
		for (const char *at = text; *at; at++)
			assert_true(*at == '\n' || (*at >= ' ' && *at < 0x7f));
		free(text);
	}
	text = drawn_json(&status);
	for (const char *at = text; at[1]; at++)
		assert_true(*at >= ' ' && *at < 0x7f);
	free(text);
	status_fini(&status);
}

static void names_are_shown_with_escapes(void **state)
{
	assert_name_drawn("plain name", 100, "plain name");
	assert_name_drawn("a\nb\tc\\d", 100, "a\\nb\\tc\\\\d");
	assert_name_drawn("\001\033\177\377", 100, "\\001\\033\\177\\377");
	assert_int_equal(status_name_columns("a\033"), 5);
	assert_name_drawn("0123456789", 10, "0123456789");
	assert_name_drawn("0123456789", 9, "..3456789");
	assert_name_drawn("0123456789", 2, "..");
	assert_name_drawn("0123456789", 1, ".");
	assert_name_drawn("0123456789", 0, "");
	/* An escape is shown whole or not at all. */
	assert_name_drawn("abc\033d", 6, "..d");
	assert_name_drawn("abc\033d", 7, "..\\033d");
	assert_name_drawn("", 0, "");
}

static void names_in_utf8_are_shown_where_the_locale_has_it(void **state)
{
	/* a, e acute, a wide ideograph, a combining acute */
	static const char name[] = "a\303\251\344\270\255e\314\201";

	assert_name_drawn(name, 100, "a\\303\\251\\344\\270\\255e\\314\\201");
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		skip();
	assert_name_drawn(name, 100, name);
	assert_int_equal(status_name_columns(name), 5);
	assert_name_drawn(name, 4, "..e\314\201");
	/* A C1 control, a right-to-left override, a zero-width space, and half a character. */
	assert_name_drawn("\302\233m", 100, "\\302\\233m");
	assert_name_drawn("\342\200\256m", 100, "\\342\\200\\256m");
	assert_name_drawn("\342\200\213m", 100, "\\342\\200\\213m");
	assert_name_drawn("\344\270", 100, "\\344\\270");
	assert_name_drawn("\344\270m", 100, "\\344\\270m");
	setlocale(LC_CTYPE, "C");
}

/* ---- JSON ---- */

static void json_of_nothing_is_complete(void **state)
{
	struct status status = { .mount_point = "/mnt" };
	char *text = drawn_json(&status);

	assert_string_equal(text, "{\"mount_point\":\"/mnt\",\"backing\":null,\"transport\":null,"
				  "\"running_seconds\":0,\"read_bytes\":{},\"write_bytes\":{},"
				  "\"copy_bytes\":{},\"copy_requests\":0,\"requests\":{},"
				  "\"downgrades\":[],\"copies\":[],\"waiting\":0}\n");
	free(text);
}

static void json_has_all_that_is_known(void **state)
{
	struct status status = { .mount_point = "/mnt" };
	char *text;

	assert_int_equal(status_parse_page(&status, some_page), 0);
	assert_int_equal(status_parse_stats(&status, some_stats), 0);
	assert_int_equal(status_parse_copies(&status,
					     "pid=1 path=fixed done=100 total=400 seconds=2 "
					     "src=\"a\" dst=\"b\"\npid=2\nwaiting=1\n"),
			 0);
	text = drawn_json(&status);
	assert_has(text, "\"running_seconds\":3723,\"read_bytes\":{\"fixed\":1024,\"plain\":0},"
			 "\"write_bytes\":{\"fixed\":18446744073709551615}");
	assert_has(text, "\"downgrades\":[{\"without\":\"registered buffers\",\"why\":\"8 MiB may "
			 "be locked: see ulimit -l\"},{\"without\":");
	assert_has(text, "\"copies\":[{\"pid\":1,\"path\":\"fixed\",\"done\":100,\"total\":400,"
			 "\"seconds\":2.000,\"bytes_per_second\":50.000,\"seconds_left\":6.000,"
			 "\"src\":\"a\",\"dst\":\"b\"},"
			 "{\"pid\":2,\"path\":null,\"done\":0,\"total\":0,\"seconds\":0.000,"
			 "\"bytes_per_second\":null,\"seconds_left\":0.000,\"src\":null,"
			 "\"dst\":null}],\"waiting\":1}\n");
	free(text);
	status_fini(&status);
}

static void json_escapes_whatever_a_name_holds(void **state)
{
	static const struct {
		const char *name, *expected;
	} cases[] = {
		{ "\"\\/", "\"\\\"\\\\/\"" },
		{ "\n\033\177", "\"\\u000a\\u001b\\u007f\"" },
		{ "\303\251", "\"\\u00e9\"" },
		{ "\360\237\230\200", "\"\\ud83d\\ude00\"" },
		{ "\377", "\"\\udcff\"" },
		{ "\300\257", "\"\\udcc0\\udcaf\"" }, /* overlong */
		{ "\355\240\200", "\"\\udced\\udca0\\udc80\"" }, /* a surrogate */
		{ "\364\220\200\200", "\"\\udcf4\\udc90\\udc80\\udc80\"" }, /* above U+10FFFF */
		{ "\344\270", "\"\\udce4\\udcb8\"" }, /* cut off */
		{ "\370\210", "\"\\udcf8\\udc88\"" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct status status = { .mount_point = cases[i].name };
		char *text = drawn_json(&status);

		assert_memory_equal(text + strlen("{\"mount_point\":"), cases[i].expected,
				    strlen(cases[i].expected));
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stats_are_sorted_by_metric),
		cmocka_unit_test(stats_that_are_none_are_refused),
		cmocka_unit_test(a_label_that_is_too_long_is_passed_over),
		cmocka_unit_test(the_page_tells_what_is_missing),
		cmocka_unit_test(a_page_without_downgrades_has_none),
		cmocka_unit_test(copies_are_pairs_of_key_and_value),
		cmocka_unit_test(escapes_of_c_are_undone),
		cmocka_unit_test(what_looks_like_a_pair_in_a_name_is_none),
		cmocka_unit_test(broken_copies_are_taken_as_far_as_they_go),
		cmocka_unit_test(rate_and_time_left_are_of_the_whole_copy),
		cmocka_unit_test(totals_are_drawn_by_path_and_operation),
		cmocka_unit_test(a_copy_is_a_bar_on_a_terminal_and_a_line_elsewhere),
		cmocka_unit_test(a_bar_is_full_only_at_the_end),
		cmocka_unit_test(names_are_cut_to_half_a_line_each),
		cmocka_unit_test(nothing_is_wider_or_higher_than_the_terminal),
		cmocka_unit_test(control_characters_never_reach_the_terminal),
		cmocka_unit_test(names_are_shown_with_escapes),
		cmocka_unit_test(names_in_utf8_are_shown_where_the_locale_has_it),
		cmocka_unit_test(json_of_nothing_is_complete),
		cmocka_unit_test(json_has_all_that_is_known),
		cmocka_unit_test(json_escapes_whatever_a_name_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
