/* SPDX-License-Identifier: MIT */
#include "status_draw.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#define BAR_MIN 10 /* columns; a shorter one says nothing */
#define BAR_MAX 60

/* ---- one character, made fit to be shown ---- */

struct piece {
	char text[MB_LEN_MAX + 1];
	unsigned columns;
};

/* Characters that iswprint(3) lets through, and that turn around, hide or join what stands beside
 * them: zero-width ones, marks and overrides of the direction, the byte order mark. */
static bool is_deceptive(wchar_t c)
{
	return c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       c >= 0xe0000;
}

static void escape_byte(unsigned char byte, struct piece *ret_piece)
{
	static const char bytes[] = "\a\b\f\n\r\t\v\\", letters[] = "abfnrtv\\";
	const char *at = strchr(bytes, byte);

	if (at && *at)
		snprintf(ret_piece->text, sizeof(ret_piece->text), "\\%c", letters[at - bytes]);
	else
		snprintf(ret_piece->text, sizeof(ret_piece->text), "\\%03o", byte);
	ret_piece->columns = (unsigned)strlen(ret_piece->text);
}

/* Returns where the next character is to be looked for. *at is not the end. */
static const char *next_piece(const char *at, struct piece *ret_piece)
{
	mbstate_t state = { 0 };
	wchar_t c = 0;
	size_t size = mbrtowc(&c, at, strnlen(at, MB_LEN_MAX), &state);
	int columns;

	if (size == 0 || size > MB_LEN_MAX || c == '\\' || !iswprint((wint_t)c) ||
	    is_deceptive(c) || (columns = wcwidth(c)) < 0) {
		escape_byte((unsigned char)*at, ret_piece);
		return at + 1;
	}
	memcpy(ret_piece->text, at, size);
	ret_piece->text[size] = '\0';
	ret_piece->columns = (unsigned)columns;
	return at + size;
}

size_t status_name_columns(const char *name)
{
	struct piece piece;
	size_t columns = 0;

	while (*name) {
		name = next_piece(name, &piece);
		columns += piece.columns;
	}
	return columns;
}

/* Shows the beginning of a text, as far as it fits. */
static void draw_head(const char *text, size_t columns, FILE *out)
{
	struct piece piece;

	while (*text) {
		text = next_piece(text, &piece);
		if (piece.columns > columns)
			return;
		columns -= piece.columns;
		fputs(piece.text, out);
	}
}

void status_draw_name(const char *name, size_t columns, FILE *out)
{
	size_t wanted = status_name_columns(name);
	const size_t dots = columns < 2 ? columns : 2;
	struct piece piece;

	if (wanted > columns) {
		while (wanted > columns - dots) {
			name = next_piece(name, &piece);
			wanted -= piece.columns;
		}
		fprintf(out, "%.*s", (int)dots, "..");
	}
	draw_head(name, columns, out);
}

/* ---- numbers for people ---- */

struct text {
	char bytes[4096];
	size_t length;
};

/* Appends; what does not fit is left out. */
static void __attribute__((format(printf, 2, 3))) add(struct text *text, const char *format, ...)
{
	const size_t room = sizeof(text->bytes) - text->length;
	va_list arguments;
	int wanted;

	va_start(arguments, format);
	wanted = vsnprintf(text->bytes + text->length, room, format, arguments);
	va_end(arguments);
	if (wanted > 0)
		text->length += (size_t)wanted < room ? (size_t)wanted : room - 1;
}

static void add_bytes(struct text *text, double bytes)
{
	static const char units[][4] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned unit = 0;

	while (bytes >= 1024 && unit < 6) {
		bytes /= 1024;
		unit++;
	}
	add(text, "%.*f %s", unit && bytes < 100, bytes, units[unit]);
}

static void add_duration(struct text *text, uint64_t seconds)
{
	if (seconds >= 3600)
		add(text, "%" PRIu64 ":%02u:%02u", seconds / 3600, (unsigned)(seconds / 60 % 60),
		    (unsigned)(seconds % 60));
	else
		add(text, "%u:%02u", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
}

static void add_left(struct text *text, double seconds)
{
	if (seconds < 0 || seconds > 1e9) {
		add(text, "-:-- left");
		return;
	}
	add_duration(text, (uint64_t)(seconds + 0.5));
	add(text, " left");
}

/* Rounded down: 100 is for what is complete. */
static unsigned percent(const struct status_copy *copy)
{
	if (copy->done >= copy->total)
		return 100;
	return (unsigned)((double)copy->done / (double)copy->total * 100);
}

/* ---- lines ---- */

struct page {
	FILE *out;
	size_t columns;
	size_t rows; /* left */
};

static void __attribute__((format(printf, 2, 3))) put(struct page *page, const char *format, ...)
{
	va_list arguments;
	char *line;
	int length;

	if (!page->rows)
		return;
	page->rows--;
	va_start(arguments, format);
	length = vasprintf(&line, format, arguments);
	va_end(arguments);
	if (length >= 0) {
		draw_head(line, page->columns, page->out);
		free(line);
	}
	fputc('\n', page->out);
}

static void put_title(struct page *page, const struct status *status)
{
	struct text running = { .length = 0 };

	add_duration(&running, status->running);
	put(page, "%s: %s, running %s, transport %s", status->mount_point,
	    status->backing ? status->backing : "?", running.bytes,
	    status->transport ? status->transport : "?");
}

static void put_bytes(struct page *page, const char *what, const struct status_counts *counts)
{
	struct text sum = { .length = 0 }, parts = { .length = 0 };

	add_bytes(&sum, (double)status_sum(counts));
	for (size_t i = 0; i < counts->count; i++) {
		if (!counts->items[i].value)
			continue;
		add(&parts, "%s%s ", parts.length ? ", " : "", counts->items[i].name);
		add_bytes(&parts, (double)counts->items[i].value);
	}
	if (parts.length)
		put(page, "%-10s %-10s %s", what, sum.bytes, parts.bytes);
	else
		put(page, "%-10s %s", what, sum.bytes);
}

/* The largest that comes after the one given, NULL for none: by value, and by place among equals.
 */
static const struct status_count *next_largest(const struct status_counts *counts,
					       const struct status_count *after)
{
	const struct status_count *best = NULL;

	/* By index: items is NULL when there are none, and NULL is nothing to calculate with. */
	for (size_t i = 0; i < counts->count; i++) {
		const struct status_count *item = &counts->items[i];

		if (after &&
		    (item->value > after->value || (item->value == after->value && item <= after)))
			continue;
		if (!best || item->value > best->value)
			best = item;
	}
	return best;
}

static void put_requests(struct page *page, const struct status *status)
{
	const struct status_count *item = NULL;
	struct text parts = { .length = 0 };

	while ((item = next_largest(&status->requests, item)) && item->value)
		add(&parts, "%s%s %" PRIu64, parts.length ? ", " : "", item->name, item->value);
	put(page, "%-10s %-10" PRIu64 " %s", "requests", status_sum(&status->requests),
	    parts.length ? parts.bytes : "none");
}

static void put_totals(struct page *page, const struct status *status)
{
	put_bytes(page, "read", &status->read_bytes);
	put_bytes(page, "written", &status->write_bytes);
	put_bytes(page, "copied", &status->copy_bytes);
	put_requests(page, status);
	for (size_t i = 0; i < status->downgrade_count; i++) {
		const struct status_downgrade *downgrade = &status->downgrades[i];

		put(page, "without %s: %s", downgrade->what ? downgrade->what : "?",
		    downgrade->why ? downgrade->why : "?");
	}
	put(page, "%-10s %zu in flight, %" PRIu64 " waiting", "copies", status->copy_count,
	    status->waiting);
}

/* ---- copies ---- */

static const char *name_of(const char *name)
{
	return name && *name ? name : "?";
}

/* "SRC -> DST": both in half of the line each, or in what the other one leaves. */
static void put_names(struct page *page, const struct status_copy *copy)
{
	const char *src = name_of(copy->src), *dst = name_of(copy->dst);
	const size_t room = page->columns > 4 ? page->columns - 4 : 0;
	size_t src_room = status_name_columns(src), dst_room = status_name_columns(dst);

	if (!page->rows)
		return;
	page->rows--;
	if (src_room > room / 2 && dst_room > room / 2)
		src_room = dst_room = room / 2;
	else if (src_room > room / 2)
		src_room = src_room < room - dst_room ? src_room : room - dst_room;
	else
		dst_room = dst_room < room - src_room ? dst_room : room - src_room;
	status_draw_name(src, src_room, page->out);
	fprintf(page->out, "%.*s", page->columns < 4 ? (int)page->columns : 4, " -> ");
	status_draw_name(dst, dst_room, page->out);
	fputc('\n', page->out);
}

/* From the most important number on, in the detail wanted: 0, 1 or 2. */
static void describe(const struct status_copy *copy, int detail, struct text *ret_text)
{
	double rate = status_copy_rate(copy);

	*ret_text = (struct text){ .length = 0 };
	add(ret_text, "%3u %%", percent(copy));
	if (detail > 0) {
		add(ret_text, "  ");
		add_left(ret_text, status_copy_seconds_left(copy));
		add(ret_text, "  %s", copy->path[0] ? copy->path : "?");
	}
	if (detail > 1) {
		add(ret_text, "  ");
		add_bytes(ret_text, (double)copy->done);
		add(ret_text, " of ");
		add_bytes(ret_text, (double)copy->total);
		add(ret_text, "  ");
		add_bytes(ret_text, rate > 0 ? rate : 0);
		add(ret_text, "/s");
	}
}

static void put_bar(struct page *page, const struct status_copy *copy)
{
	struct text bar = { .length = 0 }, numbers;
	size_t columns, filled;
	int detail = 3;

	do
		describe(copy, --detail, &numbers);
	while (detail && numbers.length + BAR_MIN + 3 > page->columns);
	if (numbers.length + BAR_MIN + 3 > page->columns) {
		put(page, "%s", numbers.bytes);
		return;
	}
	columns = page->columns - numbers.length - 3;
	columns = columns < BAR_MAX ? columns : BAR_MAX;
	filled = columns * percent(copy) / 100;
	for (size_t i = 0; i < columns; i++)
		add(&bar, "%c", i < filled ? '#' : '-');
	put(page, "[%s] %s", bar.bytes, numbers.bytes);
}

/* On a terminal two lines each, as many as there is room for; else one. */
static void put_copies(struct page *page, const struct status *status, bool terminal)
{
	for (size_t i = 0; i < status->copy_count; i++) {
		const struct status_copy *copy = &status->copies[i];
		size_t left = status->copy_count - i;
		struct text numbers;

		if (!terminal) {
			describe(copy, 2, &numbers);
			put(page, "pid %" PRIu64 "  %s  %s -> %s", copy->pid, numbers.bytes,
			    name_of(copy->src), name_of(copy->dst));
		} else if (page->rows >= (left > 1 ? 3 : 2)) {
			put_names(page, copy);
			put_bar(page, copy);
		} else {
			put(page, "and %zu more", left);
			return;
		}
	}
}

void status_draw(const struct status *status, const struct status_view *view, FILE *out)
{
	struct page page = {
		.out = out,
		.columns = view->columns ? view->columns : SIZE_MAX,
		.rows = view->rows ? view->rows : SIZE_MAX,
	};

	put_title(&page, status);
	put_totals(&page, status);
	put_copies(&page, status, view->columns != 0);
}

/* ---- JSON, RFC 8259, in ASCII ---- */

/* The character of a valid UTF-8 sequence, and its length: no overlong form, no surrogate, nothing
 * above U+10FFFF (RFC 3629). 0: it is none. */
static unsigned decode(const unsigned char *at, uint32_t *ret_character)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned size = *at < 0x80 ? 1 : *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : 2;
	uint32_t c = size == 1 ? *at : *at & (0x7fU >> size);

	if (*at >= 0xf8 || (*at >= 0x80 && *at < 0xc0))
		return 0;
	for (unsigned i = 1; i < size; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (at[i] & 0x3f);
	}
	if (c < least[size] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
		return 0;
	*ret_character = c;
	return size;
}

static void json_character(uint32_t c, FILE *out)
{
	if (c == '"' || c == '\\')
		fprintf(out, "\\%c", (int)c);
	else if (c >= 0x20 && c < 0x7f)
		fputc((int)c, out);
	else if (c < 0x10000)
		fprintf(out, "\\u%04x", c);
	else
		fprintf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
			0xdc00 + ((c - 0x10000) & 0x3ff));
}

static void json_string(const char *text, FILE *out)
{
	const unsigned char *at = (const unsigned char *)text;

	if (!text) {
		fputs("null", out);
		return;
	}
	fputc('"', out);
	while (*at) {
		uint32_t c;
		unsigned size = decode(at, &c);

		json_character(size ? c : 0xdc00U + *at, out);
		at += size ? size : 1;
	}
	fputc('"', out);
}

static void json_counts(const char *name, const struct status_counts *counts, FILE *out)
{
	fprintf(out, ",\"%s\":{", name);
	for (size_t i = 0; i < counts->count; i++) {
		fputs(i ? "," : "", out);
		json_string(counts->items[i].name, out);
		fprintf(out, ":%" PRIu64, counts->items[i].value);
	}
	fputc('}', out);
}

static void json_optional(const char *name, double value, const char *separator, FILE *out)
{
	if (value >= 0)
		fprintf(out, "\"%s\":%.3f%s", name, value, separator);
	else
		fprintf(out, "\"%s\":null%s", name, separator);
}

static void json_copy(const struct status_copy *copy, FILE *out)
{
	fprintf(out, "{\"pid\":%" PRIu64 ",\"path\":", copy->pid);
	json_string(copy->path[0] ? copy->path : NULL, out);
	fprintf(out, ",\"done\":%" PRIu64 ",\"total\":%" PRIu64 ",\"seconds\":%.3f,", copy->done,
		copy->total, copy->seconds);
	json_optional("bytes_per_second", status_copy_rate(copy), ",", out);
	json_optional("seconds_left", status_copy_seconds_left(copy), ",", out);
	fputs("\"src\":", out);
	json_string(copy->src, out);
	fputs(",\"dst\":", out);
	json_string(copy->dst, out);
	fputc('}', out);
}

static void json_downgrade(const struct status_downgrade *downgrade, FILE *out)
{
	fputs("{\"without\":", out);
	json_string(downgrade->what, out);
	fputs(",\"why\":", out);
	json_string(downgrade->why, out);
	fputc('}', out);
}

void status_draw_json(const struct status *status, FILE *out)
{
	fputs("{\"mount_point\":", out);
	json_string(status->mount_point, out);
	fputs(",\"backing\":", out);
	json_string(status->backing, out);
	fputs(",\"transport\":", out);
	json_string(status->transport, out);
	fprintf(out, ",\"running_seconds\":%" PRIu64, status->running);
	json_counts("read_bytes", &status->read_bytes, out);
	json_counts("write_bytes", &status->write_bytes, out);
	json_counts("copy_bytes", &status->copy_bytes, out);
	fprintf(out, ",\"copy_requests\":%" PRIu64, status->copy_requests);
	json_counts("requests", &status->requests, out);
	fputs(",\"downgrades\":[", out);
	for (size_t i = 0; i < status->downgrade_count; i++) {
		fputs(i ? "," : "", out);
		json_downgrade(&status->downgrades[i], out);
	}
	fputs("],\"copies\":[", out);
	for (size_t i = 0; i < status->copy_count; i++) {
		fputs(i ? "," : "", out);
		json_copy(&status->copies[i], out);
	}
	fprintf(out, "],\"waiting\":%" PRIu64 "}\n", status->waiting);
}
